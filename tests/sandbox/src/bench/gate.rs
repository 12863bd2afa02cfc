//! Throughput under service protection limits, compared with a client that does not adapt: `cargo sandbox bench gate`.
//!
//! The Dataverse stand-in has sliding windows as the service does. The handler's own times are not scaled, and each window costs
//! each process at least one rejection, so windows shorter than the default's are not judged.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures::future::try_join_all;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, StatusCode};
use tokio::time::sleep;

use super::benchmark::Context;
use super::driver::{Keys, Load};
use super::message::Message;
use super::{Benchmark, Bound, Limit, Samples, number, report};
use crate::world::{Options, World};
use stand_ins::dataverse::{self, Dataverse, Entry, Limits};
use stand_ins::net::http_client;

/// The long text of `--help`.
pub const ABOUT: &str = "\
Throughput under service protection limits, beside a client that does not adapt.

Four real handlers with one application user, each with 60 queue messages in flight, against the Dataverse stand-in with the
documented limits: 6,000 requests and 1,200 s of execution time in 300 s, 52 concurrent requests. The windows and their contents
are scaled 1:4 (--factor): 20 writes a second, or 4 concurrent ones, are allowed at any factor. The measurement begins after one
window, 75 s, and lasts for two.

Beside it runs a naive client: 52 concurrent messages for each of four instances; each waits for the Retry-After of its own 429
and is sent again, as the retry loop of an SDK does. Its values are printed without bounds.

It takes four minutes for each case. The bounds: at least 90 % of what the limits allow, 429 on at most 1 % of the requests. With
shorter windows values are printed without bounds.

Cases:
  requests   a write takes 50 to 150 ms: the number of requests is the limit
  execution  a write takes 125 to 375 ms: the execution time is the limit
  at-once    a write takes 0.5 to 1.5 s, and only concurrent requests are limited, as if many servers shared the load";

/// The factor by which windows are scaled down.
const FACTOR: u32 = 4;

const INSTANCES: u64 = 4;

/// Messages in flight for each instance: more than it may send concurrently.
const MESSAGES: u64 = 60;

/// Concurrent messages of the naive client for each instance: the documented limit.
const NAIVE_MESSAGES: u64 = 52;

const BODY: &str = r#"{"firstname":"Ada"}"#;

/// The limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// The number of requests.
    Requests,
    /// The execution time.
    Execution,
    /// The concurrent requests.
    AtOnce,
}

impl Benchmark for Case {
    const NAME: &'static str = "gate";
    const RUNS: u64 = 1;
    const FACTOR: Option<u32> = Some(FACTOR);

    async fn run(self, context: &Context<'_>, samples: &mut Samples) -> anyhow::Result<()> {
        let limits = self.limits(context.or_quick(context.factor, 100));
        let trial = Trial {
            options: dataverse::Options {
                limits: Some(limits),
                race_window: self.write(),
                race_spread: 0.5,
                ..dataverse::Options::default()
            },
            window: limits.window,
            time: context.or_quick(2, 1) * limits.window,
        };
        let showing = async {
            report::pass(context.bar, trial.window + trial.time).await;
            anyhow::Ok(())
        };
        let (handlers, naive, ()) = tokio::try_join!(trial.handlers(context), trial.naive_client(), showing)?;
        ensure!(handlers.writes > 0, "the handlers wrote nothing");
        let is_judged = !context.quick && context.factor <= FACTOR;
        let limit = |bound| is_judged.then_some(Limit::Always(bound));
        let used = samples.add("handlers: writes, of what the limits allow", "%", handlers.used(&limits));
        used.limit(limit(Bound::AtLeast(90.0)));
        let refused = samples.add("handlers: 429, of all requests", "%", handlers.refused());
        refused.limit(limit(Bound::AtMost(1.0)));
        samples.add("handlers: written", "/s", handlers.rate());
        samples.add("the limits allow", "/s", handlers.allowed_rate(&limits));
        samples.add("naive client: writes, of what the limits allow", "%", naive.used(&limits));
        samples.add("naive client: 429, of all requests", "%", naive.refused());
        samples.add("a window", "s", limits.window.as_secs_f64());
        Ok(())
    }
}

impl Case {
    fn limits(self, factor: u32) -> Limits {
        let documented = Limits::default();
        let requests = documented.requests / usize::try_from(factor).unwrap_or(usize::MAX);
        let (execution, window) = (documented.execution / factor, documented.window / factor);
        match self {
            Self::Requests | Self::Execution => Limits { requests, execution, window, ..documented },
            Self::AtOnce => Limits { requests: usize::MAX, execution: Duration::MAX, window, ..documented },
        }
    }

    /// The mean duration of a write, which varies by half of it.
    fn write(self) -> Duration {
        Duration::from_millis(match self {
            Self::Requests => 100,
            Self::Execution => 250,
            Self::AtOnce => 1_000,
        })
    }
}

/// One measurement. The windows are empty at first, so it begins after one of them.
struct Trial {
    options: dataverse::Options,
    window: Duration,
    time: Duration,
}

