//! `cargo sandbox host` on a user's Azurite, and its errors for mistakes.

use std::fs;
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::json;
use stand_ins::azurite::{Azurite, AzuriteOptions};
use tokio::process::Command;

use crate::host::{Host, eventually, lay_out};
use crate::recorder::Script;

/// No server listens there.
const NOWHERE: &str = "AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:9/a";

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_messages_from_a_users_azurite() {
    let azurite = Azurite::start(AzuriteOptions::default()).await.expect("it starts");
    let connection = azurite.connection_string();
    let host = Host::on(Box::new(azurite), &connection, &Host::settings(), &Script::default()).await;
    host.queue.put("e30=").await.expect("the storage works");
    eventually("the message is done", async || (host.left().await.1 == 0).then_some(())).await;
    assert_eq!(host.requests()[0].envelope()["Data"]["record"], "\"{}\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_the_cause_and_the_remedy() {
    let folder = lay_out(&Host::settings(), &Script::default());
    let app = folder.path();
    let empty = app.join("SyncQueue");
    let (app_text, empty) = (app.to_str().expect("temp is text"), empty.to_str().expect("temp is text"));
    for (arguments, words) in [
        (vec!["--app", empty], ["no host.json", "cargo stage"]),
        (vec!["--app", app_text, "--port", "0"], ["AzureWebJobsStorage is missing", "--storage"]),
        (vec!["--app", app_text, "--storage", "x"], ["not name=value", "connection string with a key"]),
        (
            vec!["--app", app_text, "--storage", NOWHERE],
            ["http://127.0.0.1:9/a/sync-records", "the storage does not answer"],
        ),
    ] {
        let error = refused(&arguments).await;
        let [cause, remedy] = words.map(|word| error.find(word));
        assert!(cause.is_some() && cause < remedy, "{arguments:?}, the cause and then the remedy: {error}");
    }
    let storage =
        stand_ins::storage::Storage::start(stand_ins::storage::Options::default()).await.expect("a free port");
    let connection = storage.connection_string();
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let taken = listener.local_addr().expect("it is bound").port().to_string();
    let error = refused(&["--app", app_text, "--storage", &connection, "--port", &taken]).await;
    assert!(error.contains("another program has this port") && error.contains(&taken), "{error}");
    fs::write(app.join("host.json"), json!({ "version": "2.0" }).to_string()).expect("temp is writable");
    let error = refused(&["--app", app_text, "--storage", &connection]).await;
    assert!(error.contains("host.json: customHandler is missing"), "{error}");
}

/// The error of a start that fails.
async fn refused(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.arg("host").args(arguments).env_remove("AzureWebJobsStorage").stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.expect("cargo has built it");
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
