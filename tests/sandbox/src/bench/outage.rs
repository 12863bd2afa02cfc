//! The effect of a ten-minute outage, compared with a plain queue trigger: `cargo sandbox bench outage`.
//!
//! For each kind of outage two worlds run concurrently, each with waiting messages: one configured as the app is
//! deployed, one with the host's defaults (5 immediate deliveries) and without holding.
//!
//! The outage, `Retry-After`, the host's times and `SYNC_HOLD_SECONDS` are scaled by a factor, which is printed. Recovery is not
//! scaled: leases, probes and writes take their real time.

mod trial;

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressBar;

use super::{Benchmark, Bound, Findings, Handler, Measurement, number, report};
use trial::{Policy, Trial};

/// Unscaled times.
const OUTAGE: Duration = Duration::from_mins(10);
const RETRY_AFTER: Duration = Duration::from_mins(5);

/// The long text of `--help`.
pub const ABOUT: &str = "\
What an outage of ten minutes costs.

500 messages wait while Dataverse answers 503, 401, or 429 with Retry-After: 300, while the lock storage is gone, while the
identity endpoint is gone. Real handlers and hosts, as deployed, and beside them the same with the host's defaults (5
immediate deliveries) and SYNC_HOLD_SECONDS=0: a plain queue trigger.

Times are scaled 1:20 (--factor): outage, Retry-After, host.json's visibility timeout and the like, SYNC_HOLD_SECONDS. The time
from the outage's end until all messages are applied is not: the handler's own waits take their real time.

It ends with a table and JSON, and exits with 1 when a bound is broken: none in poison, at most one delivery more than without
the outage, all applied within a minute of its end.

Cases:
  503       Dataverse answers 503 to everything
  401       Dataverse refuses every token
  429       Dataverse answers 429 with Retry-After: 300
  storage   every connection to the lock storage breaks
  identity  the identity endpoint fails, and the tokens that were issued are revoked";

/// The end of `--help`.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox bench outage
  cargo sandbox bench outage --only 503 --only storage
  cargo sandbox bench outage --only 503 --factor 1      in real time: 11 minutes";

/// A kind of outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// Dataverse answers 503 to everything.
    #[value(name = "503")]
    Busy,
    /// Dataverse refuses every token.
    #[value(name = "401")]
    Unauthorized,
    /// Dataverse answers 429 with Retry-After: 300.
    #[value(name = "429")]
    Throttled,
    /// Every connection to the lock storage breaks.
    Storage,
    /// The identity endpoint fails, and the tokens that were issued are revoked.
    Identity,
}

/// The options of this benchmark.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Scales times down by this factor.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=30))]
    factor: u32,
    /// The number of waiting messages.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    messages: u32,
}

/// How outages are measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The handler's executable.
    pub handler: PathBuf,
    /// Scales times down by this factor.
    pub factor: u32,
    /// The number of waiting messages.
    pub messages: usize,
}

impl Plan {
    /// Scales a time down.
    fn scaled(&self, time: Duration) -> Duration {
        time / self.factor
    }

    /// The same in whole seconds, at least one.
    fn scaled_seconds(&self, time: Duration) -> Duration {
        let scaled = self.scaled(time);
        Duration::from_secs((scaled.as_secs() + u64::from(scaled.subsec_nanos() > 0)).max(1))
    }
}

impl Benchmark for Plan {
    const NAME: &'static str = "outage";
    type Case = Case;
    type Options = Options;

    fn plan(handler: Handler, options: Options) -> anyhow::Result<Self> {
        let messages = usize::try_from(options.messages).context("too many messages")?;
        Ok(Self { handler: handler.path, factor: options.factor, messages })
    }

    fn is_short(&self) -> bool {
        self.factor > 1
    }

    fn remark(&self) -> String {
        format!(
            "{} messages, outages of {} min scaled 1:{} to {:.0} s; the time after an outage's end is as it was measured.",
            self.messages,
            OUTAGE.as_secs() / 60,
            self.factor,
            self.scaled(OUTAGE).as_secs_f64()
        )
    }

    async fn measure(&self, case: &Case, bar: &ProgressBar) -> anyhow::Result<Findings> {
        under_the_bar(self, *case, bar).await.map(Into::into)
    }
}

/// The progress bar covers the outage only; the duration of the recovery is not known.
async fn under_the_bar(plan: &Plan, case: Case, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    let showing = async {
        report::pass(bar, plan.scaled(OUTAGE)).await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        outcome = measure_one(plan, case) => outcome,
        never = showing => match never {},
    }
}

async fn measure_one(plan: &Plan, case: Case) -> anyhow::Result<Vec<Measurement>> {
    let trials = [Policy::Deployed, Policy::LeftAlone].map(|policy| Trial { plan, case, policy });
    let [deployed, alone] = &trials;
    let (deployed, alone) = tokio::try_join!(deployed.run(), alone.run())?;
    let messages = number(plan.messages);
    let after = deployed.settled_after.map_or(f64::NAN, |after| after.as_secs_f64());
    Ok(vec![
        Measurement::bounded("as deployed: in poison", number(deployed.in_poison), "messages", Bound::Exactly(0.0)),
        Measurement::bounded("applied", number(deployed.applied), "messages", Bound::Exactly(messages)),
        Measurement::bounded("most deliveries of one message", deployed.most_deliveries.into(), "", Bound::AtMost(2.0)),
        Measurement::bounded("from the end until all were applied", after, "s", Bound::AtMost(60.0)),
        Measurement::unbounded("left alone: in poison", number(alone.in_poison), "messages"),
        Measurement::unbounded("applied", number(alone.applied), "messages"),
        Measurement::unbounded("times are scaled by", plan.factor.into(), ""),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaled_times_keep_their_proportions_and_whole_seconds_never_become_none() {
        let plan = Plan { handler: PathBuf::new(), factor: 20, messages: 1 };
        assert_eq!((plan.scaled(OUTAGE), plan.scaled(RETRY_AFTER)), (Duration::from_secs(30), Duration::from_secs(15)));
        assert_eq!(plan.scaled_seconds(Duration::from_secs(30)), Duration::from_secs(2));
        assert_eq!(plan.scaled_seconds(Duration::from_secs(5)), Duration::from_secs(1));
    }
}
