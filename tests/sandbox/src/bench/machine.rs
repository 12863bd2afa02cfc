//! The machine that a benchmark ran on, without which times have no meaning.
//!
//! Values that cannot be determined are `unknown`. On a busy machine counts are right and times are not, so the load is
//! measured briefly first.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::meter;
use crate::stage;

/// How long the load is measured.
const MOMENT: Duration = Duration::from_millis(250);

/// Above this load, in percent of all cores, measurements are disturbed.
const BUSY: f64 = 15.0;

/// The machine and the source.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// The operating system.
    pub kernel: String,
    /// The compiler.
    pub rustc: String,
    /// The commit of the workspace, and whether there are uncommitted changes.
    pub commit: String,
    /// The load of other processes before the benchmark, in percent of all cores; null in JSON if unknown.
    pub others: f64,
    /// The load average over the last minute.
    pub load_average: String,
    /// When the benchmark began.
    pub at: String,
}

impl Machine {
    /// Inspects this machine now.
    pub(super) fn look() -> Self {
        let commit = output("git", &["describe", "--always", "--dirty", "--exclude=*"]);
        let kernel = ["-s", "-r", "-m"].map(|what| output("uname", &[what]));
        let load = fs::read_to_string("/proc/loadavg").ok();
        let load_average = load.and_then(|text| text.split(' ').next().map(str::to_owned));
        Self {
            cpu: fs::read_to_string("/proc/cpuinfo").ok().as_deref().and_then(model).unwrap_or_else(unknown),
            cores: thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.join(" "),
            rustc: output("rustc", &["--version"]),
            commit,
            others: busy().unwrap_or(f64::NAN),
            load_average: load_average.unwrap_or_else(unknown),
            at: OffsetDateTime::now_utc().truncate_to_second().format(&Rfc3339).unwrap_or_else(|_| unknown()),
        }
    }

    /// Whether other processes loaded the machine.
    pub(super) fn was_busy(&self) -> bool {
        self.others > BUSY
    }

    /// The report's lines, each with a title.
    pub(super) fn lines(&self) -> [(&'static str, String); 6] {
        [
            ("processor", format!("{}, {} cores", self.cpu, self.cores)),
            ("system", self.kernel.clone()),
            ("compiler", self.rustc.clone()),
            ("commit", self.commit.clone()),
            ("others' work before", format!("{:.0} % of all cores, load average {}", self.others, self.load_average)),
            ("begun", self.at.clone()),
        ]
    }
}

/// The current load of all cores, in percent.
fn busy() -> Option<f64> {
    let (idle, busy) = meter::machine().ok()?;
    thread::sleep(MOMENT);
    let (idle_since, busy_since) = meter::machine().ok()?;
    let (idle, busy) = (idle_since.saturating_sub(idle), busy_since.saturating_sub(busy));
    Some(100.0 * busy.div_duration_f64(idle + busy))
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The first line that a program prints.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(stage::workspace()).output().ok();
    let text = output.filter(|output| output.status.success()).map(|output| output.stdout);
    let text =
        text.and_then(|bytes| String::from_utf8(bytes).ok()).and_then(|text| Some(text.lines().next()?.to_owned()));
    text.unwrap_or_else(unknown)
}

fn model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processors_name_is_read() {
        let cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC\ncpu MHz\t\t: 2450\n";
        assert_eq!(model(cpuinfo).as_deref(), Some("AMD EPYC"));
        assert_eq!(model("processor : 0\n"), None);
    }

    #[test]
    fn a_machine_with_other_load_was_busy_and_an_unknown_one_was_not() {
        let machine = |others| Machine { others, ..Machine::look() };
        assert!(machine(20.0).was_busy() && !machine(5.0).was_busy() && !machine(f64::NAN).was_busy());
    }

    #[test]
    fn a_program_that_is_not_there_leaves_it_unknown() {
        assert_eq!(output("no-such-program", &[]), "unknown");
    }
}
