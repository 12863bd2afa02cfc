//! What a second core adds to a handler.
//!
//! The load needs cores too. On a machine with four cores it runs on those beyond the first two, and the rates with one
//! and with two cores are compared. With fewer it cannot be separated from a handler that uses both, so two handlers
//! with one core each are compared with one handler on both cores, with the load on both cores and the same number of
//! messages in flight. Two handlers do twice the work of one, but the load's CPU time would dilute the difference, so
//! the comparison uses two figures of the operating system: CPU time per message, which includes contention between a
//! handler's threads, and the share of both cores used while there was work, which includes their waiting.

use std::time::Duration;

use indicatif::ProgressBar;

use crate::bench::cores::{self, Cores};
use crate::bench::driver::Load;
use crate::bench::message::{Columns, Template};
use crate::bench::meter::Cpu;
use crate::bench::runs::{Limit, Runs, Samples, compared};
use crate::bench::scene::Scene;
use crate::bench::target::{Running, Target};
use crate::bench::{Findings, microseconds, number};

/// Enough to saturate both cores.
const IN_FLIGHT: u64 = 64;
const MESSAGES: u64 = 8_000;
const WARM_UP: u64 = 1_000;

pub(super) const ADDS: &str = "a second core adds";

/// How it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// The load has cores of its own.
    Apart,
    /// The load is on the handler's cores.
    Shared,
}

/// The handlers and the load with their cores.
#[derive(Debug, Clone, Copy)]
struct Setup {
    name: &'static str,
    /// The cores of each handler.
    handlers: &'static [Cores],
    load: Cores,
}

/// The measurements of a setup.
#[derive(Debug, Clone, Copy)]
struct Usage {
    /// Messages per second.
    rate: f64,
    /// The CPU time of a message.
    each: Duration,
    /// The share of the handlers' cores that was used while there was work.
    used: f64,
}

const ONE_CORE: Setup = Setup { name: "one core", handlers: &[Cores::One(0)], load: Cores::Rest };
const TWO_CORES: Setup = Setup { name: "two cores", handlers: &[Cores::Both], load: Cores::Rest };
const TWO_HANDLERS: Setup =
    Setup { name: "two handlers with a core each", handlers: &[Cores::One(0), Cores::One(1)], load: Cores::Both };
const ONE_HANDLER: Setup = Setup { name: "one handler with both cores", handlers: &[Cores::Both], load: Cores::Both };

impl Method {
    /// The better method that this machine has enough cores for.
    pub(super) fn here() -> Self {
        if cores::count() < 4 { Self::Shared } else { Self::Apart }
    }

    /// A short description.
    pub(super) fn in_short(self) -> &'static str {
        match self {
            Self::Apart => "the load has cores of its own",
            Self::Shared => "one handler with both cores, beside two with a core each",
        }
    }

    /// The method and the reason for it.
    fn reason(self) -> &'static str {
        match self {
            Self::Apart => {
                "this machine has cores enough for the load to be apart from the handler, so plain rates are compared"
            }
            Self::Shared => {
                "on this machine the load cannot be apart from a handler that uses two cores, so one handler with both is \
                 compared with two that have one each, by CPU time per message and by the share of both cores that was used"
            }
        }
    }

    /// The setups to compare: without a second core, and with it.
    fn setups(self) -> [Setup; 2] {
        match self {
            Self::Apart => [ONE_CORE, TWO_CORES],
            Self::Shared => [TWO_HANDLERS, ONE_HANDLER],
        }
    }

    /// The second core's contribution, in percent of one core.
    fn adds(self, without: Usage, with: Usage) -> f64 {
        let times = match self {
            Self::Apart => with.rate / without.rate,
            Self::Shared => 2.0 * without.each.div_duration_f64(with.each) * (with.used / without.used),
        };
        100.0 * (times - 1.0)
    }

    fn ratio(self) -> String {
        let [without, with] = self.setups();
        format!("messages, {} ÷ {}", with.name, without.name)
    }
}

