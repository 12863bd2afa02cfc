//! Version columns in which this process has seen a value: column security does not hide them, so null in them means null.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// As long as a table's metadata is kept: the column may have been secured since.
const TTL: Duration = Duration::from_hours(1);

/// Tables and columns come from messages.
const MAX_COLUMNS: usize = 256;

/// Columns by table and name, with the time of the last value.
#[derive(Debug, Default)]
pub struct VisibleColumns(Mutex<HashMap<(String, String), Instant>>);

impl VisibleColumns {
    /// A value was read in this column.
    pub(super) fn add(&self, table: &str, column: &str) {
        let mut columns = self.lock();
        if columns.len() >= MAX_COLUMNS {
            columns.clear();
        }
        columns.insert((table.to_owned(), column.to_owned()), Instant::now());
    }

    /// Whether a value was read in this column lately.
    pub(super) fn contains(&self, table: &str, column: &str) -> bool {
        let seen = self.lock().get(&(table.to_owned(), column.to_owned())).copied();
        seen.is_some_and(|at| at.elapsed() < TTL)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_column_is_remembered_for_an_hour_and_not_more_than_so_many() {
        let columns = VisibleColumns::default();
        columns.add("contacts", "v");
        let known = [("contacts", "v"), ("contacts", "w"), ("accounts", "v")];
        assert_eq!(known.map(|(table, column)| columns.contains(table, column)), [true, false, false]);
        tokio::time::advance(TTL).await;
        assert!(!columns.contains("contacts", "v"));
        for n in 0..3 * MAX_COLUMNS {
            columns.add("contacts", &format!("v{n}"));
            assert!(columns.contains("contacts", &format!("v{n}")) && columns.lock().len() <= MAX_COLUMNS);
        }
    }
}
