//! Answers as facts: statuses, headers, bodies, half bodies, none.

use reqwest::Response;
use reqwest::header::RETRY_AFTER;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use crate::dataverse::error_body::{self, MISSING_ROW, MISSING_ROW_TEXT, Said};
use crate::dataverse::{Fault, Row, retry_after};

/// More of an error than this is not read.
const ERROR_CAP: usize = 64 * 1024;

/// A row is at most a few megabytes, file columns are not in it.
const ROW_CAP: usize = 16 * 1024 * 1024;

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
    // The status is known, so a body that breaks off, or goes on for too long, costs no more than its end.
    let (body, _) = read(response, ERROR_CAP).await;
    let Said { code, message } = error_body::read(&body);
    Fault::Answered { status, code, message, request_id, retry_after: delay }
}

/// A row in an answer that is success.
pub(super) async fn row(response: Response) -> Result<Row, Fault> {
    let body = whole(response).await?;
    let row = String::from_utf8(body).ok().and_then(Row::from_json);
    row.ok_or(Fault::NoAnswer { sent: false, problem: "the row that came back is no JSON object" })
}

/// The rows in an answer to a query.
pub(super) async fn rows(response: Response) -> Result<Vec<Row>, Fault> {
    let body = whole(response).await?;
    let found: Option<Found> = serde_json::from_slice(&body).ok();
    let rows = found.and_then(|found| found.value.iter().map(|row| Row::from_json(row.get().to_owned())).collect());
    rows.ok_or(Fault::NoAnswer { sent: false, problem: "the answer to a query is not understood" })
}

#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    value: Vec<&'a RawValue>,
}

/// The JSON in an answer that is success, or `None` when it is not what was expected.
pub(super) async fn json<T: DeserializeOwned>(response: Response) -> Option<T> {
    let body = whole(response).await.ok()?;
    serde_json::from_slice(&body).ok()
}

/// Whether the fault says that there is no row by this key, and nothing else is wrong.
pub(super) fn is_missing_row(fault: &Fault) -> bool {
    match fault {
        Fault::Answered { code: Some(code), .. } => MISSING_ROW.contains(code),
        Fault::Answered { status: 404, code: None, message: Some(message), .. } => {
            message.to_ascii_lowercase().contains(MISSING_ROW_TEXT)
        }
        _ => false,
    }
}

/// The body of an answer that is success. A row of which half is missing is none.
async fn whole(response: Response) -> Result<Vec<u8>, Fault> {
    match read(response, ROW_CAP).await {
        (body, None) => Ok(body),
        (_, Some(problem)) => Err(Fault::NoAnswer { sent: false, problem }),
    }
}

/// What came of the body, up to `cap` bytes, and why that is not all of it where it is not.
async fn read(mut response: Response, cap: usize) -> (Vec<u8>, Option<&'static str>) {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > cap => {
                body.extend_from_slice(&chunk[..cap - body.len()]);
                return (body, Some("the answer is too large"));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return (body, None),
            Err(_) => return (body, Some("the answer broke off")),
        }
    }
}
