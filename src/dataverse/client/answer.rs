//! Answers as facts: statuses, headers, bodies, half bodies, none.

use axum::http::header::RETRY_AFTER;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::exchange::{Answer, Truncated};
use crate::dataverse::error_body::{self, MISSING_ROW, MISSING_ROW_TEXT, ServiceError};
use crate::dataverse::{Error, Row, retry_after};

/// More of an error than this is not read.
const ERROR_CAP: usize = 64 * 1024;

/// A row is at most a few megabytes, file columns are not in it.
const ROW_CAP: usize = 16 * 1024 * 1024;

/// An answer that is not success.
pub(super) async fn refusal(answer: Answer) -> Error {
    let status = answer.status();
    let text = |name: &str| answer.header(name).map(str::to_owned);
    let request_id = text("x-ms-service-request-id").or_else(|| text("REQ_ID"));
    let delay = text(RETRY_AFTER.as_str()).and_then(|value| retry_after::parse(&value, OffsetDateTime::now_utc()));
    // The status is known, so a body that breaks off, or goes on for too long, costs no more than its end.
    let (body, _) = read(answer, ERROR_CAP).await;
    let ServiceError { code, message } = error_body::read(&body);
    Error::Answered { status, code, message, request_id, retry_after: delay }
}

/// A row in an answer that is success.
pub(super) async fn row(answer: Answer) -> Result<Row, Error> {
    let body = whole(answer).await?;
    let row = String::from_utf8(body).ok().and_then(Row::from_json);
    row.ok_or(Error::NoAnswer { sent: false, problem: "the row that came back is no JSON object" })
}

/// The rows in an answer to a query.
pub(super) async fn rows(answer: Answer) -> Result<Vec<Row>, Error> {
    let body = whole(answer).await?;
    let found: Option<Found> = serde_json::from_slice(&body).ok();
    let rows = found.and_then(|found| found.value.iter().map(|row| Row::from_json(row.get().to_owned())).collect());
    rows.ok_or(Error::NoAnswer { sent: false, problem: "the answer to a query is not understood" })
}

#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    value: Vec<&'a RawValue>,
}

/// The JSON in an answer that is success, or `None` when it is not what was expected.
pub(super) async fn json<T: DeserializeOwned>(answer: Answer) -> Option<T> {
    let body = whole(answer).await.ok()?;
    serde_json::from_slice(&body).ok()
}

/// Whether the fault says that there is no row by this key, and nothing else is wrong.
pub(super) fn is_missing_row(fault: &Error) -> bool {
    match fault {
        Error::Answered { code: Some(code), .. } => MISSING_ROW.contains(code),
        Error::Answered { status: 404, code: None, message: Some(message), .. } => {
            message.to_ascii_lowercase().contains(MISSING_ROW_TEXT)
        }
        _ => false,
    }
}

/// The body of an answer that is success. A row of which half is missing is none.
async fn whole(answer: Answer) -> Result<Vec<u8>, Error> {
    match read(answer, ROW_CAP).await {
        (body, None) => Ok(body),
        (_, Some(problem)) => Err(Error::NoAnswer { sent: false, problem }),
    }
}

/// What came of the body, up to `cap` bytes, and why that is not all of it where it is not.
async fn read(mut answer: Answer, cap: usize) -> (Vec<u8>, Option<&'static str>) {
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > cap => {
                body.extend_from_slice(&chunk[..cap - body.len()]);
                return (body, Some("the answer is too large"));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return (body, None),
            Err(Truncated) => return (body, Some("the answer broke off")),
        }
    }
}
