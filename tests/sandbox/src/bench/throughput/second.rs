//! What a second core adds to a handler.
//!
//! The load needs cores too. On a machine with four of them it has those beyond the first two to itself, and the rates with one
//! core and with two are compared. With fewer it can never be apart from a handler that uses both, so like is compared with like:
//! two handlers with a core each and one handler with both, the load free on both, and as much in flight in all. Two handlers do
//! twice what one does, by construction; and what the load takes would dilute the difference. So the rates are those of the
//! handlers' own accounts, by two figures of the operating system: the CPU time that a message takes, and how much of both cores'
//! time was used while there was work. What one handler's threads do to each other is in the first, what they wait for each other
//! in the second.

use std::time::Duration;

use indicatif::ProgressBar;

use crate::bench::cores::{self, Cores};
use crate::bench::driver::Load;
use crate::bench::message::{Columns, Template};
use crate::bench::meter::Cpu;
use crate::bench::runs::{Book, Runs, compared};
use crate::bench::scene::Scene;
use crate::bench::target::{Running, Subject};
use crate::bench::{Bound, Findings, microseconds, number};

/// More than both cores can do at once.
const IN_FLIGHT: u64 = 64;
const MESSAGES: u64 = 8_000;
const WARM_UP: u64 = 1_000;

pub(super) const ADDS: &str = "a second core adds";

/// How it is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The load has cores of its own.
    Apart,
    /// The load is on the handler's cores.
    Shared,
}

/// Who runs where.
#[derive(Debug, Clone, Copy)]
struct Setup {
    name: &'static str,
    /// Each handler's.
    handlers: &'static [Cores],
    load: Cores,
}

/// What a setup showed.
#[derive(Debug, Clone, Copy)]
struct Taken {
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

impl Way {
    /// The better one that this machine has the cores for.
    pub(super) fn here() -> Self {
        if cores::count() < 4 { Self::Shared } else { Self::Apart }
    }

    /// In a few words.
    pub(super) fn in_short(self) -> &'static str {
        match self {
            Self::Apart => "the load has cores of its own",
            Self::Shared => "one handler with both cores, beside two with a core each",
        }
    }

    /// How, and why in this way.
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

    /// What is compared: without what a second core adds, and with it.
    fn setups(self) -> [Setup; 2] {
        match self {
            Self::Apart => [ONE_CORE, TWO_CORES],
            Self::Shared => [TWO_HANDLERS, ONE_HANDLER],
        }
    }

    /// In percent of what one core does.
    fn adds(self, without: Taken, with: Taken) -> f64 {
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
    /// What is told of it, as [`Taken::values`] has it, and in which unit.
    fn told(self) -> [(String, &'static str); 3] {
        let whose = if self.load == Cores::Rest { "handler" } else { "handler and load" };
        [
            (format!("messages, {}", self.name), "/s"),
            (format!("CPU per message, {}", self.name), "µs"),
            (format!("of the cores used by {whose}, {}", self.name), "%"),
        ]
    }

    /// Warms the handlers up and sends them the load.
    async fn take(self, scene: &Scene, runs: &Runs) -> anyhow::Result<Taken> {
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
        Ok(Taken {
            rate: number(messages) / answers.lasted.as_secs_f64(),
            each: by_handlers.div_f64(number(messages)),
            used: on_them.div_duration_f64(there),
        })
    }
}

impl Taken {
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
    let way = Way::here();
    let set = async |subject: &Subject| Ok(subject.clone());
    let books = runs.in_turn(bar, set, async |subject, book| lap(way, subject, runs, book).await).await?;
    let mut all = compared(&books, ADDS, "%", Some(Bound::AtLeast(70.0)));
    for (name, unit) in way.setups().into_iter().flat_map(Setup::told).chain([(way.ratio(), "×")]) {
        all.extend(compared(&books, &name, unit, None));
    }
    Ok(Findings { note: Some(way.reason()), ..all.into() })
}

/// On a stage of its own: where the system puts threads that are free, it keeps them, and one run is not to decide for all.
async fn lap(way: Way, subject: &Subject, runs: &Runs, book: &mut Book) -> anyhow::Result<()> {
    let scene = Scene::set(subject, false).await?;
    let [one, other] = way.setups();
    let taken = [one.take(&scene, runs).await?, other.take(&scene, runs).await?];
    for (setup, taken) in way.setups().into_iter().zip(taken) {
        for ((name, _), value) in setup.told().into_iter().zip(taken.values()) {
            book.note(name, value);
        }
    }
    let [without, with] = taken;
    book.note(way.ratio(), with.rate / without.rate);
    book.note(ADDS, way.adds(without, with));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(rate: f64, micros: u64, used: f64) -> Taken {
        Taken { rate, each: Duration::from_micros(micros), used }
    }

    fn is(value: f64, wanted: f64) -> bool {
        (value - wanted).abs() < 1e-9
    }

    #[test]
    fn apart_from_the_load_a_second_core_adds_what_the_rate_gains() {
        let adds = Way::Apart.adds(taken(5_000.0, 190, 0.99), taken(9_000.0, 200, 0.9));
        assert!(is(adds, 80.0), "{adds}");
    }

    #[test]
    fn one_handler_that_costs_and_waits_no_more_than_two_is_twice_as_much_whatever_the_load_takes() {
        let adds = |rate| Way::Shared.adds(taken(7_000.0, 200, 0.95), taken(rate, 200, 0.95));
        assert!(is(adds(7_000.0), 100.0) && is(adds(100.0), 100.0), "{}", adds(100.0));
    }

    #[test]
    fn what_threads_cost_each_other_and_what_they_wait_for_each_other_are_both_taken_off() {
        let two_handlers = taken(7_000.0, 180, 1.0);
        assert!(is(Way::Shared.adds(two_handlers, taken(6_000.0, 200, 1.0)), 80.0));
        assert!(is(Way::Shared.adds(two_handlers, taken(6_000.0, 180, 0.8)), 60.0));
        assert!(is(Way::Shared.adds(two_handlers, taken(6_000.0, 200, 0.5)), -10.0));
    }

    #[test]
    fn what_is_compared_has_as_many_cores_in_all_as_its_way_says() {
        let cores = |setup: Setup| setup.handlers.iter().map(|cores| cores.count()).sum::<u32>();
        assert_eq!(Way::Shared.setups().map(cores), [2, 2]);
        assert_eq!(Way::Apart.setups().map(cores), [1, 2]);
    }
}
