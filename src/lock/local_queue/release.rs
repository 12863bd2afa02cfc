//! Gives up a lock after its work: hands it to the next waiter of this process, or releases its lease.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{HeldLock, KeyQueue, LeaseHandoff, Wakeup, YIELD};
use crate::telemetry::trace;

/// Maximum releases under way or waiting for their turn; beyond it leases are left to expire. The storage then answers releases far
/// more slowly than acquisitions.
pub(super) const MAX_RELEASES: usize = 1_024;

/// Hands the lock to the next waiter, or releases it. The trace span begins here, while the caller's is current: a spawned task
/// only has the log span. It is never entered, so that log lines written meanwhile belong to the record's span.
pub(super) fn release(held: HeldLock) -> impl Future<Output = ()> + Send {
    let span = trace::child("release");
    async move {
        hand_on_or_release(held).await;
        drop(span);
    }
}

async fn hand_on_or_release(mut held: HeldLock) {
    if let Some(waiter) = next_waiter(&mut held).await {
        held.uses += 1;
        // If the waiter leaves in this moment, the dropped handoff releases the lock.
        drop(waiter.send(Wakeup::Lease(LeaseHandoff(Some(held)))));
        return;
    }
    let is_session_over = held.is_session_over();
    let HeldLock { lease, head, .. } = held;
    if head.shared.releases.len() > MAX_RELEASES {
        return tracing::warn!("too many leases wait to be released; this one expires by itself");
    }
    head.shared.storage.release(lease).await;
    if is_session_over {
        head.with_queue(|queue| queue.yields_until = Some(Instant::now() + YIELD));
    }
}

/// The waiter that gets the lease, if the session and the lease last long enough for one more use.
async fn next_waiter(lock: &mut HeldLock) -> Option<oneshot::Sender<Wakeup>> {
    let head = &lock.head;
    if lock.is_session_over() || !head.with_queue(|queue| queue.has_waiters()).unwrap_or_default() {
        return None;
    }
    if Instant::now() >= lock.lease.renewal_due() {
        head.shared.storage.renew(&mut lock.lease).await.ok().filter(|is_alive| *is_alive)?;
    }
    head.with_queue(KeyQueue::pop).flatten()
}
