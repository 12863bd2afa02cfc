//! `cargo sandbox up` and `cargo sandbox dataverse`: their output, and that they leave no process and no folder.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use stand_ins::net::http_client;

use crate::command::Running;
use crate::host::{eventually, runs};

/// The last line before the log.
const RUNS: &str = "Ctrl-C ends it.";

/// Posts a record to the first instance; gives the status and the answer.
async fn post(up: &Running) -> (u16, String) {
    let url = up.line("instance-1  http").await;
    let record = json!({ "table": "contacts", "key": { "employeeid": "E1" }, "columns": { "firstname": "Ada" } });
    let answer = http_client().post(format!("http{url}")).body(record.to_string()).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigterm_sighup_and_ctrl_c_no_process_and_no_folder_is_left() {
    for signal in ["TERM", "HUP", "INT"] {
        let mut up = Running::up(&["--instances", "2"]).await;
        up.line(RUNS).await;
        let (status, answer) = post(&up).await;
        assert!(status == 200 && answer.ends_with("}\n"), "{status} {answer}");
        assert_eq!(up.left_behind().len(), 1, "the staged app");
        up.signal(signal).await;
        let (ended, printed) = up.read_to_the_end().await;
        assert_eq!(ended.code(), Some(0), "SIG{signal}: {printed}");
        let handlers = up.handlers();
        assert_eq!(handlers.len(), 2, "{printed}");
        assert!(handlers.iter().all(|pid| !runs(*pid)), "SIG{signal}: {printed}");
        assert!(printed.contains("cause=terminated"), "the handlers drain: {printed}");
        assert!(up.left_behind().is_empty(), "SIG{signal}: {:?}", up.left_behind());
    }
}

/// The start waits for a handler that never answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_during_the_start_leaves_no_process_and_no_folder() {
    let temporary = tempfile::tempdir().expect("temp is writable");
    let silent = temporary.path().join("handler");
    std::fs::write(&silent, "#!/bin/sh\nexec sleep 600\n").expect("temp is writable");
    std::fs::set_permissions(&silent, std::fs::Permissions::from_mode(0o755)).expect("it was just written");
    for signal in ["TERM", "HUP", "INT"] {
        let mut up = Running::start(&["up", "--log", "--handler", silent.to_str().expect("it is text")]);
        let pid = up.line("instance-1  Starting the handler: process ").await.parse().expect("it is a number");
        assert!(runs(pid));
        up.signal(signal).await;
        let (ended, printed) = up.read_to_the_end().await;
        assert_eq!(ended.code(), Some(0), "SIG{signal}: {printed}");
        eventually("the end of the handler", async || (!runs(pid)).then_some(())).await;
        assert!(up.left_behind().is_empty(), "SIG{signal}: {:?}", up.left_behind());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigkill_the_handlers_end_by_themselves() {
    let mut up = Running::up(&["--instances", "2"]).await;
    up.line(RUNS).await;
    up.signal("KILL").await;
    up.ended().await;
    let handlers = up.handlers();
    assert_eq!(handlers.len(), 2);
    for pid in handlers {
        eventually("the end of a handler", async || (!runs(pid)).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_run_at_once_and_the_port_of_one_is_refused_to_the_other() {
    let first = Running::up(&["--instances", "1"]).await;
    first.line(RUNS).await;
    let url = first.line("instance-1  http://127.0.0.1:").await;
    let (port, _) = url.split_once('/').expect("a path follows");
    let mut same_port = Running::up(&["--instances", "1", "--port", port]).await;
    let (ended, printed) = same_port.read_to_the_end().await;
    assert_eq!(ended.code(), Some(1), "{printed}");
    assert!(printed.contains(&format!("error: another program listens on 127.0.0.1:{port}")), "{printed}");
    assert!(printed.contains("choose another port with --port"), "{printed}");
    assert!(same_port.left_behind().is_empty());
    let second = Running::up(&["--instances", "1"]).await;
    second.line(RUNS).await;
    for up in [&first, &second] {
        assert_eq!(post(up).await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_port_is_used_and_tables_redelivery_and_log_are_shown() {
    let free = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = free.local_addr().expect("it is bound").port().to_string();
    drop(free);
    let up = Running::up(&["--instances", "1", "--port", &port]).await;
    up.line(RUNS).await;
    assert_eq!(up.line("  instance-1  ").await, format!("http://127.0.0.1:{port}/api/records?code=sandbox"));
    let printed = up.printed();
    let unfolded = printed.split_whitespace().collect::<Vec<_>>().join(" ");
    let host: Value = serde_json::from_str(include_str!("../../../../host.json")).expect("it is JSON");
    let policy = &host["extensions"]["queues"];
    assert_eq!((&policy["visibilityTimeout"], &policy["maxPollingInterval"]), (&json!("00:00:30"), &json!("00:00:05")));
    for expected in [
        format!("comes back after 30 s and is delivered at most {} times", policy["maxDequeueCount"]),
        "is looked at every 5 s".to_owned(),
        "contacts keys employeeid, emailaddress1, contactid (GUID) columns".to_owned(),
        "firstname (text 50), ".to_owned(),
        "parentcustomerid_account → accounts".to_owned(),
        "keys new_number + new_region, ".to_owned(),
    ] {
        assert!(unfolded.contains(&expected), "{expected}: {printed}");
    }
    assert_eq!(post(&up).await.0, 200);
    up.line("outcome=applied").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dataverse_alone_serves_an_identity_prints_its_settings_and_ends_on_sigterm() {
    let mut alone = Running::start(&["dataverse", "--port", "0"]);
    alone.line(RUNS).await;
    let [url, endpoint, header] = ["DATAVERSE_URL", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"]
        .map(|name| alone.after(&format!("export {name}=")).first().cloned().expect("it is printed"));
    let http = http_client();
    let token =
        http.get(format!("{endpoint}?api-version=2019-08-01&resource={url}")).header("X-IDENTITY-HEADER", header);
    let token: Value = serde_json::from_str(&token.send().await.expect("an answer").text().await.expect("a body"))
        .expect("it is JSON");
    let row = http.patch(format!("{url}/api/data/v9.2/contacts(employeeid='E1')"));
    let row = row.bearer_auth(token["access_token"].as_str().expect("there is a token"));
    let row = row.header("content-type", "application/json").body("{}").send().await.expect("an answer");
    assert_eq!(row.status(), 204);
    let rows = http.get(format!("{url}/_sandbox/rows/contacts")).send().await.expect("an answer");
    assert!(rows.text().await.expect("a body").ends_with("]\n"));
    alone.signal("TERM").await;
    let (ended, printed) = alone.read_to_the_end().await;
    assert_eq!(ended.code(), Some(0), "{printed}");
    assert!(!printed.contains("AccountKey"), "there is no storage: {printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_of_dataverse_alone_is_explained() {
    let taken = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let (ended, printed) = Running::start(&["dataverse", "--port", &port]).read_to_the_end().await;
    assert_eq!(ended.code(), Some(1));
    let expected = format!("error: another program listens on 127.0.0.1:{port}; choose another port with --port");
    assert_eq!(printed, expected);
}
