//! Commands that are interrupted during a given request lose no message and duplicate few.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use sandbox::world::POISON_QUEUE;
use serde_json::json;
use stand_ins::storage::{Effect, Fault, Op};

use super::queues::{Queues, encoded, ours, record, signal};
use crate::command::CommandOutput;
use crate::waiting::wait_until;

const LETTERS: usize = 1_000;

/// The command's limit of messages in flight.
const UNDER_WAY: u64 = 8;

/// A thousand messages in the poison queue; every third was moved by the host.
async fn thousand() -> (Queues, Vec<String>) {
    let queues = Queues::empty().await;
    let messages: Vec<_> = (0..LETTERS).map(|number| record("contacts", &format!("E-{number}"))).collect();
    let letters: Vec<_> = messages
        .iter()
        .enumerate()
        .map(|(number, text)| if number % 3 == 0 { text.clone() } else { ours(text, "key_collision", "0x80060892") })
        .map(|letter| encoded(letter.as_bytes()))
        .collect();
    for some in letters.chunks(50) {
        try_join_all(some.iter().map(|letter| queues.poison.put(letter))).await.expect("the queue takes them");
    }
    (queues, messages)
}

async fn counted(queues: &Queues) -> [u64; 2] {
    let [poison, records] = [queues.poison.approximate_count().await, queues.records.approximate_count().await];
    [poison, records].map(|count| count.expect("the queue answers"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_a_thousand_letters_interrupted_twice_loses_none_and_puts_at_most_eight_twice() {
    let (queues, messages) = thousand().await;

    // SIGTERM once 300 are replayed; the others are slow, so the signal arrives in the middle.
    let begun = queues.storage.counts().put_message;
    queues.storage.fault(Fault::times(300, Op::PutMessage, Effect::Slow(Duration::ZERO)));
    queues.storage.fault(Fault::until_cleared(Op::PutMessage, Effect::Slow(Duration::from_millis(200))));
    let first = queues.start(&["replay", "--json"]);
    wait_until("300 are back", async || queues.storage.counts().put_message - begun > 300).await;
    signal(&first, "TERM").await;
    let first: CommandOutput = first.wait_with_output().await.expect("it ends").into();
    queues.storage.clear_faults();
    assert_eq!((first.code, &first.json()["interrupted"]), (Some(1), &json!(true)), "{first:?}");
    assert_eq!((&first.json()["maybeTwice"], &first.json()["stillHidden"]), (&json!(0), &json!(0)), "{first:?}");
    let after_first = first.json()["replayed"].as_u64().expect("a number");
    assert!((300..LETTERS as u64 - 32).contains(&after_first), "in the middle: {after_first}");
    assert_eq!(counted(&queues).await, [LETTERS as u64 - after_first, after_first], "each is in one queue");

    // SIGKILL once 240 more are replayed and eight deletions are unanswered: the middle of a batch of 32.
    let begun = queues.storage.counts().delete_message;
    queues.storage.fault(Fault::times(240, Op::DeleteMessage, Effect::Slow(Duration::ZERO)));
    queues.storage.fault(Fault::until_cleared(Op::DeleteMessage, Effect::Hang(Duration::from_hours(1))));
    let mut second = queues.start(&["replay", "--json"]);
    wait_until("eight are stuck", async || queues.storage.counts().delete_message - begun >= 240 + UNDER_WAY).await;
    signal(&second, "KILL").await;
    second.wait().await.expect("it is dead");
    queues.storage.clear_faults();
    let [left, back] = counted(&queues).await;
    assert!(left + back >= LETTERS as u64, "{left} letters and {back} messages: none is lost");
    assert!(left >= UNDER_WAY, "the kill came in the middle");
    // The killed command did not return them to the queue; make them visible now.
    let hidden = queues.storage.redeliver(POISON_QUEUE, usize::MAX);
    assert!(hidden > 0);

    let third = queues.run(&["replay", "--json"]).await;
    assert_eq!((third.code, &third.json()["failed"]), (Some(0), &json!(0)), "{third:?}");
    assert_eq!(queues.poison.approximate_count().await.expect("the queue answers"), 0);

    let mut times: BTreeMap<String, u64> = messages.iter().map(|text| (encoded(text.as_bytes()), 0)).collect();
    for text in queues.messages().await {
        *times.get_mut(&text).expect("a message that there was") += 1;
    }
    let with = |wanted: u64| times.values().filter(|times| **times == wanted).count() as u64;
    assert_eq!(with(1) + with(2), LETTERS as u64, "{times:?}");
    assert_eq!(with(2), UNDER_WAY, "exactly those whose deletion had no answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_session_interrupts_a_list_which_gives_back_what_it_read() {
    let (queues, _) = thousand().await;
    let begun = queues.storage.counts().get_messages;
    queues.storage.fault(Fault::times(3, Op::GetMessages, Effect::Slow(Duration::ZERO)));
    queues.storage.fault(Fault::until_cleared(Op::GetMessages, Effect::Slow(Duration::from_millis(500))));
    let mut list = queues.start(&["list", "--json"]);
    // A closed stderr is not an error.
    drop(list.stderr.take());
    wait_until("the third batch is read", async || queues.storage.counts().get_messages - begun > 3).await;
    signal(&list, "HUP").await;
    let list: CommandOutput = list.wait_with_output().await.expect("it ends").into();
    assert_eq!((list.code, &list.json()["interrupted"]), (Some(1), &json!(true)), "{list:?}");
    let seen = list.json()["seen"].as_u64().expect("a number");
    assert!((30..LETTERS as u64).contains(&seen), "part of them: {seen}");
    queues.storage.clear_faults();
    assert_eq!(queues.visible().await.len(), LETTERS, "nothing stays hidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_process_at_once() {
    let queues = Queues::with_moved(40).await;
    queues.storage.fault(Fault::until_cleared(Op::UpdateMessage, Effect::Hang(Duration::from_hours(1))));
    let mut list = queues.start(&["list"]);
    wait_until("letters are given back", async || queues.storage.counts().update_message > 0).await;
    signal(&list, "INT").await;
    // The first signal may still be pending; the process ends once one arrives.
    while list.try_wait().expect("it is our child").is_none() {
        let id = list.id().expect("it still runs").to_string();
        let _ = tokio::process::Command::new("kill").args(["-INT", &id]).status().await;
        tokio::task::yield_now().await;
    }
    assert_eq!(list.wait().await.expect("it ended").code(), Some(1));
    assert_eq!(queues.storage.redeliver(POISON_QUEUE, usize::MAX), 40, "they come back by themselves");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_stdout_ends_an_export_silently_and_everything_is_given_back() {
    let (queues, _) = thousand().await;
    let handler = crate::handler();
    let line = format!("'{}' dead-letters export | head -n 1", handler.display());
    let mut shell = tokio::process::Command::new("/bin/sh");
    shell.args(["-c", &line]).env("AzureWebJobsStorage", queues.storage.connection_string());
    let output: CommandOutput = shell.output().await.expect("there is a shell").into();
    assert_eq!(output.stdout.lines().count(), 1, "{output:?}");
    assert!(!output.stderr.contains("error") && !output.stderr.contains("match"), "it is silent: {output:?}");
    assert_eq!(queues.visible().await.len(), LETTERS);
}
