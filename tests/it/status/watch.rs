//! `--watch` without a terminal: a line for each sample, until a signal or until the output is closed.

use std::process::Stdio;

use serde_json::Value;
use stand_ins::storage::{Effect, Fault, Op};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::{put, storage};
use crate::command::{CommandOutput, command};
use crate::dead_letters::queues::signal;

/// `handler status --watch` with a sample every second, and its lines.
fn watch(connection: &str, arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let arguments = [&["status", "--watch", "--interval", "1s"], arguments].concat();
    let mut child =
        command(&arguments, [("AzureWebJobsStorage", connection)]).spawn().expect("the handler can be started");
    let stdout = child.stdout.take().expect("it is piped");
    (child, BufReader::new(stdout).lines())
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    lines.next_line().await.expect("it can be read").expect("it goes on")
}

/// Stops the command as Ctrl-C does; returns its exit code.
async fn stopped(child: Child) -> CommandOutput {
    signal(&child, "INT").await;
    child.wait_with_output().await.expect("it ends").into()
}

#[tokio::test]
async fn prints_one_json_object_a_line_and_the_trend_from_the_second_on() {
    let (_storage, connection, [poison, records]) = storage().await;
    put(&records, 0..50).await;
    let (child, mut lines) = watch(&connection, &["--json"]);
    let read = |line: String| serde_json::from_str::<Value>(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let first = read(next(&mut lines).await);
    assert_eq!((&first["queue"]["messages"], first.get("trend")), (&50.into(), Some(&Value::Null)), "{first}");
    records.clear().await.expect("the queue answers");
    let drained = loop {
        let sample = read(next(&mut lines).await);
        if sample["queue"]["messages"] == 0 {
            break sample;
        }
    };
    assert!(drained["trend"]["perSecond"].as_f64().is_some_and(|rate| rate < 0.0), "{drained}");
    assert_eq!((&drained["trend"]["drainSeconds"], &drained["needsPerson"]), (&0.into(), &false.into()), "{drained}");
    poison.put("letter").await.expect("the queue takes it");
    while read(next(&mut lines).await)["needsPerson"] == false {}
    let ended = stopped(child).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""), "the last sample's: {ended:?}");
}

#[tokio::test]
async fn goes_on_through_an_outage_and_says_so() {
    let (storage, connection, [_, records]) = storage().await;
    put(&records, 0..3).await;
    let (child, mut lines) = watch(&connection, &[]);
    let line = next(&mut lines).await;
    assert!(line.ends_with("  queue 3  dead letters 0  locks missing"), "{line}");
    let outage = Effect::Status { code: 503, error_code: "ServerBusy", retry_after: None };
    for op in [Op::AnyQueue, Op::AnyBlob] {
        storage.fault(Fault::until_cleared(op, outage.clone()));
    }
    while !next(&mut lines).await.contains("queue ? (the storage answered 503 ServerBusy)") {}
    storage.clear_faults();
    while !next(&mut lines).await.contains("queue 3  dead letters 0  locks missing") {}
    let ended = stopped(child).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "no line that would spoil a screen");
}

#[tokio::test]
async fn a_closed_pipe_ends_it_silently() {
    let (_storage, connection, _) = storage().await;
    let handler = crate::handler();
    for (arguments, lines) in [("--watch --json --interval 1s", 1), ("", 1)] {
        let line = format!("'{}' status {arguments} | head -n 1", handler.display());
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &line]).env("AzureWebJobsStorage", &connection).stdin(Stdio::null());
        let output: CommandOutput = shell.output().await.expect("there is a shell").into();
        assert_eq!((output.stdout.lines().count(), output.stderr.as_str()), (lines, ""), "{output:?}");
    }
}
