//! One thing is broken at a time, and the doctor names it.

use std::fs;

use sandbox::world;
use serde_json::json;
use stand_ins::dataverse::{Effect, Fault, Kind, Status, Table};
use stand_ins::identity;
use stand_ins::storage::{self, Effect as StorageEffect, Fault as StorageFault, Op, Storage};

use super::patient::permit;
use super::{TABLE, VERSION_COLUMN, healthy};
use crate::process::unused_url;

/// Asserts that only this check fails, and that its finding contains `word`.
fn only(wrong: &[(String, String)], check: &str, word: &str) {
    let [(name, found)] = wrong else { panic!("{check} and nothing else: {wrong:#?}") };
    assert!(name == check && found.contains(word), "{check}, {word}: {wrong:#?}");
}

#[tokio::test]
async fn a_setting_that_is_missing_or_wrong() {
    let (_world, patient) = healthy().await;
    only(&patient.wrong(&TABLE, &[("DATAVERSE_URL", "")]).await, "settings", "DATAVERSE_URL is not set");
    let output = patient.wrong(&[], &[("AzureWebJobsStorage", "")]).await;
    only(&output, "settings", "AzureWebJobsStorage is not set");
    only(&patient.wrong(&[], &[("RUST_LOG", "[{")]).await, "settings", "RUST_LOG");
    only(&patient.wrong(&[], &[("FUNCTIONS_WORKER_RUNTIME", "node")]).await, "settings", "FUNCTIONS_WORKER_RUNTIME");
    let both = patient.wrong(&[], &[("DATAVERSE_URL", ""), ("LOCK_LEASE_SECONDS", "5")]).await;
    assert_eq!(both.len(), 2, "every problem at once: {both:?}");
}

#[tokio::test]
async fn a_host_json_that_does_not_fit() {
    let (_world, patient) = healthy().await;
    for (pointer, value, check, word) in [
        ("/retry", json!({ "strategy": "fixedDelay" }), "retry_block", "retry block"),
        ("/extensions/queues/visibilityTimeout", json!("00:00:00"), "redelivery", "visibilityTimeout is 0"),
        ("/extensions/queues/maxDequeueCount", json!(1), "redelivery", "maxDequeueCount"),
        ("/extensions/queues/newBatchThreshold", json!(40), "concurrency", "56 messages"),
        ("/functionTimeout", json!("00:05:00"), "time_limit", "300 s"),
        ("/customHandler/enableForwardingHttpRequest", json!(false), "forwarding", "enableForwardingHttpRequest"),
        ("/extensions/http/routePrefix", json!(""), "http_function", "/records"),
    ] {
        let _was = patient.edit("host.json", pointer, value);
        only(&patient.wrong(&[], &[]).await, check, word);
    }
    let overridden = [("AzureFunctionsJobHost__extensions__queues__visibilityTimeout", "00:00:00")];
    only(&patient.wrong(&[], &overridden).await, "redelivery", "visibilityTimeout is 0");
}

#[tokio::test]
async fn functions_that_the_code_does_not_know_or_the_host_does_not_find() {
    let (_world, patient) = healthy().await;
    let queue = "SyncQueue/function.json";
    for (pointer, value, word) in [
        ("/bindings/0/name", json!("message"), "named \"message\""),
        ("/retry", json!({ "maxRetryCount": 5 }), "retry block"),
    ] {
        let _was = patient.edit(queue, pointer, value);
        only(&patient.wrong(&[], &[]).await, "queue_function", word);
    }
    let off = [("AzureWebJobs.SyncHttp.Disabled", "true")];
    only(&patient.wrong(&[], &off).await, "http_function", "disabled by the setting AzureWebJobs.SyncHttp.Disabled");
    fs::create_dir_all(patient.path("functions/SyncQueue")).expect("writable");
    fs::copy(patient.path(queue), patient.path("functions").join(queue)).expect("writable");
    only(&patient.wrong(&[], &[]).await, "function_folders", "functions/SyncQueue is two levels deep");
    fs::remove_dir_all(patient.path("functions")).expect("ours");
    fs::create_dir(patient.path("syncqueue")).expect("writable");
    fs::copy(patient.path(queue), patient.path("syncqueue/function.json")).expect("writable");
    only(&patient.wrong(&[], &[]).await, "function_folders", "no such function");
    fs::remove_dir_all(patient.path("syncqueue")).expect("ours");
    fs::remove_file(patient.path("SyncHttp/function.json")).expect("ours");
    only(&patient.wrong(&[], &[]).await, "http_function", "SyncHttp/function.json does not exist");
}

#[tokio::test]
async fn an_executable_that_the_host_cannot_start() {
    let (_world, patient) = healthy().await;
    let executable = patient.path("handler");
    permit(&executable, 0o644);
    only(&patient.wrong(&[], &[]).await, "executable", "no executable bit");
    permit(&executable, 0o755);
    for (name, word) in [("handle", "there is no handle"), ("./handler", "not the bare name")] {
        let _was = patient.edit("host.json", "/customHandler/description/defaultExecutablePath", json!(name));
        only(&patient.wrong(&[], &[]).await, "executable", word);
    }
    fs::remove_file(&executable).expect("ours");
    fs::write(&executable, "#!/bin/sh\n").expect("writable");
    permit(&executable, 0o755);
    only(&patient.wrong(&[], &[]).await, "architecture", "not an ELF");
}

