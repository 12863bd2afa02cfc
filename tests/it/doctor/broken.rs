//! One thing is broken at a time, and the doctor names exactly that. Every fault of host.json, the functions' files and
//! the settings is tested beside `doctor`; here is one of each that needs the real services and files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use stand_ins::dataverse::{Effect, Fault, Kind, Status, Table};
use stand_ins::identity;
use stand_ins::storage::{self, Effect as StorageEffect, Fault as StorageFault, Op, Storage};

use super::{TABLE, VERSION_COLUMN, found, healthy};
use crate::UNREACHABLE_URL;
use crate::trust::Folder;

/// Asserts that only this check fails, and that its finding contains `word`.
fn only(wrong: &[(String, String)], check: &str, word: &str) {
    let [(name, found)] = wrong else { panic!("{check} and nothing else: {wrong:#?}") };
    assert!(name == check && found.contains(word), "{check}, {word}: {wrong:#?}");
}

#[tokio::test]
async fn settings_and_files_of_the_app_that_do_not_fit() {
    let (_world, app) = healthy().await;
    let both = app.wrong(&TABLE, &[("DATAVERSE_URL", ""), ("RUST_LOG", "[{")]).await;
    assert_eq!(both.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["settings"; 2], "{both:?}");
    let queue = "SyncQueue/function.json";
    for (folder, word) in [("functions/SyncQueue", "two levels deep"), ("syncqueue", "no such function")] {
        fs::create_dir_all(app.path(folder)).expect("writable");
        fs::copy(app.path(queue), app.path(folder).join("function.json")).expect("writable");
        only(&app.wrong(&[], &[]).await, "function_folders", word);
        fs::remove_dir_all(app.path(folder.split('/').next().expect("a name"))).expect("ours");
    }
    let http = app.path("SyncHttp/function.json");
    fs::rename(&http, app.path("kept.json")).expect("ours");
    only(&app.wrong(&[], &[]).await, "http_function", "SyncHttp/function.json does not exist");
    fs::rename(app.path("kept.json"), http).expect("ours");
    let elsewhere = app.run(&["--app", "/nonexistent", "--json"], &[]).await.json();
    assert_eq!(found(&elsewhere, "function_folders"), "not tried, because of queue_function");
    fs::rename(app.path("handler"), app.path("handle")).expect("ours");
    only(&app.wrong(&[], &[]).await, "executable", "there is no handler");
}

#[tokio::test]
async fn an_identity_or_a_dataverse_that_refuses_or_cannot_be_reached() {
    let (world, app) = healthy().await;
    let other = [("AZURE_CLIENT_ID", "99999999-9999-4999-8999-999999999999")];
    only(&app.wrong(&TABLE, &other).await, "token", "user_assigned_managed_identity");
    let endpoint = format!("{UNREACHABLE_URL}/msi/token");
    only(&app.wrong(&[], &[("IDENTITY_ENDPOINT", &endpoint)]).await, "token", "system_assigned_managed_identity");
    world.identity.fault(identity::Fault::WrongAudience);
    only(&app.wrong(&TABLE, &[]).await, "who_am_i", "401");
    world.identity.clear_faults();
    let status = Status::new(403, "0x80072560", "The user is not a member of the organization.");
    world.dataverse.fault(Fault::new(Effect::Status(status)).set("WhoAmI").until_cleared());
    only(&app.wrong(&TABLE, &[]).await, "who_am_i", "403 0x80072560: The user is not a member");
    world.dataverse.clear_faults();
    only(&app.wrong(&[], &[("DATAVERSE_URL", UNREACHABLE_URL)]).await, "who_am_i", "no connection");
    only(&app.wrong(&[], &[("DATAVERSE_API_VERSION", "v8.2")]).await, "who_am_i", "404");
}

