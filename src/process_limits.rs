//! What the system grants this process: no core dump, because its memory holds secrets and column values, and as many open files
//! as the hard limit allows.
//!
//! <https://man7.org/linux/man-pages/man5/core.5.html>: a core that is piped to a program ignores `RLIMIT_CORE`, so on Linux the
//! process is not dumpable either; then no other process of the same user can trace it or read its environment.

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The most open files that are asked for: far more than the connections of this process.
#[cfg(unix)]
const MAX_OPEN_FILES: u64 = 65_536;

/// Switches core dumps off and raises the limit of open files. A limit that cannot be set stays as it is.
#[cfg(unix)]
pub fn apply() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let files = getrlimit(Resource::Nofile);
    let wanted = files.maximum.map_or(MAX_OPEN_FILES, |hard| hard.min(MAX_OPEN_FILES));
    if files.current.is_some_and(|soft| soft < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..files });
    }
}

/// Windows writes dumps only where an administrator asks for them, and has no such limit of open files.
#[cfg(windows)]
pub fn apply() {}

/// The limit of open files.
#[cfg(unix)]
fn open_files() -> usize {
    getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

/// The limit of open files: none.
#[cfg(windows)]
fn open_files() -> usize {
    usize::MAX
}

/// How many connections may be accepted: half of the open files, so that those of requests to others cannot take them all.
pub(crate) fn max_connections(wanted: usize) -> usize {
    wanted.min(open_files() / 2)
}

/// How many requests to Dataverse may be in flight: a twelfth of the open files. Requests for locks take up to three times as many
/// ([`crate::lock`]), and the last sixth is for tokens, telemetry and what a process has open anyway.
pub fn max_concurrency(wanted: usize) -> usize {
    wanted.min(open_files() / 12).max(1)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior};

    use super::*;

    #[test]
    fn neither_a_core_nor_another_process_of_the_user_gets_the_memory() {
        apply();
        let core = getrlimit(Resource::Core);
        assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
    }

    #[test]
    fn connections_leave_files_for_the_requests_that_answer_them() {
        let files = open_files();
        let (all, requests) = (max_connections(usize::MAX), max_concurrency(usize::MAX));
        assert!(all + 4 * requests < files && (max_connections(1), max_concurrency(1)) == (1, 1), "{files}");
    }
}
