//! `handler doctor`: the real executable in the sandbox's world, run in the staged app's folder.

mod app;
mod broken;

use sandbox::world::{QUEUE, World};
use serde_json::Value;

use app::App;

const WITHOUT_A_TABLE: [&str; 20] = [
    "settings",
    "host_json",
    "retry_block",
    "redelivery",
    "message_encoding",
    "forwarding",
    "concurrency",
    "time_limit",
    "sampling",
    "queue_function",
    "http_function",
    "function_folders",
    "executable",
    "architecture",
    "glibc",
    "token",
    "who_am_i",
    "batch",
    "lock_storage",
    "queue",
];

/// The version column of the sandbox's tables.
const VERSION_COLUMN: (&str, &str) = ("SYNC_VERSION_COLUMN", "new_sourceversion");

const TABLE: [&str; 4] = ["--table", "contacts", "--key", "employeeid"];

fn checks(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().expect("findings");
    findings.iter().map(|finding| finding["check"].as_str().expect("a name").to_owned()).collect()
}

fn found<'a>(report: &'a Value, check: &str) -> &'a str {
    let mut findings = report["findings"].as_array().expect("findings").iter();
    let finding = findings.find(|finding| finding["check"] == check);
    finding.and_then(|finding| finding["found"].as_str()).expect("it was checked")
}

async fn healthy() -> (World, App) {
    let world = crate::world().await;
    let app = App::of(&world);
    (world, app)
}

#[tokio::test]
async fn without_a_fault_every_check_is_good_and_the_exit_code_is_0() {
    let (world, app) = healthy().await;
    let output = app.run(&["--json"], &[]).await;
    let report = output.json();
    assert_eq!((output.code, &report["wrong"], &report["notTried"]), (Some(0), &0.into(), &0.into()), "{output:?}");
    assert_eq!(checks(&report), [&WITHOUT_A_TABLE[..], &["poison_queue"]].concat());
    assert_eq!(report["good"], 21);
    let token = found(&report, "token");
    assert!(
        token.starts_with("system_assigned_managed_identity: appid 22222222-2222-4222-8222-222222222222"),
        "{token}"
    );
    assert!(token.ends_with(&format!("tid {}", world.identity.tokens().tenant())), "{token}");

    let words = app.run(&[], &[]).await;
    assert_eq!(words.code, Some(0), "{words:?}");
    assert_eq!(words.stdout.lines().filter(|line| line.starts_with('✓')).count(), 21, "{}", words.stdout);
    assert!(words.stdout.ends_with("\n21 good, 0 wrong, 0 not tried\n"), "{}", words.stdout);
    assert_eq!(words.stderr, "");
}

#[tokio::test]
async fn with_a_table_its_key_its_version_column_and_its_rows_are_checked() {
    let (_world, app) = healthy().await;
    let output = app.run(&[&["--json"], &TABLE[..]].concat(), &[VERSION_COLUMN]).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    let report = output.json();
    let table = ["table", "alternate_key", "version_column", "read"];
    assert_eq!(checks(&report)[18..22], table);
    assert_eq!(found(&report, "alternate_key"), "employeeid, its index is Active");
    assert_eq!(found(&report, "version_column"), "new_sourceversion is BigInt");
    let orders = ["--json", "--table", "new_orders", "--key", "new_reference,_new_accountid_value"];
    let output = app.run(&orders, &[]).await;
    assert_eq!(output.code, Some(0), "a lookup in a key, in any order: {output:?}");
    assert!(!checks(&output.json()).contains(&"version_column".to_owned()), "none is set");
}

#[tokio::test]
async fn it_writes_nothing_but_a_lock_of_its_own_which_it_releases() {
    let (world, app) = healthy().await;
    world.put("a message").await.expect("the queue takes it");
    let output = app.run(&[&["--json"], &TABLE[..]].concat(), &[VERSION_COLUMN]).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(found(&output.json(), "queue").ends_with(": about 1 messages"), "{output:?}");
    assert_eq!(world.dataverse.journal().len(), 0, "nothing is written");
    let storage = world.storage.embedded().expect("this world is on the embedded storage");
    assert!(storage.messages(QUEUE).iter().all(|message| message.dequeued == 0), "no message was received");
    assert!(storage.blob("sync-locks", "doctor-probe").is_some() && storage.leases().is_empty(), "it was given back");
    assert_eq!(app.run(&[], &[]).await.code, Some(0), "once more, when container and blob are there");
}

#[tokio::test]
async fn another_folder_can_be_named_and_wrong_arguments_exit_with_2() {
    let (world, app) = healthy().await;
    let folder = crate::trust::Folder::new();
    let path = world.app().to_str().expect("its name is text");
    let output = app.run_in(&folder.path(""), &["--app", path], &[]).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    let output = app.run_in(&folder.path(""), &["--json"], &[]).await;
    assert_eq!(output.code, Some(1));
    let report = output.json();
    assert!(found(&report, "host_json").starts_with("host.json does not exist"), "{output:?}");
    assert_eq!(found(&report, "executable"), "not tried, because of host_json");
    for arguments in [&["--key", "employeeid"][..], &["--table", "a b"], &["now"]] {
        let output = app.run(arguments, &[]).await;
        assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""), "{output:?}");
    }
}
