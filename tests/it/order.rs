//! Two sources write the same records through two instances in any order: the higher version wins, and a row deleted
//! with a version stays deleted. Other orders and faults are tested beside `pipeline`.

use futures::future::join_all;
use sandbox::world::World;
use serde_json::{Value, json};
use stand_ins::host::Host;

use crate::caller::{Caller, contact};

/// How many records are written twice.
const RECORDS: usize = 100;

/// A world with two instances, and a caller for each.
async fn two_instances() -> (World, Vec<Host>, Vec<Caller>) {
    let world = crate::world().await;
    let hosts = world.hosts(2, &[("SYNC_VERSION_COLUMN", "new_sourceversion")]).await.expect("the hosts start");
    let callers = hosts.iter().map(Caller::of).collect();
    (world, hosts, callers)
}

fn change(key: usize, source: &str, version: i64) -> Value {
    let mut record = contact(&format!("C{key}"), &json!({ "firstname": source }));
    (record["source"], record["version"]) = (json!(source), json!(version));
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn the_higher_version_wins_whichever_instance_gets_it_first() {
    let (world, _hosts, callers) = two_instances().await;
    let mut calls = [Vec::new(), Vec::new()];
    for key in 0..RECORDS {
        let first = fastrand::usize(..2);
        calls[first].push(change(key, "hr", 1));
        calls[1 - first].push(change(key, "crm", 2));
    }
    for call in &mut calls {
        fastrand::shuffle(call);
    }
    let answers = join_all(callers.iter().zip(calls).map(async |(caller, call)| caller.post(&json!(call)).await)).await;
    for result in answers.iter().flat_map(|answer| answer.body["results"].as_array().expect("results")) {
        let reason = result["reason"].as_str().unwrap_or_default();
        assert!(["created", "updated", "superseded"].contains(&reason), "{result}");
    }
    let rows = world.dataverse.rows("contacts");
    assert_eq!(rows.len(), RECORDS);
    assert!(rows.iter().all(|row| row["new_sourceversion"] == 2 && row["firstname"] == "crm"), "{rows:?}");
}

#[tokio::test]
async fn an_older_message_does_not_create_a_row_again_that_was_deleted_with_a_version() {
    let (world, _hosts, callers) = two_instances().await;
    let delete = |version: i64| {
        let mut record = contact("C1", &Value::Null);
        (record["operation"], record["version"]) = (json!("delete"), json!(version));
        record
    };
    assert_eq!(callers[0].post(&change(1, "hr", 1)).await.body["reason"], "created");
    assert_eq!(callers[1].post(&delete(5)).await.body["reason"], "deleted");
    for (version, reason) in [(4, "superseded"), (5, "superseded"), (6, "created")] {
        let answer = callers[0].post(&change(1, "hr", version)).await;
        assert_eq!(answer.body["reason"], reason, "{}", answer.text);
    }
    // A deletion that arrives before the creation.
    let mut early = delete(7);
    early["key"] = json!({ "employeeid": "C2" });
    assert_eq!(callers[1].post(&early).await.body["reason"], "already_absent");
    assert_eq!(callers[0].post(&change(2, "hr", 6)).await.body["reason"], "superseded");
    assert_eq!(world.dataverse.rows("contacts").len(), 1);
}
