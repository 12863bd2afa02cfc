//! A request, repeated until it has an answer that can be used, a few times at most.

use std::time::Duration;

use azure_core::error::ErrorKind;
use tokio::time::{sleep, timeout};

use super::Error;
use crate::identity;

/// One request must be answered within this time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// A request without a usable answer is repeated at most this often.
const MOST_REPEATS: u32 = 4;

/// The pause before the first repetition, on average; each further one is twice as long.
const REPEAT_PAUSE: Duration = Duration::from_millis(200);

/// What came of a request.
pub(super) struct Answer<T> {
    pub(super) result: Result<T, Error>,
    /// An attempt before the one that gave `result`, or that one, may have been carried out without an answer.
    pub(super) in_doubt: bool,
}

/// Sends what `request` makes until there is an answer.
pub(super) async fn repeated<T, F>(mut request: impl FnMut() -> F) -> Answer<T>
where
    F: Future<Output = azure_core::Result<T>>,
{
    let mut in_doubt = false;
    let mut pause = REPEAT_PAUSE;
    for _ in 0..MOST_REPEATS {
        match once(request()).await {
            Ok(answer) => return Answer { result: Ok(answer), in_doubt },
            Err(failure) if !failure.passes => return Answer { result: Err(failure.error), in_doubt },
            Err(failure) => in_doubt |= failure.in_doubt,
        }
        sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
        pause *= 2;
    }
    match once(request()).await {
        Ok(answer) => Answer { result: Ok(answer), in_doubt },
        Err(failure) => Answer { result: Err(failure.error), in_doubt: in_doubt || failure.in_doubt },
    }
}

/// Why an attempt has no usable answer.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    error: Error,
    /// It may work the next time.
    passes: bool,
    /// The service may have done it.
    in_doubt: bool,
}

async fn once<T>(request: impl Future<Output = azure_core::Result<T>>) -> Result<T, Failure> {
    match timeout(REQUEST_TIMEOUT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(failure(&error)),
        Err(_) => Err(unreachable("no answer in time", true)),
    }
}

fn failure(error: &azure_core::Error) -> Failure {
    match error.kind() {
        ErrorKind::HttpResponse { status, error_code, .. } => {
            answered((*status).into(), error_code.clone().unwrap_or_default())
        }
        ErrorKind::Connection => unreachable("no connection", false),
        ErrorKind::Io => unreachable("the connection broke", true),
        ErrorKind::Credential => Failure {
            error: Error::Token { problem: identity::problem(error) },
            passes: !identity::is_refusal(error),
            in_doubt: false,
        },
        _ => Failure {
            error: Error::Unreachable { problem: "the answer was not understood" },
            passes: false,
            in_doubt: true,
        },
    }
}

fn unreachable(problem: &'static str, in_doubt: bool) -> Failure {
    Failure { error: Error::Unreachable { problem }, passes: true, in_doubt }
}

/// A refusal without a word of the service comes from something in between, such as a proxy.
fn answered(status: u16, code: String) -> Failure {
    let error = match (status, code.as_str()) {
        (404, "QueueNotFound") => Error::NoQueue,
        (401 | 403, _) => Error::Refused { status, code },
        _ => Error::Service { status, code },
    };
    // 429 and 503: the service was too busy to begin.
    let passes = matches!(status, 408 | 429 | 500 | 502 | 503 | 504);
    Failure { error, passes, in_doubt: passes && !matches!(status, 429 | 503) }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::Instant;

    use super::*;

    fn io() -> azure_core::Error {
        azure_core::Error::with_message(ErrorKind::Io, "https://account/queue?sig=secret")
    }

    fn no_connection() -> azure_core::Error {
        azure_core::Error::with_message(ErrorKind::Connection, "https://account/queue?sig=secret")
    }

    /// Fails as `errors` say, then succeeds.
    async fn sent(errors: &[fn() -> azure_core::Error]) -> (Result<(), Error>, bool, usize) {
        let tries = Cell::new(0);
        let request = || {
            let this = errors.get(tries.get()).map(|error| error());
            tries.set(tries.get() + 1);
            async move { this.map_or(Ok(()), Err) }
        };
        let Answer { result, in_doubt } = repeated(request).await;
        (result, in_doubt, tries.get())
    }

    #[tokio::test(start_paused = true)]
    async fn what_had_no_answer_is_repeated_and_in_doubt_only_when_it_was_sent() {
        assert_eq!(sent(&[]).await, (Ok(()), false, 1));
        assert_eq!(sent(&[no_connection, no_connection]).await, (Ok(()), false, 3));
        assert_eq!(sent(&[io, no_connection]).await, (Ok(()), true, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_after_a_few_seconds_and_tells_no_address() {
        let begun = Instant::now();
        let (result, in_doubt, tries) = sent(&[no_connection as fn() -> azure_core::Error; 9]).await;
        assert_eq!((in_doubt, tries), (false, 5));
        assert_eq!(
            result.expect_err("nobody answered").to_string(),
            "the queue service cannot be reached: no connection"
        );
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_an_answer_after_a_while() {
        let Answer { result, in_doubt } = repeated(std::future::pending::<azure_core::Result<()>>).await;
        assert_eq!((result, in_doubt), (Err(Error::Unreachable { problem: "no answer in time" }), true));
    }

    #[test]
    fn an_answer_is_final_unless_it_passes() {
        for (status, code, passes, in_doubt) in [
            (404, "QueueNotFound", false, false),
            (403, "AuthorizationPermissionMismatch", false, false),
            (400, "InvalidXmlDocument", false, false),
            (413, "RequestBodyTooLarge", false, false),
            (503, "ServerBusy", true, false),
            (429, "", true, false),
            (500, "OperationTimedOut", true, true),
            (502, "", true, true),
        ] {
            let failure = answered(status, code.to_owned());
            assert_eq!((failure.passes, failure.in_doubt), (passes, in_doubt), "{status} {code}");
        }
        assert_eq!(answered(404, "QueueNotFound".to_owned()).error, Error::NoQueue);
        assert!(matches!(answered(404, String::new()).error, Error::Service { status: 404, .. }));
    }
}
