//! How many HTTP calls there may be at a time: half of the connections, so that queue messages always find one.
//!
//! A call that finds no slot is answered before its body is read, and its connection closes, so that idle ones do not take the other
//! half. The calls before it may be bodies that never come, or records that wait for one lock.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::outcome::{Outcome, Reason};

/// The slots. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct CallSlots(Arc<Semaphore>);

impl CallSlots {
    /// For a server with so many connections.
    pub(super) fn new(max_connections: usize) -> Self {
        Self(Arc::new(Semaphore::new(max_connections / 2)))
    }

    /// A slot, until it is dropped; `None` where all are taken.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.0.clone().try_acquire_owned().ok()
    }
}

/// The outcome of a call that finds no slot.
pub(super) fn none_left() -> Outcome {
    Outcome::new(Reason::Unavailable).detail("too many calls at once; nothing of this one was read")
}
