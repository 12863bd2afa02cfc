//! The definitions of tables that were asked for, kept for a while.
//!
//! Invariants: readers of one table at one time share one read; a table that could not be read is not asked for again for some
//! minutes; the names come from messages, so no more than [`MOST_TABLES`] are kept, the longest unused going first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as Turn;
use tokio::time::Instant;

use crate::dataverse::definition::Definition;

/// A definition seldom changes, and what rests on an old one is the notation of a value.
const KEPT: Duration = Duration::from_hours(1);

/// A permission may be granted, an outage ends.
const FAILURE_KEPT: Duration = Duration::from_mins(5);

const MOST_TABLES: usize = 256;

/// The definitions by entity set name.
#[derive(Debug, Default)]
pub(super) struct Definitions(Mutex<HashMap<String, Place>>);

/// A table's place, as long as it is used.
#[derive(Debug)]
struct Place {
    used: Instant,
    answer: Arc<Turn<Option<Answer>>>,
}

/// What a read gave.
#[derive(Debug)]
struct Answer {
    at: Instant,
    definition: Option<Arc<Definition>>,
}

impl Definitions {
    /// The definition of `table`, from `read` when none is kept that is fresh. `read` is polled by one caller at a time.
    pub(super) async fn get(
        &self,
        table: &str,
        read: impl Future<Output = Option<Definition>>,
    ) -> Option<Arc<Definition>> {
        let place = self.place(table);
        // Held while reading: whoever else asks waits for the answer. One who gives up lets the next one read.
        let mut answer = place.lock().await;
        if let Some(known) = answer.as_ref().filter(|answer| answer.is_fresh()) {
            return known.definition.clone();
        }
        let definition = read.await.map(Arc::new);
        *answer = Some(Answer { at: Instant::now(), definition: definition.clone() });
        definition
    }

    fn place(&self, table: &str) -> Arc<Turn<Option<Answer>>> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = Instant::now();
        if let Some(place) = places.get_mut(table) {
            place.used = used;
            return place.answer.clone();
        }
        if places.len() >= MOST_TABLES {
            let oldest = places.iter().min_by_key(|(_, place)| place.used).map(|(name, _)| name.clone());
            oldest.and_then(|name| places.remove(&name));
        }
        let answer = Arc::default();
        places.insert(table.to_owned(), Place { used, answer: Arc::clone(&answer) });
        answer
    }
}

impl Answer {
    fn is_fresh(&self) -> bool {
        let kept = if self.definition.is_some() { KEPT } else { FAILURE_KEPT };
        self.at.elapsed() < kept
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

    /// Definitions, and a count of the reads.
    #[derive(Default)]
    struct Bench {
        definitions: Definitions,
        reads: AtomicUsize,
    }

    impl Bench {
        async fn get(&self, table: &str, answer: Option<Definition>) -> Option<Arc<Definition>> {
            let read = async {
                self.reads.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
                answer
            };
            self.definitions.get(table, read).await
        }

        fn reads(&self) -> usize {
            self.reads.load(Ordering::Relaxed)
        }
    }

    fn contact() -> Definition {
        Definition::new("contact", "contactid")
    }

    #[tokio::test(start_paused = true)]
    async fn a_definition_is_read_once_and_again_after_an_hour() {
        let bench = Bench::default();
        for _ in 0..3 {
            assert_eq!(bench.get("contacts", Some(contact())).await.as_deref(), Some(&contact()));
        }
        assert_eq!(bench.reads(), 1);
        advance(KEPT).await;
        assert_eq!(bench.get("contacts", None).await, None, "what can no longer be read is no longer known");
        assert_eq!(bench.reads(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_read_is_remembered_for_five_minutes() {
        let bench = Bench::default();
        assert_eq!(bench.get("contacts", None).await, None);
        advance(FAILURE_KEPT / 2).await;
        assert_eq!(bench.get("contacts", Some(contact())).await, None);
        assert_eq!(bench.reads(), 1);
        advance(FAILURE_KEPT / 2).await;
        assert!(bench.get("contacts", Some(contact())).await.is_some());
    }

    #[tokio::test]
    async fn readers_of_one_table_share_one_read_and_other_tables_do_not_wait() {
        let bench = Bench::default();
        let readers = (0..50).map(|n| bench.get(if n % 2 == 0 { "contacts" } else { "accounts" }, Some(contact())));
        let found = join_all(readers).await;
        assert!(found.iter().all(Option::is_some));
        assert_eq!(bench.reads(), 2);
    }

    #[tokio::test]
    async fn a_reader_who_gives_up_leaves_the_read_to_the_next() {
        let bench = Bench::default();
        assert!(bench.definitions.get("contacts", pending()).now_or_never().is_none());
        assert!(bench.get("contacts", Some(contact())).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn names_without_end_do_not_grow_memory_nor_push_out_what_is_used() {
        let bench = Bench::default();
        for n in 0..3 * MOST_TABLES {
            advance(Duration::from_millis(1)).await;
            bench.get("contacts", Some(contact())).await;
            bench.get(&format!("nosuch{n}"), None).await;
        }
        assert_eq!(bench.definitions.0.lock().expect("nobody panicked").len(), MOST_TABLES);
        assert_eq!(bench.reads(), 1 + 3 * MOST_TABLES, "contacts was read once");
    }
}
