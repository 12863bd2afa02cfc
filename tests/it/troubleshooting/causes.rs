//! How each symptom is reproduced: its cause is created, and all output is returned.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sandbox::world::World;
use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault, Status};
use stand_ins::host::Host;
use stand_ins::net::http_client;
use stand_ins::{identity, storage};
use tokio::process::Command;

use crate::caller::{Caller, answer, contact};
use crate::command::{CommandOutput, command};
use crate::queue;
use crate::waiting::eventually;

/// Dataverse's message for a duplicate key.
const DUPLICATE: &str = "A record with matching key values already exists.";

/// The output for the row with these words; the first one selects the cause.
pub(super) async fn output(words: &[String]) -> String {
    match words[0].as_str() {
        "of the settings cannot be used" => alone(&[]).await,
        "FUNCTIONS_CUSTOMHANDLER_PORT is not set" => alone(&[("DATAVERSE_URL", "https://x.crm.dynamics.com")]).await,
        "LOCK_CONTAINER must be a container name" => alone(&[("LOCK_CONTAINER", "Sync_Locks")]).await,
        "cannot listen" => a_port_that_is_taken().await,
        "no root certificates" => without_root_certificates().await,
        "has no executable bit" => examined(|world| permit(&world.app().join("handler"), 0o644), &[]).await,
        "handler is not an ELF" => examined(built_elsewhere, &[]).await,
        "visibilityTimeout is 0" => {
            let path = "/extensions/queues/visibilityTimeout";
            examined(|world| edit(world, "host.json", path, json!("00:00:00")), &[]).await
        }
        "the host fetches" => examined(|_| {}, &[("SYNC_BATCH", "off")]).await,
        "has no column" => examined(|_| {}, &[("SYNC_VERSION_COLUMN", "new_nothing")]).await,
        "there is no such queue" => without_queues().await,
        "0x80072560" => {
            let refused = Effect::Status(Status::new(403, "0x80072560", "The user is not a member."));
            let refused = Fault::new(refused).set("WhoAmI").until_cleared();
            examined(|world| world.dataverse.fault(refused), &[]).await
        }
        "Dataverse answered 401" => examined(|world| world.identity.fault(identity::Fault::WrongAudience), &[]).await,
        "invalid invocation request; check that function.json matches this version" => a_renamed_binding().await,
        "\"reason\":null" => a_message_that_was_not_encoded().await,
        "neither a JSON object nor base64 of one" => a_message_that_is_not_a_record().await,
        "A web page may not call the handler" => from_a_page().await,
        "dead letter too large" => a_letter_that_is_too_large().await,
        "this was the last attempt" => the_last_delivery().await,
        symptom => answered(symptom, words).await,
    }
}

/// Symptoms in an answer or in the log.
async fn answered(symptom: &str, words: &[String]) -> String {
    let world = crate::world().await;
    prepare(&world, symptom).await;
    if let Some(refusal) = refusal(symptom) {
        world.dataverse.fault(Fault::new(Effect::Status(refusal)).method("PATCH"));
    }
    let host = world.host("one", &[crate::AT_ONCE, ("LOCK_WAIT_SECONDS", "1")]).await.expect("the host starts");
    let answer = Caller::of(&host).post_text(body(symptom)).await.text;
    // Another task reads the handler's output.
    eventually(&format!("{words:?} in the log or in {answer}"), async || {
        let printed = answer.clone() + &logged(&host);
        words.iter().all(|word| printed.contains(word)).then_some(printed)
    })
    .await
}

