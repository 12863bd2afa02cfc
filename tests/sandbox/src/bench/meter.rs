//! CPU time and memory of a process, from `/proc`. Linux only; elsewhere it is an error.
//!
//! <https://docs.kernel.org/filesystems/proc.html>

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

/// `USER_HZ` is the same on every architecture that this runs on.
const TICK: Duration = Duration::from_millis(10);

/// The CPU time of a process so far, user and system: by thread in nanoseconds, and of all its threads in whole ticks.
#[derive(Debug)]
pub(super) struct Cpu {
    threads: BTreeMap<OsString, Duration>,
    process: Duration,
}

impl Cpu {
    /// Reads the time of process `pid`.
    pub(super) fn of(pid: u32) -> anyhow::Result<Self> {
        let tasks =
            fs::read_dir(format!("/proc/{pid}/task")).context("CPU time is read from /proc, which Linux has")?;
        let read = |task: fs::DirEntry| {
            Some((task.file_name(), on_core(&fs::read_to_string(task.path().join("schedstat")).ok()?)?))
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("reading the process's own time")?;
        let process = ticks(&stat).context("/proc has no CPU time")?;
        Ok(Self { threads: tasks.flatten().filter_map(read).collect(), process })
    }

    /// The CPU time since an earlier reading. That of a thread that ended meanwhile is known in ticks only.
    pub(super) fn since(&self, earlier: &Self) -> Duration {
        if earlier.threads.keys().any(|thread| !self.threads.contains_key(thread)) {
            return self.process.saturating_sub(earlier.process);
        }
        let of_threads = |cpu: &Self| cpu.threads.values().sum::<Duration>();
        of_threads(self).saturating_sub(of_threads(earlier))
    }
}

/// User and system time of `stat`. The name in brackets may contain any character, also a bracket.
fn ticks(stat: &str) -> Option<Duration> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11).map(str::parse::<u32>);
    Some(TICK * (fields.next()?.ok()? + fields.next()?.ok()?))
}

/// The first figure of `schedstat`: CPU time in nanoseconds.
fn on_core(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// The resident memory of process `pid` in bytes, the executable's own pages and libraries included.
pub(super) fn resident(pid: u32) -> anyhow::Result<u64> {
    of_status(pid, "VmRSS:")
}

/// The most resident memory that process `pid` has had, in bytes.
pub(super) fn most_resident(pid: u32) -> anyhow::Result<u64> {
    of_status(pid, "VmHWM:")
}

fn of_status(pid: u32, name: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.context("resident memory is read from /proc, which Linux has")?;
    bytes(&status, name).with_context(|| format!("/proc has no {name}"))
}

fn bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The load of all cores in percent, measured for `time`.
pub(super) fn busy(time: Duration) -> Option<f64> {
    let read = || idle_and_all(&fs::read_to_string("/proc/stat").ok()?);
    let (idle, all) = read()?;
    thread::sleep(time);
    let (idle_since, all_since) = read()?;
    Some(100.0 * (1.0 - (idle_since - idle) / (all_since - all)))
}

/// In ticks. Waiting for disks counts as idle; time stolen by a hypervisor counts as neither.
fn idle_and_all(stat: &str) -> Option<(f64, f64)> {
    let fields = stat.lines().find_map(|line| line.strip_prefix("cpu "))?.split_whitespace().take(7);
    let fields: Vec<f64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
    Some((fields.get(3)? + fields.get(4)?, fields.iter().sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_proc() {
        assert_eq!((on_core("261369 65808 1\n"), on_core("")), (Some(Duration::from_nanos(261_369)), None));
        let status = "Name:\thandler\nVmPeak:\t  712 kB\nVmRSS:\t   10240 kB\n";
        assert_eq!((bytes(status, "VmRSS:"), bytes("Name:\thandler\n", "VmRSS:")), (Some(10_485_760), None));
        let stat = "cpu  10 20 30 400 5 6 7 999 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(idle_and_all(stat), Some((405.0, 478.0)));
        let stat = "4711 (a) S 1 (b) R 1 4711 4711 0 -1 4194560 1 2 3 4 25 17 0 0 20 0 3 0 100 1 2";
        assert_eq!((ticks(stat), ticks("4711 (handler) R 1")), (Some(Duration::from_millis(420)), None));
        let pid = std::process::id();
        assert!(Cpu::of(pid).is_ok() && resident(pid).is_ok_and(|bytes| bytes > 0));
        assert!(most_resident(pid).is_ok_and(|bytes| bytes > 0));
    }

    #[test]
    fn a_thread_that_has_ended_leaves_the_count_to_the_process() {
        let cpu = |threads: &[(&str, u64)], process| Cpu {
            threads: threads.iter().map(|(name, ns)| (name.into(), Duration::from_nanos(*ns))).collect(),
            process: Duration::from_millis(process),
        };
        let (before, new, ended) = (cpu(&[("1", 5)], 10), cpu(&[("1", 7), ("2", 4)], 10), cpu(&[("2", 9)], 40));
        assert_eq!(new.since(&before), Duration::from_nanos(6));
        assert_eq!(ended.since(&before), Duration::from_millis(30));
    }
}
