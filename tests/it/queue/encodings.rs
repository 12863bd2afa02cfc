//! Plain text and base64 on the queue, under both values of host.json's `messageEncoding`.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandbox::world::World;
use serde_json::{Value, json};
use stand_ins::net::http_client;

use super::{dead_letter, emptied, raw_poison, start};
use crate::caller::{answer, contact};
use crate::process::running::Running;
use crate::waiting::wait_until;

const OVERRIDE: &str = "AzureFunctionsJobHost__extensions__queues__messageEncoding";

fn record(key: &str) -> String {
    contact(key, &json!({ "firstname": "Ada" })).to_string()
}

async fn put_raw(world: &World, text: &str) {
    world.queue.put(text).await.expect("the queue takes it");
}

#[tokio::test]
async fn a_record_as_plain_text_and_one_in_base64_are_both_applied() {
    let (world, _host) = start(&[]).await;
    let in_base64 = STANDARD.encode(record("C3"));
    for text in [record("C1"), format!(" \r\n{}\n", record("C2")), in_base64, STANDARD.encode(record("C4") + "\n")] {
        put_raw(&world, &text).await;
    }
    wait_until("all four rows", async || world.dataverse.rows("contacts").len() == 4).await;
    emptied(&world).await;
    assert_eq!(world.poison.approximate_count().await.expect("the queue answers"), 0);
}

#[tokio::test]
async fn a_message_that_is_neither_is_a_letter_with_the_reason_and_one_in_base64_is_shown_as_text() {
    let (world, _host) = start(&[]).await;
    let typo = r#"{ "table":"contacts", "key":{"employeeid":"C1"}, "colums":{} }"#;
    let in_base64 = STANDARD.encode(typo);
    let nothing = STANDARD.encode("hello");
    for (text, message, detail) in [
        ("hello", "hello", "neither a JSON object nor base64 of one"),
        (&*nothing, &*nothing, "it is base64, but not of a JSON object"),
        (&*in_base64, typo, "unknown field `colums`"),
    ] {
        put_raw(&world, text).await;
        let letter = dead_letter(&world).await;
        assert_eq!((&letter["reason"], &letter["message"]), (&json!("invalid_message"), &json!(message)));
        assert!(letter["detail"].as_str().is_some_and(|found| found.contains(detail)), "{letter}");
        emptied(&world).await;
        world.poison.clear().await.expect("the queue answers");
    }
}

#[tokio::test]
async fn with_base64_in_host_json_records_and_letters_are_in_base64() {
    let world = crate::world().await;
    let path = world.app().join("host.json");
    let text =
        fs::read_to_string(&path).expect("it is staged").replace(r#"Encoding": "none""#, r#"Encoding": "base64""#);
    fs::write(&path, text).expect("writable");
    let _host = world.host("one", &[]).await.expect("the host starts");
    put_raw(&world, &STANDARD.encode(record("C1"))).await;
    wait_until("its row", async || world.dataverse.rows("contacts").len() == 1).await;
    // Encoded twice: the host decodes once, and that is the message.
    let once = STANDARD.encode(record("C2"));
    put_raw(&world, &STANDARD.encode(&once)).await;
    let letter = STANDARD.decode(raw_poison(&world).await).expect("the host wraps in base64");
    let letter: Value = serde_json::from_slice(&letter).expect("our dead letters are JSON");
    assert_eq!((&letter["reason"], &letter["message"]), (&json!("invalid_message"), &json!(once)));
}

#[tokio::test]
async fn the_handler_reads_the_setting_from_its_override_too() {
    let world = crate::world().await;
    let body = json!({ "Data": { "record": json!(STANDARD.encode(record("C1"))).to_string() }, "Metadata": {} });
    for (value, is_letter) in [("base64", true), ("None", false)] {
        let handler = Running::in_world(&world, &[(OVERRIDE, value)]).await;
        let answer = answer(http_client().post(handler.url("/SyncQueue")).body(body.to_string())).await;
        assert_eq!((answer.status, answer.body["Outputs"].get("deadLetter").is_some()), (200, is_letter), "{value}");
    }
}
