//! The lock's simulation under every fault: how many seeds ran, and how long they took.
//!
//! It is a test of the workspace and needs no handler, so it runs as such: `cargo test --test it simulation`. What it says at
//! its end is read; a seed that breaks the lock tells its story instead.

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use indicatif::ProgressBar;
use tokio::process::Command;

use super::Plan;
use crate::bench::{Bound, Measurement, number, report};
use crate::stage;

const TEST: &str = "simulation::no_seed_breaks_the_lock";

/// The ordinary run has to be over well before that.
const MOST_SECONDS: f64 = 60.0;

pub(super) async fn measure(plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    report::begin(bar, plan.seeds, "seeds");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(stage::workspace()).args([
        "test",
        "--quiet",
        "--package",
        "dataverse-sync",
        "--test",
        "it",
        "--",
    ]);
    command.args(["--exact", TEST, "--nocapture"]).env("LOCK_SIMULATION_SEEDS", plan.seeds.to_string());
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = command.output().await.context("running cargo test")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let story = || format!("{TEST} failed:\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), story());
    let (seeds, seconds) = said.lines().find_map(read).with_context(|| format!("{TEST} did not say how it went"))?;
    bar.set_position(plan.seeds);
    let all = number(plan.seeds);
    let time = if plan.seeds > Plan::SEEDS {
        Measurement::told("time for all of them", seconds, "s")
    } else {
        Measurement::judged("time for all of them", seconds, "s", Bound::AtMost(MOST_SECONDS))
    };
    Ok(vec![Measurement::judged("seeds that the lock survived", seeds, "seeds", Bound::AtLeast(all)), time])
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
    fn what_the_simulation_says_is_read_and_nothing_else() {
        assert_eq!(read("10000 seeds from 1 in 21.6 s"), Some((10_000.0, 21.6)));
        assert_eq!(read("test simulation::no_seed_breaks_the_lock ... ok"), None);
        assert_eq!(read("no seeds from 1 in a day"), None);
    }
}
