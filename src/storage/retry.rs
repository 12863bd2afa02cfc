//! The one retry rule for requests to the storage.
//!
//! The SDK's own retries are off ([`super::Connection::client_options`]): its default outlives a lease. Locks retry briefly and
//! leave the rest to the host; the commands, which no host calls again, retry for some seconds.

use std::time::Duration;

use futures::FutureExt as _;
use tokio::time::{sleep, timeout};

use super::Error;

/// How often, and at which pace, a request without a usable answer is repeated.
#[derive(Debug)]
pub(crate) struct RetryPolicy {
    /// The longest wait for one answer.
    pub(crate) request_timeout: Duration,
    /// Repetitions after the first attempt.
    pub(crate) max_retries: u32,
    /// The average pause before the first repetition; each further one is twice as long.
    pub(crate) first_pause: Duration,
}

/// A result, possibly after repetitions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Retried<T> {
    pub(crate) result: Result<T, Error>,
    /// Whether an attempt without an answer may have been carried out beyond what `result` says.
    pub(crate) is_ambiguous: bool,
}

impl RetryPolicy {
    /// Makes one request within its time. Not an `async fn`, whose future would hold the request's large future twice.
    pub(crate) fn once<T>(
        &self,
        request: impl Future<Output = azure_core::Result<T>>,
    ) -> impl Future<Output = Result<T, Error>> {
        timeout(self.request_timeout, request).map(|answer| answer.map_or(Err(Error::TIMEOUT), |answer| Ok(answer?)))
    }

    /// Repeats `attempt` while its error is transient.
    pub(crate) async fn run<T, F>(&self, mut attempt: impl FnMut() -> F) -> Retried<T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (mut is_ambiguous, mut pause, mut retries) = (false, self.first_pause, 0..self.max_retries);
        loop {
            let result = attempt().await;
            let Err(error) = &result else { return Retried { result, is_ambiguous } };
            is_ambiguous |= error.is_ambiguous();
            if !error.is_transient() || retries.next().is_none() {
                return Retried { result, is_ambiguous };
            }
            sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        request_timeout: Duration::from_secs(15),
        max_retries: 4,
        first_pause: Duration::from_millis(200),
    };
    const NO_CONNECTION: Error = Error::Unreachable { sent: false, problem: "no connection" };
    const BROKEN: Error = Error::Unreachable { sent: true, problem: "the connection broke" };

    /// Fails with `errors` in turn, then succeeds; also returns the number of attempts.
    async fn run(errors: &[Error]) -> (Retried<()>, usize) {
        let attempts = Cell::new(0);
        let attempt = || {
            let error = errors.get(attempts.get()).cloned();
            attempts.set(attempts.get() + 1);
            async { error.map_or(Ok(()), Err) }
        };
        (POLICY.run(attempt).await, attempts.get())
    }

    #[tokio::test(start_paused = true)]
    async fn repeats_a_request_without_an_answer_which_is_ambiguous_only_if_it_was_sent() {
        for (errors, is_ambiguous) in
            [(vec![], false), (vec![NO_CONNECTION, NO_CONNECTION], false), (vec![BROKEN, NO_CONNECTION], true)]
        {
            let succeeded = Retried { result: Ok(()), is_ambiguous };
            assert_eq!(run(&errors).await, (succeeded, errors.len() + 1), "{errors:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_after_a_few_seconds() {
        let begun = Instant::now();
        let failed = Retried { result: Err(NO_CONNECTION), is_ambiguous: false };
        assert_eq!(run(&[NO_CONNECTION; 9]).await, (failed, 5));
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn does_not_repeat_after_a_final_answer() {
        let refused = Error::Refused { status: 403, code: String::new() };
        let failed = Retried { result: Err(refused.clone()), is_ambiguous: true };
        assert_eq!(run(&[BROKEN, refused]).await, (failed, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_times_out() {
        let begun = Instant::now();
        assert_eq!(POLICY.once(pending::<azure_core::Result<()>>()).await, Err(Error::TIMEOUT));
        assert_eq!(begun.elapsed(), POLICY.request_timeout);
    }
}
