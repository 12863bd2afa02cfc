//! Answers met in the field, each alone and as a part of a batch.

use std::fmt::Write as _;

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use super::*;
use crate::dataverse::client::answer;

const CAPTURED: &str = include_str!("../../../../../tests/it/client/answers.ndjson");

/// Status, headers and body of each, with its id.
fn captured() -> impl Iterator<Item = (String, Response<Bytes>)> {
    CAPTURED.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let status = u16::try_from(line["status"].as_u64().expect("a status")).expect("a status");
        let mut response = Response::builder().status(status);
        for (name, values) in line["headers"].as_object().expect("headers") {
            let values = values.as_array().cloned().unwrap_or_else(|| vec![values.clone()]);
            for value in values.iter().filter(|_| !name.eq_ignore_ascii_case("content-length")) {
                response = response.header(name, text(value));
            }
        }
        (text(&line["id"]), response.body(text(&line["body"]).into()).expect("an answer"))
    })
}

/// These answers as the parts of one.
fn together(answers: &[Response<Bytes>]) -> Answer {
    let mut body = String::new();
    for (at, answer) in answers.iter().enumerate() {
        let mime = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary";
        write!(body, "--b\r\n{mime}\r\nContent-ID: {}\r\n\r\nHTTP/1.1 {}\r\n", at + 1, answer.status())
            .expect("memory");
        for (name, value) in answer.headers() {
            write!(body, "{name}: {}\r\n", value.to_str().expect("plain text")).expect("memory");
        }
        write!(body, "\r\n{}\r\n", String::from_utf8_lossy(answer.body())).expect("memory");
    }
    body.push_str("--b--\r\n");
    let whole = Response::builder().status(200).header("content-type", "multipart/mixed; boundary=b");
    Answer::of(whole.body(body.into()).expect("an answer"))
}

/// All that a verdict depends on.
async fn facts(answer: Answer) -> String {
    if answer.is_success() {
        let (status, is_ours) = (answer.status(), answer.is_of_dataverse());
        let (body, problem) = answer.body(usize::MAX).await;
        return format!("{status} {is_ours} {problem:?} {}", String::from_utf8_lossy(&body));
    }
    format!("{:?}", answer::error(answer).await)
}

#[tokio::test]
async fn an_answer_means_the_same_alone_and_as_a_part() {
    let (ids, answers): (Vec<_>, Vec<_>) = captured().unzip();
    let parts = together(&answers).parts(answers.len(), usize::MAX).await;
    assert!(parts.len() > 50, "all of them");
    for ((id, alone), part) in ids.into_iter().zip(answers).zip(parts) {
        let part = part.unwrap_or_else(|| panic!("{id} has an answer"));
        assert_eq!(facts(part).await, facts(Answer::of(alone)).await, "{id}");
    }
}
