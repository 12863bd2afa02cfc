//! A command that ended early resumes where it stopped.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::json;
use stand_ins::storage::{Effect, Fault, Op};

use super::sender::{EMPLOYEES, Sender, employee, numbered};
use crate::command::CommandOutput;
use crate::dead_letters::queues::signal;
use crate::waiting::wait_until;

const RECORDS: u32 = 300;

/// The messages that a kill may repeat: those since the state was saved, and those in flight.
const MAX_REPEATED: u32 = 100 + 16;

const MANAGER: &str = r#""parentcustomerid_contact@odata.bind""#;

const HANG: Effect = Effect::Hang(Duration::from_hours(1));

const FILE: [&str; 5] = ["a.ndjson", EMPLOYEES[0], EMPLOYEES[1], EMPLOYEES[2], EMPLOYEES[3]];

/// A file of three hundred employees, two of three with a manager in the next line: they are put in three levels.
async fn three_hundred() -> Sender {
    let sender = Sender::new().await;
    let managed = |number: u32| {
        employee(number).replacen('{', &format!("{{{MANAGER}:\"/contacts(employeeid='E{}')\",", number + 1), 1)
    };
    let lines: Vec<_> =
        (0..RECORDS).map(|number| if number % 3 == 2 { employee(number) } else { managed(number) }).collect();
    sender.folder.write("a.ndjson", lines.join("\n"));
    sender
}

/// The first `fast` requests are answered at once, and the others as `effect` says.
fn after(sender: &Sender, fast: u32, effect: Effect) {
    sender.storage.fault(Fault::times(fast, Op::PutMessage, Effect::Slow(Duration::ZERO)));
    sender.storage.fault(Fault::until_cleared(Op::PutMessage, effect));
}

fn put(sender: &Sender) -> u64 {
    sender.storage.counts().put_message
}

