//! Order under faults: random versioned messages, shuffled and delivered twice to several instances, with lost answers,
//! broken leases and without locks.
//!
//! For every seed, each key's commits rise in version, the row ends at its highest version, and every message is
//! accounted for. A failing seed prints its number and each message's outcome.

mod store;

use std::collections::HashMap;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;
use store::Table;

const INSTANCES: usize = 3;
const KEYS: usize = 2;
const MESSAGES: usize = 8;
const SEEDS: u64 = 2_000;

/// How the locks of a run behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Locking {
    /// Leases live for their full duration.
    Leases,
    /// Leases are broken while they are held.
    Broken,
    /// No locks.
    Off,
}

/// One message and its result.
#[derive(Debug)]
struct Settled {
    key: String,
    version: i64,
    operation: &'static str,
    reason: Reason,
}

/// State that all instances share.
struct Storm {
    table: Arc<Table>,
    locks: Arc<MemoryLocks>,
    instances: Vec<Arc<Pipeline>>,
}

impl Storm {
    fn new(locking: Locking) -> Self {
        let (table, locks) = (Arc::new(Table::default()), Arc::new(MemoryLocks::new(15 * SECOND)));
        let instance = |_| {
            Arc::new(Pipeline {
                environment: String::new(),
                store: table.clone(),
                locks: (locking != Locking::Off).then(|| (LocalQueue::new(locks.clone(), WIDTH), 10 * SECOND)),
                admission: Admission::new(WIDTH, 4),
                on_conflict: OnConflict::Verify,
                version_column: Some("v".to_owned()),
                tables: Tables::default(),
                unknown_codes: LoggedOnce::default(),
                implausible_versions: LoggedOnce::default(),
                visible_columns: VisibleColumns::default(),
            })
        };
        Self { instances: (0..INSTANCES).map(instance).collect(), table, locks }
    }

    /// Delivers one message until it is settled, each time to another instance.
    async fn deliver(instances: Vec<Arc<Pipeline>>, message: Json) -> Settled {
        let record = decode(&message.to_string().into()).expect("a record");
        for attempts in 1.. {
            sleep(Duration::from_millis(fastrand::u64(..400))).await;
            let instance = &instances[fastrand::usize(..instances.len())];
            let delivery = Delivery { attempts: Some(attempts), ..FIRST };
            let outcome = instance.settle(&record, delivery).await;
            if outcome.disposition != crate::outcome::Disposition::Retry {
                let operation = match record.operation {
                    crate::record::Operation::Delete => "delete",
                    crate::record::Operation::Update => "update",
                    _ => "upsert",
                };
                let version = message["version"].as_i64().expect("a number");
                return Settled { key: store::name(&record.key), version, operation, reason: outcome.reason };
            }
            sleep(SECOND).await;
        }
        unreachable!("the loop ends by returning")
    }

    async fn run(&self, locking: Locking, deletes: bool) -> Vec<Settled> {
        let mut tasks = JoinSet::new();
        for message in messages(deletes) {
            for _ in 0..=usize::from(fastrand::u8(..4) == 0) {
                tasks.spawn(Self::deliver(self.instances.clone(), message.clone()));
            }
        }
        let mut settled = Vec::new();
        loop {
            let next = tokio::select! {
                next = tasks.join_next() => next,
                () = sleep(2 * SECOND), if locking == Locking::Broken => {
                    self.locks.break_all();
                    continue;
                }
            };
            match next {
                Some(done) => settled.push(done.expect("no message panics")),
                None => return settled,
            }
        }
    }
}

/// Shuffled messages for a few keys, each version once. The first of each key is an upsert.
fn messages(deletes: bool) -> Vec<Json> {
    let mut messages = Vec::new();
    for key in 0..KEYS {
        for version in 1..=MESSAGES {
            let operation = match fastrand::u8(..10) {
                0 | 1 if deletes => "delete",
                2 => "update",
                _ => "upsert",
            };
            messages.push(json!({
                "table": "contacts", "key": { "k": key }, "columns": { "a": version }, "version": version,
                "operation": if version == 1 { "upsert" } else { operation },
            }));
        }
    }
    fastrand::shuffle(&mut messages);
    messages
}

/// The first inconsistency in one key's results, if any.
fn problem(settled: &[&Settled], commits: &[(i64, bool)], row: Option<i64>) -> Option<String> {
    if !commits.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Some(format!("the commits do not rise: {commits:?}"));
    }
    for message in settled {
        let fits = match message.reason {
            // After an unanswered request the commit may have been made by an earlier delivery.
            Reason::Created | Reason::Updated | Reason::Upserted | Reason::Deleted => {
                commits.iter().any(|(version, _)| *version == message.version)
            }
            Reason::Superseded => {
                commits.iter().any(|(version, _)| *version >= message.version) || has_deleted(settled, message)
            }
            Reason::NotFound => message.operation == "update",
            Reason::AlreadyAbsent => message.operation == "delete",
            _ => false,
        };
        if !fits {
            return Some(format!("{message:?} does not fit {commits:?}"));
        }
    }
    let highest =
        settled.iter().filter(|message| message.reason != Reason::NotFound).max_by_key(|message| message.version)?;
    let expected = (highest.operation != "delete").then_some(highest.version);
    (row != expected).then(|| format!("the row holds {row:?}, and the highest version is {highest:?}"))
}

/// A deletion of a missing row commits nothing, but still outranks older messages.
fn has_deleted(settled: &[&Settled], message: &Settled) -> bool {
    settled.iter().any(|other| other.operation == "delete" && other.version >= message.version)
}

fn keeps_order(locking: Locking, deletes: bool) {
    for seed in 0..SEEDS {
        fastrand::seed(seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let storm = Storm::new(locking);
        let settled = runtime.expect("a runtime without I/O").block_on(storm.run(locking, deletes));
        let mut keys: HashMap<&str, Vec<&Settled>> = HashMap::new();
        for message in &settled {
            keys.entry(&message.key).or_default().push(message);
        }
        for (key, messages) in keys {
            let wrong = problem(&messages, &storm.table.commits(key), storm.table.version(key));
            assert_eq!(wrong, None, "seed {seed}, {locking:?}, key {key}: {messages:#?}");
        }
    }
}

#[test]
fn under_leases_the_highest_version_wins_and_what_was_deleted_stays_deleted() {
    keeps_order(Locking::Leases, true);
}

#[test]
fn under_leases_that_are_broken_the_highest_version_wins() {
    keeps_order(Locking::Broken, false);
}

#[test]
fn without_locks_the_highest_version_wins() {
    keeps_order(Locking::Off, false);
}

/// Checks the verifier itself: a row written in arrival order is reported.
#[test]
fn without_versions_the_order_is_broken() {
    let broken = (0..200).any(|seed| {
        fastrand::seed(seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let mut storm = Storm::new(Locking::Off);
        for instance in &mut storm.instances {
            Arc::get_mut(instance).expect("not shared yet").version_column = None;
        }
        let settled = runtime.expect("a runtime without I/O").block_on(storm.run(Locking::Off, false));
        settled.iter().any(|message| !storm.table.commits(&message.key).is_sorted())
    });
    assert!(broken, "none of 200 seeds noticed");
}
