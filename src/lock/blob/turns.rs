//! How many leases are given back at once.
//!
//! Where many messages end together, the next ones ask for their locks at that moment, and over HTTP/1.1 each request has a
//! connection to itself: 27 KB, and one of the few hundred that an instance may have.
//! <https://learn.microsoft.com/azure/azure-functions/manage-connections>

use std::time::Duration;

use thread_local::ThreadLocal;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// So many of one thread, which has its own connections: at 3 ms each more than a core can write.
const AT_ONCE: usize = 64;

/// The longest wait for another one to be done. A lock that is kept longer keeps others waiting.
const LONGEST: Duration = Duration::from_millis(50);

/// The turns of each thread.
#[derive(Debug, Default)]
pub(super) struct Turns(ThreadLocal<Semaphore>);

impl Turns {
    /// A turn, to be kept as long as it takes; none where the storage is slow, and then nobody waits for it.
    pub(super) async fn take(&self) -> Option<SemaphorePermit<'_>> {
        let turns = self.0.get_or(|| Semaphore::new(AT_ONCE));
        match turns.try_acquire() {
            Ok(turn) => Some(turn),
            Err(_) => timeout(LONGEST, turns.acquire()).await.ok()?.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::poll;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_more_waits_for_another_to_be_done() {
        let turns = Turns::default();
        let mut taken = Vec::new();
        for _ in 0..AT_ONCE {
            taken.push(turns.take().await.expect("there is room"));
        }
        let mut next = pin!(turns.take());
        assert!(poll!(&mut next).is_pending());
        taken.pop();
        assert!(next.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_long_for_others_that_are_never_done() {
        let turns = Turns::default();
        let mut taken = Vec::new();
        for _ in 0..AT_ONCE {
            taken.push(turns.take().await);
        }
        let begun = Instant::now();
        assert!(turns.take().await.is_none());
        assert!((LONGEST..2 * LONGEST).contains(&begun.elapsed()));
    }
}
