//! Batches that are refused as a whole.

use reqwest::Method;
use serde_json::json;

use super::super::{Bench, EMPLOYEE};
use super::{BOUNDARY, CONTINUE, body, part, patch};

#[tokio::test]
async fn a_batch_that_is_not_as_documented_is_refused_and_nothing_is_executed() {
    let good = body(&[patch("E1", &json!({}))]);
    let change_set = good.replace("application/http", "multipart/mixed; boundary=changeset_1");
    let many = body(&vec![patch("E1", &json!({})); 1_001]);
    let cases = [
        ("line ends that are not CRLF", good.replace("\r\n", "\n"), 400, "0x80048d19"),
        (
            "one such line end in a head",
            good.replacen("PATCH", "X: 1\n\nPATCH", 1).replacen("-ID: 1\r", "-ID: 1", 1),
            400,
            "0x80048d19",
        ),
        ("no end boundary", good.replace(&format!("--{BOUNDARY}--"), ""), 400, "0x80060888"),
        ("another boundary", good.replace(BOUNDARY, "batch_2"), 400, "0x80060888"),
        ("no request", good.replace(" HTTP/1.1", ""), 400, "0x80060888"),
        ("a part of another type", good.replace("application/http", "application/json"), 400, "0x80060888"),
        (
            "a body that is too short",
            good.replace("content-type", "Content-Length: 99\r\ncontent-type"),
            400,
            "0x80060888",
        ),
        ("1,001 parts", many, 400, "0x80060888"),
        ("a change set", change_set, 501, ""),
    ];
    for (name, body, status, code) in cases {
        let bench = Bench::quick().await;
        let response = bench.send_batch(&[CONTINUE], body).await.expect("an answer");
        let refused = response.status().as_u16();
        let text = response.text().await.expect("a body");
        let error: serde_json::Value = serde_json::from_str(&text).expect("an error");
        assert_eq!((refused, &error["error"]["code"]), (status, &json!(code)), "{name}: {error}");
        let journal = bench.dataverse.journal();
        let [entry] = &journal[..] else { panic!("{name}: one entry for the batch: {journal:?}") };
        assert_eq!((entry.set.as_str(), entry.status, entry.looked_up), ("$batch", Some(status), None), "{name}");
    }
}

#[tokio::test]
async fn up_to_a_thousand_parts_are_executed() {
    let bench = Bench::quick().await;
    let parts: Vec<String> = (0..1_000).map(|n| patch(&format!("E{n}"), &json!({}))).collect();
    let response = bench.batch(&[], &parts).await;
    assert_eq!((response.status, response.parts.len()), (200, 1_000));
    assert_eq!(bench.dataverse.rows("contacts").len(), 1_000);
}

#[tokio::test]
async fn without_a_line_end_at_the_end_the_last_body_is_not_readable() {
    let bench = Bench::quick().await;
    let text = body(&[patch("E1", &json!({})), patch("E2", &json!({}))]);
    let response = bench.send_batch(&[], text.trim_end().to_owned()).await.expect("an answer");
    assert_eq!(response.status(), 400);
    let text = response.text().await.expect("a body");
    assert!(text.contains("HTTP/1.1 204 No Content") && text.contains("Stream was not readable"), "{text}");
    assert!(bench.contact("E1").is_some() && bench.contact("E2").is_none());
}

#[tokio::test]
async fn a_batch_in_a_batch_is_not_found_and_a_batch_needs_a_token_and_its_type() {
    let bench = Bench::quick().await;
    let inner = part(&Method::POST, "$batch", &[("content-type", "application/json")], Some("{}"));
    assert_eq!(bench.batch(&[CONTINUE], &[inner]).await.verdicts(), [(404, "0x80060888")]);
    let url = format!("{}/api/data/v9.2/$batch", bench.dataverse.url());
    let json = bench.http.post(&url).bearer_auth("any").header("content-type", "application/json").body("{}");
    assert_eq!(json.send().await.expect("an answer").status(), 415);
    assert_eq!(bench.http.post(&url).body("").send().await.expect("an answer").status(), 401);
    assert_eq!(bench.patch(EMPLOYEE, &json!({})).await.status, 204);
}
