//! What the gate makes of service protection limits, beside a client that does not adapt: `cargo sandbox bench gate`.
//!
//! Four handler processes share one application user, each with more messages than it can get rid of. The stand-in for Dataverse
//! keeps its sliding windows as the service does; a second one, with the same limits, is called by the naive client meanwhile.
//!
//! The windows are scaled by a factor, which is printed, and what they hold alike: the rates that are allowed stay what they
//! are. The handler knows nothing of that and keeps its own times, and each window costs each process a refusal at least: with
//! windows shorter than the default's, or less than two of them measured, values are told and not judged.

mod naive;
mod tally;
mod trial;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use indicatif::ProgressBar;

use super::{Bound, Findings, Handler, Measurement, Room, report};
use crate::dataverse::Limits;
use trial::Trial;

/// `--help`, the text.
pub const ABOUT: &str = "\
What the gate makes of service protection limits, beside a client that does not adapt.

Four real handlers with one application user, each with 60 messages of the queue on its hands all the time, against the
Dataverse stand-in with the documented limits: 6,000 requests and 1,200 s of execution time in 300 s, 52 requests at once. The
windows are scaled 1:4 (--factor), and what they hold alike: 20 writes a second, or 4 at work, are allowed at any factor.
What is measured begins after one window, 75 s, and lasts for two.

Beside it the naive client: 52 messages at once for each of four instances; each waits for as long as its own 429 says and is
sent again, as the retry loop of an SDK does. It is told and has no bound.

It takes four minutes for each case and ends with a table and the same as JSON, and with exit code 1 when a bound is broken:
at least 90 % of what the limits allow, 429 on at most 1 % of the requests. Shorter windows, or less than two of them measured,
are told and not judged.

Cases:
  requests   a write takes 50 to 150 ms: the number of requests is the limit
  execution  a write takes 125 to 375 ms: the execution time is the limit
  at-once    a write takes 0.5 to 1.5 s, and only the requests at once are limited, as if many servers shared the load";

/// `--help`, the end.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox bench gate
  cargo sandbox bench gate --only at-once --seconds 300
  cargo sandbox bench gate --factor 1                   the windows of Azure: 15 minutes for each case
  cargo sandbox bench gate --debug --quick              does it work at all? No release build, a minute";

/// What is the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// The number of requests.
    Requests,
    /// The execution time.
    Execution,
    /// The requests at once.
    AtOnce,
}

impl Case {
    /// How long Dataverse takes for a write on average: from half of it to one and a half.
    fn write(self) -> Duration {
        Duration::from_millis(match self {
            Self::Requests => 100,
            Self::Execution => 250,
            Self::AtOnce => 1_000,
        })
    }
}

/// What it alone is told on the command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The limits' windows are so many times shorter than in Azure, and hold so many times less.
    #[arg(long, default_value_t = Plan::FACTOR, value_parser = clap::value_parser!(u32).range(1..=60))]
    factor: u32,
    /// How long is measured, after one window; two windows unless said.
    #[arg(long, value_parser = clap::value_parser!(u64).range(5..=36_000))]
    seconds: Option<u64>,
    /// Windows of ten seconds, of which one is measured: shows that it works, judges nothing.
    #[arg(long, conflicts_with_all = ["factor", "seconds"])]
    quick: bool,
}

/// How the gate is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The handler's executable.
    pub handler: PathBuf,
    /// The windows are so many times shorter than in Azure.
    pub factor: u32,
    /// How long is measured, after one window.
    pub time: Duration,
}

impl Plan {
    const FACTOR: u32 = 4;

    /// Two windows at this factor.
    pub fn full(handler: PathBuf, factor: u32) -> Self {
        Self { handler, factor, time: 2 * Limits::default().window / factor }
    }

    /// As short as it can be: one window of `seconds`.
    pub fn quick(handler: PathBuf, seconds: u32) -> Self {
        let time = Duration::from_secs(seconds.into());
        Self { handler, factor: 300 / seconds.clamp(1, 300), time }
    }

    fn judged(&self, name: &str, value: f64, bound: Bound) -> Measurement {
        if self.is_short() { Measurement::told(name, value, "%") } else { Measurement::judged(name, value, "%", bound) }
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

impl Room for Plan {
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
    let (gated, naive, ()) = tokio::try_join!(trial.through_the_gate(), trial.naively(), showing)?;
    ensure!(gated.rate() > 0.0, "nothing was written through the gate");
    let limits = plan.limits(case);
    Ok(vec![
        plan.judged("gate: writes, of what the limits allow", gated.used(&limits), Bound::AtLeast(90.0)),
        plan.judged("429, of all requests", gated.refused(), Bound::AtMost(1.0)),
        Measurement::told("written", gated.rate(), "/s"),
        Measurement::told("the limits allow", gated.allowed_rate(&limits), "/s"),
        Measurement::told("naive client: writes, of what the limits allow", naive.used(&limits), "%"),
        Measurement::told("429, of all requests", naive.refused(), "%"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaled_windows_hold_so_much_less_and_allow_the_same_rates() {
        let plan = Plan::full(PathBuf::new(), 4);
        let limits = plan.limits(Case::Requests);
        let (window, execution) = (Duration::from_secs(75), Duration::from_mins(5));
        assert_eq!(limits, Limits { requests: 1_500, execution, concurrent: 52, window });
        assert_eq!((plan.time, plan.is_short()), (2 * window, false));
    }

    #[test]
    fn a_quick_plan_has_windows_as_long_as_it_says() {
        let plan = Plan::quick(PathBuf::new(), 10);
        let window = plan.limits(Case::Execution).window;
        assert_eq!((window, plan.time, plan.is_short()), (Duration::from_secs(10), Duration::from_secs(10), true));
    }
}