impl Setup {
    /// The names and units of [`Usage::values`].
    fn names(self) -> [(String, &'static str); 3] {
        let whose = if self.load == Cores::Rest { "handler" } else { "handler and load" };
        [
            (format!("messages, {}", self.name), "/s"),
            (format!("CPU per message, {}", self.name), "µs"),
            (format!("of the cores used by {whose}, {}", self.name), "%"),
        ]
    }

    /// Warms up the handlers, then measures them under the load.
    async fn take(self, scene: &Scene, runs: &Runs) -> anyhow::Result<Usage> {
        scene.load_on(self.load)?;
        let template = Template::new(Columns::Many(1_024));
        let mut handlers = Vec::new();
        for cores in self.handlers {
            let handler = scene.running_on(Some(*cores)).await?;
            scene.drive(Load::of(&handler, &template, 1, 4)).await?;
            handlers.push(handler);
        }
        let share = IN_FLIGHT / u64::try_from(handlers.len())?;
        let loads = |messages| handlers.iter().map(|handler| Load::of(handler, &template, share, messages)).collect();
        scene.drive_together(loads(WARM_UP)).await?;
        let messages = runs.messages(MESSAGES);
        let before = (spent(&handlers)?, Cpu::of(std::process::id())?);
        let answers = scene.drive_together(loads(messages)).await?;
        let by_load = Cpu::of(std::process::id())?.since(&before.1).total;
        let by_handlers = since(&spent(&handlers)?, &before.0);
        for handler in handlers {
            handler.stop().await?;
        }
        let there = answers.lasted * self.handlers.iter().map(|cores| cores.count()).sum();
        let on_them = if self.load == Cores::Rest { by_handlers } else { by_handlers + by_load };
        Ok(Usage {
            rate: number(messages) / answers.lasted.as_secs_f64(),
            each: by_handlers.div_f64(number(messages)),
            used: on_them.div_duration_f64(there),
        })
    }
}

impl Usage {
    fn values(self) -> [f64; 3] {
        [self.rate, microseconds(self.each), 100.0 * self.used]
    }
}

/// The CPU time of each handler so far.
fn spent(handlers: &[Running]) -> anyhow::Result<Vec<Cpu>> {
    handlers.iter().map(|handler| Cpu::of(handler.pid()?)).collect()
}

/// The CPU time of all handlers since an earlier reading.
fn since(now: &[Cpu], earlier: &[Cpu]) -> Duration {
    now.iter().zip(earlier).map(|(now, earlier)| now.since(earlier).total).sum()
}

pub(super) async fn measure(runs: &Runs, bar: &ProgressBar) -> anyhow::Result<Findings> {
    cores::must_be_apart()?;
    let method = Method::here();
    let set = async |target: &Target| Ok(target.clone());
    let by_target = runs.in_turn(bar, set, async |target, samples| lap(method, target, runs, samples).await).await?;
    let mut all = compared(&by_target, ADDS, "%", Limit::None);
    for (name, unit) in method.setups().into_iter().flat_map(Setup::names).chain([(method.ratio(), "×")]) {
        all.extend(compared(&by_target, &name, unit, Limit::None));
    }
    Ok(Findings { note: Some(method.reason()), ..all.into() })
}

/// Uses a new scene for each run: the system tends to keep unpinned threads where it first put them, and one placement
/// must not decide all runs.
async fn lap(method: Method, target: &Target, runs: &Runs, samples: &mut Samples) -> anyhow::Result<()> {
    let scene = Scene::set(target, false).await?;
    let [one, other] = method.setups();
    let usage = [one.take(&scene, runs).await?, other.take(&scene, runs).await?];
    for (setup, usage) in method.setups().into_iter().zip(usage) {
        for ((name, _), value) in setup.names().into_iter().zip(usage.values()) {
            samples.add(name, value);
        }
    }
    let [without, with] = usage;
    samples.add(method.ratio(), with.rate / without.rate);
    samples.add(ADDS, method.adds(without, with));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(rate: f64, micros: u64, used: f64) -> Usage {
        Usage { rate, each: Duration::from_micros(micros), used }
    }

    fn is(value: f64, wanted: f64) -> bool {
        (value - wanted).abs() < 1e-9
    }

    #[test]
    fn apart_from_the_load_a_second_core_adds_what_the_rate_gains() {
        let adds = Method::Apart.adds(usage(5_000.0, 190, 0.99), usage(9_000.0, 200, 0.9));
        assert!(is(adds, 80.0), "{adds}");
    }

    #[test]
    fn one_handler_that_costs_and_waits_no_more_than_two_is_twice_as_much_whatever_the_load_takes() {
        let adds = |rate| Method::Shared.adds(usage(7_000.0, 200, 0.95), usage(rate, 200, 0.95));
        assert!(is(adds(7_000.0), 100.0) && is(adds(100.0), 100.0), "{}", adds(100.0));
    }

    #[test]
    fn what_threads_cost_each_other_and_what_they_wait_for_each_other_are_both_taken_off() {
        let two_handlers = usage(7_000.0, 180, 1.0);
        assert!(is(Method::Shared.adds(two_handlers, usage(6_000.0, 200, 1.0)), 80.0));
        assert!(is(Method::Shared.adds(two_handlers, usage(6_000.0, 180, 0.8)), 60.0));
        assert!(is(Method::Shared.adds(two_handlers, usage(6_000.0, 200, 0.5)), -10.0));
    }

    #[test]
    fn what_is_compared_has_as_many_cores_in_all_as_its_way_says() {
        let cores = |setup: Setup| setup.handlers.iter().map(|cores| cores.count()).sum::<u32>();
        assert_eq!(Method::Shared.setups().map(cores), [2, 2]);
        assert_eq!(Method::Apart.setups().map(cores), [1, 2]);
    }
}
