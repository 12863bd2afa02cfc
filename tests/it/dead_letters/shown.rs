//! `show` and `export`: complete messages, for people and for programs.

use std::fs;

use serde_json::{Value, json};

use super::scene::{Scene, encoded, ours, record};

#[tokio::test]
async fn show_prints_every_field_and_stops_at_the_limit() {
    let scene = Scene::new().await;
    scene.letter(&ours(&record("contacts", "E-1"), "key_collision", "0x80060892")).await;
    for number in 2..50 {
        scene.letter(&record("contacts", &format!("E-{number}"))).await;
    }
    let output = scene.run(&["show", "--key", "E-1"]).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    for part in [
        "  reason      key_collision",
        "  detail      it was refused",
        "  dataverse   412 0x80060892 Dataverse's own words",
        "  request id  r-1",
        "  table       contacts",
        r#"  key         {"employeeid":"E-1"}"#,
        "  source      hr",
        "  attempts    1",
        "  invocation  id-1",
        "  rejected    2026-01-02T03:04:05Z",
        r#"  message     {"columns":{"firstname":"Ada"},"#,
    ] {
        assert!(output.stdout.contains(part), "{part} in:\n{}", output.stdout);
    }
    let many = scene.run(&["show"]).await;
    assert_eq!(many.stdout.matches("dead letter ").count(), 20, "by default");
    let few = scene.run(&["show", "--max", "3", "--reason", "none", "--json"]).await;
    assert_eq!(few.stdout.lines().count(), 3, "{few:?}");
    assert_eq!(scene.visible().await.len(), 49);
}

#[tokio::test]
async fn an_export_contains_every_message_and_its_original_unchanged() {
    let scene = Scene::new().await;
    let text = record("contacts", "E-1 \u{1b}[31m");
    scene.letter(&ours(&text, "exists", "0x1")).await;
    scene.letter("no JSON\r\n").await;
    scene.poison.put(&encoded(b"\xff\x00")).await.expect("the queue takes it");
    let path = scene.path("letters.jsonl");
    let output = scene.run(&["export", "--output", &path, "--json"]).await;
    assert_eq!((output.code, &output.json()["matching"]), (Some(0), &json!(3)), "{output:?}");
    let file = fs::read_to_string(&path).expect("it was written");
    let lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["message"], &lines[0]["reason"]), (&json!(text), &json!("exists")));
    assert_eq!(
        lines[0]["dataverse"],
        json!({ "status": 412, "code": "0x1", "message": "Dataverse's own words", "requestId": "r-1" })
    );
    assert_eq!((&lines[1]["message"], &lines[1]["reason"]), (&json!("no JSON\r\n"), &Value::Null));
    assert_eq!((lines[2].get("message"), &lines[2]["messageBase64"]), (None, &json!("/wA=")));
    assert!(!file.contains('\u{1b}'));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&path).expect("it was written").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "messages hold personal data");
    }
    let again = scene.run(&["export"]).await;
    assert_eq!(again.stdout.lines().count(), 3, "without a file it goes to stdout, and nothing else does");
    assert!(again.stderr.contains("3 of 3 messages match"), "{again:?}");
    assert_eq!(scene.visible().await.len(), 3);
}

#[tokio::test]
async fn the_help_has_examples_and_the_main_help_mentions_the_command() {
    let scene = Scene::new().await;
    let help = scene.run(&["--help"]).await;
    assert_eq!(help.code, Some(0));
    for part in ["handler dead-letters replay --reason none", "hidden from every other reader", "Exit codes", "kill -9"]
    {
        assert!(help.stdout.contains(part), "{part} in:\n{}", help.stdout);
    }
    let replay = scene.run(&["replay", "--help"]).await;
    assert!(replay.stdout.contains("--dry-run") && replay.stdout.contains("at most 8 messages"), "{}", replay.stdout);
    let main = tokio::process::Command::new(crate::handler()).arg("--help").output().await.expect("it can be started");
    assert!(String::from_utf8_lossy(&main.stdout).contains("dead-letters"));
}
