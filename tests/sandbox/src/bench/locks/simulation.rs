//! The lock's simulation under every fault: how many seeds ran, and how long they took.
//!
//! It is a workspace test without a handler process, so it is run as `cargo test --test it simulation` and its last
//! line is parsed; a seed that breaks the lock prints its trace instead.

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use indicatif::ProgressBar;
use tokio::process::Command;

use super::Plan;
use crate::bench::{Bound, Measurement, number, report};
use crate::stage::builder;

const TEST: &str = "simulation::no_seed_breaks_the_lock";

/// An ordinary run ends well before this.
const MOST_SECONDS: f64 = 60.0;

pub(super) async fn measure(plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    report::begin(bar, plan.seeds, "seeds");
    let mut command = Command::from(builder::cargo());
    command.args(["test", "--quiet", "--test", "it", "--", "--exact", TEST, "--nocapture"]);
    command.env("LOCK_SIMULATION_SEEDS", plan.seeds.to_string());
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = command.output().await.context("running cargo test")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let failure = || format!("{TEST} failed:\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), failure());
    let (seeds, seconds) = text.lines().find_map(read).with_context(|| format!("{TEST} did not print its summary"))?;
    bar.set_position(plan.seeds);
    let all = number(plan.seeds);
    let time = if plan.seeds > Plan::SEEDS {
        Measurement::unbounded("time for all of them", seconds, "s")
    } else {
        Measurement::bounded("time for all of them", seconds, "s", Bound::AtMost(MOST_SECONDS))
    };
    Ok(vec![Measurement::bounded("seeds that the lock survived", seeds, "seeds", Bound::AtLeast(all)), time])
}

/// Seeds and seconds in `10000 seeds from 1 in 21.6 s`.
fn read(line: &str) -> Option<(f64, f64)> {
    let (seeds, rest) = line.split_once(" seeds from ")?;
    let (_, seconds) = rest.split_once(" in ")?;
    Some((seeds.trim().parse().ok()?, seconds.strip_suffix(" s")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn only_the_simulations_summary_line_is_parsed() {
        assert_eq!(read("10000 seeds from 1 in 21.6 s"), Some((10_000.0, 21.6)));
        assert_eq!(read("test simulation::no_seed_breaks_the_lock ... ok"), None);
        assert_eq!(read("no seeds from 1 in a day"), None);
    }
}
