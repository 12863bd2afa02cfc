//! An embedded store that implements the parts of the Azure Blob and Queue REST APIs that the handler and the Functions
//! host use.
//!
//! It follows the documentation strictly, also where the usual emulator does not: lease ids must be GUIDs, an expired
//! lease can be renewed only with its own id, signatures, times and permissions are checked, and names stay reserved
//! after a deletion. Unsupported requests get 501. Everything is kept in memory. It listens on 127.0.0.1 only, on one
//! port for blobs and one for queues, with the account in the path. Faults can be injected.
//!
//! The rules are linked where they are implemented. API: <https://learn.microsoft.com/rest/api/storageservices/>.

mod auth;
mod bearer;
mod blob_lease;
mod blob_list;
mod blob_service;
mod blobs;
mod call;
mod conditions;
mod counts;
mod edge;
mod error;
mod fault;
mod lease;
mod lease_log;
mod operation;
mod queue_service;
mod queues;
mod reply;
mod sas;
mod shared_key;
#[cfg(test)]
mod testing;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use time::OffsetDateTime;
use tokio::time::Instant;

pub use call::Metadata;
pub use counts::Counts;
pub use fault::{Effect, Fault, Op};
pub use lease::LeaseState;
pub use lease_log::{LeaseEvent, LeaseHistory};
pub use queues::MessageView;

use crate::gauge::Gauge;
use crate::net::{Server, Tls};
use auth::Account;
use blobs::{Blob, Blobs};
use call::Service;
use edge::{Store, lock};
use fault::Faults;
use lease::Lease;
use lease_log::LeaseLog;
use queues::Queues;
use reply::Now;

/// The account of every storage emulator, see
/// <https://learn.microsoft.com/azure/storage/common/storage-connect-azurite>.
pub const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
/// Its key, which is public.
pub const EMULATOR_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The store's settings.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Listen with TLS. Without it, Entra tokens are rejected.
    pub tls: Option<Tls>,
    /// Delay before every request is executed.
    pub latency: Duration,
    /// How many lease requests [`Storage::lease_history`] keeps; 0 by default.
    pub lease_log: usize,
}

/// A running store; dropping it stops it.
#[derive(Debug)]
pub struct Storage {
    store: Arc<Store>,
    tls: Option<Tls>,
    blob: Server,
    queue: Server,
}

/// Another listener for a storage's blobs, which identifies its clients in the lease history; dropping it closes it.
#[derive(Debug)]
pub struct ExtraListener {
    server: Server,
    blob_endpoint: String,
    connection_string: String,
}

impl ExtraListener {
    /// The host and port that its clients use: `127.0.0.1:4711`.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.server.port())
    }

    /// The blob service's address with the account.
    pub fn blob_endpoint(&self) -> &str {
        &self.blob_endpoint
    }

    /// A storage connection string with this extra listener for blobs and the store's own for queues.
    pub fn connection_string(&self) -> &str {
        &self.connection_string
    }
}

/// A lease as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseView {
    /// The container's name.
    pub container: String,
    /// The blob's name.
    pub blob: String,
    /// The id of the current or last holder, as the service writes it.
    pub id: String,
    /// The lease's state; never `Available`.
    pub state: LeaseState,
    /// Time left of the lease or its break period; `None` if it is infinite or over.
    pub remaining: Option<Duration>,
}

/// A snapshot of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobView {
    /// The blob's metadata.
    pub metadata: Metadata,
    /// The content's length, in bytes.
    pub length: usize,
    /// The content.
    pub content: Bytes,
    /// When content or metadata were last written.
    pub last_modified: OffsetDateTime,
}

impl Storage {
    /// Starts an empty store on two free ports.
    pub async fn start(options: Options) -> io::Result<Self> {
        let store = Arc::new(Store {
            account: Account::default(),
            latency: options.latency,
            secure: options.tls.is_some(),
            blobs: Mutex::new(Blobs::default()),
            queues: Mutex::new(Queues::default()),
            counts: Mutex::new(Counts::default()),
            faults: Mutex::new(Faults::default()),
            lease_log: Mutex::new(LeaseLog::new(options.lease_log)),
            requests: Gauge::default(),
        });
        let tls = options.tls.as_ref();
        let blob = Server::start(edge::router(store.clone(), Service::Blob), 0, tls).await?;
        let queue = Server::start(edge::router(store.clone(), Service::Queue), 0, tls).await?;
        Ok(Self { store, tls: options.tls, blob, queue })
    }

    /// A storage connection string with both endpoints.
    pub fn connection_string(&self) -> String {
        self.connection_string_by(&self.blob_endpoint())
    }

    /// Opens one more listener on the same blobs.
    pub async fn extra_listener(&self) -> io::Result<ExtraListener> {
        let server = Server::start(edge::router(self.store.clone(), Service::Blob), 0, self.tls.as_ref()).await?;
        let blob_endpoint = format!("{}/{EMULATOR_ACCOUNT}", server.url());
        let connection_string = self.connection_string_by(&blob_endpoint);
        Ok(ExtraListener { server, blob_endpoint, connection_string })
    }

    fn connection_string_by(&self, blob: &str) -> String {
        let protocol = blob.split(':').next().unwrap_or("http");
        format!(
            "DefaultEndpointsProtocol={protocol};AccountName={EMULATOR_ACCOUNT};AccountKey={EMULATOR_KEY};\
             BlobEndpoint={blob};QueueEndpoint={};",
            self.queue_endpoint(),
        )
    }

