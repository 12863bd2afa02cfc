//! Records that wait together, through the handler: each has the result that it has alone, and none is lost when a batch goes wrong.

use std::time::Duration;

use sandbox::world::{Options, World};
use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault, Options as Dataverse, Status};

use crate::caller::{Answer, Caller, contact};

const RECORDS: usize = 100;

/// What the service takes for one write: long enough that others wait meanwhile.
const WRITE: Duration = Duration::from_millis(10);

async fn world() -> World {
    let dataverse = Dataverse { race_window: WRITE, ..Dataverse::default() };
    crate::world_with(Options { dataverse, ..Options::default() }).await
}

async fn post(world: &World, settings: &[(&str, &str)], records: &[Value]) -> Answer {
    let host = world.host("instance-1", settings).await.expect("the host starts");
    Caller::of(&host).post(&records.to_vec().into()).await
}

/// How often requests were sent in batches.
fn batched(world: &World) -> usize {
    world.dataverse.journal().iter().filter(|entry| entry.batch.is_some()).count()
}

/// Records that Dataverse takes, and nine that it refuses, each for another reason.
fn records() -> Vec<Value> {
    let with = |key: &str, fields: Value| {
        let mut record = contact(key, &json!({ "firstname": "Ada" }));
        record.as_object_mut().expect("an object").extend(fields.as_object().expect("fields").clone());
        record
    };
    let refused = [
        with("R0", json!({ "columns": { "nosuchcolumn": 1 } })),
        with("there", json!({ "operation": "create" })),
        with("R2", json!({ "operation": "update" })),
        with("R3", json!({ "table": "nosuchtables" })),
        with("R4", json!({ "columns": { "parentcustomerid_account@odata.bind": "/accounts(accountnumber='none')" } })),
        with("R5", json!({ "columns": { "birthdate": "yesterday" } })),
        with("R6", json!({ "columns": { "firstname": "x".repeat(5_000) } })),
        with("R7", json!({ "columns": { "nosuch@odata.bind": "/accounts(accountnumber='none')" } })),
        json!({ "table": "contacts", "key": { "employeeid": "R8" }, "operation": "delete" }),
    ];
    let mut records: Vec<_> = (0..RECORDS).map(|number| with(&format!("A{number}"), json!({}))).collect();
    for (at, record) in refused.into_iter().enumerate() {
        records.insert(at * 11 + 5, record);
    }
    records
}

#[tokio::test]
async fn each_record_of_a_batch_has_the_result_that_it_has_alone() {
    let mut results = Vec::new();
    for batches in ["off", "auto"] {
        let world = world().await;
        world.dataverse.insert("contacts", &json!({ "employeeid": "there" }));
        let answer = post(&world, &[("SYNC_BATCH", batches), crate::AT_ONCE], &records()).await;
        assert_eq!((answer.status, batched(&world) > 0), (207, batches == "auto"), "{}", answer.text);
        let mut found = answer.body["results"].as_array().expect("results").clone();
        for result in &mut found {
            // Another id each time.
            result["dataverse"].as_object_mut().map(|dataverse| dataverse.remove("requestId"));
        }
        results.push(found);
    }
    assert_eq!(results[1], results[0]);
    let reasons: std::collections::BTreeSet<_> =
        results[0].iter().map(|result| result["reason"].as_str().expect("a reason").to_owned()).collect();
    let expected = ["already_absent", "exists", "invalid_data", "not_found", "parent_missing", "upserted"];
    assert_eq!(reasons.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn one_bad_record_in_a_hundred_is_refused_alone() {
    let world = world().await;
    let mut records: Vec<_> = (0..RECORDS).map(|number| contact(&format!("A{number}"), &json!({}))).collect();
    records[70]["columns"] = json!({ "nosuchcolumn": 1 });
    let answer = post(&world, &[], &records).await;
    assert_eq!(answer.body["summary"], json!({ "applied": 99, "rejected": 1 }), "{}", answer.text);
    assert_eq!(
        (&answer.body["results"][70]["reason"], world.dataverse.rows("contacts").len()),
        (&"invalid_data".into(), 99)
    );
    assert!(batched(&world) > 0);
}

#[tokio::test]
async fn all_records_are_written_although_a_batch_fails() {
    let status = |status, code| Effect::Status(Status::new(status, code, "Not now."));
    let pause = Effect::Status(Status { retry_after: Some(1), ..Status::new(429, "0x80072322", "Too many.") });
    for effect in [
        Effect::CutMidway,
        Effect::NoStatus,
        Effect::WrongOrder,
        Effect::StopAtError,
        status(400, "0x80048d19"),
        status(405, ""),
        status(413, ""),
        status(500, ""),
        status(503, ""),
        pause,
    ] {
        let world = world().await;
        world.dataverse.fault(Fault::new(effect.clone()).set("$batch"));
        let records: Vec<_> = (0..RECORDS).map(|number| contact(&format!("A{number}"), &json!({}))).collect();
        let answer = post(&world, &[], &records).await;
        assert_eq!(answer.body["summary"], json!({ "applied": RECORDS }), "{effect:?}: {}", answer.text);
        assert_eq!(world.dataverse.rows("contacts").len(), RECORDS, "{effect:?}");
    }
}