/// Goes on, and returns how often each record was put.
async fn rest(sender: &Sender) -> (CommandOutput, BTreeMap<u32, u32>) {
    sender.storage.clear_faults();
    let output = sender.run(&FILE).await;
    assert_eq!((output.code, sender.folder_names()), (Some(0), vec!["a.ndjson".to_owned()]), "{output:?}");
    let mut times = BTreeMap::new();
    for number in numbered(&sender.records()) {
        *times.entry(number).or_default() += 1;
    }
    assert_eq!(times.len(), RECORDS as usize, "none is missing");
    (output, times)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_ctrl_c_each_record_is_put_once() {
    let sender = three_hundred().await;
    after(&sender, 120, Effect::Slow(Duration::from_secs(1)));
    let child = sender.start(&FILE);
    wait_until("120 are put", async || put(&sender) > 120).await;
    signal(&child, "INT").await;
    let output: CommandOutput = child.wait_with_output().await.expect("it ends").into();
    let done = sender.texts().len();
    assert!((120..RECORDS as usize).contains(&done), "in the middle: {done}");
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.ends_with("interrupted\n"), "{output:?}");
    let so_far = format!("{done} of {RECORDS} records are put; run the same command again for the rest.\n");
    assert_eq!(output.stdout, so_far);
    let (output, times) = rest(&sender).await;
    assert!(
        output.stderr.contains(&format!("{done} records are put already; putting {} records", RECORDS as usize - done))
    );
    assert!(times.values().all(|times| *times == 1), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_few_records_are_put_twice() {
    let sender = three_hundred().await;
    after(&sender, 150, HANG);
    let mut child = sender.start(&FILE);
    wait_until("sixteen hang", async || put(&sender) >= 150 + 16).await;
    signal(&child, "KILL").await;
    child.wait().await.expect("it is dead");
    assert_eq!(sender.folder_names(), ["a.ndjson", "a.ndjson.send-state"]);
    let (_, times) = rest(&sender).await;
    let repeated: u32 = times.values().map(|times| times - 1).sum();
    assert!((1..=MAX_REPEATED).contains(&repeated), "{repeated} twice");
    assert!(times.values().all(|times| *times <= 2), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_fails_ends_it_and_the_offset_is_kept() {
    let sender = three_hundred().await;
    for (code, error_code, words) in [
        (403, "AuthorizationPermissionMismatch", "Storage Queue Data Contributor"),
        (503, "ServerBusy", "503 ServerBusy"),
    ] {
        after(&sender, 40, Effect::Status { code, error_code, retry_after: None });
        let before = sender.texts().len();
        let output = sender.run(&[&FILE[..], &["--retry-for", "0s"]].concat()).await;
        assert_eq!((output.code, sender.texts().len()), (Some(1), before + 40), "{output:?}");
        assert!(output.stderr.contains("error: line ") && output.stderr.contains(words), "{output:?}");
        assert!(output.stdout.contains("of 300 records are put; run the same command again"), "{output:?}");
        sender.storage.clear_faults();
    }
    let (_, times) = rest(&sender).await;
    assert!(times.values().all(|times| *times <= 3), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_is_tried_again_and_a_lost_answer_is_counted() {
    let sender = three_hundred().await;
    // More than the queue client's own repetitions of one request.
    sender.storage.fault(Fault::times(90, Op::PutMessage, Effect::DropBefore));
    sender.storage.fault(Fault::once(Op::PutMessage, Effect::DropAfter));
    let output = sender.run(&FILE).await;
    assert_eq!((output.code, sender.texts().len()), (Some(0), RECORDS as usize + 1), "{output:?}");
    assert!(output.stdout.starts_with("300 messages put on sync-records"), "{output:?}");
    assert!(!output.stdout.contains(" 0 may be there twice"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_another_file_or_of_other_options_is_not_used() {
    let sender = three_hundred().await;
    after(&sender, 10, Effect::Status { code: 403, error_code: "AuthenticationFailed", retry_after: None });
    assert_eq!(sender.run(&FILE).await.code, Some(1));
    sender.storage.clear_faults();
    let other = sender.run(&[&FILE[..], &["--source", "hr"]].concat()).await;
    assert_eq!(other.code, Some(2), "{other:?}");
    assert!(other.stderr.contains("a.ndjson.send-state is of an unfinished run with another --source"), "{other:?}");
    sender.folder.write("a.ndjson", employee(7));
    let other = sender.run(&FILE).await;
    assert!(
        other.stderr.contains("another content or time of the input; finish that run, or delete this file"),
        "{other:?}"
    );
    assert_eq!((other.code, sender.texts().len()), (Some(2), 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_between_two_levels_ends_it() {
    let sender = three_hundred().await;
    after(&sender, 20, Effect::Status { code: 503, error_code: "ServerBusy", retry_after: None });
    let child = sender.start(&FILE);
    wait_until("the first ones are tried again", async || put(&sender) > 20 + 2 * 16).await;
    let new = sender.folder.write("new.ndjson", employee(7));
    fs::rename(new, sender.folder.path("a.ndjson")).expect("it is ours");
    sender.storage.clear_faults();
    let output: CommandOutput = child.wait_with_output().await.expect("it ends").into();
    assert_eq!((output.code, sender.texts().len()), (Some(1), RECORDS as usize / 3), "{output:?}");
    assert!(output.stderr.contains("error: a.ndjson: it was changed after the command had begun"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_holds_messages_back() {
    let sender = three_hundred().await;
    let child = sender.start(&[&FILE[..], &["--rate", "1/m"]].concat());
    wait_until("one is put", async || !sender.texts().is_empty()).await;
    signal(&child, "TERM").await;
    let output: CommandOutput = child.wait_with_output().await.expect("it ends").into();
    assert_eq!((output.code, sender.texts().len()), (Some(1), 1), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn input_that_does_not_end_does_not_keep_it_from_ending() {
    let sender = Sender::new().await;
    let mut command = crate::command::command(
        &[&["send", "-", "--format", "ndjson"], &EMPLOYEES[..]].concat(),
        [("AzureWebJobsStorage", sender.storage.connection_string())],
    );
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().expect("the handler can be started");
    let mut stdin = child.stdin.take().expect("it is piped");
    let lines = format!("{}\n{}\n", employee(1), json!({ "employeeid": "E2" }));
    tokio::io::AsyncWriteExt::write_all(&mut stdin, lines.as_bytes()).await.expect("it is read");
    wait_until("both are put", async || sender.storage.messages(sandbox::world::QUEUE).len() == 2).await;
    signal(&child, "INT").await;
    let output: CommandOutput = child.wait_with_output().await.expect("it ends").into();
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stdout.starts_with("The first 2 records are put"), "{output:?}");
    drop(stdin);
}
