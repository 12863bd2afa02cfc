//! The requests of a sample: counting and peeking at both queues, and listing the locks, all at once.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::arguments::Place;
use super::sample::{Names, QueueState, Reading, Sample};
use crate::config::LockSettings;
use crate::dead_letters::account::Account;
use crate::dead_letters::entry::Entry;
use crate::dead_letters::queue::{Queue, Received, describe_access};
use crate::dead_letters::summary::Summary;
use crate::host::MessageEncoding;
use crate::lock::blob::held::{LockContainer, LockCount};
use crate::settings::{Lookup, Problem, non_empty};
use crate::storage::{Connection, Error};

/// The longest wait for the storage; a request that fails at once is repeated meanwhile.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What an identity needs.
const QUEUE_ROLE: &str = "Storage Queue Data Reader";
const BLOB_ROLE: &str = "Storage Blob Data Reader";

/// Under `--watch` the locks are listed no more often: a listing of many blobs is large.
const LOCKS_EVERY: Duration = Duration::from_secs(10);

/// A listing of the locks that takes longer goes on beside the next samples.
const LISTING_GRACE: Duration = Duration::from_secs(1);

/// Letters are JSON objects, which are read as plain text too.
const ENCODING: MessageEncoding = MessageEncoding::Base64;

pub(super) struct Sources {
    pub(super) names: Names,
    records: Queue,
    dead_letters: Queue,
    locks: Option<Arc<LockContainer>>,
    listing: Listing,
}

/// The locks, which may take long to list: the first sample waits for them, later ones show the last result meanwhile.
#[derive(Default)]
struct Listing {
    last: Option<(Instant, Reading<LockCount>)>,
    under_way: Option<JoinHandle<Reading<LockCount>>>,
}

impl Sources {
    /// Opens everything with the settings that `lookup` gives; nothing is sent yet.
    ///
    /// # Errors
    /// Everything that is missing or wrong, each with its name.
    pub(super) fn open(place: &Place, lookup: &Lookup<'_>) -> Result<Self, Vec<Problem>> {
        let (account, locks) = match (Account::open(&place.connection, lookup), LockSettings::from_settings(lookup)) {
            (Ok(account), Ok(locks)) => (account, locks),
            (account, locks) => {
                let mut problems = account.err().unwrap_or_default();
                // Queues and locks may have the same connection.
                let is_new = |problem: &Problem| problems.iter().all(|known| known.variable != problem.variable);
                let others: Vec<_> = locks.err().into_iter().flatten().filter(is_new).collect();
                problems.extend(others);
                return Err(problems);
            }
        };
        let names = Names {
            host: account.host().to_owned(),
            records: place.queue.clone(),
            dead_letters: place.poison_queue.clone(),
            locks: locks.as_ref().map(|locks| locks.container.clone()),
        };
        let (records, dead_letters) = (account.queue(&place.queue)?, account.queue(&place.poison_queue)?);
        let locks = locks.map(|locks| open_locks(locks, lookup)).transpose()?.map(Arc::new);
        Ok(Self { names, records, dead_letters, locks, listing: Listing::default() })
    }

    pub(super) async fn sample(&mut self) -> Sample {
        let locks = async {
            let locks = self.locks.clone()?;
            Some(self.listing.result(async move { Reading::of(locks.count(TIMEOUT).await, BLOB_ROLE) }).await)
        };
        let (records, dead_letters, locks) =
            tokio::join!(within(look(&self.records)), within(look(&self.dead_letters)), locks);
        let at = [&records, &dead_letters].into_iter().find_map(|looked| looked.as_ref().ok().map(|(now, ..)| *now));
        Sample {
            at: at.unwrap_or_else(|| OffsetDateTime::now_utc().truncate_to_second()),
            records: Reading::of(records.map(|(_, state, _)| state), QUEUE_ROLE),
            dead_letters: Reading::of(dead_letters.map(|(_, state, letters)| (state, by_reason(letters))), QUEUE_ROLE),
            locks,
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
    timeout(TIMEOUT, request).await.unwrap_or(Err(Error::TIMEOUT))
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

impl<T> Reading<T> {
    /// `role` is what an identity needs.
    fn of(result: Result<T, Error>, role: &str) -> Self {
        match result {
            Ok(value) => Self::Found(value),
            Err(error) if error.is_missing() => Self::Missing,
            Err(error) => Self::Failed(describe_access(&error, role)),
        }
    }
}

fn by_reason(letters: Vec<Received>) -> Summary {
    let mut reasons = Summary::default();
    for letter in letters {
        reasons.add(&Entry::read(letter, ENCODING));
    }
    reasons
}

impl Listing {
    /// The last result, or a new one by `list` if that was too long ago and the new one comes soon.
    async fn result(&mut self, list: impl Future<Output = Reading<LockCount>> + Send + 'static) -> Reading<LockCount> {
        let is_recent = |(then, _): &&(Instant, Reading<_>)| then.elapsed() < LOCKS_EVERY;
        if let Some((_, Reading::Found(count))) = self.last.as_ref().filter(is_recent) {
            return Reading::Found(count.clone());
        }
        let mut under_way = self.under_way.take().unwrap_or_else(|| tokio::spawn(list));
        let grace = if self.last.is_some() { LISTING_GRACE } else { TIMEOUT * 2 };
        let failed = || Reading::Failed("the locks could not be counted".to_owned());
        match timeout(grace, &mut under_way).await {
            Ok(listed) => self.last = Some((Instant::now(), listed.unwrap_or_else(|_| failed()))),
            Err(_) => self.under_way = Some(under_way),
        }
        self.last.as_ref().map_or_else(failed, |(_, last)| last.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_storage_that_never_answers_is_given_up() {
        let begun = Instant::now();
        let Reading::Failed(problem) = Reading::of(within::<()>(pending()).await, QUEUE_ROLE) else {
            panic!("there is no answer");
        };
        assert_eq!((problem.as_str(), begun.elapsed()), ("the storage cannot be reached: no answer in time", TIMEOUT));
    }

    fn held(held: usize) -> Reading<LockCount> {
        Reading::Found(LockCount { held, blobs: 9, is_complete: true })
    }

    fn shown(reading: &Reading<LockCount>) -> usize {
        let Reading::Found(LockCount { held, .. }) = reading else { panic!("{reading:?}") };
        *held
    }

    #[tokio::test(start_paused = true)]
    async fn a_listing_of_the_locks_is_used_for_some_seconds_and_while_the_next_one_takes_long() {
        let mut listing = Listing::default();
        let after = async |seconds: u64, result| {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            result
        };
        assert_eq!(shown(&listing.result(after(14, held(1))).await), 1, "the first one is waited for");
        tokio::time::advance(LOCKS_EVERY / 2).await;
        assert_eq!(shown(&listing.result(pending()).await), 1, "it is recent");
        tokio::time::advance(LOCKS_EVERY / 2).await;
        let begun = Instant::now();
        assert_eq!(shown(&listing.result(after(9, held(2))).await), 1);
        assert_eq!(begun.elapsed(), LISTING_GRACE, "a slow one does not stop the samples");
        tokio::time::advance(Duration::from_secs(8)).await;
        assert_eq!(shown(&listing.result(pending()).await), 2, "the one that was under way has ended");
        let failed = || Reading::Failed("no connection".to_owned());
        tokio::time::advance(LOCKS_EVERY).await;
        assert!(matches!(listing.result(async move { failed() }).await, Reading::Failed(_)));
        assert_eq!(shown(&listing.result(async { held(3) }).await), 3, "a failed one is repeated at once");
    }
}
