//! Throughput under service protection limits, compared with a client that does not adapt: `cargo sandbox bench gate`.
//!
//! Four handler processes share one application user, each with more messages than the limits allow. The Dataverse stand-in has
//! sliding windows as the service does; a second one, with the same limits, serves the naive client meanwhile.
//!
//! The windows and their contents are scaled by the same factor, so the allowed rates do not change. The handler's own
//! times are not scaled, and each window costs each process at least one rejection: with windows shorter than the
//! default's, or less than two of them measured, values are printed without bounds.

mod naive;
mod summary;
mod trial;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use indicatif::ProgressBar;

use super::{Benchmark, Bound, Findings, Handler, Measurement, report};
use stand_ins::dataverse::Limits;
use trial::Trial;

/// The long text of `--help`.
pub const ABOUT: &str = "\
Throughput under service protection limits, beside a client that does not adapt.

Four real handlers with one application user, each with 60 queue messages in flight, against the Dataverse stand-in with the
documented limits: 6,000 requests and 1,200 s of execution time in 300 s, 52 concurrent requests. The windows and their contents
are scaled 1:4 (--factor): 20 writes a second, or 4 concurrent ones, are allowed at any factor. The measurement begins after one
window, 75 s, and lasts for two.

Beside it runs a naive client: 52 concurrent messages for each of four instances; each waits for the Retry-After of its own 429
and is sent again, as the retry loop of an SDK does. Its values are printed without bounds.

It takes four minutes for each case, ends with a table and JSON, and exits with 1 when a bound is broken: at least 90 % of what the
limits allow, 429 on at most 1 % of the requests. Shorter windows, or less than two of them measured, are printed without bounds.

Cases:
  requests   a write takes 50 to 150 ms: the number of requests is the limit
  execution  a write takes 125 to 375 ms: the execution time is the limit
  at-once    a write takes 0.5 to 1.5 s, and only concurrent requests are limited, as if many servers shared the load";

/// The end of `--help`.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox bench gate
  cargo sandbox bench gate --only at-once --seconds 300
  cargo sandbox bench gate --factor 1                   the windows of Azure: 15 minutes for each case
  cargo sandbox bench gate --debug --quick              a smoke test: no release build, a minute";

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

impl Case {
    /// The mean duration of a write, which varies by half of it.
    fn write(self) -> Duration {
        Duration::from_millis(match self {
            Self::Requests => 100,
            Self::Execution => 250,
            Self::AtOnce => 1_000,
        })
    }
}

/// The options of this benchmark.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Scales the windows of the limits and their contents down by this factor.
    #[arg(long, default_value_t = Plan::FACTOR, value_parser = clap::value_parser!(u32).range(1..=60))]
    factor: u32,
    /// Seconds to measure, after one window; by default two windows.
    #[arg(long, value_parser = clap::value_parser!(u64).range(5..=36_000))]
    seconds: Option<u64>,
    /// Measures one window of ten seconds without bounds: a smoke test.
    #[arg(long, conflicts_with_all = ["factor", "seconds"])]
    quick: bool,
}

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The handler's executable.
    pub handler: PathBuf,
    /// The factor by which windows are scaled down.
    pub factor: u32,
    /// The time to measure, after one window.
    pub time: Duration,
}

impl Plan {
    const FACTOR: u32 = 4;

    /// Two windows at this factor.
    pub fn full(handler: PathBuf, factor: u32) -> Self {
        Self { handler, factor, time: 2 * Limits::default().window / factor }
    }

    /// One short window of `seconds`.
    pub fn quick(handler: PathBuf, seconds: u32) -> Self {
        let time = Duration::from_secs(seconds.into());
        Self { handler, factor: 300 / seconds.clamp(1, 300), time }
    }

    fn bounded(&self, name: &str, value: f64, bound: Bound) -> Measurement {
        if self.is_short() {
            Measurement::unbounded(name, value, "%")
        } else {
            Measurement::bounded(name, value, "%", bound)
        }
    }

    fn limits(&self, case: Case) -> Limits {
        let documented = Limits::default();
        let scaled = Limits {
            requests: documented.requests / usize::try_from(self.factor).unwrap_or(usize::MAX),
            execution: documented.execution / self.factor,
            window: documented.window / self.factor,
            ..documented
        };
        match case {
            Case::Requests | Case::Execution => scaled,
            Case::AtOnce => Limits { requests: usize::MAX, execution: Duration::MAX, ..scaled },
        }
    }
}

impl Benchmark for Plan {
    const NAME: &'static str = "gate";
    type Case = Case;
    type Options = Options;

    fn plan(handler: Handler, options: Options) -> anyhow::Result<Self> {
        let plan = if options.quick { Self::quick(handler.path, 10) } else { Self::full(handler.path, options.factor) };
        Ok(Self { time: options.seconds.map_or(plan.time, Duration::from_secs), ..plan })
    }

    fn is_short(&self) -> bool {
        self.factor > Self::FACTOR || self.time < Self::full(PathBuf::new(), self.factor).time
    }

    fn remark(&self) -> String {
        let window = self.limits(Case::Requests).window.as_secs_f64();
        format!(
            "Windows of 300 s and what they hold were scaled 1:{} to {window:.0} s; measured for {:.0} s after the first {window:.0} s.",
            self.factor,
            self.time.as_secs_f64()
        )
    }

    async fn measure(&self, case: &Case, bar: &ProgressBar) -> anyhow::Result<Findings> {
        measure_one(self, *case, bar).await.map(Into::into)
    }
}

async fn measure_one(plan: &Plan, case: Case, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    let trial = Trial { plan, case };
    let showing = async {
        report::pass(bar, trial.lasts()).await;
        anyhow::Ok(())
    };
    let (handlers, naive, ()) = tokio::try_join!(trial.handlers(), trial.naive_client(), showing)?;
    ensure!(handlers.rate() > 0.0, "the handlers wrote nothing");
    let limits = plan.limits(case);
    Ok(vec![
        plan.bounded("handlers: writes, of what the limits allow", handlers.used(&limits), Bound::AtLeast(90.0)),
        plan.bounded("429, of all requests", handlers.refused(), Bound::AtMost(1.0)),
        Measurement::unbounded("written", handlers.rate(), "/s"),
        Measurement::unbounded("the limits allow", handlers.allowed_rate(&limits), "/s"),
        Measurement::unbounded("naive client: writes, of what the limits allow", naive.used(&limits), "%"),
        Measurement::unbounded("429, of all requests", naive.refused(), "%"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaled_windows_allow_the_same_rates() {
        let plan = Plan::full(PathBuf::new(), 4);
        let limits = plan.limits(Case::Requests);
        let (window, execution) = (Duration::from_secs(75), Duration::from_mins(5));
        assert_eq!(limits, Limits { requests: 1_500, execution, concurrent: 52, window });
        assert_eq!((plan.time, plan.is_short()), (2 * window, false));
    }

    #[test]
    fn a_quick_plan_has_windows_of_the_given_length() {
        let plan = Plan::quick(PathBuf::new(), 10);
        let window = plan.limits(Case::Execution).window;
        assert_eq!((window, plan.time, plan.is_short()), (Duration::from_secs(10), Duration::from_secs(10), true));
    }
}
