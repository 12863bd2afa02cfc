//! Polls one queue: a batch at a time, more slowly while it is empty, and never more in flight than host.json allows.
//!
//! A missing queue counts as empty: the host does not create the queue that it reads. The pause doubles from 100 ms up
//! to `maxPollingInterval`, without the real host's jitter.
//!
//! Contract: <https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger#polling-algorithm>.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::invocation::{SharedRuntime, Trigger};
use super::logs::{Category, Severity};
use super::process::State;
use crate::queue::Message;

/// The first pause after an empty poll.
const MIN_PAUSE: Duration = Duration::from_millis(100);

/// Runs until the host takes no new work (`open` is false) and the invocations in flight have ended. Dropping the future drops
/// those: their messages stay hidden and are redelivered later.
pub(super) async fn listen(runtime: SharedRuntime, trigger: Arc<Trigger>, mut open: watch::Receiver<bool>) {
    let mut pause = Pause::new(runtime.policy.max_polling_interval);
    let mut running = JoinSet::new();
    loop {
        let state = tokio::select! {
            biased;
            _ = open.wait_for(|open| !open) => break,
            state = runtime.handler.settled() => state,
        };
        if matches!(state, State::Down(_) | State::Stopping) {
            break;
        }
        while running.len() > runtime.policy.new_batch_threshold {
            running.join_next().await;
        }
        while running.try_join_next().is_some() {}
        let messages = receive(&runtime, &trigger).await;
        if messages.is_empty() {
            tokio::select! {
                () = sleep(pause.after_nothing()) => {}
                _ = open.wait_for(|open| !open) => {}
            }
            continue;
        }
        pause.after_messages();
        for message in messages {
            let (runtime, trigger) = (runtime.clone(), trigger.clone());
            running.spawn(async move { runtime.process(&trigger, message).await });
        }
    }
    // Not join_all, which panics when the runtime ends first.
    while running.join_next().await.is_some() {}
}

async fn receive(runtime: &SharedRuntime, trigger: &Trigger) -> Vec<Message> {
    let received = trigger.queue.receive(runtime.policy.batch_size, runtime.invisibility).await;
    received.unwrap_or_else(|error| {
        if !error.is("QueueNotFound") {
            let text = format!("cannot poll the queue '{}': {error}", trigger.queue.name());
            runtime.logs.add(Severity::Error, Category::Host, text);
        }
        Vec::new()
    })
}

/// The pause between polls.
struct Pause {
    next: Duration,
    longest: Duration,
}

impl Pause {
    fn new(longest: Duration) -> Self {
        Self { next: MIN_PAUSE.min(longest), longest }
    }

    fn after_nothing(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.longest);
        now
    }

    fn after_messages(&mut self) {
        *self = Self::new(self.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_the_longest_and_starts_anew_after_a_message() {
        let mut pause = Pause::new(Duration::from_millis(500));
        let pauses: Vec<_> = (0..5).map(|_| pause.after_nothing().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 500, 500]);
        pause.after_messages();
        assert_eq!(pause.after_nothing().as_millis(), 100);
    }

    #[test]
    fn a_very_short_polling_interval_is_kept() {
        let mut pause = Pause::new(Duration::from_millis(5));
        assert_eq!([pause.after_nothing(), pause.after_nothing()], [Duration::from_millis(5); 2]);
    }
}
