//! Which crash of the handler ends the host: the third in a row.
//!
//! A row ends only when more than 30 minutes lie between a crash and the one before it; how long ago the first one was does not
//! matter.
//!
//! Contract: `HttpFunctionInvocationDispatcher` in <https://github.com/Azure/azure-functions-host>.

use std::time::Duration;

use tokio::time::Instant;

/// A longer time between two crashes begins a new row.
const MAX_GAP: Duration = Duration::from_mins(30);

/// This many crashes in a row end the host.
const MAX_CRASHES: usize = 3;

/// The crashes of the current row.
#[derive(Debug, Default)]
pub(super) struct Crashes {
    count: usize,
    last: Option<Instant>,
}

impl Crashes {
    /// Counts a crash; returns whether it ends the host.
    pub(super) fn end_the_host(&mut self, now: Instant) -> bool {
        if self.last.is_some_and(|last| now.duration_since(last) > MAX_GAP) {
            self.count = 0;
        }
        self.last = Some(now);
        self.count += 1;
        self.count >= MAX_CRASHES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_crash_with_no_gap_of_more_than_30_minutes_ends_the_host() {
        for (minutes, ends) in [
            (&[0, 29, 58][..], true),
            (&[0, 30, 60], true),
            (&[0, 31, 60], false),
            (&[0, 1, 32], false),
            (&[0, 31, 60, 89], true),
        ] {
            let (start, mut crashes) = (Instant::now(), Crashes::default());
            let ended =
                minutes.iter().fold(false, |_, minute| crashes.end_the_host(start + Duration::from_mins(*minute)));
            assert_eq!(ended, ends, "{minutes:?}");
        }
    }
}
