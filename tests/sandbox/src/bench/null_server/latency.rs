//! The own times of network calls: from a request's last byte at the sink to its answer's first.
//!
//! They are kept per record, so that what a message took can be told apart from what the network took for it. Which record a
//! lock's blob belongs to is the handler's own business; it is learnt while messages come one at a time. A call that was sent
//! twice counts twice.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::bench::message;

/// The times, by record.
#[derive(Debug, Default)]
pub(in crate::bench) struct OwnTimes(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    learning: bool,
    /// The blob that was leased last.
    last_blob: Option<String>,
    records: HashMap<String, u64>,
    times: HashMap<u64, Duration>,
}

impl OwnTimes {
    /// From now on, until told otherwise, messages come one at a time.
    pub(in crate::bench) fn learn(&self, learning: bool) {
        self.kept().learning = learning;
    }

    /// How many blobs are known.
    pub(in crate::bench) fn known(&self) -> usize {
        self.kept().records.len()
    }

    /// What the calls for this record took since it was asked last.
    pub(in crate::bench) fn take(&self, record: u64) -> Duration {
        self.kept().times.remove(&record).unwrap_or_default()
    }

    /// A lease was granted.
    pub(super) fn leased(&self, blob: &str, took: Duration) {
        let mut kept = self.kept();
        if let Some(record) = kept.records.get(blob).copied() {
            *kept.times.entry(record).or_default() += took;
        } else if kept.learning {
            kept.last_blob = Some(blob.to_owned());
        }
    }

    /// A row was written.
    pub(super) fn written(&self, address: &str, took: Duration) {
        let Some(record) = message::number_in(address) else { return };
        let mut kept = self.kept();
        *kept.times.entry(record).or_default() += took;
        if kept.learning
            && let Some(blob) = kept.last_blob.take()
        {
            kept.records.insert(blob, record);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "/api/data/v9.2/contacts(employeeid='E-0000007')";
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_messages_calls_are_added_up_once_its_blob_is_known() {
        let times = OwnTimes::default();
        times.learn(true);
        times.leased("/sink/locks/a", 3 * MS);
        times.written(ROW, 80 * MS);
        assert_eq!((times.known(), times.take(7)), (1, 80 * MS));
        times.learn(false);
        times.leased("/sink/locks/a", 4 * MS);
        times.leased("/sink/locks/b", 5 * MS);
        times.written(ROW, 81 * MS);
        assert_eq!((times.known(), times.take(7), times.take(7)), (1, 85 * MS, Duration::ZERO));
    }

    #[test]
    fn a_row_that_is_none_of_ours_is_left_alone() {
        let times = OwnTimes::default();
        times.written("/api/data/v9.2/contacts(1)", MS);
        assert_eq!(times.take(0), Duration::ZERO);
    }
}