    /// The blob service's address with the account: `http://127.0.0.1:4711/devstoreaccount1`.
    pub fn blob_endpoint(&self) -> String {
        format!("{}/{EMULATOR_ACCOUNT}", self.blob.url())
    }

    /// The queue service's address with the account.
    pub fn queue_endpoint(&self) -> String {
        format!("{}/{EMULATOR_ACCOUNT}", self.queue.url())
    }

    /// Requests by kind since the start.
    pub fn counts(&self) -> Counts {
        *lock(&self.store.counts)
    }

    /// The connections to the blobs so far, without those of extra listeners.
    pub fn blob_connections(&self) -> &Gauge {
        self.blob.connections()
    }

    /// The blob requests in flight so far, by whatever listener.
    pub fn blob_requests(&self) -> &Gauge {
        &self.store.requests
    }

    /// The most recent lease requests, at most as many as the options allow.
    pub fn lease_history(&self) -> LeaseHistory {
        lock(&self.store.lease_log).history()
    }

    /// Adds a fault after those already queued.
    pub fn fault(&self, fault: Fault) {
        lock(&self.store.faults).push(fault);
    }

    /// Removes a fault that applies until cleared; other faults stay.
    pub fn end_fault(&self, fault: &Fault) {
        lock(&self.store.faults).end(fault);
    }

    /// Removes all faults. Requests that a fault already applies to are not affected.
    pub fn clear_faults(&self) {
        lock(&self.store.faults).clear();
    }

    /// All leases that are held, or whose last holder is still known, by container and blob.
    pub fn leases(&self) -> Vec<LeaseView> {
        let now = Instant::now();
        let view = |(container, blob, held): (&str, &str, &Blob)| {
            let lease = held.lease.at(now);
            lease.id().map(|id| LeaseView {
                container: container.to_owned(),
                blob: blob.to_owned(),
                id: id.to_string(),
                state: lease.state(),
                remaining: lease.ends().map(|ends| ends.duration_since(now)),
            })
        };
        lock(&self.store.blobs).all().filter_map(view).collect()
    }

    /// Breaks leases at once, like a break period of 0: that of one blob (container and name) or, with `None`, all.
    /// Returns how many were held.
    pub fn break_leases(&self, blob: Option<(&str, &str)>) -> usize {
        self.end_leases(blob, |lease, now| lease.break_after(Some(Duration::ZERO), now).unwrap_or(lease))
    }

    /// Expires leases at once, as if their holder had been paused: that of one blob (container and name) or, with
    /// `None`, all. Returns how many were held.
    pub fn expire_leases(&self, blob: Option<(&str, &str)>) -> usize {
        self.end_leases(blob, |lease, _| lease.cut_short())
    }

    fn end_leases(&self, only: Option<(&str, &str)>, end: impl Fn(Lease, Instant) -> Lease) -> usize {
        let now = Instant::now();
        let mut ended = 0;
        for (container, name, blob) in lock(&self.store.blobs).all_mut() {
            let matches = only.is_none_or(|only| only == (container, name));
            if matches && blob.lease.at(now).state().is_locked() {
                blob.lease = end(blob.lease, now);
                ended += 1;
            }
        }
        ended
    }

    /// All messages of a queue, including hidden ones, in the order of arrival; empty if the queue does not exist.
    pub fn messages(&self, queue: &str) -> Vec<MessageView> {
        self.on_queue(queue, |queue, now| queue.views(now)).unwrap_or_default()
    }

    /// Makes up to `most` hidden messages visible at once, as if their visibility timeout had expired, so that they are
    /// delivered again while they are being processed. Returns their number.
    pub fn redeliver(&self, queue: &str, most: usize) -> usize {
        self.on_queue(queue, |queue, now| queue.redeliver(most, now)).unwrap_or_default()
    }

    /// Hides up to `most` visible messages for `by`, so that later ones overtake them. Returns their number.
    pub fn postpone(&self, queue: &str, most: usize, by: Duration) -> usize {
        self.on_queue(queue, |queue, now| queue.postpone(most, by, now)).unwrap_or_default()
    }

    fn on_queue<T>(&self, queue: &str, act: impl FnOnce(&mut queues::Queue, Now) -> T) -> Option<T> {
        let now = Now::read();
        lock(&self.store.queues).queue(queue, now).ok().map(|queue| act(queue, now))
    }

    /// Creates empty blobs at once, in a container that is created if it is missing.
    pub fn create_blobs(&self, container: &str, names: impl IntoIterator<Item = String>) {
        let now = Now::read();
        let mut blobs = lock(&self.store.blobs);
        // An existing container stays as it is.
        let _ = blobs.create(container, Metadata::new(), now);
        let stamp = blobs.stamp(now);
        let Ok(container) = blobs.container_mut(container) else { return };
        container.blobs.extend(names.into_iter().map(|name| (name, Blob::empty(stamp.clone()))));
    }

    /// A blob, if it exists.
    pub fn blob(&self, container: &str, blob: &str) -> Option<BlobView> {
        let blobs = lock(&self.store.blobs);
        let found = blobs.blob(container, blob).ok()?;
        Some(BlobView {
            metadata: found.metadata.clone(),
            length: found.content.len(),
            content: found.content.clone(),
            last_modified: found.stamp.modified,
        })
    }
}
