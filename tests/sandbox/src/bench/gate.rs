//! Throughput under service protection limits, compared with a client that does not adapt: `cargo sandbox bench gate`.
//!
//! The Dataverse stand-in has sliding windows as the service does. The handler's own times are not scaled, and each window costs
//! each process at least one rejection, so windows shorter than the default's are not judged.

use std::time::Duration;

use super::benchmark::Context;
use super::limited::{COLUMNS, Fleet, Trial, scaled};
use super::message::Message;
use super::{Benchmark, Bound, Limit, Samples};
use stand_ins::dataverse::Limits;

/// The long text of `--help`.
pub const ABOUT: &str = "\
Throughput under service protection limits, beside a client that does not adapt.

Four real handlers with one application user and SYNC_BATCH=off (bulk measures
batches), each with 60 queue messages in flight, against the Dataverse stand-in
with the documented limits: 6,000 requests and 1,200 s of execution time in 300
s, 52 concurrent requests. The windows and their contents are scaled 1:4
(--factor): 20 writes a second, or 4 concurrent ones, are allowed at any factor.
The measurement begins after one window, 75 s, and lasts for two.

Beside it runs a naive client: 52 concurrent messages for each of four
instances; each waits for the Retry-After of its own 429 and is sent again, as
the retry loop of an SDK does. Its values are printed without bounds.

It takes four minutes for each case. The bounds: at least 90 % of what the
limits allow, 429 on at most 1 % of the requests. With shorter windows values
are printed without bounds.

Cases:
  requests   a write takes 50 to 150 ms: the number of requests is the limit
  execution  a write takes 125 to 375 ms: the execution time is the limit
  at-once    a write takes 0.5 to 1.5 s, and only concurrent requests are
             limited, as if many servers shared the load";

/// The factor by which windows are scaled down.
const FACTOR: u32 = 4;

const INSTANCES: u64 = 4;

/// Messages in flight for each instance: more than it may send concurrently.
const MESSAGES: u64 = 60;

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
        let trial = Trial { limits, write: self.write(), time: context.or_quick(2, 1) * limits.window };
        let fleet = Fleet {
            handler: &context.target.path,
            settings: &[("SYNC_BATCH", "off")],
            instances: INSTANCES,
            message: Message::new(COLUMNS),
            in_flight: MESSAGES,
            each: 1,
        };
        let measured = (trial.handlers(fleet), trial.naive_client(INSTANCES), trial.show(context.bar, Duration::ZERO));
        let (handlers, naive, ()) = tokio::try_join!(measured.0, measured.1, measured.2)?;
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
        match self {
            Self::Requests | Self::Execution => scaled(factor),
            Self::AtOnce => Limits { requests: usize::MAX, execution: Duration::MAX, ..scaled(factor) },
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

#[cfg(test)]
mod tests {
    use super::super::limited::tests::summary;
    use super::*;

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
}
