//! Service protection: per user, sliding windows of requests and execution time, and a maximum of concurrent requests.
//!
//! Rejections are 429 with `Retry-After`, and a rejected request counts too: a client that keeps sending waits longer.
//! There is one web server; the real limits are per server. Invariant: a window contains nothing older than its length.
//! See <https://learn.microsoft.com/power-apps/developer/data-platform/api-limits#service-protection-api-limits>.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::Instant;

use super::errors::Error;

/// The limits of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests within the window.
    pub requests: usize,
    /// Execution time within the window, summed over requests.
    pub execution: Duration,
    /// Concurrent requests.
    pub concurrent: usize,
    /// The window's length.
    pub window: Duration,
}

impl Default for Limits {
    /// The service's limits.
    fn default() -> Self {
        Self { requests: 6_000, execution: Duration::from_mins(20), concurrent: 52, window: Duration::from_mins(5) }
    }
}

/// A user's remaining budget, for the `x-ms-ratelimit-*` headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) requests: usize,
    pub(super) execution: Duration,
}

/// Usage so far, of all users together. A batch is one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests, rejected ones included.
    pub requests: usize,
    /// Rejected requests.
    pub refused: usize,
    /// Execution time of requests that have ended.
    pub execution: Duration,
}

/// The windows of every user.
#[derive(Debug)]
pub(super) struct Limiter {
    limits: Limits,
    users: HashMap<String, Window>,
    pub(super) usage: Usage,
}

#[derive(Debug, Default)]
struct Window {
    arrivals: VecDeque<Instant>,
    spent: VecDeque<(Instant, Duration)>,
    running: usize,
}

impl Limiter {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, users: HashMap::new(), usage: Usage::default() }
    }

    /// Admits a request or rejects it. An admitted request must [`leave`](Self::leave).
    pub(super) fn enter(&mut self, user: &str, now: Instant) -> Result<Left, Error> {
        let entered = self.admit(user, now);
        self.usage.requests += 1;
        self.usage.refused += usize::from(entered.is_err());
        entered
    }

    fn admit(&mut self, user: &str, now: Instant) -> Result<Left, Error> {
        let limits = self.limits;
        let window = self.users.entry(user.to_owned()).or_default();
        window.forget(now, limits.window);
        window.arrivals.push_back(now);
        if let Some(wait) = window.requests_wait(&limits, now) {
            return Err(refusal("0x80072322", requests_text(&limits), wait));
        }
        if let Some(wait) = window.execution_wait(&limits, now) {
            // A rejected request also costs execution time; otherwise clients could keep sending at no cost.
            window.spent.push_back((now, limits.execution / 1_000));
            return Err(refusal("0x80072321", execution_text(&limits), wait));
        }
        if window.running >= limits.concurrent {
            let text = format!("Number of concurrent requests exceeded the limit of {}.", limits.concurrent);
            return Err(refusal("0x80072326", text, limits.window / 60));
        }
        window.running += 1;
        let execution = limits.execution.saturating_sub(window.total());
        Ok(Left { requests: limits.requests - window.arrivals.len(), execution })
    }

    /// Ends an admitted request; `spent` is its execution time.
    pub(super) fn leave(&mut self, user: &str, now: Instant, spent: Duration) {
        if let Some(window) = self.users.get_mut(user) {
            window.running -= 1;
            window.spent.push_back((now, spent));
            self.usage.execution += spent;
        }
    }
}

impl Window {
    fn forget(&mut self, now: Instant, window: Duration) {
        while self.arrivals.front().is_some_and(|&at| now - at >= window) {
            self.arrivals.pop_front();
        }
        while self.spent.front().is_some_and(|&(at, _)| now - at >= window) {
            self.spent.pop_front();
        }
    }

    /// How long until a request is allowed; `None`: now. The current request is already counted.
    fn requests_wait(&self, limits: &Limits, now: Instant) -> Option<Duration> {
        let excess = self.arrivals.len().checked_sub(limits.requests).filter(|&excess| excess > 0)?;
        self.arrivals.get(excess).or(self.arrivals.back()).map(|&at| at + limits.window - now)
    }

