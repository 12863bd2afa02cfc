//! Allocations and instructions per message, counted by valgrind: instructions in the executable as it is deployed, allocations
//! in a build without mimalloc (`no_mimalloc.rs`), or in the given executable.
//!
//! Two processes get a load and twice that load; the difference is the cost of the messages, without start, warm-up and shutdown.
//! The handler needs no instrumentation. Counts do not depend on other load on the machine.
//!
//! Without valgrind there is no value; an allocator that valgrind cannot see shows almost no allocations, which is reported.
//!
//! <https://valgrind.org/docs/manual/dh-manual.html>

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use indicatif::ProgressBar;
use tokio::time::timeout;

use super::no_mimalloc;
use crate::bench::driver::Load;
use crate::bench::message::{Columns, Template};
use crate::bench::runs::{Limit, Runs, Samples, compared};
use crate::bench::scene::Scene;
use crate::bench::target::{Start, Target};
use crate::bench::{Findings, number, report};
use crate::stage::Build;

const MESSAGES: u64 = 400;
const IN_FLIGHT: u64 = 4;

/// Draining takes at most 30 seconds; valgrind makes it slower.
const PATIENCE: Duration = Duration::from_mins(2);

const BLOCKS: &str = "allocations per message";
const BYTES: &str = "allocated per message";
const INSTRUCTIONS: &str = "instructions per message, in its own code";

/// Fewer than this count as none: valgrind does not see the allocator.
const FEWEST: f64 = 10.0;

const WITHOUT_MIMALLOC: &str = "allocations are counted in a build of their own, without mimalloc";
const GIVEN: &str = "valgrind sees none of this handler's allocations; they are counted where the benchmark builds the handler \
                     itself, or in one that was built with --no-default-features";

/// What a tool counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    /// Blocks and bytes.
    Dhat,
    /// Instructions.
    Callgrind,
}

/// `built` is how the handler was built, to build it again without mimalloc; `None`: it was given.
pub(super) async fn measure(runs: &Runs, built: Option<&Build>, bar: &ProgressBar) -> anyhow::Result<Findings> {
    let found = Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    ensure!(found.is_ok_and(|status| status.success()), "not measured: valgrind is not installed");
    let mut without_mimalloc = built.map(|usual| no_mimalloc::build(usual, bar)).transpose()?;
    let mut by_target = Vec::new();
    report::begin(bar, 4 * u64::try_from(runs.targets.len())?, "processes");
    for target in &runs.targets {
        let mut samples = Samples::default();
        let messages = runs.messages(MESSAGES).max(20);
        // The first target is the handler.
        let path = without_mimalloc.take().unwrap_or_else(|| target.path.clone());
        let [blocks, bytes] = difference(&Target { path, ..target.clone() }, Tool::Dhat, messages, bar).await?;
        samples.add(BLOCKS, if blocks < FEWEST { f64::NAN } else { blocks });
        samples.add(BYTES, if blocks < FEWEST { f64::NAN } else { bytes / 1_024.0 });
        let [instructions, _] = difference(target, Tool::Callgrind, messages, bar).await?;
        samples.add(INSTRUCTIONS, instructions / 1_000.0);
        by_target.push((target.name, samples));
    }
    let mut all = compared(&by_target, BLOCKS, "blocks", Limit::None);
    all.extend(compared(&by_target, BYTES, "KiB", Limit::None));
    all.extend(compared(&by_target, INSTRUCTIONS, "thousand", Limit::None));
    let note = note(built.is_some(), all[0].value);
    Ok(Findings { note, ..all.into() })
}

/// A note about how the allocations were counted.
fn note(built: bool, blocks: f64) -> Option<&'static str> {
    match (built, blocks.is_nan()) {
        (true, _) => Some(WITHOUT_MIMALLOC),
        (false, true) => Some(GIVEN),
        (false, false) => None,
    }
}

