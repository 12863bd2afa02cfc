//! Invalid arguments, missing queues and failing services: the error, the exit code, and that no message is lost.

use serde_json::json;
use stand_ins::storage::{Effect, Fault, Op};

use super::queues::{Queues, dead_letters, record};
use crate::UNREACHABLE_URL;
use crate::command::CommandOutput;

#[tokio::test]
async fn arguments_and_settings_that_cannot_be_used_end_with_code_2_before_anything_is_sent() {
    let queues = Queues::empty().await;
    let begun = queues.storage.counts();
    queues.host_json(r#"{"extensions":{"queues":{"messageEncoding":"utf8"}}}"#);
    for (arguments, text) in [
        (&["replay", "--to", "sync-records-poison", "--encoding", "none"][..], "--to"),
        (&["list", "--older-than", "soon"], "--older-than"),
        (&["list"], "host.json"),
        (&[], "Usage"),
        (&["list", "--connection", "Other"], "Other"),
    ] {
        let output = queues.run(arguments).await;
        assert_eq!(output.code, Some(2), "{arguments:?}: {output:?}");
        assert!(output.stderr.contains(text), "{arguments:?}: {output:?}");
    }
    assert_eq!(queues.storage.counts(), begun);
}

#[tokio::test]
async fn a_missing_queue_no_connection_and_refused_access_have_different_errors() {
    let queues = Queues::with_moved(1).await;
    for (arguments, queue) in
        [(&["list", "--queue", "no-such"][..], "no-such"), (&["replay", "--to", "nowhere"], "nowhere")]
    {
        let output = queues.run(arguments).await;
        assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""), "{output:?}");
        assert!(output.stderr.contains("AzureWebJobsStorage") && output.stderr.contains(queue), "{output:?}");
        assert!(output.stderr.contains("there is no such queue"), "{output:?}");
    }
    assert_eq!(queues.storage.counts().get_messages, 0, "before a message is received");

    let closed = format!("AccountName=a;AccountKey=a2V5;QueueEndpoint={UNREACHABLE_URL}/a");
    let wrong = queues.storage.connection_string().replace("AccountKey=Eby8", "AccountKey=AAAA");
    for (connection, text) in [
        (closed, "AzureWebJobsStorage (127.0.0.1), queue sync-records-poison: the storage cannot be reached"),
        (wrong, "refuses access (403 AuthenticationFailed)"),
    ] {
        let output = CommandOutput::of(dead_letters(&["list"], &[("AzureWebJobsStorage", &connection)])).await;
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stderr.contains(text) && !output.stderr.contains("AAAA"), "{output:?}");
    }
}

/// A lost answer to a copy may duplicate its message; a lost answer to a deletion is repeated.
#[tokio::test]
async fn a_replay_whose_requests_fail_loses_no_message_and_counts_what_may_be_there_twice() {
    let queues = Queues::empty().await;
    let refused = |code, error_code| Effect::Status { code, error_code, retry_after: None };
    let busy = refused(503, "ServerBusy");
    for (op, effect, [replayed, failed, maybe_twice, left, copies]) in [
        (Op::PutMessage, Effect::DropAfter, [3, 0, 1, 0, 4]),
        (Op::PutMessage, busy.clone(), [3, 0, 0, 0, 3]),
        (Op::DeleteMessage, Effect::DropAfter, [3, 0, 0, 0, 3]),
        (Op::DeleteMessage, Effect::DropBefore, [3, 0, 0, 0, 3]),
        (Op::DeleteMessage, busy, [3, 0, 0, 0, 3]),
        (Op::PutMessage, refused(413, "RequestBodyTooLarge"), [2, 1, 0, 1, 2]),
        (Op::DeleteMessage, refused(409, "Broken"), [2, 1, 1, 1, 3]),
    ] {
        for number in 0..3 {
            queues.letter(&record("contacts", &number.to_string())).await;
        }
        queues.storage.fault(Fault::once(op, effect.clone()));
        let output = queues.run(&["replay", "--json"]).await;
        let line = output.json();
        assert_eq!(output.code, Some(i32::from(failed > 0)), "{op:?} {effect:?}: {output:?}");
        let counts = [&line["replayed"], &line["failed"], &line["maybeTwice"]];
        assert_eq!(counts, [&json!(replayed), &json!(failed), &json!(maybe_twice)], "{op:?} {effect:?}: {output:?}");
        let found = [queues.visible().await.len(), queues.messages().await.len()];
        assert_eq!(found, [left, copies], "{op:?} {effect:?}");
        queues.poison.clear().await.expect("the queue answers");
    }
}

#[tokio::test]
async fn a_queue_that_accepts_nothing_ends_a_replay_and_every_message_stays() {
    let queues = Queues::with_moved(40).await;
    let full = Effect::Status { code: 403, error_code: "AccountIsDisabled", retry_after: None };
    queues.storage.fault(Fault::until_cleared(Op::PutMessage, full));
    let output = queues.run(&["replay", "--json"]).await;
    let line = output.json();
    assert_eq!((output.code, &line["replayed"], &line["maybeTwice"]), (Some(1), &json!(0), &json!(0)), "{output:?}");
    assert!(line["problem"].as_str().is_some_and(|text| text.contains("AccountIsDisabled")), "{output:?}");
    assert!(line["failed"].as_u64().is_some_and(|failed| (1..=8).contains(&failed)), "it does not go on: {output:?}");
    assert_eq!(queues.visible().await.len(), 40);
}

#[tokio::test]
async fn messages_that_are_hidden_or_cannot_be_given_back_are_reported() {
    let queues = Queues::with_moved(40).await;
    queues.storage.fault(Fault::once(Op::GetMessages, Effect::DropAfter));
    let broken = Effect::Status { code: 409, error_code: "Broken", retry_after: None };
    queues.storage.fault(Fault::times(2, Op::UpdateMessage, broken));
    let output = queues.run(&["list"]).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stdout.contains("30 of 30 messages match; the service counts about 40."), "{output:?}");
    assert!(output.stdout.contains("2 messages could not be given back; they reappear within 5 minutes"), "{output:?}");
}
