//! The server in this process, with stores and locks made for a test, and a clock that can be paused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dataverse_sync::admission::Admission;
use dataverse_sync::dataverse::Store;
use dataverse_sync::lock::Locks;
use dataverse_sync::lock::local_queue::LocalQueue;
use dataverse_sync::pipeline::{LoggedOnce, Pipeline, VisibleColumns};
use dataverse_sync::record::{OnConflict, Tables};
use dataverse_sync::server::{self, QueuePolicy};
use dataverse_sync::shutdown::Cause;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server and its shutdown trigger.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) admission: Admission,
    pub(crate) task: JoinHandle<Cause>,
    pub(crate) stop: oneshot::Sender<Cause>,
}

impl Server {
    /// Starts a server without locks on a free port, with so many slots; failed messages go back at once.
    pub(crate) async fn with_slots(store: Arc<dyn Store>, slots: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::with(listener, store, None, slots, Duration::ZERO)
    }

    /// Starts a server with one slot on a free port; failed messages are held in place for as long as `hold`.
    pub(crate) async fn start(store: Arc<dyn Store>, locks: Option<Arc<dyn Locks>>, hold: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::on(listener, store, locks, hold)
    }

    /// The same on this listener.
    pub(crate) fn on(
        listener: TcpListener,
        store: Arc<dyn Store>,
        locks: Option<Arc<dyn Locks>>,
        hold: Duration,
    ) -> Self {
        Self::with(listener, store, locks, 1, hold)
    }

    fn with(
        listener: TcpListener,
        store: Arc<dyn Store>,
        locks: Option<Arc<dyn Locks>>,
        slots: usize,
        hold: Duration,
    ) -> Self {
        let admission = Admission::new(slots, 4);
        let pipeline = Pipeline {
            store,
            environment: String::new(),
            locks: locks.map(|locks| (LocalQueue::new(locks, slots), Duration::from_secs(10))),
            admission: admission.clone(),
            on_conflict: OnConflict::default(),
            version_column: None,
            tables: Tables::default(),
            unknown_codes: LoggedOnce::default(),
            implausible_versions: LoggedOnce::default(),
            visible_columns: VisibleColumns::default(),
        };
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { stopped.await.unwrap_or(Cause::Terminated) };
        let queue = QueuePolicy { hold, max_deliveries: None, in_flight: 1, encoding: None };
        Self { address, admission, task: tokio::spawn(server::run(listener, pipeline, queue, shutdown)), stop }
    }
}
