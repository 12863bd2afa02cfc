//! Answers as facts: error answers, rows, other JSON.

use reqwest::header::RETRY_AFTER;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::exchange::Answer;
use crate::dataverse::error_body::{self, INVALID_URL, MISSING_ROW, MISSING_ROW_TEXT, ServiceError, WRAPPERS};
use crate::dataverse::{Error, Row, retry_after};

/// The bytes of an error body that are read.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// A row has at most a few megabytes; file columns are not part of it.
const MAX_ROW_BYTES: usize = 16 * 1024 * 1024;

/// A request id is a GUID, with some room.
const MAX_ID_BYTES: usize = 64;

/// The error in an answer that is not a success.
pub(super) async fn error(answer: Answer) -> Error {
    let status = answer.status();
    let text = |name: &str| answer.header(name).map(str::to_owned);
    let request_id = request_id(&answer);
    let retry_after =
        text(RETRY_AFTER.as_str()).and_then(|value| retry_after::parse(&value, OffsetDateTime::now_utc()));
    let sent_at = answer.sent_at();
    // The status is known, so an incomplete body does not change the error.
    let (body, _) = answer.body(MAX_ERROR_BYTES).await;
    let ServiceError { code, message } = error_body::read(&body);
    let message = message.or_else(|| is_invalid_url(status, &body).then(|| INVALID_URL.to_owned()));
    Error::Answered { status, code, message, request_id, retry_after, sent_at }
}

/// The request id that Microsoft's support asks for. Where two servers handled a request, `x-ms-service-request-id` is there twice;
/// `REQ_ID` repeats the last one.
fn request_id(answer: &Answer) -> Option<String> {
    let last = |name| answer.headers(name).flat_map(|value| value.split(',')).map(str::trim).rfind(|id| is_id(id));
    last("REQ_ID").or_else(|| last("x-ms-service-request-id")).map(str::to_owned)
}

/// Whether this can be a request id. It goes into logs and answers, and a gateway may send anything.
fn is_id(text: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// Whether http.sys refused a URL that is too long, before it reached Dataverse.
fn is_invalid_url(status: u16, body: &[u8]) -> bool {
    status == 400 && String::from_utf8_lossy(body).contains(INVALID_URL)
}

/// The row in a success.
pub(super) async fn row(answer: Answer) -> Result<Row, Error> {
    let body = whole_body(answer).await?;
    let row = String::from_utf8(body).ok().and_then(Row::from_json);
    row.ok_or(Error::NoAnswer { sent: false, problem: "the row that came back is not a JSON object" })
}

/// The rows in the success of a query.
pub(super) async fn rows(answer: Answer) -> Result<Vec<Row>, Error> {
    #[derive(Deserialize)]
    struct Rows<'a> {
        #[serde(borrow)]
        value: Vec<&'a RawValue>,
    }
    let body = whole_body(answer).await?;
    let found: Option<Rows> = serde_json::from_slice(&body).ok();
    let rows = found.and_then(|found| found.value.iter().map(|row| Row::from_json(row.get().to_owned())).collect());
    rows.ok_or(Error::NoAnswer { sent: false, problem: "the answer to a query is not understood" })
}

/// The JSON in a success, or `None` when it has another shape.
pub(super) async fn json<T: DeserializeOwned>(answer: Answer) -> Option<T> {
    serde_json::from_slice(&whole_body(answer).await.ok()?).ok()
}

/// Whether the error says that there is no row with this key, and nothing else is wrong.
pub(super) fn is_missing_row(error: &Error) -> bool {
    match error {
        Error::Answered { code: Some(code), .. } if !WRAPPERS.contains(code) => MISSING_ROW.contains(code),
        Error::Answered { status: 404, message: Some(message), .. } => {
            message.to_ascii_lowercase().contains(MISSING_ROW_TEXT)
        }
        _ => false,
    }
}

async fn whole_body(answer: Answer) -> Result<Vec<u8>, Error> {
    match answer.body(MAX_ROW_BYTES).await {
        (body, None) => Ok(body),
        (_, Some(problem)) => Err(Error::NoAnswer { sent: false, problem }),
    }
}
