//! The doctor never prints a secret, whether its checks pass or fail.

use stand_ins::dataverse::{Effect, Fault, Status};

use super::patient::Patient;
use super::{TABLE, healthy};
use crate::dead_letters::CommandOutput;

const CANARY: &str = "canary";

/// The start of every JWT: `{"` in base64.
const TOKEN: &str = "eyJ";

async fn run(patient: &Patient, settings: &[(&str, &str)]) -> CommandOutput {
    let output = patient.run(&TABLE, &[settings, &[("RUST_LOG", "trace")]].concat()).await;
    assert!(!output.stdout.is_empty());
    output
}

fn none_of(output: &CommandOutput, secrets: &[&str]) {
    for secret in secrets {
        assert!(
            !secret.is_empty() && !output.stdout.contains(secret) && !output.stderr.contains(secret),
            "{secret}: {output:?}"
        );
    }
}

#[tokio::test]
async fn when_all_is_well_neither_token_nor_key_is_printed() {
    let (world, patient) = healthy().await;
    let key = world.settings["AzureWebJobsStorage"].split("AccountKey=").nth(1).and_then(|rest| rest.split(';').next());
    let key = key.expect("the connection string has a key");
    let output = run(&patient, &[]).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(world.identity.tokens_issued() > 0);
    assert!(output.stderr.contains("TRACE"), "or the log hides nothing: {output:?}");
    none_of(&output, &[TOKEN, key, world.identity.header()]);
}

#[tokio::test]
async fn when_something_is_refused_it_is_not_printed_either() {
    let (world, patient) = healthy().await;
    let with_signature = format!(
        "BlobEndpoint=http://127.0.0.1:1/a;QueueEndpoint=http://127.0.0.1:1/a;SharedAccessSignature=sv=2021&sig={CANARY}"
    );
    let wrong_key = world.settings["AzureWebJobsStorage"].replace("AccountKey=", "AccountKey=Y2FuYXJ5");
    for settings in [
        &[("AzureWebJobsStorage", &*with_signature)][..],
        &[("AzureWebJobsStorage", &*wrong_key)],
        &[("AZURE_CLIENT_SECRET", CANARY)],
        &[("SYNC_HEADERS", r#"{"x-key":"canary"}"#), ("DATAVERSE_URL", "")],
        &[("DATAVERSE_URL", "http://me:canary@127.0.0.1:1")],
        &[("IDENTITY_HEADER", CANARY)],
    ] {
        let output = run(&patient, settings).await;
        assert_eq!(output.code, Some(1), "{output:?}");
        none_of(&output, &[CANARY, "Y2FuYXJ5", TOKEN, world.identity.header()]);
    }
}

#[tokio::test]
async fn what_others_say_is_printed_so_that_no_terminal_obeys_it() {
    let (world, patient) = healthy().await;
    let status = Status::new(500, "", "\u{1b}[2Jgone");
    world.dataverse.fault(Fault::new(Effect::Status(status)).set("WhoAmI").until_cleared());
    let output = patient.run(&[], &[]).await;
    assert!(output.stdout.contains("\\u001b[2Jgone") && !output.stdout.contains('\u{1b}'), "{output:?}");
}