impl Trial {
    /// Measures handler processes with queue messages, each for a row of its own.
    async fn handlers(&self, context: &Context<'_>) -> anyhow::Result<Summary> {
        let (handler, dataverse) = (context.target.path.clone(), self.options.clone());
        let world = World::start(Options { handler, dataverse, ..Options::default() }).await?;
        let hosts = world.hosts(usize::try_from(INSTANCES)?, &[("RUST_LOG", "warn")]).await?;
        let loads = (0..).zip(&hosts).map(|(instance, host)| {
            let keys = Keys::InTurn { first: instance * MESSAGES, each: 1 };
            Load { keys, ..Load::to(host.port_of_handler(), &Message::new(BODY), MESSAGES, u64::MAX) }.send()
        });
        let summary = self.watch(&world.dataverse, try_join_all(loads)).await?;
        for host in hosts {
            host.stop().await;
        }
        Ok(summary)
    }

    /// Measures a client that does not adapt, under the same limits.
    async fn naive_client(&self) -> anyhow::Result<Summary> {
        let dataverse = Dataverse::start(self.options.clone()).await?;
        let (http, set) = (http_client(), format!("{}/api/data/v9.2/contacts", dataverse.url()));
        let row = |number| format!("{set}(employeeid='N-{number}')");
        let messages = (0..INSTANCES * NAIVE_MESSAGES).map(|number| keep_writing(&http, row(number)));
        self.watch(&dataverse, try_join_all(messages)).await
    }

    async fn watch<T>(
        &self,
        dataverse: &Dataverse,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<Summary> {
        let from = dataverse.started().elapsed() + self.window;
        tokio::select! {
            ended = work => ended.and_then(|_| bail!("the load ended")),
            () = sleep(self.window + self.time) => Ok(Summary::of(&dataverse.journal(), from, self.time)),
        }
    }
}

/// Upserts one row repeatedly; a rejected request is repeated after its `Retry-After`, as in an SDK's retry loop.
async fn keep_writing(http: &Client, url: String) -> anyhow::Result<Infallible> {
    loop {
        let request = http.patch(&url).bearer_auth("naive").header(CONTENT_TYPE, "application/json").body(BODY);
        let response = request.send().await.context("calling the Dataverse stand-in")?;
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            let named = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            sleep(Duration::from_secs(named.context("a 429 names no time to wait")?)).await;
        } else {
            ensure!(status.is_success(), "the naive client was answered {status}");
        }
    }
}

/// Writes and rejections in a period, from the stand-in's journal.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Summary {
    time: Duration,
    requests: usize,
    refused: usize,
    writes: usize,
    /// Execution time of all writes.
    spent: Duration,
}

impl Summary {
    /// Sums up the requests that ended in the `time` after `from`.
    fn of(journal: &[Entry], from: Duration, time: Duration) -> Self {
        let mut summary = Self { time, requests: 0, refused: 0, writes: 0, spent: Duration::ZERO };
        for entry in journal.iter().filter(|entry| (from..from + time).contains(&entry.end)) {
            summary.requests += 1;
            summary.refused += usize::from(entry.status == Some(429));
            if let Some((began, ended)) = entry.looked_up.zip(entry.commit) {
                summary.writes += 1;
                summary.spent += ended.saturating_sub(began);
            }
        }
        summary
    }

    /// Writes in percent of those that the limits allow. Requests in flight when a limit is reached still finish, so
    /// slightly more than 100 % is possible.
    fn used(&self, limits: &Limits) -> f64 {
        100.0 * self.rate() / self.allowed_rate(limits)
    }

    /// Rejections in percent of all requests.
    fn refused(&self) -> f64 {
        100.0 * number(self.refused) / number(self.requests)
    }

    /// Writes per second.
    fn rate(&self) -> f64 {
        number(self.writes) / self.time.as_secs_f64()
    }

    /// The writes per second that the limits allow at the measured duration of a write.
    fn allowed_rate(&self, limits: &Limits) -> f64 {
        let mean = self.spent.as_secs_f64() / number(self.writes);
        let by_requests = number(limits.requests) / limits.window.as_secs_f64();
        let by_execution = limits.execution.div_duration_f64(limits.window) / mean;
        let by_slots = number(limits.concurrent) / mean;
        by_requests.min(by_execution).min(by_slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(writes: usize, millis: u64) -> Summary {
        let spent = Duration::from_millis(millis) * u32::try_from(writes).expect("few writes");
        Summary { time: Duration::from_mins(5), requests: writes + 50, refused: 50, writes, spent }
    }

    #[test]
    fn the_tightest_limit_says_what_is_allowed_at_any_factor() {
        for (case, millis, allowed) in
            [(Case::Requests, 100, 20.0), (Case::Execution, 250, 16.0), (Case::AtOnce, 500, 104.0)]
        {
            for factor in [1, 4] {
                let found = summary(3_000, millis).allowed_rate(&case.limits(factor));
                assert!((found - allowed).abs() < 1e-6, "{case:?}: {found}");
            }
        }
    }

    #[test]
    fn shares_are_of_what_is_allowed_and_of_all_requests() {
        let (summary, limits) = (summary(4_950, 100), Limits::default());
        let found = [summary.rate(), summary.used(&limits), summary.refused()].map(|value| format!("{value:.3}"));
        assert_eq!(found, ["16.500", "82.500", "1.000"]);
        assert!(Summary { requests: 0, refused: 0, ..summary }.refused().is_nan());
    }
}
