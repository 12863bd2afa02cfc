//! A client that is not ours, npm's `dynamics-web-api`, sends batches to the stand-in and reads the answers.
//!
//! It needs Node; `npx` installs the package once.

use std::time::Duration;

use serde_json::{Value, json};
use stand_ins::dataverse::{Dataverse, Effect, Fault, Options};
use tokio::process::Command;

use crate::command::CommandOutput;

const PACKAGE: &str = "dynamics-web-api@2.5.0";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/dynamics_web_api/batch.cjs");

/// What the client read: the script's output.
async fn batch(dataverse: &Dataverse) -> Value {
    let mut npx = Command::new("npx");
    // The package is in the folder whose commands npx puts first. It would use a proxy also for this machine.
    let run = "http_proxy= NODE_PATH=\"${PATH%%/.bin:*}\" node \"$SCRIPT\"";
    npx.args(["--yes", "--package", PACKAGE, "-c", run]).env("SCRIPT", SCRIPT).env("DATAVERSE_URL", dataverse.url());
    let output = CommandOutput::of(npx).await;
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[tokio::test]
async fn another_client_puts_a_batch_of_upserts_and_reads_its_answers() {
    let options = Options { race_window: Duration::ZERO, ..Options::default() };
    let dataverse = Dataverse::start(options).await.expect("loopback has a free port");
    let existing = dataverse.insert("contacts", &json!({ "employeeid": "E2", "firstname": "Old" }));
    dataverse.fault(Fault::new(Effect::Deadlock).key("E4"));
    let answers = batch(&dataverse).await;
    let rows = dataverse.rows("contacts");
    let row = |employee: &str| rows.iter().find(|row| row["employeeid"] == employee).expect("it was written");
    let refused = |status: u16, code: &str| json!({ "status": status, "code": code });
    let expected = json!([
        { "id": row("E1")["contactid"], "firstname": "Ada" },
        { "id": existing, "firstname": "Bea" },
        refused(400, "0x80060888"),
        refused(500, "0x80044150"),
        refused(412, "0x80040237"),
        { "id": row("E6")["contactid"], "firstname": "Fay" },
        { "id": existing, "firstname": "Bea" },
    ]);
    assert_eq!(answers, expected);
    let journal = dataverse.journal();
    assert_eq!(journal.len(), 6, "all writes in the batch: {journal:?}");
    assert!(journal.iter().all(|entry| entry.batch.is_some() && entry.batch == journal[0].batch), "{journal:?}");
    assert_eq!(dataverse.requests().of("$batch", 200), 1);
}
