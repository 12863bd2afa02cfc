//! Settings, queues and services that are not as they should be: what is said, with which exit code, and that nothing is lost.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use dataverse_sync::dead_letters::account::Desk;
use dataverse_sync::dead_letters::arguments::Place;
use dataverse_sync::dead_letters::encoding::Encoding;
use dataverse_sync::dead_letters::queue_scan::Sweep;
use sandbox::storage::{Effect, Fault, Op};
use sandbox::world::POISON_QUEUE;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::scene::{Scene, Told, dead_letters, encoded, ours, record};

async fn with(settings: &[(&str, &str)], arguments: &[&str]) -> Told {
    dead_letters(arguments, settings).output().await.expect("the handler can be started").into()
}

#[tokio::test]
async fn wrong_settings_are_named_and_only_those_that_are_needed_are_asked_for() {
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
        let told = with(settings, arguments).await;
        assert_eq!((told.code, told.stdout.as_str()), (Some(2), ""), "{told:?}");
        let lines: Vec<_> = told.stderr.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(lines, names, "{told:?}");
        assert!(!told.stderr.contains("canary") && !told.stderr.contains("DATAVERSE_URL"), "{told:?}");
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
        let told = scene.run(arguments).await;
        assert_eq!(told.code, Some(2), "{arguments:?}: {told:?}");
        assert!(told.stderr.contains(text), "{arguments:?}: {told:?}");
    }
    assert_eq!(scene.storage.counts(), begun);
    let told = scene.run(&["export", "--encoding", "none", "--output", &existing]).await;
    assert_eq!(told.code, Some(2), "{told:?}");
    assert!(told.stderr.contains("--output") && told.stderr.contains("never written over"), "{told:?}");
    assert_eq!(scene.storage.counts().get_messages, 0);
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_said_before_a_letter_is_touched() {
    let scene = Scene::new().await;
    scene.letter(&record("contacts", "E-1")).await;
    for (arguments, queue) in
        [(&["list", "--queue", "no-such"][..], "no-such"), (&["replay", "--to", "nowhere"], "nowhere")]
    {
        let told = scene.run(arguments).await;
        assert_eq!((told.code, told.stdout.as_str()), (Some(1), ""), "{told:?}");
        assert!(told.stderr.contains("AzureWebJobsStorage") && told.stderr.contains(queue), "{told:?}");
        assert!(told.stderr.contains("there is no such queue"), "{told:?}");
    }
    assert_eq!(scene.storage.counts().get_messages, 0);
}

#[tokio::test]
async fn nobody_there_and_access_refused_are_told_apart() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let nobody = format!("AccountName=a;AccountKey=a2V5;QueueEndpoint=http://{address}/a");
    let told = with(&[("AzureWebJobsStorage", &nobody)], &["list"]).await;
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.stderr.contains("AzureWebJobsStorage (127.0.0.1)"), "{told:?}");
    assert!(told.stderr.contains("cannot be reached: no connection"), "{told:?}");

    let scene = Scene::new().await;
    let wrong = scene.storage.connection_string().replace("AccountKey=Eby8", "AccountKey=AAAA");
    let told = with(&[("AzureWebJobsStorage", &wrong)], &["list"]).await;
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.stderr.contains("refuses this access (403 AuthenticationFailed)"), "{told:?}");
    assert!(told.stderr.contains("Storage Queue Data Contributor"), "{told:?}");
    assert!(!told.stderr.contains("AAAA"), "{told:?}");
}

#[tokio::test]
async fn letters_that_another_reader_holds_are_missed_and_said_to_be() {
    let scene = Scene::new().await;
    for number in 0..5 {
        scene.letter(&record("contacts", &number.to_string())).await;
    }
    scene.poison.receive(3, Duration::from_mins(5)).await.expect("the queue answers");
    let told = scene.run(&["list"]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stdout.contains("2 letters seen, 2 of them meant; the service counts about 5."), "{told:?}");
    assert!(told.stdout.contains("hidden by another reader"), "{told:?}");
    let told = scene.run(&["list", "--json"]).await;
    assert_eq!((&told.json()["counted"], &told.json()["seen"]), (&json!(5), &json!(2)));
}

#[tokio::test]
async fn an_answer_that_is_lost_is_repeated_and_counted_only_where_it_can_make_two() {
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
        let told = scene.run(&["replay", "--json"]).await;
        let line = told.json();
        assert_eq!((told.code, &line["replayed"]), (Some(0), &json!(1)), "{op:?} {effect:?}: {told:?}");
        assert_eq!(line["maybeTwice"], maybe_twice, "{op:?} {effect:?}");
        assert_eq!(scene.messages().await.len(), copies, "{op:?} {effect:?}");
        assert_eq!(scene.visible().await.len(), 0);
    }
}

#[tokio::test]
async fn letters_whose_answer_was_lost_are_missed_and_said_to_be() {
    let scene = Scene::new().await;
    for number in 0..40 {
        scene.letter(&record("contacts", &number.to_string())).await;
    }
    scene.storage.fault(Fault::once(Op::GetMessages, Effect::DropAfter));
    let told = scene.run(&["list"]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stdout.contains("8 letters seen, 8 of them meant; the service counts about 40."), "{told:?}");
    assert_eq!(scene.storage.redeliver(POISON_QUEUE, usize::MAX), 32, "they come back by themselves");
}

