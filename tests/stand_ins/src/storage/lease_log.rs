//! The log of lease requests in the order in which the storage processed them, for lock benchmarks and chaos runs.
//!
//! It is bounded: only the newest events up to its capacity are kept, with the number of dropped ones. Requests that
//! got an injected fault are logged as well, with the response that was sent.
//!
//! The service has such a log too: <https://learn.microsoft.com/azure/storage/blobs/monitor-blob-storage>.

use std::collections::VecDeque;

use tokio::time::Instant;
use uuid::Uuid;

use super::call::Call;
use super::fault::Op;

/// One lease request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseEvent {
    /// When the store processed it.
    pub at: Instant,
    /// Which of the five lease requests.
    pub op: Op,
    /// The container's name.
    pub container: String,
    /// The blob's name.
    pub blob: String,
    /// The id that was proposed or given; for an acquire without one, the id that was granted.
    pub lease: Option<Uuid>,
    /// The response's status; `None` if a fault dropped the request before it reached the store, without a response.
    pub status: Option<u16>,
    /// The host and port that were called, which identify the client, see [`super::Storage::extra_listener`].
    pub caller: String,
}

/// The kept events.
#[derive(Debug, Clone, Default)]
pub struct LeaseHistory {
    /// The newest events, oldest first.
    pub events: Vec<LeaseEvent>,
    /// How many older events were dropped.
    pub dropped: u64,
}

#[derive(Debug)]
pub(super) struct LeaseLog {
    capacity: usize,
    events: VecDeque<LeaseEvent>,
    dropped: u64,
}

impl LeaseLog {
    /// An empty log for `capacity` events.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, events: VecDeque::new(), dropped: 0 }
    }

    /// Logs a request if it is a lease request and the capacity is not 0. `granted` is the id in the response.
    pub(super) fn note(&mut self, call: &Call, op: Op, at: Instant, status: Option<u16>, granted: Option<Uuid>) {
        if self.capacity == 0 || !Op::AnyLease.covers(op) {
            return;
        }
        if self.events.len() == self.capacity {
            self.events.pop_front();
            self.dropped += 1;
        }
        let asked = if op == Op::Acquire { "x-ms-proposed-lease-id" } else { "x-ms-lease-id" };
        self.events.push_back(LeaseEvent {
            at,
            op,
            container: call.container.clone().unwrap_or_default(),
            blob: call.name.clone().unwrap_or_default(),
            lease: granted.or_else(|| call.guid(asked).ok().flatten()),
            status,
            caller: call.header("host").unwrap_or_default().to_owned(),
        });
    }

    /// The events kept so far.
    pub(super) fn history(&self) -> LeaseHistory {
        LeaseHistory { events: self.events.iter().cloned().collect(), dropped: self.dropped }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{Fixture, signed};
    use super::super::{Effect, Fault, Options};
    use super::*;

    const FIFTEEN: (&str, &str) = ("x-ms-lease-duration", "15");

    async fn fixture(lease_log: usize) -> Fixture {
        let fixture = Fixture::start(Options { lease_log, ..Options::default() }).await;
        assert_eq!(fixture.blob("PUT", "locks?restype=container", &[], "").await.status, 201);
        assert_eq!(fixture.blob("PUT", "locks/one", &[("x-ms-blob-type", "BlockBlob")], "").await.status, 201);
        fixture
    }

    fn requests(history: &LeaseHistory) -> Vec<(Op, Option<u16>)> {
        history.events.iter().map(|event| (event.op, event.status)).collect()
    }

    #[tokio::test]
    async fn lease_requests_are_logged_with_id_and_outcome_and_nothing_else_is() {
        let fixture = fixture(10).await;
        let granted = fixture.lease("acquire", &[FIFTEEN]).await;
        let id: Uuid = granted.header("x-ms-lease-id").parse().expect("a GUID");
        let proposed = Uuid::new_v4();
        fixture.lease("acquire", &[FIFTEEN, ("x-ms-proposed-lease-id", &proposed.to_string())]).await;
        fixture.lease("release", &[("x-ms-lease-id", &id.to_string())]).await;
        let history = fixture.storage.lease_history();
        assert_eq!(
            requests(&history),
            [(Op::Acquire, Some(201)), (Op::Acquire, Some(409)), (Op::Release, Some(200))],
            "writing the blob is not a lease request"
        );
        let ids: Vec<_> = history.events.iter().filter_map(|event| event.lease).collect();
        assert_eq!(ids, [id, proposed, id]);
        assert!(history.events.is_sorted_by_key(|event| event.at));
    }

    #[tokio::test]
    async fn what_a_fault_kept_from_the_store_is_logged_as_the_caller_saw_it() {
        let fixture = fixture(10).await;
        let busy = Effect::Status { code: 503, error_code: "ServerBusy", retry_after: None };
        fixture.storage.fault(Fault::once(Op::Acquire, busy));
        fixture.storage.fault(Fault::once(Op::Acquire, Effect::Hang(Duration::ZERO)));
        fixture.lease("acquire", &[FIFTEEN]).await;
        let url = format!("{}/locks/one?comp=lease", fixture.storage.blob_endpoint());
        let request = signed("PUT", &url, &[("x-ms-lease-action", "acquire"), FIFTEEN], "");
        fixture.http.execute(request).await.expect_err("it hangs, and then the connection is closed");
        assert_eq!(requests(&fixture.storage.lease_history()), [(Op::Acquire, Some(503)), (Op::Acquire, None)]);
    }

    #[tokio::test]
    async fn only_the_newest_are_kept_and_the_dropped_are_counted() {
        let fixture = fixture(2).await;
        for action in ["acquire", "acquire", "acquire"] {
            fixture.lease(action, &[FIFTEEN]).await;
        }
        let history = fixture.storage.lease_history();
        assert_eq!(requests(&history), [(Op::Acquire, Some(409)), (Op::Acquire, Some(409))]);
        assert_eq!(history.dropped, 1);
    }

    #[tokio::test]
    async fn callers_are_distinguished_by_their_listener() {
        let fixture = fixture(10).await;
        let extra_listener = fixture.storage.extra_listener().await.expect("loopback has free ports");
        fixture.lease("acquire", &[FIFTEEN]).await;
        let url = format!("{}/locks/one?comp=lease", extra_listener.blob_endpoint());
        let request = signed("PUT", &url, &[("x-ms-lease-action", "acquire"), FIFTEEN], "");
        let response = fixture.http.execute(request).await.expect("an answer");
        assert_eq!(response.status(), 409, "both doors lead to one store");
        let callers: Vec<String> =
            fixture.storage.lease_history().events.into_iter().map(|event| event.caller).collect();
        assert_eq!(callers[1], extra_listener.authority());
        assert_ne!(callers[0], callers[1]);
        assert!(extra_listener.connection_string().contains(extra_listener.blob_endpoint()));
    }
}
