//! CPU time and memory of a process, from `/proc`. Linux only; elsewhere it is an error.
//!
//! <https://docs.kernel.org/filesystems/proc.html>

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

/// The CPU time of process `pid` so far, user and system: the sum over its threads in nanoseconds. It is only compared with
/// later readings of the same process, whose threads do not end while it serves.
pub(super) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).context("CPU time is read from /proc, which Linux has")?;
    let texts = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok());
    Ok(texts.filter_map(|text| on_core(&text)).sum())
}

/// The first figure of `schedstat`: CPU time in nanoseconds.
fn on_core(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// The resident memory of process `pid` in bytes, the executable's own pages and libraries included.
pub(super) fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.context("resident memory is read from /proc, which Linux has")?;
    bytes(&status, "VmRSS:").context("/proc has no VmRSS")
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
        let pid = std::process::id();
        assert!(cpu(pid).expect("/proc is there") > Duration::ZERO && resident(pid).expect("/proc is there") > 0);
    }
}