#[tokio::test]
async fn a_queue_that_takes_nothing_ends_a_replay_and_every_letter_stays() {
    let scene = Scene::new().await;
    for number in 0..40 {
        scene.letter(&record("contacts", &number.to_string())).await;
    }
    let full = Effect::Status { code: 403, error_code: "AccountIsDisabled", retry_after: None };
    scene.storage.fault(Fault::until_cleared(Op::PutMessage, full));
    let told = scene.run(&["replay", "--json"]).await;
    let line = told.json();
    assert_eq!((told.code, &line["replayed"], &line["maybeTwice"]), (Some(1), &json!(0), &json!(0)), "{told:?}");
    assert!(line["problem"].as_str().is_some_and(|text| text.contains("AccountIsDisabled")), "{told:?}");
    assert!(line["failed"].as_u64().is_some_and(|failed| (1..=8).contains(&failed)), "it does not go on: {told:?}");
    assert_eq!(scene.visible().await.len(), 40);
}

#[tokio::test]
async fn one_message_that_the_queue_does_not_take_stays_and_the_others_are_replayed() {
    let scene = Scene::new().await;
    for number in 0..3 {
        scene.letter(&record("contacts", &number.to_string())).await;
    }
    let refused = Effect::Status { code: 413, error_code: "RequestBodyTooLarge", retry_after: None };
    scene.storage.fault(Fault::once(Op::PutMessage, refused));
    let told = scene.run(&["replay", "--json"]).await;
    let line = told.json();
    assert_eq!((told.code, &line["replayed"], &line["failed"]), (Some(1), &json!(2), &json!(1)), "{told:?}");
    assert!(told.stderr.contains("413 RequestBodyTooLarge"), "{told:?}");
    assert_eq!(scene.visible().await.len(), 1);
}

#[tokio::test]
async fn a_letter_whose_deletion_fails_is_there_still_and_counted_as_maybe_twice() {
    let scene = Scene::new().await;
    scene.letter(&record("contacts", "E-1")).await;
    let broken = Effect::Status { code: 409, error_code: "Broken", retry_after: None };
    scene.storage.fault(Fault::once(Op::DeleteMessage, broken));
    let told = scene.run(&["replay", "--json"]).await;
    let line = told.json();
    assert_eq!((told.code, &line["failed"], &line["maybeTwice"]), (Some(1), &json!(1), &json!(1)), "{told:?}");
    assert_eq!((scene.visible().await.len(), scene.messages().await.len()), (1, 1));
}

#[tokio::test]
async fn letters_that_cannot_be_given_back_are_told() {
    let scene = Scene::new().await;
    for number in 0..3 {
        scene.letter(&record("contacts", &number.to_string())).await;
    }
    let broken = Effect::Status { code: 409, error_code: "Broken", retry_after: None };
    scene.storage.fault(Fault::times(2, Op::UpdateMessage, broken));
    let told = scene.run(&["list"]).await;
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.stdout.contains("2 letters could not be given back; within 5 minutes"), "{told:?}");
}

#[tokio::test]
async fn what_is_held_for_long_is_extended_and_can_still_be_given_back_and_deleted() {
    // Another test of this process may have installed the same provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let scene = Scene::new().await;
    for number in 0..50 {
        scene.poison.put(&encoded(number.to_string().as_bytes())).await.expect("the queue takes it");
    }
    let connection = scene.storage.connection_string();
    let place = Place {
        queue: "sync-records-poison".to_owned(),
        connection: "AzureWebJobsStorage".to_owned(),
        encoding: Some(Encoding::Base64),
        json: false,
    };
    let desk =
        Desk::open(&place, &|name| (name == "AzureWebJobsStorage").then(|| connection.clone())).expect("settings");
    let mut sweep = Sweep::begin(desk.queue(&place.queue).expect("an address")).await.expect("the queue answers");
    let mut ids: Vec<Arc<str>> = Vec::new();
    loop {
        let letters = sweep.next(32).await.expect("the queue answers");
        if letters.is_empty() {
            break;
        }
        ids.extend(letters.into_iter().map(|letter| letter.ticket.id));
    }
    assert_eq!((ids.len(), scene.storage.counts().update_message), (50, 0), "nothing was due yet");
    sweep.extend(Instant::now() + sweep.hidden() / 2).await;
    assert_eq!(scene.storage.counts().update_message, 0, "nor is it in the first half of its time");
    sweep.extend(Instant::now() + sweep.hidden() * 2).await;
    assert_eq!(scene.storage.counts().update_message, 50, "each once");
    let (deleted, fault) = sweep.delete(&ids[..20], || {}).await;
    assert_eq!((deleted.deleted, deleted.not_ours, fault), (20, 0, Ok(())), "the new receipts are good");
    assert_eq!(sweep.give_back(|| {}).await, 0);
    assert_eq!(scene.visible().await.len(), 30);
}
