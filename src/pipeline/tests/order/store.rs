//! An in-memory table that behaves like Dataverse's: separate look-up and commit steps, conditions, lost answers.
//!
//! It records every commit with its version, from which the order is verified.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;

use crate::dataverse::{Change, Error, Row, Store, Write, Written};
use crate::record::{Operation, Record, RecordKey, Version};

/// The percentage of requests that fail.
const BAD_WEATHER: u8 = 12;

#[derive(Debug, Clone)]
struct StoredRow {
    version: Option<i64>,
    etag: u64,
}

/// The rows and their history.
#[derive(Debug, Default)]
pub(super) struct Table {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rows: HashMap<String, StoredRow>,
    etags: u64,
    commits: HashMap<String, Vec<(i64, bool)>>,
}

impl Table {
    /// The version of an existing row.
    pub(super) fn version(&self, key: &str) -> Option<i64> {
        self.state().rows.get(key).and_then(|row| row.version)
    }

    /// Every version committed for the key, in order, and whether the row existed afterwards.
    pub(super) fn commits(&self, key: &str) -> Vec<(i64, bool)> {
        self.state().commits.get(key).cloned().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits a change if the row's existence still matches `found` and the conditions hold.
    fn commit(&self, change: &Change<'_>, found: bool) -> Result<Written, Error> {
        let (key, version) = (name(&change.record.key), version(change.record));
        let mut state = self.state();
        let row = state.rows.get(&key).cloned();
        match (found, &row) {
            (false, Some(_)) => return Err(refused(412, 0x8004_0237)),
            (true, None) => return Err(refused(404, 0x8004_0217)),
            _ => {}
        }
        let etag = match change.write {
            Write::UpdateUnchanged(etag) | Write::DeleteUnchanged(etag) => Some(etag),
            Write::Upsert | Write::Create | Write::Update | Write::UpdateFound | Write::Delete => None,
        };
        let moved = etag.is_some_and(|etag| row.as_ref().is_some_and(|row| row.etag.to_string() != etag));
        if moved {
            return Err(refused(412, 0x8006_0882));
        }
        state.etags += 1;
        let (etag, present) = (state.etags, change.record.operation != Operation::Delete);
        state.commits.entry(key.clone()).or_default().push((version, present));
        if present {
            state.rows.insert(key, StoredRow { version: change.version.and(Some(version)), etag });
            return Ok(if found { Written::Updated } else { Written::Created });
        }
        state.rows.remove(&key);
        Ok(Written::Deleted)
    }

    fn look_up(&self, change: &Change<'_>) -> Result<bool, Error> {
        let found = self.state().rows.contains_key(&name(&change.record.key));
        match (change.write, found) {
            (Write::Create, true) => Err(refused(412, 0x8004_0237)),
            (Write::Create | Write::Upsert, _) | (_, true) => Ok(found),
            (_, false) => Err(refused(404, 0x8006_0891)),
        }
    }
}

#[async_trait]
impl Store for Table {
    async fn write(&self, change: &Change<'_>) -> Result<Written, Error> {
        let weather = fastrand::u8(..100);
        sleep(leg()).await;
        if weather < BAD_WEATHER / 3 {
            return Err(Error::answered(503, None, None));
        }
        let found = self.look_up(change)?;
        // Other requests may run in between.
        sleep(leg()).await;
        let done = self.commit(change, found);
        sleep(leg()).await;
        if (BAD_WEATHER / 3..BAD_WEATHER).contains(&weather) {
            return Err(Error::NoAnswer { sent: true, problem: "the connection broke" });
        }
        Ok(done?)
    }

    async fn read(&self, _: &str, key: &RecordKey, _: &[String]) -> Result<Option<Row>, Error> {
        sleep(leg()).await;
        let row = self.state().rows.get(&name(key)).cloned();
        sleep(leg()).await;
        let json =
            |row: StoredRow| format!(r#"{{"@odata.etag":"{}","v":{}}}"#, row.etag, serde_json::json!(row.version));
        Ok(row.and_then(|row| Row::from_json(json(row))))
    }
}

/// The name under which a key is stored here.
pub(super) fn name(key: &RecordKey) -> String {
    key.lock_name("", "contacts")
}

fn version(record: &Record) -> i64 {
    match record.version {
        Some(Version::Number(version)) => version,
        _ => panic!("these records have whole numbers"),
    }
}

fn refused(status: u16, code: u32) -> Error {
    Error::answered(status, Some(code), None)
}

/// Usually a few milliseconds, sometimes as long as a slow plug-in takes.
fn leg() -> Duration {
    let most = if fastrand::u8(..20) == 0 { 3_000 } else { 40 };
    Duration::from_millis(fastrand::u64(1..most))
}
