//! Records of one array that refer to each other, against the Dataverse stand-in.

use std::time::Duration;

use serde_json::{Value, json};

use super::arrays::operation;
use super::start;
use crate::waiting::eventually;

/// A contact of the array whose manager is another one.
fn employee(number: usize, manager: Option<usize>) -> Value {
    let bind =
        |manager| json!({ "parentcustomerid_contact@odata.bind": format!("/contacts(employeeid='E-{manager}')") });
    operation("upsert", &format!("E-{number}"), &manager.map_or_else(|| json!({}), bind))
}

/// The same order each time, without a pattern.
fn shuffled(mut records: Vec<Value>) -> Value {
    let mut state = 7_usize;
    for at in (1..records.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        records.swap(at, (state >> 33) % (at + 1));
    }
    records.into()
}

#[tokio::test]
async fn employees_in_any_order_are_applied_with_their_managers_by_one_request_each() {
    for batches in ["auto", "off"] {
        let (world, _host, caller) = start(&[("SYNC_BATCH", batches)]).await;
        let records = (0..100).map(|number| employee(number, (number > 0).then_some(number / 4)));
        let answer = caller.post(&shuffled(records.collect())).await;
        assert_eq!(answer.body["summary"], json!({ "applied": 100 }), "{batches}: {:.2000}", answer.text);
        assert_eq!((answer.status, world.dataverse.journal().len()), (200, 100), "{batches}");
        let managers = world
            .dataverse
            .rows("contacts")
            .iter()
            .filter(|row| row.get("_parentcustomerid_value").is_some_and(Value::is_string))
            .count();
        assert_eq!(managers, 99);
    }
}

#[tokio::test]
async fn a_chain_is_written_from_its_beginning() {
    let (world, _host, caller) = start(&[]).await;
    let records: Vec<_> =
        (0..30).map(|number| employee(number, Some(number + 1))).chain([employee(30, None)]).collect();
    let answer = caller.post(&records.into()).await;
    assert_eq!((answer.status, world.dataverse.journal().len()), (200, 31), "{:.2000}", answer.text);
}

#[tokio::test]
async fn a_cycle_goes_in_the_order_sent_and_one_row_that_is_there_lets_all_be_applied() {
    for there in ["E-1", "E-2"] {
        let (world, _host, caller) = start(&[]).await;
        world.dataverse.insert("contacts", &json!({ "employeeid": there }));
        let records = json!([employee(3, Some(2)), employee(1, Some(2)), employee(2, Some(1)), employee(2, Some(3))]);
        let answer = caller.post(&records).await;
        assert_eq!(answer.body["summary"], json!({ "applied": 4 }), "{there}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_deletion_waits_for_the_children_that_were_sent_before_it() {
    let (world, _host, caller) = start(&[]).await;
    world.dataverse.set_race_window(Duration::from_millis(50));
    let records = json!([employee(1, None), employee(2, Some(1)), operation("delete", "E-1", &Value::Null)]);
    let answer = caller.post(&records).await;
    assert_eq!(answer.reasons(), ["applied/upserted", "applied/upserted", "applied/deleted"], "{}", answer.text);
}

#[tokio::test]
async fn what_misses_its_parent_is_applied_once_another_call_has_brought_it() {
    let (world, _host, caller) = start(&[]).await;
    let child = |number: usize| {
        let bind =
            json!({ "parentcustomerid_account@odata.bind": format!("/accounts(accountnumber='A-{}')", number % 3) });
        operation("upsert", &format!("C-{number}"), &bind)
    };
    let records: Vec<_> = (0..30).map(child).collect();
    let later = async {
        eventually("the first tries", async || (world.dataverse.journal().len() >= 30).then_some(())).await;
        let parents: Vec<_> = (0..3)
            .map(|number| json!({ "table": "accounts", "key": { "accountnumber": format!("A-{number}") }, "columns": {} }))
            .collect();
        assert_eq!(caller.post(&parents.into()).await.status, 200);
    };
    let children: Value = records.into();
    let (answer, ()) = tokio::join!(caller.post(&children), later);
    assert_eq!(answer.body["summary"], json!({ "applied": 30 }), "{}", answer.text);
}

#[tokio::test]
async fn the_detail_names_the_lookup_and_the_row_that_is_missing_and_the_log_has_no_key() {
    let (_world, host, caller) = start(&[crate::AT_ONCE]).await;
    let answer = caller.post(&json!([employee(1, Some(77)), employee(1, None)])).await;
    assert_eq!(answer.reasons(), ["retry/parent_missing", "retry/parent_missing"], "{}", answer.text);
    let detail = |at: usize| answer.body["results"][at]["detail"].as_str().unwrap_or_default().to_owned();
    let row = "the row contacts(employeeid='E-77') of the lookup parentcustomerid_contact is missing: ";
    assert!(detail(0).starts_with(row), "{}", detail(0));
    assert!(detail(1).contains("an earlier record of this key"), "{}", detail(1));
    let logged = "the row contacts(employeeid) of the lookup parentcustomerid_contact, key_hash ";
    let logs = || host.logs().iter().map(|line| line.text.clone()).collect::<Vec<_>>().join("\n");
    eventually("its closing line", async || logs().contains(logged).then_some(())).await;
    assert!(!logs().contains("E-77"));
}