fn body(symptom: &str) -> String {
    let mut record = contact("C1", &json!({ "firstname": "Ada" }));
    match symptom {
        "the body is empty" => return String::new(),
        "the body is in base64" => return "eyJ0YWJsZSI6ImNvbnRhY3RzIn0=".to_owned(),
        "the body is in" => return "{\0".to_owned(),
        "Resource not found for the segment" => record["table"] = json!("Contacts"),
        "written only where SYNC_TABLES names it" => record["table"] = json!("roles"),
        "holds a row of another table" => record["columns"] = json!({ "parentcustomerid_account": { "name": "x" } }),
        "hours ahead of this machine's clock" => record["version"] = json!("9999-12-31T23:59:59Z"),
        "a stored version is implausible" => {
            record["version"] = json!(17);
            record["versionColumn"] = json!("new_sourceversion");
        }
        "unknown field" => record["firstname"] = json!("Ada"),
        "another unique key" => record["columns"] = json!({ "emailaddress1": "a@b.example" }),
        "parent_missing" => record["columns"] = missing_parent(),
        "did you mean" => record["columns"] = json!({ "parentcustomerid@odata.bind": "/accounts(accountnumber='7')" }),
        "is missing or not active" => record["key"] = json!({ "lastname": "Lovelace" }),
        _ => {}
    }
    record.to_string()
}

fn missing_parent() -> Value {
    json!({ "parentcustomerid_account@odata.bind": "/accounts(accountnumber='missing')" })
}

/// Dataverse's answer to the write.
fn refusal(symptom: &str) -> Option<Status> {
    let status = match symptom {
        "0x80040220" => Status::new(403, symptom, "Principal user is missing prvCreateContact privilege."),
        "already_written" => Status::new(412, "0x80040237", DUPLICATE),
        "throttled" => {
            let text = "Number of requests exceeded the limit.";
            Status { retry_after: Some(1), ..Status::new(429, "0x80072322", text) }
        }
        _ => return None,
    };
    Some(status)
}

async fn prepare(world: &World, symptom: &str) {
    let row = match symptom {
        "already_written" => json!({ "employeeid": "C1", "firstname": "Ada" }),
        "another unique key" => json!({ "emailaddress1": "a@b.example" }),
        "a stored version is implausible" => json!({ "employeeid": "C1", "new_sourceversion": i64::MAX }),
        "there is no Entra ID token" => {
            let refusal = r#"{"statusCode":400,"message":"Unable to load the proper Managed Identity."}"#;
            return world.identity.fault(identity::Fault::Answer(reqwest::StatusCode::BAD_REQUEST, refusal));
        }
        "AuthorizationPermissionMismatch" => return storage_refuses(world, "AuthorizationPermissionMismatch"),
        "AuthorizationFailure" => return storage_refuses(world, "AuthorizationFailure"),
        "the lock was held by another writer" => return leave_a_lease(world).await,
        _ => return,
    };
    world.dataverse.insert("contacts", &row);
}

fn storage_refuses(world: &World, error_code: &'static str) {
    let effect = storage::Effect::Status { code: 403, error_code, retry_after: None };
    let storage = world.storage.embedded().expect("this world is on the embedded storage");
    storage.fault(storage::Fault::until_cleared(storage::Op::AnyBlob, effect));
}

/// Leaves a lease held, by an ambiguous write.
async fn leave_a_lease(world: &World) {
    world.dataverse.fault(Fault::new(Effect::DropBefore).method("PATCH").times(2));
    let host = world.host("killed", &[crate::AT_ONCE]).await.expect("the host starts");
    Caller::of(&host).post(&contact("C1", &json!({}))).await;
}

/// The answer to a call that a browser sends to the handler's own port.
async fn from_a_page() -> String {
    let world = crate::world().await;
    let host = world.host("one", &[]).await.expect("the host starts");
    let call = http_client().post(format!("http://127.0.0.1:{}/api/records", host.port_of_handler()));
    answer(call.header("origin", "https://page.example").body(contact("C1", &json!({})).to_string())).await.text
}

/// Runs the executable with only these settings.
async fn alone(settings: &[(&str, &str)]) -> String {
    let mut all = BTreeMap::from([("AzureWebJobsStorage", "UseDevelopmentStorage=true")]);
    all.extend(settings.iter().copied());
    if settings.is_empty() {
        all.clear();
    }
    ended(command(&[], all), 2).await
}

async fn ended(command: Command, code: i32) -> String {
    let output = CommandOutput::of(command).await;
    assert_eq!(output.code, Some(code), "{output:?}");
    output.stdout + &output.stderr
}

