//! Invalid settings, missing queues and failing services: the error, the exit code, and that no message is lost.

use std::net::Ipv4Addr;
use std::time::Duration;

use sandbox::world::POISON_QUEUE;
use serde_json::json;
use stand_ins::storage::{Effect, Fault, Op};
use tokio::net::TcpListener;

use super::scene::{CommandOutput, Scene, dead_letters, ours, record};

async fn with(settings: &[(&str, &str)], arguments: &[&str]) -> CommandOutput {
    dead_letters(arguments, settings).output().await.expect("the handler can be started").into()
}

#[tokio::test]
async fn errors_name_wrong_settings_and_only_needed_settings_are_read() {
    for (settings, arguments, names) in [
        (&[][..], &["list"][..], &["AzureWebJobsStorage"][..]),
        (&[("AzureWebJobsStorage", "canary")], &["list"], &["AzureWebJobsStorage"]),
        (&[("AzureWebJobsStorage", "AccountName=abc;AccountKey=%canary%")], &["replay"], &["AzureWebJobsStorage"]),
        (&[("AzureWebJobsStorage", "UseDevelopmentStorage=true")], &["list", "--connection", "Other"], &["Other"]),
        (
            &[("AzureWebJobsStorage__queueServiceUri", "http://abc/")],
            &["list"],
            &["AzureWebJobsStorage__queueServiceUri"],
        ),
        (
            &[("AzureWebJobsStorage__accountName", "abc"), ("AZURE_CLIENT_SECRET", "canary")],
            &["list"],
            &["AZURE_TENANT_ID", "AZURE_CLIENT_ID"],
        ),
    ] {
        let output = with(settings, arguments).await;
        assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""), "{output:?}");
        let lines: Vec<_> = output.stderr.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(lines, names, "{output:?}");
        assert!(!output.stderr.contains("canary") && !output.stderr.contains("DATAVERSE_URL"), "{output:?}");
    }
}

#[tokio::test]
async fn wrong_arguments_end_with_code_2_before_anything_is_sent() {
    let scene = Scene::new().await;
    let begun = scene.storage.counts();
    scene.host_json(r#"{"extensions":{"queues":{"messageEncoding":"utf8"}}}"#);
    let existing = scene.path("host.json");
    for (arguments, text) in [
        (&["replay", "--to", "sync-records-poison", "--encoding", "none"][..], "--to"),
        (&["list", "--older-than", "soon"], "--older-than"),
        (&["list", "--queue", "No Queue"], "--queue"),
        (&["list"], "host.json"),
        (&[], "Usage"),
    ] {
        let output = scene.run(arguments).await;
        assert_eq!(output.code, Some(2), "{arguments:?}: {output:?}");
        assert!(output.stderr.contains(text), "{arguments:?}: {output:?}");
    }
    assert_eq!(scene.storage.counts(), begun);
    let output = scene.run(&["export", "--encoding", "none", "--output", &existing]).await;
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stderr.contains("--output") && output.stderr.contains("never overwritten"), "{output:?}");
    assert_eq!(scene.storage.counts().get_messages, 0);
}

#[tokio::test]
async fn a_missing_queue_is_reported_before_a_message_is_received() {
    let scene = Scene::new().await;
    scene.letter(&record("contacts", "E-1")).await;
    for (arguments, queue) in
        [(&["list", "--queue", "no-such"][..], "no-such"), (&["replay", "--to", "nowhere"], "nowhere")]
    {
        let output = scene.run(arguments).await;
        assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""), "{output:?}");
        assert!(output.stderr.contains("AzureWebJobsStorage") && output.stderr.contains(queue), "{output:?}");
        assert!(output.stderr.contains("there is no such queue"), "{output:?}");
    }
    assert_eq!(scene.storage.counts().get_messages, 0);
}

#[tokio::test]
async fn no_connection_and_refused_access_have_different_errors() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let closed = format!("AccountName=a;AccountKey=a2V5;QueueEndpoint=http://{address}/a");
    let output = with(&[("AzureWebJobsStorage", &closed)], &["list"]).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("AzureWebJobsStorage (127.0.0.1)"), "{output:?}");
    assert!(output.stderr.contains("cannot be reached: no connection"), "{output:?}");

    let scene = Scene::new().await;
    let wrong = scene.storage.connection_string().replace("AccountKey=Eby8", "AccountKey=AAAA");
    let output = with(&[("AzureWebJobsStorage", &wrong)], &["list"]).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("refuses access (403 AuthenticationFailed)"), "{output:?}");
    assert!(output.stderr.contains("Storage Queue Data Contributor"), "{output:?}");
    assert!(!output.stderr.contains("AAAA"), "{output:?}");
}

#[tokio::test]
async fn messages_hidden_by_another_reader_are_reported_as_missing() {
    let scene = Scene::new().await;
    for number in 0..5 {
        scene.letter(&record("contacts", &number.to_string())).await;
    }
    scene.poison.receive(3, Duration::from_mins(5)).await.expect("the queue answers");
    let output = scene.run(&["list"]).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.contains("2 of 2 messages match; the service counts about 5."), "{output:?}");
    assert!(output.stdout.contains("hidden by another reader"), "{output:?}");
    let output = scene.run(&["list", "--json"]).await;
    assert_eq!((&output.json()["counted"], &output.json()["seen"]), (&json!(5), &json!(2)));
}

