//! Answers as facts: statuses, both error body shapes, half bodies, none.

use reqwest::Response;
use reqwest::header::RETRY_AFTER;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use time::OffsetDateTime;

use crate::dataverse::{Fault, Row, retry_after};

/// More of an error than this is not read.
const ERROR_CAP: usize = 64 * 1024;

/// A row is at most a few megabytes, file columns are not in it.
const ROW_CAP: usize = 16 * 1024 * 1024;

/// What is kept of the service's text.
const MESSAGE_CAP: usize = 1_000;

/// Codes of a missing row, by id and by alternate key.
const MISSING: [u32; 2] = [0x8004_0217, 0x8006_0891];

/// A request that got no answer, told apart by whether it may have arrived.
pub(super) fn no_answer(error: &reqwest::Error) -> Fault {
    let (sent, problem) = if error.is_connect() {
        (false, "no connection")
    } else if error.is_timeout() {
        (true, "no answer in time")
    } else if error.is_builder() {
        (false, "the request could not be built")
    } else {
        (true, "the connection broke")
    };
    Fault::NoAnswer { sent, problem }
}

/// An answer that is not success.
pub(super) async fn refusal(response: Response) -> Fault {
    let status = response.status().as_u16();
    let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let request_id = text("x-ms-service-request-id").or_else(|| text("REQ_ID"));
    let delay = text(RETRY_AFTER.as_str()).and_then(|value| retry_after::parse(&value, OffsetDateTime::now_utc()));
    // The status is known, so a body that breaks off costs its text only.
    let body = read(response, ERROR_CAP).await.unwrap_or_default();
    let (code, message) = parse(&body);
    Fault::Answered { status, code, message, request_id, retry_after: delay }
}

/// A row in an answer that is success.
pub(super) async fn row(response: Response) -> Result<Row, Fault> {
    let body = read(response, ROW_CAP).await.map_err(|problem| Fault::NoAnswer { sent: false, problem })?;
    let row = String::from_utf8(body).ok().and_then(Row::from_json);
    row.ok_or(Fault::NoAnswer { sent: false, problem: "the row that came back is no JSON object" })
}

/// The JSON in an answer that is success, or `None` when it is not what was expected.
pub(super) async fn json<T: DeserializeOwned>(response: Response) -> Option<T> {
    let body = read(response, ROW_CAP).await.ok()?;
    serde_json::from_slice(&body).ok()
}

/// Whether the fault says that there is no row by this key, and nothing else is wrong.
pub(super) fn is_missing_row(fault: &Fault) -> bool {
    match fault {
        Fault::Answered { code: Some(code), .. } => MISSING.contains(code),
        Fault::Answered { status: 404, code: None, message: Some(message), .. } => {
            message.to_ascii_lowercase().contains("does not exist")
        }
        _ => false,
    }
}

async fn read(mut response: Response, cap: usize) -> Result<Vec<u8>, &'static str> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| "the answer broke off")? {
        if body.len() + chunk.len() > cap {
            return Err("the answer is too large");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[derive(Deserialize)]
struct Body {
    error: Option<Inner>,
    #[serde(rename = "Message")]
    message: Option<String>,
    #[serde(rename = "ExceptionMessage")]
    exception: Option<String>,
    #[serde(rename = "ErrorCode")]
    code: Option<Value>,
}

#[derive(Deserialize)]
struct Inner {
    code: Option<Value>,
    message: Option<String>,
}

fn parse(body: &[u8]) -> (Option<u32>, Option<String>) {
    let Ok(body) = serde_json::from_slice::<Body>(body) else { return (None, None) };
    let (code, message) = match body.error {
        Some(inner) => (inner.code, inner.message),
        None => (body.code, body.exception.or(body.message)),
    };
    let message = message.filter(|text| !text.is_empty()).map(|text| text.chars().take(MESSAGE_CAP).collect());
    (code.as_ref().and_then(parse_code), message)
}

/// `"0x80040237"`, or the same as a signed number; empty and zero are no codes.
fn parse_code(value: &Value) -> Option<u32> {
    let number = match value {
        Value::String(text) => match text.trim().strip_prefix("0x").or_else(|| text.trim().strip_prefix("0X")) {
            Some(hex) => i64::from_str_radix(hex, 16).ok()?,
            None => text.trim().parse().ok()?,
        },
        Value::Number(number) => number.as_i64()?,
        _ => return None,
    };
    let code = u32::try_from(number).or_else(|_| i32::try_from(number).map(i32::cast_unsigned)).ok()?;
    (code != 0).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_and_every_notation_of_a_code_are_read() {
        for (body, code, message) in [
            (r#"{"error":{"code":"0x80040237","message":"m"}}"#, Some(0x8004_0237), Some("m")),
            (r#"{"Message":"x","ExceptionMessage":"m","ErrorCode":"0x80040237"}"#, Some(0x8004_0237), Some("m")),
            (r#"{"Message":"m","ErrorCode":-2147220937}"#, Some(0x8004_0237), Some("m")),
            (r#"{"error":{"code":"","message":"m"}}"#, None, Some("m")),
            (r#"{"error":{"code":"0x0","message":""}}"#, None, None),
            (r#"{"error":{"code":null,"message":null}}"#, None, None),
            (r#"{"error":{"code":"0x80040237","mess"#, None, None),
            ("<html>Bad gateway</html>", None, None),
            ("", None, None),
            ("[]", None, None),
        ] {
            let (found_code, found_message) = parse(body.as_bytes());
            assert_eq!((found_code, found_message.as_deref()), (code, message), "{body}");
        }
    }
}
