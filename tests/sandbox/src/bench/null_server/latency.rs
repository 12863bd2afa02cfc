//! The latency of network calls: from the last byte of a request at the null server to the first of its response.
//!
//! It is recorded per record, so that it can be subtracted from the time of a message. The mapping from a lock's blob
//! to its record is learnt while messages are sent one at a time. A repeated call counts twice.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::bench::message;

/// Latency by record.
#[derive(Debug, Default)]
pub(in crate::bench) struct Latency(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    learning: bool,
    /// The last leased blob.
    last_blob: Option<String>,
    records: HashMap<String, u64>,
    times: HashMap<u64, Duration>,
}

impl Latency {
    /// Starts or stops learning, during which messages must be sent one at a time.
    pub(in crate::bench) fn learn(&self, learning: bool) {
        self.state().learning = learning;
    }

    /// The number of blobs with a known record.
    pub(in crate::bench) fn known(&self) -> usize {
        self.state().records.len()
    }

    /// The latency of the calls for this record since the last call of this method.
    pub(in crate::bench) fn take(&self, record: u64) -> Duration {
        self.state().times.remove(&record).unwrap_or_default()
    }

    /// A lease was granted.
    pub(super) fn leased(&self, blob: &str, took: Duration) {
        let mut state = self.state();
        if let Some(record) = state.records.get(blob).copied() {
            *state.times.entry(record).or_default() += took;
        } else if state.learning {
            state.last_blob = Some(blob.to_owned());
        }
    }

    /// A row was written.
    pub(super) fn written(&self, address: &str, took: Duration) {
        let Some(record) = message::number_in(address) else { return };
        let mut state = self.state();
        *state.times.entry(record).or_default() += took;
        if state.learning
            && let Some(blob) = state.last_blob.take()
        {
            state.records.insert(blob, record);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "/api/data/v9.2/contacts(employeeid='E-0000007')";
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_calls_of_a_message_are_summed_once_its_blob_is_known() {
        let times = Latency::default();
        times.learn(true);
        times.leased("/nullserver/locks/a", 3 * MS);
        times.written(ROW, 80 * MS);
        assert_eq!((times.known(), times.take(7)), (1, 80 * MS));
        times.learn(false);
        times.leased("/nullserver/locks/a", 4 * MS);
        times.leased("/nullserver/locks/b", 5 * MS);
        times.written(ROW, 81 * MS);
        assert_eq!((times.known(), times.take(7), times.take(7)), (1, 85 * MS, Duration::ZERO));
    }

    #[test]
    fn other_rows_are_ignored() {
        let times = Latency::default();
        times.written("/api/data/v9.2/contacts(1)", MS);
        assert_eq!(times.take(0), Duration::ZERO);
    }
}
