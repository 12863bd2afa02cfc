//! Injected faults: what happens to the next matching requests instead of, or before, their execution.
//!
//! Deterministic: a fault names its operations and its number of requests. Faults are matched in the order in which
//! they were added, and at most one applies to a request. They apply before authentication, like a network failure.

use std::collections::VecDeque;
use std::time::Duration;

use axum::http::StatusCode;

use super::error::Error;
use super::operation::Operation;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Acquire a lease.
    Acquire,
    /// Renew a lease.
    Renew,
    /// Release a lease.
    Release,
    /// Break a lease.
    Break,
    /// Change a lease's id.
    Change,
    /// Create a container.
    CreateContainer,
    /// Write a blob.
    PutBlob,
    /// Any blob request that is none of the above.
    OtherBlob,
    /// Put a message.
    PutMessage,
    /// Get messages (not peek).
    GetMessages,
    /// Update a message.
    UpdateMessage,
    /// Delete one message.
    DeleteMessage,
    /// Any queue request that is none of the above.
    OtherQueue,
    /// Any of the five lease requests.
    AnyLease,
    /// Any blob request, leases included.
    AnyBlob,
    /// Any queue request.
    AnyQueue,
}

impl Op {
    /// The kind under which `operation` is counted.
    pub(super) const fn of(operation: Operation) -> Self {
        match operation {
            Operation::Acquire => Self::Acquire,
            Operation::Renew => Self::Renew,
            Operation::Release => Self::Release,
            Operation::Break => Self::Break,
            Operation::Change => Self::Change,
            Operation::CreateContainer => Self::CreateContainer,
            Operation::PutBlob => Self::PutBlob,
            Operation::PutMessage => Self::PutMessage,
            Operation::GetMessages => Self::GetMessages,
            Operation::UpdateMessage => Self::UpdateMessage,
            Operation::DeleteMessage => Self::DeleteMessage,
            Operation::ListQueues
            | Operation::CreateQueue
            | Operation::QueueMetadata
            | Operation::SetQueueMetadata
            | Operation::DeleteQueue
            | Operation::PeekMessages
            | Operation::ClearMessages => Self::OtherQueue,
            Operation::ListContainers
            | Operation::ContainerProperties
            | Operation::DeleteContainer
            | Operation::ListBlobs
            | Operation::GetBlob
            | Operation::BlobProperties
            | Operation::SetMetadata
            | Operation::DeleteBlob => Self::OtherBlob,
        }
    }

    /// Whether this kind includes a request of kind `actual`.
    pub(super) const fn covers(self, actual: Self) -> bool {
        let lease = matches!(actual, Self::Acquire | Self::Renew | Self::Release | Self::Break | Self::Change);
        let blob = lease || matches!(actual, Self::CreateContainer | Self::PutBlob | Self::OtherBlob);
        match self {
            Self::AnyLease => lease,
            Self::AnyBlob => blob,
            Self::AnyQueue => !blob,
            _ => self as u8 == actual as u8,
        }
    }
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// It gets an error of the service and is not executed.
    Status {
        /// The HTTP status.
        code: u16,
        /// The service's code, such as `ServerBusy`.
        error_code: &'static str,
        /// The `Retry-After` header, sent in whole seconds.
        retry_after: Option<Duration>,
    },
    /// Its date is found to be too old, as when a clock is wrong. It is not executed.
    OldDate,
    /// It gets no response for that long; then the connection is closed. It is not executed.
    Hang(Duration),
    /// It is executed after that long, even if the client has disconnected.
    Slow(Duration),
    /// It is executed at once, and the response is sent after that long.
    SlowAnswer(Duration),
    /// The connection is closed and it is not executed.
    DropBefore,
    /// It is executed and the connection is closed without a response.
    DropAfter,
}

/// A fault: which requests it applies to, its effect, how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    op: Op,
    effect: Effect,
    /// `None`: until it is cleared.
    left: Option<u32>,
}

impl Fault {
    /// Applies to the next matching request.
    pub const fn once(op: Op, effect: Effect) -> Self {
        Self::times(1, op, effect)
    }

    /// Applies to the next `count` matching requests.
    pub const fn times(count: u32, op: Op, effect: Effect) -> Self {
        Self { op, effect, left: Some(count) }
    }

    /// Applies to every matching request until the faults are cleared.
    pub const fn until_cleared(op: Op, effect: Effect) -> Self {
        Self { op, effect, left: None }
    }
}

/// The remaining faults.
#[derive(Debug, Default)]
pub(super) struct Faults(VecDeque<Fault>);

impl Faults {
    /// Appends a fault.
    pub(super) fn push(&mut self, fault: Fault) {
        self.0.push_back(fault);
    }

    /// Removes all faults.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Removes the faults that are equal to `fault`.
    pub(super) fn end(&mut self, fault: &Fault) {
        self.0.retain(|set| set != fault);
    }

    /// The effect of the first matching fault on an arriving request; counts the fault down.
    pub(super) fn apply(&mut self, actual: Op) -> Option<Effect> {
        let index = self.0.iter().position(|fault| fault.left != Some(0) && fault.op.covers(actual))?;
        let fault = &mut self.0[index];
        let effect = fault.effect.clone();
        if let Some(left) = &mut fault.left {
            *left -= 1;
        }
        if fault.left == Some(0) {
            self.0.remove(index);
        }
        Some(effect)
    }
}

/// The response of [`Effect::Status`].
pub(super) fn refusal(code: u16, error_code: &'static str, retry_after: Option<Duration>) -> Error {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Error::new(status, error_code, "A fault made by the sandbox.").retry_after(retry_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_apply_in_order_and_as_often_as_they_say() {
        let mut faults = Faults::default();
        faults.push(Fault::times(2, Op::Acquire, Effect::DropBefore));
        faults.push(Fault::once(Op::AnyBlob, Effect::DropAfter));
        assert_eq!(faults.apply(Op::Renew), Some(Effect::DropAfter), "the first that matches, not the first");
        assert_eq!(faults.apply(Op::Acquire), Some(Effect::DropBefore));
        assert_eq!(faults.apply(Op::Acquire), Some(Effect::DropBefore));
        assert_eq!(faults.apply(Op::Acquire), None);
    }

    #[test]
    fn a_lasting_fault_applies_until_it_is_cleared() {
        let mut faults = Faults::default();
        faults.push(Fault::until_cleared(Op::AnyQueue, Effect::DropBefore));
        assert_eq!(faults.apply(Op::PutBlob), None);
        for _ in 0..3 {
            assert_eq!(faults.apply(Op::OtherQueue), Some(Effect::DropBefore));
        }
        faults.push(Fault::once(Op::AnyQueue, Effect::DropAfter));
        faults.end(&Fault::until_cleared(Op::AnyQueue, Effect::DropBefore));
        assert_eq!(faults.apply(Op::OtherQueue), Some(Effect::DropAfter), "the others stay");
        faults.push(Fault::once(Op::AnyQueue, Effect::DropAfter));
        faults.clear();
        assert_eq!(faults.apply(Op::OtherQueue), None);
    }
}
