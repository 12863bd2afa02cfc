//! Limits of the system on the process, and the files that it reads at its start.

use std::fs::{self, File, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use stand_ins::net::http_client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use super::{Running, output};
use crate::caller::{answer as answered, contact};
use crate::command::{CommandOutput, command};
use crate::trust::Folder;
use crate::waiting::TIMEOUT;

async fn fifo(folder: &Folder, name: &str) -> String {
    let path = folder.path(name);
    let made = Command::new("mkfifo").arg(&path).status().await;
    assert!(made.is_ok_and(|status| status.success()), "{path} was not made");
    path
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_limit_of_open_files_is_raised_and_there_is_no_core_dump() {
    let world = crate::world().await;
    let handler = Running::in_shell(&world, r#"ulimit -S -n 200; ulimit -S -c unlimited; exec "$0""#, &[]).await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", handler.id())).expect("it runs");
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("Linux lists it");
        line.split_whitespace().take(2).map(|word| word.parse::<u64>().unwrap_or(u64::MAX)).collect::<Vec<_>>()
    };
    let files = limit("Max open files");
    assert_eq!(files[0], files[1].min(65_536), "{limits}");
    assert_eq!(limit("Max core file size"), [0, 0], "{limits}");
}

/// The other half of the open files is for the requests that lead to the answers.
#[tokio::test]
async fn idle_connections_cannot_take_the_files_that_a_call_in_progress_needs() {
    let world = crate::world().await;
    let handler = Running::in_shell(&world, r#"ulimit -n 64; exec "$0""#, &[]).await;
    let connect = async || TcpStream::connect((Ipv4Addr::LOCALHOST, handler.port())).await.expect("it listens");
    let mut caller = connect().await;
    let body = contact("C1", &json!({ "firstname": "Ada" })).to_string();
    let head = format!(
        "POST /api/records HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    caller.write_all(head.as_bytes()).await.expect("it reads");
    let mut others = Vec::new();
    for _ in 0..100 {
        let mut other = connect().await;
        other.write_all(b"GET / HTTP/1.1\r\n").await.expect("the system's backlog takes it");
        others.push(other);
    }
    // It accepts in order, so what the first of them gets is given once the second one may be refused.
    others[0].write_all(b"Host: 127.0.0.1\r\n\r\n").await.expect("it reads");
    let _ = timeout(TIMEOUT, others[0].read(&mut [0; 64])).await.expect("it was accepted");
    caller.write_all(body.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    timeout(TIMEOUT, caller.read_to_string(&mut answer)).await.expect("in time").expect("it is text");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}\n{}", handler.printed());
    drop(others);
    // The requests for a call's own locks and rows cannot take them all either.
    let records: Vec<_> =
        (0..200).map(|number| contact(&format!("K{number}"), &json!({ "firstname": "Ada" }))).collect();
    let call = http_client().post(handler.url("/api/records")).body(json!(records).to_string());
    let (array, root) = tokio::join!(answered(call), answered(http_client().get(handler.url("/"))));
    assert_eq!((&array.body["summary"]["applied"], root.status), (&json!(200), 200), "{}", array.text);
    let printed = handler.printed();
    assert!(printed.contains("SYNC_MAX_CONCURRENCY is lowered") && !printed.contains("cannot accept"), "{printed}");
}

#[tokio::test]
async fn a_host_json_that_is_not_a_regular_file_of_some_kilobytes_hangs_neither_the_start_nor_the_doctor() {
    let world = crate::world().await;
    let folder = Folder::new();
    fifo(&folder, "host.json").await;
    let path = folder.path("");
    let arguments = [path.as_str()];
    let start = Running::in_shell(&world, r#"cd "$1" && exec "$0""#, &arguments);
    timeout(TIMEOUT, start).await.expect("it listens");
    for (app, reason) in [(folder, "it is not a regular file"), (large(), "it has more than 1024 KiB")] {
        let path = app.path("");
        let arguments = ["doctor", "--json", "--app", &path];
        let doctor = output(&arguments, &[]);
        let report = timeout(TIMEOUT, doctor).await.expect("it ends").json();
        let findings = report["findings"].as_array().expect("findings");
        let found = findings.iter().find(|finding| finding["check"] == "host_json").expect("it was checked");
        assert!(found["found"].as_str().is_some_and(|found| found.contains(reason)), "{found}");
    }
}

/// A folder with a host.json of 1 GiB, which takes no space.
fn large() -> Folder {
    let folder = Folder::new();
    let file = File::create(folder.path("host.json")).expect("the temporary folder is writable");
    file.set_len(1 << 30).expect("it is sparse");
    folder
}

#[tokio::test]
async fn a_key_file_that_is_not_a_regular_file_is_a_problem_of_the_settings() {
    let folder = Folder::new();
    let pipe = fifo(&folder, "token").await;
    for (name, path) in [("AZURE_CLIENT_CERTIFICATE_PATH", "/dev/zero"), ("AZURE_FEDERATED_TOKEN_FILE", &*pipe)] {
        let settings = [("AZURE_TENANT_ID", "contoso"), ("AZURE_CLIENT_ID", "c"), (name, path)];
        let output = timeout(TIMEOUT, output(&[], &settings)).await.expect("it ends");
        let problem = format!("{name} names a file that cannot be read: it is not a regular file");
        assert!(output.code == Some(2) && output.stderr.contains(&problem), "{output:?}");
    }
}

#[tokio::test]
async fn a_key_file_that_others_may_write_is_a_warning_at_start_and_of_the_doctor() {
    let world = crate::world().await;
    let folder = Folder::new();
    let file = folder.write("token", "a token");
    let application =
        [("AZURE_TENANT_ID", "contoso"), ("AZURE_CLIENT_ID", "c"), ("AZURE_FEDERATED_TOKEN_FILE", file.as_str())];
    for (mode, is_exposed) in [(0o600, false), (0o666, true)] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("ours");
        let handler = Running::in_world(&world, &application).await;
        let text = "AZURE_FEDERATED_TOKEN_FILE names a file that every user may write";
        handler.signal("TERM").await;
        let printed = handler.silent().await;
        assert_eq!(
            printed.lines().any(|line| line.contains(&format!("WARN {text}"))),
            is_exposed,
            "{mode:o}: {printed}"
        );
        let settings = world.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(application);
        let report = CommandOutput::of(command(&["doctor", "--json"], settings)).await.json();
        let findings = report["findings"].as_array().expect("findings");
        let found: Vec<&Value> = findings.iter().filter(|finding| finding["check"] == "key_file").collect();
        let expected = |found: &&&Value| found["verdict"] == "warning" && found["found"] == text;
        assert_eq!(
            (found.len(), found.iter().filter(expected).count()),
            (is_exposed.into(), is_exposed.into()),
            "{found:?}"
        );
    }
}