#[tokio::test]
async fn a_lost_answer_is_repeated_and_counted_only_if_it_can_duplicate() {
    let busy = Effect::Status { code: 503, error_code: "ServerBusy", retry_after: None };
    for (op, effect, copies, maybe_twice) in [
        (Op::PutMessage, Effect::DropAfter, 2, 1),
        (Op::PutMessage, busy.clone(), 1, 0),
        (Op::DeleteMessage, Effect::DropAfter, 1, 0),
        (Op::DeleteMessage, Effect::DropBefore, 1, 0),
        (Op::DeleteMessage, busy, 1, 0),
    ] {
        let scene = Scene::new().await;
        scene.letter(&ours(&record("contacts", "E-1"), "exists", "0x1")).await;
        scene.storage.fault(Fault::once(op, effect.clone()));
        let output = scene.run(&["replay", "--json"]).await;
        let line = output.json();
        assert_eq!((output.code, &line["replayed"]), (Some(0), &json!(1)), "{op:?} {effect:?}: {output:?}");
        assert_eq!(line["maybeTwice"], maybe_twice, "{op:?} {effect:?}");
        assert_eq!(scene.messages().await.len(), copies, "{op:?} {effect:?}");
        assert_eq!(scene.visible().await.len(), 0);
    }
}

#[tokio::test]
async fn messages_whose_answer_was_lost_are_reported_as_missing() {
    let scene = Scene::new().await;
    for number in 0..40 {
        scene.letter(&record("contacts", &number.to_string())).await;
    }
    scene.storage.fault(Fault::once(Op::GetMessages, Effect::DropAfter));
    let output = scene.run(&["list"]).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.contains("8 of 8 messages match; the service counts about 40."), "{output:?}");
    assert_eq!(scene.storage.redeliver(POISON_QUEUE, usize::MAX), 32, "they come back by themselves");
}

#[tokio::test]
async fn a_queue_that_accepts_nothing_ends_a_replay_and_every_message_stays() {
    let scene = Scene::new().await;
    for number in 0..40 {
        scene.letter(&record("contacts", &number.to_string())).await;
    }
    let full = Effect::Status { code: 403, error_code: "AccountIsDisabled", retry_after: None };
    scene.storage.fault(Fault::until_cleared(Op::PutMessage, full));
    let output = scene.run(&["replay", "--json"]).await;
    let line = output.json();
    assert_eq!((output.code, &line["replayed"], &line["maybeTwice"]), (Some(1), &json!(0), &json!(0)), "{output:?}");
    assert!(line["problem"].as_str().is_some_and(|text| text.contains("AccountIsDisabled")), "{output:?}");
    assert!(line["failed"].as_u64().is_some_and(|failed| (1..=8).contains(&failed)), "it does not go on: {output:?}");
    assert_eq!(scene.visible().await.len(), 40);
}

#[tokio::test]
async fn one_message_that_the_queue_rejects_stays_and_the_others_are_replayed() {
    let scene = Scene::new().await;
    for number in 0..3 {
        scene.letter(&record("contacts", &number.to_string())).await;
    }
    let refused = Effect::Status { code: 413, error_code: "RequestBodyTooLarge", retry_after: None };
    scene.storage.fault(Fault::once(Op::PutMessage, refused));
    let output = scene.run(&["replay", "--json"]).await;
    let line = output.json();
    assert_eq!((output.code, &line["replayed"], &line["failed"]), (Some(1), &json!(2), &json!(1)), "{output:?}");
    assert!(output.stderr.contains("413 RequestBodyTooLarge"), "{output:?}");
    assert_eq!(scene.visible().await.len(), 1);
}

#[tokio::test]
async fn a_message_whose_deletion_fails_stays_and_is_counted_as_maybe_twice() {
    let scene = Scene::new().await;
    scene.letter(&record("contacts", "E-1")).await;
    let broken = Effect::Status { code: 409, error_code: "Broken", retry_after: None };
    scene.storage.fault(Fault::once(Op::DeleteMessage, broken));
    let output = scene.run(&["replay", "--json"]).await;
    let line = output.json();
    assert_eq!((output.code, &line["failed"], &line["maybeTwice"]), (Some(1), &json!(1), &json!(1)), "{output:?}");
    assert_eq!((scene.visible().await.len(), scene.messages().await.len()), (1, 1));
}

#[tokio::test]
async fn messages_that_cannot_be_given_back_are_reported() {
    let scene = Scene::new().await;
    for number in 0..3 {
        scene.letter(&record("contacts", &number.to_string())).await;
    }
    let broken = Effect::Status { code: 409, error_code: "Broken", retry_after: None };
    scene.storage.fault(Fault::times(2, Op::UpdateMessage, broken));
    let output = scene.run(&["list"]).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stdout.contains("2 messages could not be given back; they reappear within 5 minutes"), "{output:?}");
}