/// The executable with the world's settings, overridden by these.
fn handler(world: &World, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = command(arguments, &world.settings);
    command.current_dir(world.app()).envs(settings.iter().copied());
    command
}

async fn a_port_that_is_taken() -> String {
    let world = crate::world().await;
    let host = world.host("first", &[]).await.expect("the host starts");
    let port = host.port_of_handler().to_string();
    ended(handler(&world, &[], &[("FUNCTIONS_CUSTOMHANDLER_PORT", &port)]), 1).await
}

async fn without_root_certificates() -> String {
    let world = crate::world().await;
    let nothing = [("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/dev/null")];
    // The services here use plain http, so only the warning is logged.
    ended(handler(&world, &["doctor"], &nothing), 0).await
}

/// The doctor's report on the app after this change.
async fn examined(change: impl FnOnce(&World), settings: &[(&str, &str)]) -> String {
    let world = crate::world().await;
    change(&world);
    ended(handler(&world, &["doctor", "--table", "contacts"], settings), 1).await
}

fn built_elsewhere(world: &World) {
    let path = world.app().join("handler");
    fs::remove_file(&path).expect("it is ours");
    fs::write(&path, b"MZ\x90\0").expect("writable");
    permit(&path, 0o755);
}

fn permit(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// Changes one value of a JSON file of the app.
fn edit(world: &World, name: &str, pointer: &str, value: Value) {
    let path = world.app().join(name);
    let mut file: Value = serde_json::from_slice(&fs::read(&path).expect("it is there")).expect("it is JSON");
    *file.pointer_mut(pointer).expect("it is in the file") = value;
    fs::write(path, file.to_string()).expect("writable");
}

async fn without_queues() -> String {
    let (world, empty) = (crate::world().await, storage::Storage::start(storage::Options::default()).await);
    let empty = empty.expect("loopback has free ports");
    ended(handler(&world, &["doctor"], &[("AzureWebJobsStorage", &empty.connection_string())]), 1).await
}

async fn a_renamed_binding() -> String {
    let world = crate::world().await;
    edit(&world, "SyncQueue/function.json", "/bindings/0/name", json!("message"));
    let host = world.host("one", &[]).await.expect("the host starts");
    world.put(&contact("C1", &json!({})).to_string()).await.expect("the queue takes it");
    // Another task reads the handler's output.
    eventually("its line", async || logged(&host).contains("invalid invocation request").then_some(())).await;
    logged(&host)
}

fn logged(host: &Host) -> String {
    host.logs().into_iter().map(|line| line.text + "\n").collect()
}

async fn a_message_that_was_not_encoded() -> String {
    let world = crate::world().await;
    edit(&world, "host.json", "/extensions/queues/messageEncoding", json!("base64"));
    let host = world.host("one", &[]).await.expect("the host starts");
    world.put(&contact("C1", &json!({})).to_string()).await.expect("the queue takes it");
    queue::raw_poison(&world).await;
    assert!(host.invocations().is_empty(), "the handler never saw it");
    ended(handler(&world, &["dead-letters", "show", "--json"], &[]), 0).await
}

async fn a_message_that_is_not_a_record() -> String {
    let (world, _host) = queue::start(&[]).await;
    world.put("hello").await.expect("the queue takes it");
    queue::raw_poison(&world).await
}

async fn a_letter_that_is_too_large() -> String {
    let (world, host) = queue::start(&[]).await;
    world.put(&queue::random(64 * 1000)).await.expect("the queue takes it");
    let ended = eventually("an invocation", async || host.invocations().into_iter().next()).await;
    format!("{:?}", ended.result)
}

async fn the_last_delivery() -> String {
    let (world, _host) = queue::start(&[crate::AT_ONCE]).await;
    world.put(&contact("C1", &missing_parent()).to_string()).await.expect("the queue takes it");
    queue::raw_poison(&world).await;
    ended(handler(&world, &["dead-letters", "show"], &[]), 0).await
}
