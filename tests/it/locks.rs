//! Leases as locks: one conformance suite in memory, on the embedded store and on Azurite, plus tests that only the
//! embedded store, the stricter of the two, can pass.

mod conformance;
mod faults;
mod leases;
mod traffic;

use std::sync::Arc;
use std::time::Duration;

use dataverse_sync::http::Http;
use dataverse_sync::identity::{Choice, Identity};
use dataverse_sync::lock::blob::BlobLocks;
use dataverse_sync::lock::local_queue::{Acquired, LocalQueue, WaitLimits};
use dataverse_sync::lock::{Error, Lease, LockName, Locks};
use dataverse_sync::storage::{self, Address, Connection};
use stand_ins::azurite::{Azurite, AzuriteOptions};
use stand_ins::storage::{Options, Storage};
use uuid::Uuid;

use crate::simulation::service::{Process, Remote, Service};

/// The shortest lease that the service grants.
const LIFE: Duration = Duration::from_secs(15);

/// Longer than any lease: a caller that waits this long gets the lock, even on a busy machine.
const LONG: Duration = Duration::from_mins(2);

/// The default of `SYNC_MAX_CONCURRENCY`.
const WIDTH: usize = 52;

/// Where leases are kept.
pub(crate) trait LeaseStore {
    /// The locks of another process, in this container.
    fn locks(&self, container: &str) -> Arc<dyn Locks>;
}

/// A storage account, opened by its connection string.
pub(crate) struct Account(pub(crate) String);

/// The simulation's lease service without faults.
struct Memory(Arc<Service>);

impl LeaseStore for Memory {
    fn locks(&self, _: &str) -> Arc<dyn Locks> {
        Arc::new(Remote::new(self.0.clone(), Process::new(0), LIFE))
    }
}

impl LeaseStore for Account {
    fn locks(&self, container: &str) -> Arc<dyn Locks> {
        // Another test of this process may have installed the same provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let address = Address::resolve(storage::Service::Blob, "Locks", &|_| Some(self.0.clone()))
            .expect("it is a connection string");
        let http = Http::new().expect("this machine has root certificates");
        // An account key needs no token.
        let identity = Identity::open(Choice::DeveloperTools, &http).expect("nothing is opened yet");
        let identity = Arc::new(identity);
        let locks = BlobLocks::new(&Connection::new(address, identity, &http), container, LIFE);
        Arc::new(locks.expect("the address is usable"))
    }
}

/// An embedded store, and one process's locks in it.
async fn embedded() -> (Storage, Arc<dyn Locks>) {
    let storage = Storage::start(Options::default()).await.expect("loopback has free ports");
    let locks = Account(storage.connection_string()).locks("sync-locks");
    (storage, locks)
}

/// A unique name.
pub(crate) fn fresh() -> LockName {
    LockName::new(format!("contacts-{}", Uuid::new_v4().simple()))
}

/// Waits for the lock with no other waiter in this process, so the storage decides.
async fn acquire(locks: &Arc<dyn Locks>, name: &LockName, wait: Duration) -> Result<Acquired, Error> {
    LocalQueue::new(locks.clone(), WIDTH).acquire(name, WaitLimits::new(wait), || ()).await
}

/// Acquires the lease, or fails the test.
async fn held(locks: &Arc<dyn Locks>, name: &LockName, wait: Duration) -> Lease {
    match acquire(locks, name, wait).await {
        Ok(Acquired::Held(held)) => held.lease,
        other => panic!("not held: {other:?}"),
    }
}

/// Whether another holder has the lock now.
async fn is_busy(locks: &Arc<dyn Locks>, name: &LockName) -> bool {
    match acquire(locks, name, Duration::ZERO).await {
        Ok(Acquired::Busy) => true,
        Ok(Acquired::Held(held)) => {
            locks.release(held.lease).await;
            false
        }
        Err(error) => panic!("not known: {error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_conformance_suite_holds_in_memory() {
    let service = Service::new();
    service.calm_down();
    let memory = Memory(service);
    tokio::join!(conformance::run(&memory), conformance::a_lease_lives_from_its_last_renewal(&memory));
}

#[tokio::test]
async fn the_conformance_suite_holds_on_the_embedded_store() {
    let (storage, _) = embedded().await;
    let account = Account(storage.connection_string());
    tokio::join!(conformance::run(&account), conformance::a_lease_lives_from_its_last_renewal(&account));
}

#[tokio::test]
async fn the_conformance_suite_holds_on_azurite() {
    let azurite = Azurite::start(AzuriteOptions::default()).await.expect("Azurite starts");
    conformance::run(&Account(azurite.connection_string())).await;
}
