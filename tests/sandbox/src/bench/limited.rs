//! Handlers, and a client that does not adapt, under service protection limits: writes, and rejections.
//!
//! The windows are empty at first, so the measurement begins after one of them. Requests are counted by the limits of the Dataverse
//! stand-in, to which a batch is one; writes are counted in its journal, where each part of a batch stands.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures::future::try_join_all;
use indicatif::ProgressBar;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, StatusCode};
use tokio::time::sleep;

use super::driver::{Keys, Load};
use super::message::Message;
use super::{milliseconds, number, report};
use crate::world::{Options, World};
use stand_ins::dataverse::{self, Dataverse, Entry, Limits, Usage};
use stand_ins::host::Host;
use stand_ins::net::http_client;

/// Concurrent messages of the naive client for each instance: the documented limit.
const NAIVE_MESSAGES: u64 = 52;

/// Columns of a row.
pub(super) const COLUMNS: &str = r#"{"firstname":"Ada"}"#;

/// The documented limits with windows scaled down; the rate that they allow stays the same.
pub(super) fn scaled(factor: u32) -> Limits {
    let documented = Limits::default();
    let requests = documented.requests / usize::try_from(factor).unwrap_or(usize::MAX);
    Limits { requests, execution: documented.execution / factor, window: documented.window / factor, ..documented }
}

/// Handler processes that share a user, and their load.
#[derive(Debug, Clone)]
pub(super) struct Fleet<'a> {
    pub(super) handler: &'a Path,
    pub(super) settings: &'a [(&'a str, &'a str)],
    pub(super) instances: u64,
    pub(super) message: Message,
    /// Messages in flight of each.
    pub(super) in_flight: u64,
    /// The records of each connection.
    pub(super) each: u64,
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    pub(super) limits: Limits,
    /// The mean duration of a write, which varies by half of it.
    pub(super) write: Duration,
    /// How long it lasts, after one window.
    pub(super) time: Duration,
}

/// The processes of a fleet.
pub(super) struct Running {
    pub(super) world: World,
    pub(super) hosts: Vec<Host>,
}

impl Fleet<'_> {
    /// Starts them with this Dataverse.
    pub(super) async fn start(&self, dataverse: dataverse::Options) -> anyhow::Result<Running> {
        let world = World::start(Options { handler: self.handler.to_owned(), dataverse, ..Options::default() }).await?;
        let settings = [&[("RUST_LOG", "warn")], self.settings].concat();
        let hosts = world.hosts(usize::try_from(self.instances)?, &settings).await?;
        Ok(Running { world, hosts })
    }
}

impl Running {
    /// Sends the load of the fleet until it fails; no two messages in flight are for the same row.
    pub(super) async fn load(&self, fleet: &Fleet<'_>) -> anyhow::Result<Infallible> {
        let Fleet { message, instances, in_flight, each, .. } = fleet;
        let loads = (0..).zip(&self.hosts).map(|(instance, host)| {
            let keys = Keys::InTurn { first: instance * in_flight * each, each: *each };
            let load = Load { keys, ..Load::to(host.port_of_handler(), message, *in_flight, u64::MAX) };
            async move { load.send().await.with_context(|| format!("instance {instance} of {instances}")) }
        });
        try_join_all(loads).await?;
        bail!("the load ended")
    }

    /// Stops them.
    pub(super) async fn stop(self) {
        for host in self.hosts {
            host.stop().await;
        }
    }
}

impl Trial {
    /// The stand-in for it.
    pub(super) fn options(&self) -> dataverse::Options {
        let Self { limits, write, .. } = *self;
        dataverse::Options {
            limits: Some(limits),
            race_window: write,
            race_spread: 0.5,
            ..dataverse::Options::default()
        }
    }

    /// Measures handler processes with queue messages.
    pub(super) async fn handlers(&self, fleet: Fleet<'_>) -> anyhow::Result<Summary> {
        let running = fleet.start(self.options()).await?;
        let summary = self.watch(&running.world.dataverse, running.load(&fleet)).await?;
        running.stop().await;
        ensure!(summary.writes > 0, "the handlers wrote nothing");
        Ok(summary)
    }

    /// Measures a client that does not adapt, under the same limits: single requests, as many at once for each instance as one
    /// may have; each waits for the `Retry-After` of its own 429.
    pub(super) async fn naive_client(&self, instances: u64) -> anyhow::Result<Summary> {
        let dataverse = Dataverse::start(self.options()).await?;
        let (http, set) = (http_client(), format!("{}/api/data/v9.2/contacts", dataverse.url()));
        let row = |number| format!("{set}(employeeid='N-{number}')");
        let messages = (0..instances * NAIVE_MESSAGES).map(|number| keep_writing(&http, row(number)));
        let ended = async { try_join_all(messages).await.and_then(|_| bail!("the load ended")) };
        self.watch(&dataverse, ended).await
    }