#[tokio::test]
async fn an_identity_that_is_refused_or_cannot_be_asked() {
    let (world, patient) = healthy().await;
    let stranger = [("AZURE_CLIENT_ID", "99999999-9999-4999-8999-999999999999")];
    only(&patient.wrong(&TABLE, &stranger).await, "token", "user_assigned_managed_identity");
    let endpoint = format!("{}/msi/token", unused_url().await);
    only(&patient.wrong(&[], &[("IDENTITY_ENDPOINT", &endpoint)]).await, "token", "system_assigned_managed_identity");
    world.identity.fault(identity::Fault::WrongAudience);
    only(&patient.wrong(&TABLE, &[]).await, "who_am_i", "401");
}

#[tokio::test]
async fn a_dataverse_that_knows_us_not_or_cannot_be_reached() {
    let (world, patient) = healthy().await;
    let status = Status::new(403, "0x80072560", "The user is not a member of the organization.");
    let stranger = Fault::new(Effect::Status(status)).set("WhoAmI").until_cleared();
    world.dataverse.fault(stranger);
    only(&patient.wrong(&TABLE, &[]).await, "who_am_i", "403 0x80072560: The user is not a member");
    world.dataverse.clear_faults();
    let closed = unused_url().await;
    only(&patient.wrong(&[], &[("DATAVERSE_URL", &closed)]).await, "who_am_i", "no connection");
    only(&patient.wrong(&[], &[("DATAVERSE_API_VERSION", "v8.2")]).await, "who_am_i", "404");
}

#[tokio::test]
async fn a_table_that_is_not_what_records_need() {
    let (world, patient) = healthy().await;
    only(&patient.wrong(&["--table", "contact"], &[]).await, "table", "no entity set contact");
    let other_key = ["--table", "contacts", "--key", "lastname"];
    only(&patient.wrong(&other_key, &[]).await, "alternate_key", "no alternate key of lastname; it has (employeeid)");
    let other_column = [("SYNC_VERSION_COLUMN", "new_version")];
    only(&patient.wrong(&TABLE, &other_column).await, "version_column", "no column new_version");
    only(&patient.wrong(&TABLE, &[("SYNC_VERSION_COLUMN", "lastname")]).await, "version_column", "String");

    let denied = Status::new(403, "0x80040220", "Principal user is missing prvReadContact privilege.");
    world.dataverse.fault(Fault::new(Effect::Status(denied)).method("GET").set("contacts").until_cleared());
    only(&patient.wrong(&TABLE, &[VERSION_COLUMN]).await, "read", "prvReadContact");
    world.dataverse.clear_faults();

    let table = Table::new("contacts", "contact", "contactid")
        .text("employeeid", 50)
        .column(VERSION_COLUMN.1, Kind::BigInteger);
    world.dataverse.define(table.clone().key(&["employeeid"]));
    only(&patient.wrong(&TABLE, &[VERSION_COLUMN]).await, "version_column", "optimistic concurrency");
    world.dataverse.define(table.key_in_progress(&["employeeid"]).optimistic_concurrency());
    only(&patient.wrong(&TABLE, &[VERSION_COLUMN]).await, "alternate_key", "index is InProgress");
}

#[tokio::test]
async fn a_lock_storage_that_refuses() {
    let (world, patient) = healthy().await;
    let storage = world.storage.embedded().expect("this world is on the embedded storage");
    let denied = StorageEffect::Status { code: 403, error_code: "AuthorizationPermissionMismatch", retry_after: None };
    for op in [Op::CreateContainer, Op::PutBlob, Op::Acquire, Op::Renew] {
        storage.fault(StorageFault::until_cleared(op, denied.clone()));
        only(&patient.wrong(&[], &[]).await, "lock_storage", "refuses access (403 AuthorizationPermissionMismatch)");
        storage.clear_faults();
    }
    storage.fault(StorageFault::until_cleared(Op::Release, denied));
    only(&patient.wrong(&[], &[]).await, "lock_storage", "could not be given back");
    storage.clear_faults();
    storage.expire_leases(None);
    assert_eq!(patient.run(&[], &[("LOCK_MODE", "off")]).await.code, Some(0), "no locks, nothing to refuse");
}

#[tokio::test]
async fn a_storage_that_cannot_be_reached() {
    let (_world, patient) = healthy().await;
    let closed = unused_url().await;
    let storage = format!("AccountName=a;AccountKey=a2V5;BlobEndpoint={closed}/a;QueueEndpoint={closed}/a");
    let output = patient.wrong(&[], &[("AzureWebJobsStorage", &storage)]).await;
    let names: Vec<_> = output.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["lock_storage", "queue", "poison_queue"]);
    assert!(output.iter().all(|(_, found)| found.contains("no connection")), "{output:?}");
}

#[tokio::test]
async fn queues_that_are_not_there_or_not_for_us() {
    let (world, patient) = healthy().await;
    let storage = world.storage.embedded().expect("this world is on the embedded storage");
    let denied = StorageEffect::Status { code: 403, error_code: "AuthorizationFailure", retry_after: None };
    storage.fault(StorageFault::once(Op::OtherQueue, denied));
    only(&patient.wrong(&[], &[]).await, "queue", "refuses access (403 AuthorizationFailure)");

    let empty = Storage::start(storage::Options::default()).await.expect("loopback has free ports");
    let service = stand_ins::queue::QueueService::from_connection_string(&empty.connection_string());
    let queue = service.expect("it is a connection string").queue(world::QUEUE);
    queue.create_if_missing().await.expect("the storage answers");
    let output = patient.wrong(&[], &[("AzureWebJobsStorage", &empty.connection_string())]).await;
    only(&output, "poison_queue", "sync-records-poison in AzureWebJobsStorage (127.0.0.1): there is no such queue");
}
