//! CPU time and memory of a process, from `/proc`.
//!
//! CPU time is the sum of the threads' CPU times (`schedstat`, in nanoseconds). If a thread has ended meanwhile, its
//! time is missing there, and the process's CPU time is used instead (`stat`, in ticks). Linux only; elsewhere it is an
//! error.
//!
//! <https://docs.kernel.org/filesystems/proc.html>

use std::collections::HashMap;
use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

/// `USER_HZ` is the same on every architecture that this runs on.
const TICK: Duration = Duration::from_millis(10);

/// CPU time so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cpu {
    threads: HashMap<u32, Duration>,
    user: Duration,
    system: Duration,
}

/// CPU time between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Spent {
    /// User and system.
    pub(super) total: Duration,
    /// In user mode, in whole ticks.
    pub(super) user: Duration,
    /// In the kernel, in whole ticks.
    pub(super) system: Duration,
}

/// Memory that a process has in RAM, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Memory {
    /// All of it, the executable's own pages and libraries included.
    pub(super) resident: u64,
    /// Anonymous memory: heap and stacks.
    pub(super) anonymous: u64,
}

impl Cpu {
    /// Reads the time of process `pid`.
    pub(super) fn of(pid: u32) -> anyhow::Result<Self> {
        let tasks =
            fs::read_dir(format!("/proc/{pid}/task")).context("CPU time is read from /proc, which Linux has")?;
        let mut threads = HashMap::new();
        for task in tasks {
            let task = task.context("listing the threads")?;
            let Some(thread) = task.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A thread may end meanwhile.
            if let Some(time) = fs::read_to_string(task.path().join("schedstat")).ok().as_deref().and_then(on_core) {
                threads.insert(thread, time);
            }
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("reading the process's own time")?;
        let (user, system) = ticks(&stat).context("/proc has no CPU time")?;
        Ok(Self { threads, user, system })
    }

    /// The CPU time since an earlier reading.
    pub(super) fn since(&self, earlier: &Self) -> Spent {
        let (user, system) = (self.user.saturating_sub(earlier.user), self.system.saturating_sub(earlier.system));
        let before = |thread| earlier.threads.get(thread).copied().unwrap_or_default();
        let all_live = earlier.threads.keys().all(|thread| self.threads.contains_key(thread));
        let by_threads = self.threads.iter().map(|(thread, time)| time.saturating_sub(before(thread))).sum();
        Spent { total: if all_live { by_threads } else { user + system }, user, system }
    }
}

impl Memory {
    /// Reads the memory of process `pid`.
    pub(super) fn of(pid: u32) -> anyhow::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"));
        let status = status.context("resident memory is read from /proc, which Linux has")?;
        Self::read(&status).context("/proc has no VmRSS or RssAnon")
    }

    fn read(status: &str) -> Option<Self> {
        Some(Self { resident: bytes(status, "VmRSS:")?, anonymous: bytes(status, "RssAnon:")? })
    }
}

fn bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The CPU time of the calling thread.
///
/// The kernel updates the figure only when it schedules or at the next tick, so the thread yields first.
pub(super) fn own_thread() -> anyhow::Result<Duration> {
    thread::yield_now();
    let text =
        fs::read_to_string("/proc/thread-self/schedstat").context("CPU time is read from /proc, which Linux has")?;
    on_core(&text).context("/proc has no CPU time of this thread")
}

/// The first figure of `schedstat`: CPU time in nanoseconds.
fn on_core(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// User and system time of `stat`. The name in brackets may contain any character, so parsing starts after the last
/// bracket.
fn ticks(stat: &str) -> Option<(Duration, Duration)> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11).map(str::parse::<u32>);
    Some((TICK * fields.next()?.ok()?, TICK * fields.next()?.ok()?))
}

/// The idle and busy time of all cores together so far, in whole ticks.
pub(super) fn machine() -> anyhow::Result<(Duration, Duration)> {
    let stat =
        fs::read_to_string("/proc/stat").context("the machine's CPU time is read from /proc, which Linux has")?;
    idle_and_busy(&stat).context("/proc/stat has no line for all cores")
}

/// Waiting for disks counts as idle; time stolen by a hypervisor counts as neither.
fn idle_and_busy(stat: &str) -> Option<(Duration, Duration)> {
    let fields = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u32> = fields.split_whitespace().take(7).map(str::parse).collect::<Result<_, _>>().ok()?;
    let [user, nice, system, idle, disks, interrupts, soft_interrupts] = fields.try_into().ok()?;
    Some((TICK * (idle + disks), TICK * (user + nice + system + interrupts + soft_interrupts)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(threads: &[(u32, u64)], user: u64) -> Cpu {
        let threads = threads.iter().map(|(thread, micros)| (*thread, Duration::from_micros(*micros))).collect();
        Cpu { threads, user: Duration::from_millis(user), system: Duration::ZERO }
    }

    #[test]
    fn time_is_summed_over_threads_and_new_ones_count_whole() {
        let spent = cpu(&[(1, 150), (2, 30), (3, 7)], 10).since(&cpu(&[(1, 100), (2, 30)], 10));
        assert_eq!(spent.total, Duration::from_micros(57));
    }

    #[test]
    fn a_thread_that_has_ended_leaves_the_count_to_the_process() {
        let spent = cpu(&[(1, 150)], 40).since(&cpu(&[(1, 100), (2, 30)], 10));
        assert_eq!(spent.total, Duration::from_millis(30));
    }

    #[test]
    fn ticks_are_read_behind_a_hostile_name() {
        let stat = "4711 (a) S 1 (b) R 1 4711 4711 0 -1 4194560 1 2 3 4 25 17 0 0 20 0 3 0 100 1 2";
        assert_eq!(ticks(stat), Some((Duration::from_millis(250), Duration::from_millis(170))));
        assert_eq!(ticks("4711 (handler) R 1"), None);
    }

    #[test]
    fn nanoseconds_on_a_core_are_the_first_of_three() {
        assert_eq!(on_core("261369 65808 1\n"), Some(Duration::from_nanos(261_369)));
        assert_eq!(on_core(""), None);
    }

    #[test]
    fn memory_is_read_from_the_status_file() {
        let status = "Name:\thandler\nVmPeak:\t  712 kB\nVmRSS:\t   10240 kB\nRssAnon:\t    4 kB\n";
        assert_eq!(Memory::read(status), Some(Memory { resident: 10_485_760, anonymous: 4_096 }));
        assert_eq!(Memory::read("Name:\thandler\nVmRSS:\t   10240 kB\n"), None);
    }

    #[test]
    fn stolen_time_is_neither_idle_nor_busy() {
        let stat = "cpu  10 20 30 400 5 6 7 999 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        let idle_and_busy = idle_and_busy(stat).expect("a line for all cores");
        assert_eq!(idle_and_busy, (Duration::from_millis(4_050), Duration::from_millis(730)));
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        let pid = std::process::id();
        let before = Cpu::of(pid).expect("/proc is there");
        let memory = Memory::of(pid).expect("/proc is there");
        assert!(memory.resident >= memory.anonymous && memory.anonymous > 0);
        assert_eq!(before.since(&before), Spent::default());
        assert!(own_thread().expect("/proc is there") > Duration::ZERO);
    }
}
