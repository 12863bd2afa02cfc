//! One thing is broken at a time, and the doctor names exactly that. Every fault of host.json, the functions' files and
//! the settings is tested beside `doctor`; here is one of each that only the real services and files can show.

use std::fs;

use serde_json::json;
use stand_ins::dataverse::{Effect, Fault, Kind, Status, Table};
use stand_ins::identity;
use stand_ins::storage::{self, Effect as StorageEffect, Fault as StorageFault, Op, Storage};

use super::{TABLE, VERSION_COLUMN, healthy};
use crate::process::unused_url;

/// Asserts that only this check fails, and that its finding contains `word`.
fn only(wrong: &[(String, String)], check: &str, word: &str) {
    let [(name, found)] = wrong else { panic!("{check} and nothing else: {wrong:#?}") };
    assert!(name == check && found.contains(word), "{check}, {word}: {wrong:#?}");
}

#[tokio::test]
async fn settings_and_files_of_the_app_that_do_not_fit() {
    let (_world, app) = healthy().await;
    only(&app.wrong(&TABLE, &[("DATAVERSE_URL", "")]).await, "settings", "DATAVERSE_URL is not set");
    only(&app.wrong(&[], &[("RUST_LOG", "[{")]).await, "settings", "RUST_LOG");
    let both = app.wrong(&[], &[("DATAVERSE_URL", ""), ("LOCK_LEASE_SECONDS", "5")]).await;
    assert_eq!(both.len(), 2, "every problem at once: {both:?}");
    let overridden = [("AzureFunctionsJobHost__extensions__queues__visibilityTimeout", "00:00:00")];
    only(&app.wrong(&[], &overridden).await, "redelivery", "visibilityTimeout is 0");
    let off = [("AzureWebJobs.SyncHttp.Disabled", "true")];
    only(&app.wrong(&[], &off).await, "http_function", "disabled by the setting AzureWebJobs.SyncHttp.Disabled");
    for (file, pointer, value, check, word) in [
        ("host.json", "/customHandler/description/defaultExecutablePath", "handle", "executable", "there is no handle"),
        ("SyncQueue/function.json", "/bindings/0/name", "message", "queue_function", "named \"message\""),
    ] {
        let _was = app.edit(file, pointer, json!(value));
        only(&app.wrong(&[], &[]).await, check, word);
    }
    let queue = "SyncQueue/function.json";
    for (folder, word) in [("functions/SyncQueue", "two levels deep"), ("syncqueue", "no such function")] {
        fs::create_dir_all(app.path(folder)).expect("writable");
        fs::copy(app.path(queue), app.path(folder).join("function.json")).expect("writable");
        only(&app.wrong(&[], &[]).await, "function_folders", word);
        fs::remove_dir_all(app.path(folder.split('/').next().expect("a name"))).expect("ours");
    }
    fs::remove_file(app.path("SyncHttp/function.json")).expect("ours");
    only(&app.wrong(&[], &[]).await, "http_function", "SyncHttp/function.json does not exist");
}

#[tokio::test]
async fn an_identity_or_a_dataverse_that_refuses_or_cannot_be_reached() {
    let (world, app) = healthy().await;
    let other = [("AZURE_CLIENT_ID", "99999999-9999-4999-8999-999999999999")];
    only(&app.wrong(&TABLE, &other).await, "token", "user_assigned_managed_identity");
    let closed = unused_url().await;
    let endpoint = format!("{closed}/msi/token");
    only(&app.wrong(&[], &[("IDENTITY_ENDPOINT", &endpoint)]).await, "token", "system_assigned_managed_identity");
    world.identity.fault(identity::Fault::WrongAudience);
    only(&app.wrong(&TABLE, &[]).await, "who_am_i", "401");
    world.identity.clear_faults();
    let status = Status::new(403, "0x80072560", "The user is not a member of the organization.");
    world.dataverse.fault(Fault::new(Effect::Status(status)).set("WhoAmI").until_cleared());
    only(&app.wrong(&TABLE, &[]).await, "who_am_i", "403 0x80072560: The user is not a member");
    world.dataverse.clear_faults();
    only(&app.wrong(&[], &[("DATAVERSE_URL", &closed)]).await, "who_am_i", "no connection");
    only(&app.wrong(&[], &[("DATAVERSE_API_VERSION", "v8.2")]).await, "who_am_i", "404");
}

