//! The requests of a sample: counting and peeking at both queues, and listing the locks, all at once.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::{Instant, timeout};

use super::arguments::Place;
use super::sample::{Names, QueueState, Reading, Sample};
use crate::config::LockSettings;
use crate::dead_letters::account::Account;
use crate::dead_letters::entry::Entry;
use crate::dead_letters::queue::{NO_QUEUE, Queue, Received, describe_access};
use crate::dead_letters::summary::Summary;
use crate::host::MessageEncoding;
use crate::lock::blob::held::{LockContainer, LockCount, NO_CONTAINER};
use crate::settings::{Lookup, Problem, non_empty};
use crate::storage::{Connection, Error};

/// The longest wait for the storage; a request that fails at once is repeated meanwhile.
const PATIENCE: Duration = Duration::from_secs(15);

/// Under `--watch` the locks are listed no more often: a listing of many blobs is large.
const LOCKS_EVERY: Duration = Duration::from_secs(10);

/// Letters are JSON objects, which are read as plain text too.
const ENCODING: MessageEncoding = MessageEncoding::Base64;

/// The parts of the storage account.
pub(super) struct Sources {
    pub(super) names: Names,
    records: Queue,
    dead_letters: Queue,
    locks: Option<LockContainer>,
    /// The last listing of the locks.
    listed: Option<(Instant, Reading<LockCount>)>,
}

impl Sources {
    /// Opens everything with the settings that `lookup` gives; nothing is sent yet.
    ///
    /// # Errors
    /// Everything that is missing or wrong, each with its name.
    pub(super) fn open(place: &Place, lookup: &Lookup<'_>) -> Result<Self, Vec<Problem>> {
        let (account, locks) = match (Account::open(&place.connection, lookup), LockSettings::from_settings(lookup)) {
            (Ok(account), Ok(locks)) => (account, locks),
            (account, locks) => return Err([account.err(), locks.err()].into_iter().flatten().flatten().collect()),
        };
        let names = Names {
            host: account.host().to_owned(),
            records: place.queue.clone(),
            dead_letters: place.poison_queue.clone(),
            locks: locks.as_ref().map(|locks| locks.container.clone()),
        };
        let (records, dead_letters) = (account.queue(&place.queue)?, account.queue(&place.poison_queue)?);
        let locks = locks.map(|locks| open_locks(locks, lookup)).transpose()?;
        Ok(Self { names, records, dead_letters, locks, listed: None })
    }

    /// Asks for everything.
    pub(super) async fn sample(&mut self) -> Sample {
        let (records, dead_letters, locks) = tokio::join!(
            within(look(&self.records)),
            within(look(&self.dead_letters)),
            recent_or_new(self.listed.take(), self.locks.as_ref()),
        );
        self.listed.clone_from(&locks);
        let at = [&records, &dead_letters].into_iter().find_map(|looked| looked.as_ref().ok().map(|(now, ..)| *now));
        Sample {
            at: at.unwrap_or_else(|| OffsetDateTime::now_utc().truncate_to_second()),
            records: queue_reading(records, |state, _| state),
            dead_letters: queue_reading(dead_letters, |state, letters| (state, by_reason(letters))),
            locks: locks.map(|(_, locks)| locks),
        }
    }
}

/// The locks may be in another account than the queues.
fn open_locks(settings: LockSettings, lookup: &Lookup<'_>) -> Result<LockContainer, Vec<Problem>> {
    let name = non_empty(lookup, "LOCK_STORAGE").unwrap_or_else(|| "AzureWebJobsStorage".to_owned());
    let connection = Connection::open(settings.address, &name, lookup)?;
    let problem = |_| vec![Problem::new(&name, "cannot be used: Entra ID needs an https address")];
    LockContainer::open(&connection, &settings.container).map_err(problem)
}

async fn within<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(PATIENCE, request).await.unwrap_or(Err(Error::TIMEOUT))
}

type Looked = (OffsetDateTime, QueueState, Vec<Received>);

async fn look(queue: &Queue) -> Result<Looked, Error> {
    let counted = async { Ok((queue.stats().await?, Instant::now())) };
    let (((messages, now), counted), (seen, peeked)) = tokio::try_join!(counted, queue.peek())?;
    let age = |inserted: OffsetDateTime| Duration::try_from(now - inserted).unwrap_or_default();
    let oldest = seen.iter().map(|message| age(message.inserted)).max();
    // The two answers are of different moments.
    let messages = messages.max(seen.len());
    Ok((now, QueueState { messages, visible: seen.len(), peeked, oldest, counted }, seen))
}

fn queue_reading<T>(looked: Result<Looked, Error>, found: impl FnOnce(QueueState, Vec<Received>) -> T) -> Reading<T> {
    match looked {
        Ok((_, state, seen)) => Reading::Found(found(state, seen)),
        Err(Error::Service { status: 404, code }) if code == NO_QUEUE => Reading::Missing,
        Err(error) => Reading::Failed(describe_access(&error, "Storage Queue Data Reader")),
    }
}

fn by_reason(letters: Vec<Received>) -> Summary {
    let mut reasons = Summary::default();
    for letter in letters {
        reasons.add(&Entry::read(letter, ENCODING));
    }
    reasons
}

/// The last listing of the locks, or a new one if that was too long ago.
async fn recent_or_new(
    last: Option<(Instant, Reading<LockCount>)>,
    locks: Option<&LockContainer>,
) -> Option<(Instant, Reading<LockCount>)> {
    let locks = locks?;
    match last {
        Some((then, Reading::Found(count))) if then.elapsed() < LOCKS_EVERY => Some((then, Reading::Found(count))),
        Some(_) | None => Some((Instant::now(), lock_reading(locks.count(PATIENCE).await))),
    }
}

fn lock_reading(counted: Result<LockCount, Error>) -> Reading<LockCount> {
    match counted {
        Ok(count) => Reading::Found(count),
        Err(Error::Service { status: 404, code }) if code == NO_CONTAINER => Reading::Missing,
        Err(error) => Reading::Failed(describe_access(&error, "Storage Blob Data Reader")),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_storage_that_never_answers_is_given_up() {
        let begun = Instant::now();
        let problem = match queue_reading(within(pending()).await, |state, _| state) {
            Reading::Failed(problem) => problem,
            Reading::Found(_) | Reading::Missing => panic!("there is no answer"),
        };
        assert_eq!((problem.as_str(), begun.elapsed()), ("the storage cannot be reached: no answer in time", PATIENCE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_listing_of_the_locks_is_used_for_some_seconds() {
        // Another test of this process may have installed the same provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let lookup = |name: &str| (name == "AzureWebJobsStorage").then(|| "UseDevelopmentStorage=true".to_owned());
        let settings = LockSettings::from_settings(&lookup).expect("they are complete").expect("locks are on");
        let locks = open_locks(settings, &lookup).unwrap_or_else(|problems| panic!("{problems:?}"));
        let count = LockCount { held: 1, blobs: 2, is_complete: true };
        let last = Some((Instant::now(), Reading::Found(count)));
        tokio::time::advance(LOCKS_EVERY / 2).await;
        let recent = recent_or_new(last, Some(&locks)).await;
        assert!(matches!(recent, Some((_, Reading::Found(LockCount { held: 1, .. })))), "{recent:?}");
    }
}