#[tokio::test]
async fn each_developer_tool_without_a_login_is_a_finding() {
    let (_world, app) = healthy().await;
    let tools = Folder::new();
    for (name, script) in
        [("az", "echo \"ERROR: Please run 'az login' to setup account.\" >&2\nexit 1"), ("azd", "exit 127")]
    {
        let path = tools.write(name, format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
    }
    let wrong = app.wrong(&[], &[("IDENTITY_ENDPOINT", ""), ("PATH", &tools.path(""))]).await;
    let expected = [
        "developer_tools, az: Please run 'az login' to setup account.",
        "developer_tools, azd: not installed (not found on PATH)",
    ];
    assert_eq!(wrong, expected.map(|found| ("token".to_owned(), found.to_owned())));
}

#[tokio::test]
async fn a_table_that_is_missing_or_cannot_be_read() {
    let (world, app) = healthy().await;
    only(&app.wrong(&["--table", "contact"], &[]).await, "table", "no entity set contact");
    let denied = Status::new(403, "0x80040220", "Principal user is missing prvReadContact privilege.");
    world.dataverse.fault(Fault::new(Effect::Status(denied)).method("GET").set("contacts").until_cleared());
    only(&app.wrong(&TABLE, &[VERSION_COLUMN]).await, "read", "prvReadContact");
    world.dataverse.clear_faults();
}

#[tokio::test]
async fn a_version_column_that_is_hidden_or_belongs_to_a_virtual_table() {
    let (world, app) = healthy().await;
    let column = VERSION_COLUMN.1;
    let table = || {
        let table = Table::new("contacts", "contact", "contactid").text("employeeid", 50).key(&["employeeid"]);
        table.column(column, Kind::BigInteger).optimistic_concurrency()
    };
    world.dataverse.define(table().secured(column));
    only(&app.wrong(&TABLE, &[VERSION_COLUMN]).await, "version_column", "our user may not read it");
    world.dataverse.grant_read("contacts", column);
    let output = app.run(&[&["--json"], &TABLE[..]].concat(), &[VERSION_COLUMN]).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    let found = "new_sourceversion is BigInt, secured, and our user may read it";
    assert_eq!(super::found(&output.json(), "version_column"), found);
    let denied = Status::new(403, "0x80040220", "Principal user is missing prvReadUser privilege.");
    world.dataverse.fault(Fault::new(Effect::Status(denied)).set("systemusers").until_cleared());
    only(&app.wrong(&TABLE, &[VERSION_COLUMN]).await, "version_column", "prvReadUser");
    world.dataverse.clear_faults();
    world.dataverse.define(table().table_type("Virtual"));
    only(&app.wrong(&TABLE, &[VERSION_COLUMN]).await, "version_column", "virtual table");
    world.dataverse.define(table().table_type("Elastic"));
    let output = app.run(&[&["--json"], &TABLE[..]].concat(), &[]).await;
    let report = output.json();
    let findings = report["findings"].as_array().expect("findings");
    let warning = findings.iter().find(|finding| finding["verdict"] == "warning").expect("a warning");
    assert_eq!((output.code, &report["warnings"], &warning["check"]), (Some(0), &1.into(), &"table".into()));
    assert!(warning["found"].as_str().is_some_and(|found| found.ends_with("replaces the whole row")), "{warning}");
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
    let network = StorageEffect::Status { code: 403, error_code: "AuthorizationFailure", retry_after: None };
    for (effect, word) in [(network, "Networking"), (StorageEffect::OldDate, "clock")] {
        storage.fault(StorageFault::until_cleared(Op::Acquire, effect.clone()));
        storage.fault(StorageFault::until_cleared(Op::OtherQueue, effect));
        let report = app.run(&["--json"], &[]).await.json();
        let findings = report["findings"].as_array().expect("findings").iter();
        let wrong: Vec<_> = findings.filter(|finding| finding["verdict"] == "wrong").collect();
        assert_eq!(wrong.len(), 3, "the locks and both queues: {wrong:?}");
        let has_remedy = |finding: &&Value| finding["remedy"].as_str().is_some_and(|remedy| remedy.contains(word));
        assert!(wrong.iter().all(has_remedy), "{wrong:#?}");
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
