//! Counts the locks that are held, by listing the container: the lease of each blob is among its properties.
//!
//! A listing shows blobs by name, so counting reads all of them, free ones included, up to [`MAX_BLOBS`].
//!
//! <https://learn.microsoft.com/rest/api/storageservices/list-blobs>

use std::time::Duration;

use azure_core::http::Response;
use azure_storage_blob::models::{BlobContainerClientListBlobsOptions, BlobItem, LeaseStatus, ListBlobsResponse};
use azure_storage_blob::{BlobContainerClient, BlobContainerClientOptions};
use futures::TryStreamExt as _;
use tokio::time::{Instant, timeout_at};

use crate::storage::{Connection, Error, RetryPolicy};

/// The blobs that are read at most: four pages.
const MAX_BLOBS: usize = 20_000;

/// The blobs of a page; the service's maximum.
const PAGE: usize = 5_000;

/// The bytes of a page that are read; a blob takes about 1 KB.
const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;

static RETRIES: RetryPolicy =
    RetryPolicy { request_timeout: Duration::from_secs(15), max_retries: 4, first_pause: Duration::from_millis(200) };

/// The container of the locks.
pub(crate) struct LockContainer(BlobContainerClient);

/// How many locks there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockCount {
    pub(crate) held: usize,
    /// The blobs that were read: one for each lock that was ever used, until a lifecycle rule deletes it.
    pub(crate) blobs: usize,
    /// Whether those are all.
    pub(crate) is_complete: bool,
}

impl LockContainer {
    /// The container of that name; it need not exist.
    ///
    /// # Errors
    /// When no client can be made for that address.
    pub(crate) fn open(connection: &Connection, name: &str) -> azure_core::Result<Self> {
        let options = BlobContainerClientOptions {
            client_options: connection.client_options(MAX_PAGE_BYTES),
            ..Default::default()
        };
        Ok(Self(BlobContainerClient::new(connection.url(name), connection.credential(), Some(options))?))
    }

    /// Counts the locks that can be read within `patience`.
    pub(crate) async fn count(&self, patience: Duration) -> Result<LockCount, Error> {
        let page = |marker: Option<String>| async move {
            RETRIES.run(|| RETRIES.once(self.page(marker.clone()))).await.result
        };
        count(patience, page).await
    }

    async fn page(&self, marker: Option<String>) -> azure_core::Result<ListBlobsResponse> {
        let maxresults = Some(i32::try_from(PAGE).expect("it is 5,000"));
        let options = BlobContainerClientListBlobsOptions { marker, maxresults, ..Default::default() };
        let page = self.0.list_blobs(Some(options))?.into_pages().try_next().await?;
        page.map_or_else(|| Ok(ListBlobsResponse::default()), Response::into_model)
    }
}

/// Counts page by page. A slow line is no failure: what was read until then is "at least so many".
async fn count<F: Future<Output = Result<ListBlobsResponse, Error>>>(
    patience: Duration,
    page: impl Fn(Option<String>) -> F,
) -> Result<LockCount, Error> {
    let deadline = Instant::now() + patience;
    let (mut count, mut marker) = (LockCount { held: 0, blobs: 0, is_complete: false }, None);
    while count.blobs < MAX_BLOBS {
        let Ok(page) = timeout_at(deadline, page(marker)).await else {
            return if count.blobs > 0 { Ok(count) } else { Err(Error::TIMEOUT) };
        };
        let page = page?;
        count.blobs += page.blob_items.len();
        count.held += page.blob_items.iter().filter(|blob| is_held(blob)).count();
        marker = page.next_marker.filter(|marker| !marker.is_empty());
        if marker.is_none() {
            count.is_complete = true;
            break;
        }
    }
    Ok(count)
}

fn is_held(blob: &BlobItem) -> bool {
    blob.properties.as_ref().is_some_and(|properties| properties.lease_status == Some(LeaseStatus::Locked))
}

#[cfg(test)]
mod tests {
    use stand_ins::storage::{Options, Storage};

    use super::*;
    use crate::lock::blob::BlobLocks;
    use crate::lock::{LockName, Locks as _};
    use crate::storage::{Address, Service};

    const PATIENCE: Duration = Duration::from_mins(1);

    const CONTAINER: &str = "sync-locks";

    fn connection(storage: &Storage) -> Connection {
        crate::http::install_tls();
        let lookup = |_: &str| Some(storage.connection_string());
        let address = Address::resolve(Service::Blob, "Locks", &lookup).expect("it is a connection string");
        Connection::open(address, "Locks", &lookup).expect("a key needs no identity")
    }

    #[tokio::test]
    async fn counts_the_leases_that_are_held_now() {
        let storage = Storage::start(Options::default()).await.expect("loopback has free ports");
        let connection = connection(&storage);
        let container = LockContainer::open(&connection, CONTAINER).expect("the address is usable");
        assert!(container.count(PATIENCE).await.is_err_and(|error| error.is_missing()));
        storage.create_blobs(CONTAINER, []);
        let count = |held, blobs| Ok(LockCount { held, blobs, is_complete: true });
        assert_eq!(container.count(PATIENCE).await, count(0, 0));
        let locks = BlobLocks::new(&connection, CONTAINER, Duration::from_secs(15)).expect("the address is usable");
        let mut leases = Vec::new();
        for name in ["a", "b", "c"] {
            leases.extend(locks.try_acquire(&LockName::new(name)).await.expect("the storage answers"));
        }
        locks.release(leases.pop().expect("three are held")).await;
        assert_eq!(container.count(PATIENCE).await, count(2, 3));
        storage.expire_leases(Some((CONTAINER, "a")));
        assert_eq!(container.count(PATIENCE).await, count(1, 3));
    }

    #[tokio::test]
    async fn stops_at_the_maximum_and_says_so() {
        let storage = Storage::start(Options::default()).await.expect("loopback has free ports");
        let container = LockContainer::open(&connection(&storage), CONTAINER).expect("the address is usable");
        for (blobs, is_complete) in [(MAX_BLOBS, true), (MAX_BLOBS + 1, false)] {
            storage.create_blobs(CONTAINER, (0..blobs).map(|number| format!("contacts-{number:064}")));
            let count = LockCount { held: 0, blobs: MAX_BLOBS, is_complete };
            assert_eq!(container.count(PATIENCE).await, Ok(count));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_slow_line_has_brought_in_time_is_counted() {
        let mut first = ListBlobsResponse::default();
        first.blob_items.push(BlobItem::default());
        first.next_marker = Some("2".to_owned());
        let first = &first;
        let slow = |marker: Option<String>| async move {
            if marker.is_none() { Ok(first.clone()) } else { std::future::pending().await }
        };
        let seen = LockCount { held: 0, blobs: 1, is_complete: false };
        assert_eq!(super::count(PATIENCE, slow).await, Ok(seen));
        assert_eq!(super::count(PATIENCE, |_| std::future::pending()).await, Err(Error::TIMEOUT));
    }
}