#[tokio::test]
async fn a_table_that_is_not_what_records_need() {
    let (world, app) = healthy().await;
    only(&app.wrong(&["--table", "contact"], &[]).await, "table", "no entity set contact");
    let other_key = ["--table", "contacts", "--key", "lastname"];
    only(&app.wrong(&other_key, &[]).await, "alternate_key", "no alternate key of lastname; it has (employeeid)");
    only(&app.wrong(&TABLE, &[("SYNC_VERSION_COLUMN", "lastname")]).await, "version_column", "String");
    let denied = Status::new(403, "0x80040220", "Principal user is missing prvReadContact privilege.");
    world.dataverse.fault(Fault::new(Effect::Status(denied)).method("GET").set("contacts").until_cleared());
    only(&app.wrong(&TABLE, &[VERSION_COLUMN]).await, "read", "prvReadContact");
    world.dataverse.clear_faults();
    let table = Table::new("contacts", "contact", "contactid")
        .text("employeeid", 50)
        .column(VERSION_COLUMN.1, Kind::BigInteger);
    world.dataverse.define(table.clone().key(&["employeeid"]));
    only(&app.wrong(&TABLE, &[VERSION_COLUMN]).await, "version_column", "optimistic concurrency");
    world.dataverse.define(table.key_in_progress(&["employeeid"]).optimistic_concurrency());
    only(&app.wrong(&TABLE, &[VERSION_COLUMN]).await, "alternate_key", "index is InProgress");
}

#[tokio::test]
async fn a_storage_that_refuses_or_lacks_a_queue() {
    let (world, app) = healthy().await;
    let storage = world.storage.embedded().expect("this world is on the embedded storage");
    let denied = StorageEffect::Status { code: 403, error_code: "AuthorizationPermissionMismatch", retry_after: None };
    for op in [Op::CreateContainer, Op::PutBlob, Op::Acquire, Op::Renew] {
        storage.fault(StorageFault::until_cleared(op, denied.clone()));
        only(&app.wrong(&[], &[]).await, "lock_storage", "refuses access (403 AuthorizationPermissionMismatch)");
        storage.clear_faults();
    }
    storage.fault(StorageFault::until_cleared(Op::Release, denied.clone()));
    only(&app.wrong(&[], &[]).await, "lock_storage", "could not be given back");
    storage.clear_faults();
    storage.expire_leases(None);
    assert_eq!(app.run(&[], &[("LOCK_MODE", "off")]).await.code, Some(0), "no locks, nothing to refuse");
    storage.fault(StorageFault::once(Op::OtherQueue, denied));
    only(&app.wrong(&[], &[]).await, "queue", "refuses access (403 AuthorizationPermissionMismatch)");

    let empty = Storage::start(storage::Options::default()).await.expect("loopback has free ports");
    let wrong = app.wrong(&[], &[("AzureWebJobsStorage", &empty.connection_string())]).await;
    let names: Vec<_> = wrong.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["queue", "poison_queue"]);
    assert!(wrong.iter().all(|(_, found)| found.contains("(127.0.0.1): there is no such queue")), "{wrong:?}");
}

/// Each of the three requests is repeated for some seconds, one after the other.
#[tokio::test]
async fn a_storage_that_cannot_be_reached() {
    let (_world, app) = healthy().await;
    let closed = unused_url().await;
    let storage = format!("AccountName=a;AccountKey=a2V5;BlobEndpoint={closed}/a;QueueEndpoint={closed}/a");
    let output = app.wrong(&[], &[("AzureWebJobsStorage", &storage)]).await;
    let names: Vec<_> = output.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["lock_storage", "queue", "poison_queue"]);
    assert!(output.iter().all(|(_, found)| found.contains("no connection")), "{output:?}");
}
