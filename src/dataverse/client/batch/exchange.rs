//! One `$batch` request and its answer: each part's own, or that none came.

use std::fmt::Debug;

use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request};

use crate::dataverse::Error;
use crate::dataverse::client::exchange::Answer;
use crate::dataverse::client::multipart;
use crate::dataverse::client::service::{Service, timeout_of};
use crate::dataverse::client::{PREFER, answer};
use crate::dataverse::error_body::is_sql_strain;

/// The answer to a batch has at most so many bytes.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// Whether the part was executed is not known.
pub(in crate::dataverse::client) const UNANSWERED: Error =
    Error::NoAnswer { sent: true, problem: "the answer to the batch has no answer to this part" };

/// Why batches are switched off.
pub(super) const BROKEN: Error =
    Error::NoAnswer { sent: true, problem: "batches get no answer, but single requests do" };

/// Every part is executed, whatever becomes of those before it.
const CONTINUE_ON_ERROR: HeaderValue = HeaderValue::from_static("odata.continue-on-error");

/// Sends requests, and gives the success of each.
#[async_trait]
pub(in crate::dataverse::client) trait Exchange: Debug + Send + Sync {
    /// Waits for what requests need before they can be sent: a token.
    async fn ready(&self) -> Result<(), Error>;

    /// One by itself.
    async fn alone(&self, request: &Request) -> Result<Answer, Error>;

    /// Several as one batch; the answers are in their order.
    ///
    /// # Errors
    /// The batch as a whole was refused, or nothing came.
    async fn together(&self, parts: &[&Request]) -> Result<Vec<Result<Answer, Error>>, Error>;
}

#[async_trait]
impl Exchange for Service {
    async fn ready(&self) -> Result<(), Error> {
        self.token().await.map(drop)
    }

    async fn alone(&self, request: &Request) -> Result<Answer, Error> {
        self.send(request).await
    }

    async fn together(&self, parts: &[&Request]) -> Result<Vec<Result<Answer, Error>>, Error> {
        let (content_type, body) = multipart::write(parts.iter().copied());
        let url = self.root.join("$batch").expect("it is relative to the root");
        let mut request = self.request(Method::POST, url);
        request.headers_mut().insert(CONTENT_TYPE, content_type);
        request.headers_mut().insert(PREFER, CONTINUE_ON_ERROR);
        *request.body_mut() = Some(body.into());
        let timeout = parts.iter().map(|part| timeout_of(part)).max().unwrap_or_default();
        let whole = self.answer(&request, timeout).await?;
        // A service that stops at the first error answers with its status, and with the parts so far.
        match (whole.is_multipart(), whole.is_success()) {
            (true, _) => {}
            (false, true) => {
                return Err(Error::NoAnswer { sent: true, problem: "the answer to the batch is not Dataverse's" });
            }
            (false, false) => return Err(answer::error(whole).await),
        }
        let mut answers = Vec::with_capacity(parts.len());
        for part in whole.parts(parts.len(), MAX_ANSWER_BYTES).await {
            answers.push(match part {
                Some(part) if part.is_success() => Ok(part),
                Some(part) => Err(answer::error(part).await),
                None => Err(UNANSWERED),
            });
        }
        Ok(answers)
    }
}

/// What becomes of the parts of a batch that was refused as a whole.
#[derive(Debug)]
pub(super) enum AfterRefusal {
    /// It was too large.
    Smaller,
    /// The service or a gateway did not like the batch, so nothing was executed: each part gets an answer of its own.
    Alone,
    /// There is no `$batch`.
    WithoutBatches,
    /// Each part has met this.
    Same(Error),
}

/// What the refusal of a whole batch means for its parts.
pub(super) fn after_refusal(fault: &Error) -> AfterRefusal {
    match fault {
        Error::Answered { status: 413, .. } => AfterRefusal::Smaller,
        Error::Answered { status: 404 | 405 | 501, .. }
        | Error::Answered { status: 403, code: None, message: None, .. } => AfterRefusal::WithoutBatches,
        Error::Answered { status: 401 | 403 | 408 | 429 | 503, .. } => AfterRefusal::Same(fault.clone()),
        Error::Answered { status: 400..=499, .. } => AfterRefusal::Alone,
        // Some parts may have been executed.
        Error::Answered { status: 500.., .. } => AfterRefusal::Same(UNANSWERED),
        Error::Answered { .. }
        | Error::NoAnswer { .. }
        | Error::NoToken { .. }
        | Error::NotAddressable { .. }
        | Error::Ambiguous
        | Error::Withheld => AfterRefusal::Same(fault.clone()),
    }
}

/// Whether the service executed the request, although it refused the data.
pub(super) fn is_executed(fault: &Error) -> bool {
    matches!(fault, Error::Answered { status: 400 | 404 | 409 | 412, .. })
}

/// Whether the service may have executed the request, and gave no answer.
pub(super) fn is_unanswered(fault: &Error) -> bool {
    matches!(fault, Error::NoAnswer { sent: true, .. })
}

/// Whether nothing may be sent for a while.
pub(super) fn is_throttled(fault: &Error) -> bool {
    matches!(fault, Error::Answered { status: 429, .. })
}

/// Whether the database has trouble with many rows in a row.
pub(super) fn is_strained(fault: &Error) -> bool {
    matches!(fault, Error::Answered { code, message, .. } if is_sql_strain(*code, message.as_deref().unwrap_or_default()))
}
