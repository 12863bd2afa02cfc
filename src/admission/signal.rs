//! What the outcome of a message says about the health of Dataverse and the services that a write needs.

use crate::outcome::Reason;

/// What one attempt has shown. [`Signal::Throttled`] and [`Signal::Failure`] are worth waiting for in place; after the other two
/// the message is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Dataverse answered, even if only to refuse the data.
    Success,
    /// A service protection limit was exceeded.
    Throttled,
    /// A service is down or refuses our credentials: transient, or fixable by an operator.
    Failure,
    /// The attempt says nothing about Dataverse.
    Neutral,
}

impl From<Reason> for Signal {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Created
            | Reason::Updated
            | Reason::Upserted
            | Reason::Deleted
            | Reason::AlreadyWritten
            | Reason::WrittenElsewhere
            | Reason::Superseded
            | Reason::AlreadyAbsent
            | Reason::Conflict
            | Reason::ParentMissing
            | Reason::NotFound
            | Reason::Exists
            | Reason::KeyCollision
            | Reason::DuplicateDetected
            | Reason::InvalidData
            | Reason::TooLarge => Self::Success,
            Reason::Throttled => Self::Throttled,
            Reason::Unavailable | Reason::Unauthorized | Reason::StorageUnavailable => Self::Failure,
            // Contention, a lost lease, a defect or an invalid message: Dataverse was not asked, or is not the cause.
            Reason::LockBusy | Reason::LockLost | Reason::Internal | Reason::InvalidMessage => Self::Neutral,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Disposition;

    #[test]
    fn only_transient_and_operator_fixable_retries_are_worth_waiting_for() {
        for reason in Reason::ALL {
            let waits = matches!(Signal::from(reason), Signal::Throttled | Signal::Failure);
            let expected = ["throttled", "unavailable", "unauthorized", "storage_unavailable"].contains(&reason.code());
            assert_eq!(waits, expected, "{}", reason.code());
            assert!(!waits || reason.disposition() == Disposition::Retry, "{}", reason.code());
        }
    }
}
