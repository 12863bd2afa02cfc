//! A cache of metadata: each table's for an hour, our privileges for five minutes.
//!
//! A failed read is cached for five minutes. Concurrent callers share one read. Table names come from messages, so the number of
//! tables is bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::dataverse::table_metadata::TableMetadata;

/// Columns are seldom secured after their creation.
const TTL: Duration = Duration::from_hours(1);

/// Permissions get granted, and outages end.
const FAILURE_TTL: Duration = Duration::from_mins(5);

/// A message waits for a privilege that an operator has to grant.
pub(super) const PRIVILEGES_TTL: Duration = Duration::from_mins(5);

const MAX_TABLES: usize = 256;

/// The result of the last read.
#[derive(Debug)]
pub(super) struct Cached<T> {
    ttl: Duration,
    /// The lock is held during a read.
    last: tokio::sync::Mutex<Option<(Instant, Option<Arc<T>>)>>,
}

impl<T> Cached<T> {
    /// A result is kept for `ttl`.
    pub(super) fn new(ttl: Duration) -> Self {
        Self { ttl, last: tokio::sync::Mutex::default() }
    }

    /// The cached result, or that of `look` if it is too old.
    pub(super) async fn get(&self, look: impl Future<Output = Option<T>>) -> Option<Arc<T>> {
        let mut last = self.last.lock().await;
        if let Some((at, result)) = &*last {
            let ttl = if result.is_some() { self.ttl } else { FAILURE_TTL };
            if at.elapsed() < ttl {
                return result.clone();
            }
        }
        let result = look.await.map(Arc::new);
        *last = Some((Instant::now(), result.clone()));
        result
    }
}

/// Metadata by entity set name.
#[derive(Debug, Default)]
pub(super) struct MetadataCache(Mutex<HashMap<String, Arc<Cached<TableMetadata>>>>);

impl MetadataCache {
    /// The metadata of `table`: cached, or read by `look` if that is too old.
    pub(super) async fn get(
        &self,
        table: &str,
        look: impl Future<Output = Option<TableMetadata>>,
    ) -> Option<Arc<TableMetadata>> {
        self.slot(table).get(look).await
    }

    fn slot(&self, table: &str) -> Arc<Cached<TableMetadata>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MAX_TABLES && !slots.contains_key(table) {
            slots.clear();
        }
        slots.entry(table.to_owned()).or_insert_with(|| Arc::new(Cached::new(TTL))).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt as _;
    use futures::future::{join_all, pending};
    use tokio::task::yield_now;
    use tokio::time::advance;

    use super::*;

    /// A cache that counts its metadata reads.
    #[derive(Default)]
    struct Fixture {
        cache: MetadataCache,
        looks: AtomicUsize,
    }

    impl Fixture {
        async fn get(&self, table: &str, answer: Option<TableMetadata>) -> Option<Arc<TableMetadata>> {
            let look = async {
                self.looks.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
                answer
            };
            self.cache.get(table, look).await
        }

        fn looks(&self) -> usize {
            self.looks.load(Ordering::Relaxed)
        }
    }

    fn contact() -> TableMetadata {
        TableMetadata::new(None, [("firstname".to_owned(), None)])
    }

    #[tokio::test(start_paused = true)]
    async fn metadata_is_read_once_and_again_after_an_hour() {
        let fixture = Fixture::default();
        for _ in 0..3 {
            assert_eq!(fixture.get("contacts", Some(contact())).await.as_deref(), Some(&contact()));
        }
        assert_eq!(fixture.looks(), 1);
        advance(TTL).await;
        assert_eq!(fixture.get("contacts", None).await, None, "an old result does not outlive a failed look");
        assert_eq!(fixture.looks(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_look_is_remembered_for_five_minutes() {
        let fixture = Fixture::default();
        assert_eq!(fixture.get("contacts", None).await, None);
        advance(FAILURE_TTL / 2).await;
        assert_eq!(fixture.get("contacts", Some(contact())).await, None);
        assert_eq!(fixture.looks(), 1);
        advance(FAILURE_TTL / 2).await;
        assert!(fixture.get("contacts", Some(contact())).await.is_some());
    }

    #[tokio::test]
    async fn callers_for_one_table_share_one_look_and_other_tables_do_not_wait() {
        let fixture = Fixture::default();
        let callers = (0..50).map(|n| fixture.get(if n % 2 == 0 { "contacts" } else { "accounts" }, Some(contact())));
        let found = join_all(callers).await;
        assert!(found.iter().all(Option::is_some));
        assert_eq!(fixture.looks(), 2);
    }

    #[tokio::test]
    async fn after_a_cancelled_look_the_next_caller_looks() {
        let fixture = Fixture::default();
        assert!(fixture.cache.get("contacts", pending()).now_or_never().is_none());
        assert!(fixture.get("contacts", Some(contact())).await.is_some());
    }

    #[tokio::test]
    async fn the_number_of_tables_is_bounded() {
        let fixture = Fixture::default();
        for n in 0..3 * MAX_TABLES {
            fixture.get(&format!("nosuch{n}"), None).await;
            assert!(fixture.cache.0.lock().expect("no test panics under the lock").len() <= MAX_TABLES);
        }
    }
}
