//! What an HTTP caller gets of an outcome. A dead letter keeps everything: operators read it.

use super::{Outcome, Reason, ServiceAnswer};

/// Stands for a detail that only operators get, in the log.
const FOR_OPERATORS: &str = "the handler's log has the detail, for its operator";

impl Reason {
    /// Whether only an operator can fix the cause, and finds its detail in the log: what a service says about our identity, its own
    /// state or the storage. An HTTP caller gets the details that it can act on: of its record, its rate, other writers.
    pub(crate) fn is_for_operators(self) -> bool {
        match self {
            Self::Unavailable | Self::Unauthorized | Self::StorageUnavailable => true,
            Self::Created
            | Self::Updated
            | Self::Upserted
            | Self::Deleted
            | Self::AlreadyWritten
            | Self::WrittenElsewhere
            | Self::Superseded
            | Self::AlreadyAbsent
            | Self::LockBusy
            | Self::LockLost
            | Self::Conflict
            | Self::ParentMissing
            | Self::Throttled
            | Self::Internal
            | Self::InvalidMessage
            | Self::NotFound
            | Self::Exists
            | Self::KeyCollision
            | Self::DuplicateDetected
            | Self::InvalidData
            | Self::TooLarge => false,
        }
    }
}

impl Outcome {
    /// The outcome as an HTTP caller may see it.
    #[must_use]
    pub(crate) fn for_caller(self) -> Self {
        if !self.reason.is_for_operators() {
            return self;
        }
        let dataverse = self.dataverse.map(|answer| ServiceAnswer { message: None, ..answer });
        Self { detail: Some(FOR_OPERATORS.to_owned()), dataverse, ..self }
    }
}