    /// Shows the progress of a measurement that begins after `delay`.
    pub(super) async fn show(&self, bar: &ProgressBar, delay: Duration) -> anyhow::Result<()> {
        report::pass(bar, delay + self.limits.window + self.time).await;
        Ok(())
    }

    async fn watch(
        &self,
        dataverse: &Dataverse,
        load: impl Future<Output = anyhow::Result<Infallible>>,
    ) -> anyhow::Result<Summary> {
        let watching = async {
            sleep(self.limits.window).await;
            let (from, before) = (dataverse.started().elapsed(), dataverse.usage());
            sleep(self.time).await;
            Summary::of(&dataverse.journal(), from, self.time, [before, dataverse.usage()])
        };
        tokio::select! {
            ended = load => ended.map(|never| match never {}),
            summary = watching => Ok(summary),
        }
    }
}

/// Upserts one row repeatedly; a rejected request is repeated after its `Retry-After`, as in an SDK's retry loop.
async fn keep_writing(http: &Client, url: String) -> anyhow::Result<Infallible> {
    loop {
        let request = http.patch(&url).bearer_auth("naive").header(CONTENT_TYPE, "application/json").body(COLUMNS);
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

/// Writes and rejections in a period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Summary {
    time: Duration,
    requests: usize,
    refused: usize,
    writes: usize,
    /// Execution time of all writes.
    spent: Duration,
    /// Execution time of all requests, as the limits count it.
    execution: Duration,
}

impl Summary {
    /// Sums up the writes that ended in the `time` after `from`, and the usage meanwhile.
    fn of(journal: &[Entry], from: Duration, time: Duration, [before, after]: [Usage; 2]) -> Self {
        let mut summary = Self {
            time,
            requests: after.requests - before.requests,
            refused: after.refused - before.refused,
            writes: 0,
            spent: Duration::ZERO,
            execution: after.execution.saturating_sub(before.execution),
        };
        for entry in journal.iter().filter(|entry| (from..from + time).contains(&entry.end)) {
            if let Some((began, ended)) = entry.looked_up.zip(entry.commit) {
                summary.writes += 1;
                summary.spent += ended.saturating_sub(began);
            }
        }
        summary
    }

    /// Writes in percent of those that the limits allow. Requests in flight when a limit is reached still finish, so
    /// slightly more than 100 % is possible.
    pub(super) fn used(&self, limits: &Limits) -> f64 {
        100.0 * self.rate() / self.allowed_rate(limits)
    }

    /// Rejections in percent of all requests.
    pub(super) fn refused(&self) -> f64 {
        100.0 * number(self.refused) / number(self.requests)
    }

    /// Writes per second.
    pub(super) fn rate(&self) -> f64 {
        number(self.writes) / self.time.as_secs_f64()
    }

    /// Writes per request that was not rejected.
    pub(super) fn per_request(&self) -> f64 {
        number(self.writes) / number(self.requests - self.refused)
    }

    /// Execution time in percent of what the limits allow.
    pub(super) fn execution_used(&self, limits: &Limits) -> f64 {
        100.0 * self.execution.div_duration_f64(self.time) / limits.execution.div_duration_f64(limits.window)
    }

    /// Execution time for each write, in milliseconds: what was asked for, and what the machine added.
    pub(super) fn execution_of_write(&self) -> f64 {
        milliseconds(self.execution) / number(self.writes)
    }

    /// The single writes per second that the limits allow at the measured duration of a write.
    pub(super) fn allowed_rate(&self, limits: &Limits) -> f64 {
        let mean = self.spent.as_secs_f64() / number(self.writes);
        let by_requests = number(limits.requests) / limits.window.as_secs_f64();
        let by_execution = limits.execution.div_duration_f64(limits.window) / mean;
        let by_slots = number(limits.concurrent) / mean;
        by_requests.min(by_execution).min(by_slots)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// So many writes of this duration in five minutes, and fifty rejections.
    pub(in super::super) fn summary(writes: usize, millis: u64) -> Summary {
        let spent = Duration::from_millis(millis) * u32::try_from(writes).expect("few writes");
        let time = Duration::from_mins(5);
        Summary { time, requests: writes + 50, refused: 50, writes, spent, execution: spent }
    }

    #[test]
    fn shares_are_of_what_is_allowed_and_of_all_requests() {
        let (summary, limits) = (summary(4_950, 100), Limits::default());
        let found = [
            summary.rate(),
            summary.used(&limits),
            summary.refused(),
            summary.execution_used(&limits),
            summary.execution_of_write(),
        ];
        assert_eq!(found.map(|value| format!("{value:.2}")), ["16.50", "82.50", "1.00", "41.25", "100.00"]);
        assert!((Summary { requests: 1_050, ..summary }.per_request() - 4.95).abs() < 1e-6);
        assert!(Summary { requests: 0, refused: 0, ..summary }.refused().is_nan());
    }
}
