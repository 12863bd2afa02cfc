//! What a benchmark ran on: without it a time is a number and nothing more.
//!
//! What cannot be found out is said to be unknown. The load average is that of the minute before: a machine that is busy with
//! something else gives counts that are right, and times that are not.

use std::fs;
use std::process::Command;
use std::thread;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::stage;

/// A machine that has more to do than this, per core, disturbs what is measured.
const BUSY: f64 = 0.5;

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
    /// The commit of the workspace, and whether there is more than that.
    pub commit: String,
    /// Of the minute before; JSON has null where there is none.
    pub load_average: f64,
    /// When it began.
    pub at: String,
}

impl Machine {
    /// Looks at this machine, now.
    pub(super) fn look() -> Self {
        let commit = output("git", &["describe", "--always", "--dirty", "--exclude=*"]);
        let kernel = ["-s", "-r", "-m"].map(|what| output("uname", &[what]));
        let load = fs::read_to_string("/proc/loadavg").ok();
        let load_average = load.and_then(|text| text.split(' ').next()?.parse().ok());
        Self {
            cpu: fs::read_to_string("/proc/cpuinfo").ok().as_deref().and_then(model).unwrap_or_else(unknown),
            cores: thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.join(" "),
            rustc: output("rustc", &["--version"]),
            commit,
            load_average: load_average.unwrap_or(f64::NAN),
            at: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_else(|_| unknown()),
        }
    }

    /// Whether something else had the machine's attention.
    pub(super) fn was_busy(&self) -> bool {
        let cores = u32::try_from(self.cores).map_or(1.0, f64::from);
        self.load_average > BUSY * cores
    }

    /// Its lines, each with a title.
    pub(super) fn lines(&self) -> [(&'static str, String); 6] {
        [
            ("processor", format!("{}, {} cores", self.cpu, self.cores)),
            ("system", self.kernel.clone()),
            ("compiler", self.rustc.clone()),
            ("commit", self.commit.clone()),
            ("load average before", format!("{:.2}", self.load_average)),
            ("begun", self.at.clone()),
        ]
    }
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
    fn a_machine_with_more_to_do_than_half_its_cores_was_busy() {
        let machine = |load_average| Machine { load_average, cores: 2, ..Machine::look() };
        assert!(machine(1.1).was_busy() && !machine(0.9).was_busy() && !machine(f64::NAN).was_busy());
    }

    #[test]
    fn a_program_that_is_not_there_leaves_it_unknown() {
        assert_eq!(output("no-such-program", &[]), "unknown");
    }
}