    fn execution_wait(&self, limits: &Limits, now: Instant) -> Option<Duration> {
        let mut total = self.total();
        if total < limits.execution {
            return None;
        }
        let freeing = self.spent.iter().find(|(_, spent)| {
            total -= *spent;
            total < limits.execution
        });
        freeing.map(|&(at, _)| at + limits.window - now)
    }

    fn total(&self) -> Duration {
        self.spent.iter().map(|(_, spent)| *spent).sum()
    }
}

fn refusal(code: &'static str, text: String, wait: Duration) -> Error {
    let wait = wait.max(Duration::from_secs(1));
    Error { retry_after: Some(wait), ..Error::new(StatusCode::TOO_MANY_REQUESTS, code, text) }
}

fn requests_text(limits: &Limits) -> String {
    let (requests, window) = (limits.requests, limits.window.as_secs());
    format!("Number of requests exceeded the limit of {requests} over time window of {window} seconds.")
}

fn execution_text(limits: &Limits) -> String {
    let (execution, window) = (with_thousands(limits.execution.as_millis()), limits.window.as_secs());
    format!(
        "Combined execution time of incoming requests exceeded limit of {execution}  milliseconds over time window of \
         {window} seconds. Decrease number of concurrent requests or reduce the duration of requests and try again later."
    )
}

/// `1,200,000`.
fn with_thousands(number: u128) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_mins(5);

    fn limiter(requests: usize, execution: u64, concurrent: usize) -> Limiter {
        let execution = Duration::from_secs(execution);
        Limiter::new(Limits { requests, execution, concurrent, window: WINDOW })
    }

    fn code(answer: Result<Left, Error>) -> (String, u64) {
        let error = answer.expect_err("refused");
        (error.code.into_owned(), error.retry_after.map_or(0, |wait| wait.as_secs()))
    }

    fn done(limiter: &mut Limiter, now: Instant, spent: u64) {
        limiter.enter("u", now).expect("allowed");
        limiter.leave("u", now, Duration::from_secs(spent));
    }

    #[test]
    fn requests_beyond_the_limit_wait_for_the_oldest_to_leave_the_window() {
        let mut limiter = limiter(2, 99, 9);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        done(&mut limiter, at(0), 0);
        done(&mut limiter, at(100), 0);
        assert_eq!(code(limiter.enter("u", at(150))), ("0x80072322".to_owned(), 250));
        assert!(limiter.enter("other", at(150)).is_ok());
        assert!(limiter.enter("u", at(400)).is_ok());
    }

    #[test]
    fn sending_on_during_the_wait_lengthens_it() {
        let mut limiter = limiter(1, 99, 9);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        done(&mut limiter, at(0), 0);
        assert_eq!(code(limiter.enter("u", at(10))).1, 300);
        assert_eq!(code(limiter.enter("u", at(299))).1, 300, "the refused ones count");
        assert_eq!(limiter.usage, Usage { requests: 3, refused: 2, execution: Duration::ZERO });
    }

    #[test]
    fn execution_time_is_summed_over_the_window() {
        let mut limiter = limiter(99, 10, 9);
        let start = Instant::now();
        done(&mut limiter, start, 4);
        done(&mut limiter, start + Duration::from_secs(50), 7);
        assert_eq!(code(limiter.enter("u", start + Duration::from_mins(1))), ("0x80072321".to_owned(), 240));
        assert!(limiter.enter("u", start + WINDOW).is_ok());
    }

    #[test]
    fn requests_at_once_are_counted_until_they_leave() {
        let mut limiter = limiter(99, 10, 1);
        let now = Instant::now();
        limiter.enter("u", now).expect("the first");
        assert_eq!(code(limiter.enter("u", now)).0, "0x80072326");
        limiter.leave("u", now, Duration::ZERO);
        assert!(limiter.enter("u", now).is_ok());
    }
}
