//! The gate in front of Dataverse, one per process: so many requests at once, and none while Dataverse asked for a pause.
//!
//! Sending on during a `Retry-After` lengthens it, so one answer that names a delay holds everybody back. Whoever waits here
//! holds no lock.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/api-limits>

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};

/// The gate.
#[derive(Debug)]
pub struct Gate {
    slots: Arc<Semaphore>,
    closed_until: Mutex<Option<Instant>>,
}

/// The right to talk to Dataverse, until it is dropped.
#[derive(Debug)]
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Nobody could be let in within the patience given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// When to try again, where the gate knows.
    pub retry_after: Option<Duration>,
}

impl Gate {
    /// A gate that lets `width` in at once.
    pub fn new(width: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(width)), closed_until: Mutex::new(None) }
    }

    /// Waits for a place, at most `patience`.
    ///
    /// # Errors
    /// When there is none in time; at once when it is known that there will be none.
    pub async fn enter(&self, patience: Duration) -> Result<Permit, Closed> {
        let deadline = Instant::now() + patience;
        self.opened(deadline).await?;
        let permit = match timeout_at(deadline, self.slots.clone().acquire_owned()).await {
            Ok(permit) => permit.expect("the gate never closes its semaphore"),
            Err(_) => return Err(Closed { retry_after: None }),
        };
        // A pause may have begun while we stood in line.
        self.opened(deadline).await?;
        Ok(Permit(permit))
    }

    /// Lets nobody in for `delay` from now.
    pub fn pause(&self, delay: Duration) {
        let until = Instant::now() + delay;
        let mut closed_until = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        if closed_until.is_none_or(|earlier| earlier < until) {
            *closed_until = Some(until);
        }
    }

    async fn opened(&self, deadline: Instant) -> Result<(), Closed> {
        while let Some(until) = self.closed_now() {
            if until > deadline {
                return Err(Closed { retry_after: Some(until - Instant::now()) });
            }
            sleep_until(until).await;
        }
        Ok(())
    }

    fn closed_now(&self) -> Option<Instant> {
        let closed_until = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        closed_until.filter(|until| *until > Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn no_more_than_its_width_pass_at_once() {
        let gate = Gate::new(2);
        let first = gate.enter(SECOND).await.expect("free");
        let _second = gate.enter(SECOND).await.expect("free");
        assert_eq!(gate.enter(SECOND).await.expect_err("full"), Closed { retry_after: None });
        drop(first);
        gate.enter(SECOND).await.expect("free again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_everybody_back_until_it_ends() {
        let gate = Gate::new(2);
        gate.pause(5 * SECOND);
        let begun = Instant::now();
        gate.enter(10 * SECOND).await.expect("the pause is shorter");
        assert!(begun.elapsed() >= 5 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_beyond_the_patience_is_told_at_once() {
        let gate = Gate::new(2);
        gate.pause(60 * SECOND);
        let begun = Instant::now();
        let closed = gate.enter(20 * SECOND).await.expect_err("closed");
        assert_eq!((closed.retry_after, begun.elapsed()), (Some(60 * SECOND), Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_pause_does_not_end_a_longer_one() {
        let gate = Gate::new(1);
        gate.pause(60 * SECOND);
        gate.pause(SECOND);
        assert!(gate.enter(30 * SECOND).await.is_err());
    }
}