/// What a message adds to each of a tool's counts.
async fn difference(target: &Target, tool: Tool, messages: u64, bar: &ProgressBar) -> anyhow::Result<[f64; 2]> {
    let scene = Scene::set(target, false).await?;
    let once = counted(&scene, tool, messages).await?;
    bar.inc(1);
    let twice = counted(&scene, tool, 2 * messages).await?;
    bar.inc(1);
    Ok([0, 1].map(|at| (twice[at] - once[at]) / number(messages)))
}

/// A tool's counts for a process that got this many messages.
async fn counted(scene: &Scene, tool: Tool, messages: u64) -> anyhow::Result<[f64; 2]> {
    let log = scene.start.folder.join("valgrind.log");
    let start = Start { under: tool.command(&log)?, ..scene.start.clone() };
    let running = scene.running(start).await?;
    let template = Template::new(Columns::Many(1_024));
    scene.drive(Load::of(&running, &template, IN_FLIGHT, messages)).await?;
    let mut child = running.into_child();
    let pid = child.id().context("the process is gone")?;
    let asked = Command::new("kill").args(["-TERM", &pid.to_string()]).status().context("running kill")?;
    ensure!(asked.success(), "the process could not be asked to end");
    timeout(PATIENCE, child.wait()).await.context("the process did not end when it was asked to")??;
    let text = std::fs::read_to_string(&log).context("reading what valgrind wrote")?;
    match tool.counts(&text) {
        Some(counts) => Ok(counts),
        None => bail!("valgrind wrote no count"),
    }
}

impl Tool {
    fn command(self, log: &Path) -> anyhow::Result<Vec<String>> {
        let log = log.to_str().context("the path of valgrind's log is not UTF-8")?;
        let tool: &[&str] = match self {
            Self::Dhat => &["--tool=dhat", "--dhat-out-file=/dev/null"],
            Self::Callgrind => &["--tool=callgrind", "--callgrind-out-file=/dev/null"],
        };
        let all = ["valgrind"].into_iter().chain(tool.iter().copied()).map(str::to_owned);
        Ok(all.chain([format!("--log-file={log}")]).collect())
    }

    /// Reads the log: blocks and bytes, or instructions.
    fn counts(self, log: &str) -> Option<[f64; 2]> {
        let named = |name: &str| log.lines().find_map(|line| line.split_once(name)).map(|(_, rest)| rest);
        match self {
            Self::Dhat => {
                let (bytes, blocks) = named("Total:")?.split_once(" bytes in ")?;
                Some([count(blocks)?, count(bytes)?])
            }
            Self::Callgrind => Some([count(named("Collected :")?)?, 0.0]),
        }
    }
}

/// A count with commas, and whatever follows it.
fn count(text: &str) -> Option<f64> {
    let digits: String =
        text.trim().chars().take_while(|c| c.is_ascii_digit() || *c == ',').filter(|c| *c != ',').collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_allocations_are_counted_is_said_and_how_to_get_them_where_there_are_none() {
        assert_eq!(note(true, 300.0), Some(WITHOUT_MIMALLOC));
        assert_eq!(note(false, 300.0), None);
        assert!(note(false, f64::NAN).is_some_and(|note| note.ends_with("--no-default-features")));
    }

    #[test]
    fn blocks_and_bytes_are_read_from_dhats_log() {
        let log = "==1== DHAT, a dynamic heap analysis tool\n==1== Total:     1,234,567 bytes in 8,901 blocks\n==1== At t-gmax: 2 bytes in 1 blocks\n";
        assert_eq!(Tool::Dhat.counts(log), Some([8_901.0, 1_234_567.0]));
        assert_eq!(Tool::Dhat.counts("==1== killed\n"), None);
    }

    #[test]
    fn instructions_are_read_from_callgrinds_log() {
        let log = "==1== Events    : Ir\n==1== Collected : 12345678\n==1== \n==1== I   refs:      12,345,678\n";
        assert_eq!(Tool::Callgrind.counts(log), Some([12_345_678.0, 0.0]));
    }
}
