//! Counts connections or requests in flight: those open now, the maximum at once, and all so far.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counts. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    opened: AtomicU64,
    open: AtomicU64,
    most: AtomicU64,
}

/// Counts one as open until it is dropped.
#[derive(Debug)]
pub(crate) struct Open(Gauge);

impl Gauge {
    /// How many were opened so far.
    pub fn opened(&self) -> u64 {
        self.0.opened.load(Ordering::Relaxed)
    }

    /// The most that were open at once.
    pub fn most(&self) -> u64 {
        self.0.most.load(Ordering::Relaxed)
    }

    /// One more, until the guard is dropped.
    pub(crate) fn open(&self) -> Open {
        self.0.opened.fetch_add(1, Ordering::Relaxed);
        self.0.most.fetch_max(self.0.open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        Open(self.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_at_once_outlives_those_that_left() {
        let gauge = Gauge::default();
        let both = (gauge.open(), gauge.open());
        drop(both);
        let _third = gauge.open();
        assert_eq!((gauge.opened(), gauge.most()), (3, 2));
    }
}
