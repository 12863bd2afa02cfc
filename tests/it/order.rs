//! Two sources write the same records through two instances in any order. With versions the higher one wins, with or
//! without locks; without versions the last write wins. A row deleted with a version stays deleted.

use std::collections::HashMap;

use futures::future::join_all;
use sandbox::world::World;
use serde_json::{Value, json};
use stand_ins::host::Host;

use crate::caller::{Answer, Caller, contact};

/// How many records are written twice.
const RECORDS: usize = 1_000;

/// Records per call, few enough that a slow machine settles them within an HTTP caller's wait budget.
const AT_ONCE: usize = 100;

const VERSIONED: (&str, &str) = ("SYNC_VERSION_COLUMN", "new_sourceversion");

/// A world with two instances, and a caller for each.
async fn two(settings: &[(&str, &str)]) -> (World, Vec<Host>, Vec<Caller>) {
    let world = crate::world().await;
    let hosts = world.hosts(2, settings).await.expect("the hosts start");
    let callers = hosts.iter().map(Caller::of).collect();
    (world, hosts, callers)
}

fn change(key: usize, source: &str, version: Option<i64>) -> Value {
    let mut record = contact(&format!("C{key}"), &json!({ "firstname": source }));
    record["source"] = json!(source);
    if let Some(version) = version {
        record["version"] = json!(version);
    }
    record
}

/// Two changes to each key by two sources, randomly ordered and assigned to the instances.
fn shuffled(versions: [Option<i64>; 2]) -> [Vec<Value>; 2] {
    let mut calls = [Vec::new(), Vec::new()];
    for key in 0..RECORDS {
        let first = fastrand::usize(..2);
        calls[first].push(change(key, "hr", versions[0]));
        calls[1 - first].push(change(key, "crm", versions[1]));
    }
    for call in &mut calls {
        fastrand::shuffle(call);
    }
    calls
}

/// The number of results per `outcome/reason`.
fn reasons(answers: &[Answer]) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for result in answers.iter().flat_map(|answer| answer.body["results"].as_array().expect("an array has results")) {
        let text = |name: &str| result[name].as_str().unwrap_or_default();
        *counts.entry(format!("{}/{}", text("outcome"), text("reason"))).or_default() += 1;
    }
    counts
}

/// Sends the changes to both instances concurrently, one part after the other.
async fn post_both(callers: &[Caller], calls: [Vec<Value>; 2]) -> Vec<Answer> {
    let one = async |(caller, call): (&Caller, Vec<Value>)| {
        let mut answers = Vec::new();
        for part in call.chunks(AT_ONCE) {
            answers.push(caller.post(&json!(part)).await);
        }
        answers
    };
    join_all(callers.iter().zip(calls).map(one)).await.concat()
}

async fn the_higher_version_wins(settings: &[(&str, &str)]) {
    let (world, _hosts, callers) = two(settings).await;
    let answers = post_both(&callers, shuffled([Some(1), Some(2)])).await;
    let reasons = reasons(&answers);
    let settled: usize =
        ["applied/created", "applied/updated", "skipped/superseded"].iter().filter_map(|r| reasons.get(*r)).sum();
    assert_eq!(settled, 2 * RECORDS, "{reasons:?}");
    let rows = world.dataverse.rows("contacts");
    assert_eq!(rows.len(), RECORDS);
    let right = rows.iter().filter(|row| row["new_sourceversion"] == 2 && row["firstname"] == "crm").count();
    assert_eq!(right, RECORDS, "rows that hold the higher version and its data");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_higher_version_wins_in_a_thousand_of_a_thousand_runs_with_leases() {
    the_higher_version_wins(&[VERSIONED]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_higher_version_wins_in_a_thousand_of_a_thousand_runs_without_locks() {
    the_higher_version_wins(&[VERSIONED, ("LOCK_MODE", "off")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_version_the_last_writer_wins_and_both_are_settled() {
    let (world, _hosts, callers) = two(&[]).await;
    let answers = post_both(&callers, shuffled([None, None])).await;
    assert_eq!(reasons(&answers), HashMap::from([("applied/upserted".to_owned(), 2 * RECORDS)]));
    let mut last = HashMap::new();
    let mut committed: Vec<_> = world.dataverse.journal().into_iter().filter(|entry| entry.commit.is_some()).collect();
    committed.sort_by_key(|entry| entry.commit);
    for entry in committed {
        last.insert(entry.row.expect("it was committed"), entry.values["firstname"].clone());
    }
    let rows = world.dataverse.rows("contacts");
    assert_eq!((rows.len(), last.len()), (RECORDS, RECORDS));
    for row in rows {
        assert_eq!(Some(&row["firstname"]), last.get(row["contactid"].as_str().expect("an id")));
    }
    assert!(world.dataverse.overlaps().is_empty());
}

#[tokio::test]
async fn an_older_message_does_not_create_a_row_again_that_was_deleted_with_a_version() {
    let (world, _hosts, callers) = two(&[VERSIONED]).await;
    let delete = |version: i64| {
        let mut record = contact("C1", &Value::Null);
        (record["operation"], record["version"]) = (json!("delete"), json!(version));
        record
    };
    assert_eq!(callers[0].post(&change(1, "hr", Some(1))).await.body["reason"], "created");
    assert_eq!(callers[1].post(&delete(5)).await.body["reason"], "deleted");
    for (version, reason) in [(4, "superseded"), (5, "superseded"), (6, "created")] {
        let answer = callers[0].post(&change(1, "hr", Some(version))).await;
        assert_eq!(answer.body["reason"], reason, "{}", answer.text);
    }
    // A deletion that arrives before the creation.
    let mut early = delete(7);
    early["key"] = json!({ "employeeid": "C2" });
    assert_eq!(callers[1].post(&early).await.body["reason"], "already_absent");
    assert_eq!(callers[0].post(&change(2, "hr", Some(6))).await.body["reason"], "superseded");
    assert_eq!(world.dataverse.rows("contacts").len(), 1);
}
