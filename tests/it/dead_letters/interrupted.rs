//! Commands that are interrupted during a given request lose no message and duplicate few.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use sandbox::world::POISON_QUEUE;
use serde_json::json;
use stand_ins::storage::{Effect, Fault, Op};

use super::scene::{CommandOutput, Scene, encoded, ours, record, signal};
use crate::waiting::wait_until;

const LETTERS: usize = 1_000;

/// The command's limit of messages in flight.
const UNDER_WAY: u64 = 8;

/// A thousand messages in the poison queue; every third was moved by the host.
async fn thousand() -> (Scene, Vec<String>) {
    let scene = Scene::new().await;
    let messages: Vec<_> = (0..LETTERS).map(|number| record("contacts", &format!("E-{number}"))).collect();
    let letters: Vec<_> = messages
        .iter()
        .enumerate()
        .map(|(number, text)| if number % 3 == 0 { text.clone() } else { ours(text, "key_collision", "0x80060892") })
        .map(|letter| encoded(letter.as_bytes()))
        .collect();
    for some in letters.chunks(50) {
        try_join_all(some.iter().map(|letter| scene.poison.put(letter))).await.expect("the queue takes them");
    }
    (scene, messages)
}

async fn counted(scene: &Scene) -> [u64; 2] {
    let [poison, records] = [scene.poison.approximate_count().await, scene.records.approximate_count().await];
    [poison, records].map(|count| count.expect("the queue answers"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_a_thousand_letters_interrupted_twice_loses_none_and_puts_at_most_eight_twice() {
    let (scene, messages) = thousand().await;

    // SIGTERM once 300 are replayed; the others are slow, so the signal arrives in the middle.
    let begun = scene.storage.counts().put_message;
    scene.storage.fault(Fault::times(300, Op::PutMessage, Effect::Slow(Duration::ZERO)));
    scene.storage.fault(Fault::until_cleared(Op::PutMessage, Effect::Slow(Duration::from_millis(200))));
    let first = scene.start(&["replay", "--json"]);
    wait_until("300 are back", async || scene.storage.counts().put_message - begun > 300).await;
    signal(&first, "TERM").await;
    let first: CommandOutput = first.wait_with_output().await.expect("it ends").into();
    scene.storage.clear_faults();
    assert_eq!((first.code, &first.json()["interrupted"]), (Some(1), &json!(true)), "{first:?}");
    assert_eq!((&first.json()["maybeTwice"], &first.json()["stillHidden"]), (&json!(0), &json!(0)), "{first:?}");
    let after_first = first.json()["replayed"].as_u64().expect("a number");
    assert!((300..LETTERS as u64 - 32).contains(&after_first), "in the middle: {after_first}");
    assert_eq!(counted(&scene).await, [LETTERS as u64 - after_first, after_first], "each is in one queue");

    // SIGKILL once 240 more are replayed and eight deletions are unanswered: the middle of a batch of 32.
    let begun = scene.storage.counts().delete_message;
    scene.storage.fault(Fault::times(240, Op::DeleteMessage, Effect::Slow(Duration::ZERO)));
    scene.storage.fault(Fault::until_cleared(Op::DeleteMessage, Effect::Hang(Duration::from_hours(1))));
    let mut second = scene.start(&["replay", "--json"]);
    wait_until("eight are stuck", async || scene.storage.counts().delete_message - begun >= 240 + UNDER_WAY).await;
    signal(&second, "KILL").await;
    second.wait().await.expect("it is dead");
    scene.storage.clear_faults();
    let [left, back] = counted(&scene).await;
    assert!(left + back >= LETTERS as u64, "{left} letters and {back} messages: none is lost");
    assert!(left >= UNDER_WAY, "the kill came in the middle");
    // The killed command did not return them to the queue; make them visible now.
    let hidden = scene.storage.redeliver(POISON_QUEUE, usize::MAX);
    assert!(hidden > 0);

    let third = scene.run(&["replay", "--json"]).await;
    assert_eq!((third.code, &third.json()["failed"]), (Some(0), &json!(0)), "{third:?}");
    assert_eq!(scene.poison.approximate_count().await.expect("the queue answers"), 0);

    let mut times: BTreeMap<String, usize> = messages.iter().map(|text| (encoded(text.as_bytes()), 0)).collect();
    for text in scene.messages().await {
        *times.get_mut(&text).expect("a message that there was") += 1;
    }
    let with = |wanted: usize| times.values().filter(|times| **times == wanted).count();
    let (never, once, twice) = (with(0), with(1), with(2));
    println!(
        "{LETTERS} letters: {after_first} back before SIGTERM, {back} before kill -9 ({left} letters left, {hidden} hidden), \
         then the rest; never {never}, once {once}, twice {twice}"
    );
    assert_eq!((never, once + twice), (0, LETTERS), "{times:?}");
    assert_eq!(twice as u64, UNDER_WAY, "exactly those whose deletion had no answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_killed_while_no_copy_is_answered_loses_none() {
    for (effect, copies) in
        [(Effect::Hang(Duration::from_hours(1)), 1), (Effect::SlowAnswer(Duration::from_hours(1)), 2)]
    {
        let scene = Scene::new().await;
        for number in 0..UNDER_WAY {
            scene.letter(&record("contacts", &number.to_string())).await;
        }
        let begun = scene.storage.counts().put_message;
        scene.storage.fault(Fault::until_cleared(Op::PutMessage, effect.clone()));
        let mut replay = scene.start(&["replay"]);
        wait_until("all are stuck", async || scene.storage.counts().put_message - begun == UNDER_WAY).await;
        signal(&replay, "KILL").await;
        replay.wait().await.expect("it is dead");
        scene.storage.clear_faults();
        assert_eq!(
            scene.storage.redeliver(POISON_QUEUE, usize::MAX) as u64,
            UNDER_WAY,
            "{effect:?}: every letter is there"
        );
        assert_eq!(scene.run(&["replay"]).await.code, Some(0));
        let mut times = BTreeMap::new();
        for text in scene.messages().await {
            *times.entry(text).or_insert(0) += 1;
        }
        assert!(
            times.len() as u64 == UNDER_WAY && times.values().all(|times| *times == copies),
            "{effect:?}: {times:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_session_is_a_signal_and_a_closed_stderr_is_not_an_error() {
    let scene = Scene::new().await;
    for number in 0..40 {
        scene.letter(&record("contacts", &number.to_string())).await;
    }
    scene.storage.fault(Fault::until_cleared(Op::PutMessage, Effect::Slow(Duration::from_millis(200))));
    let mut replay = scene.start(&["replay", "--json"]);
    drop(replay.stderr.take());
    wait_until("some are back", async || scene.storage.counts().delete_message > 0).await;
    signal(&replay, "HUP").await;
    let replay: CommandOutput = replay.wait_with_output().await.expect("it ends").into();
    scene.storage.clear_faults();
    let line = replay.json();
    assert_eq!(
        (replay.code, &line["interrupted"], &line["stillHidden"]),
        (Some(1), &json!(true), &json!(0)),
        "{replay:?}"
    );
    let left = scene.visible().await.len();
    assert_eq!(left + scene.messages().await.len(), 40);
    assert!(left > 0, "it came in the middle");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_interrupted_gives_back_what_it_read() {
    let (scene, _) = thousand().await;
    let begun = scene.storage.counts().get_messages;
    scene.storage.fault(Fault::times(3, Op::GetMessages, Effect::Slow(Duration::ZERO)));
    scene.storage.fault(Fault::until_cleared(Op::GetMessages, Effect::Slow(Duration::from_millis(500))));
    let list = scene.start(&["list", "--json"]);
    wait_until("the third batch is read", async || scene.storage.counts().get_messages - begun > 3).await;
    signal(&list, "INT").await;
    let list: CommandOutput = list.wait_with_output().await.expect("it ends").into();
    assert_eq!((list.code, &list.json()["interrupted"]), (Some(1), &json!(true)), "{list:?}");
    let seen = list.json()["seen"].as_u64().expect("a number");
    assert!((96..=160).contains(&seen), "part of them: {seen}");
    scene.storage.clear_faults();
    assert_eq!(scene.visible().await.len(), LETTERS, "nothing stays hidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_process_at_once() {
    let scene = Scene::new().await;
    for number in 0..40 {
        scene.letter(&record("contacts", &number.to_string())).await;
    }
    scene.storage.fault(Fault::until_cleared(Op::UpdateMessage, Effect::Hang(Duration::from_hours(1))));
    let mut list = scene.start(&["list"]);
    wait_until("letters are given back", async || scene.storage.counts().update_message > 0).await;
    signal(&list, "INT").await;
    // The first signal may still be pending; the process ends once one arrives.
    while list.try_wait().expect("it is our child").is_none() {
        let id = list.id().expect("it still runs").to_string();
        let _ = tokio::process::Command::new("kill").args(["-INT", &id]).status().await;
        tokio::task::yield_now().await;
    }
    assert_eq!(list.wait().await.expect("it ended").code(), Some(1));
    assert_eq!(scene.storage.redeliver(POISON_QUEUE, usize::MAX), 40, "they come back by themselves");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_stdout_ends_an_export_and_everything_is_given_back() {
    let (scene, _) = thousand().await;
    let handler = crate::handler();
    let line = format!("'{}' dead-letters export | head -n 1", handler.display());
    let mut shell = tokio::process::Command::new("/bin/sh");
    shell.args(["-c", &line]).env("AzureWebJobsStorage", scene.storage.connection_string());
    let output: CommandOutput = shell.output().await.expect("there is a shell").into();
    assert_eq!(output.stdout.lines().count(), 1, "{output:?}");
    assert!(output.stderr.contains("the output cannot be written"), "{output:?}");
    assert!(!output.stderr.contains("panicked"), "{output:?}");
    assert_eq!(scene.visible().await.len(), LETTERS);
}
