//! What became of a message: one [`Outcome`], with a [`Reason`] whose code is stable.
//!
//! The codes are the public contract: log field, metric label, dead-letter text and HTTP member alike. This module decides
//! nothing; it only knows what each reason means to the two callers, the queue and HTTP.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

/// The four ways in which a message can end its visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// Dataverse holds what the message said.
    Applied,
    /// There was nothing left to do.
    Skipped,
    /// The host shall deliver the message again.
    Retry,
    /// Trying again cannot help: a dead letter.
    Rejected,
}

impl Disposition {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Skipped => "skipped",
            Self::Retry => "retry",
            Self::Rejected => "rejected",
        }
    }
}

/// Why a message ended as it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The row was missing and is there now.
    Created,
    /// The row was there and has changed.
    Updated,
    /// Created or updated; Dataverse does not say which.
    Upserted,
    /// The row was there and is gone.
    Deleted,
    /// A 412, and the row holds every value that was sent.
    AlreadyWritten,
    /// A 412 under the policy `skip`, and the row exists.
    WrittenElsewhere,
    /// The row has this version or a newer one.
    Superseded,
    /// There was no row to delete.
    AlreadyAbsent,
    /// Somebody else held the lock for the whole wait.
    LockBusy,
    /// The lease ended under the work.
    LockLost,
    /// Other writers kept winning.
    Conflict,
    /// A lookup points at a row that is not there yet.
    ParentMissing,
    /// Service protection limits.
    Throttled,
    /// Dataverse or Entra ID did not answer, or not in a usable way.
    Unavailable,
    /// Dataverse or Entra ID refuses our identity.
    Unauthorized,
    /// The lock storage did not answer, or refuses us.
    StorageUnavailable,
    /// A defect in this program.
    Internal,
    /// The message is not a record.
    InvalidMessage,
    /// No such row or entity set.
    NotFound,
    /// `create` on a present row.
    Exists,
    /// Another unique key, or a row in the recycle bin, stands in the way.
    KeyCollision,
    /// A duplicate-detection rule fired.
    DuplicateDetected,
    /// Dataverse refuses the data.
    InvalidData,
    /// The message or the request is too large.
    TooLarge,
}

impl Reason {
    /// Every reason, in the order of the contract's table.
    pub const ALL: [Self; 24] = [
        Self::Created,
        Self::Updated,
        Self::Upserted,
        Self::Deleted,
        Self::AlreadyWritten,
        Self::WrittenElsewhere,
        Self::Superseded,
        Self::AlreadyAbsent,
        Self::LockBusy,
        Self::LockLost,
        Self::Conflict,
        Self::ParentMissing,
        Self::Throttled,
        Self::Unavailable,
        Self::Unauthorized,
        Self::StorageUnavailable,
        Self::Internal,
        Self::InvalidMessage,
        Self::NotFound,
        Self::Exists,
        Self::KeyCollision,
        Self::DuplicateDetected,
        Self::InvalidData,
        Self::TooLarge,
    ];

    /// The stable snake_case code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Upserted => "upserted",
            Self::Deleted => "deleted",
            Self::AlreadyWritten => "already_written",
            Self::WrittenElsewhere => "written_elsewhere",
            Self::Superseded => "superseded",
            Self::AlreadyAbsent => "already_absent",
            Self::LockBusy => "lock_busy",
            Self::LockLost => "lock_lost",
            Self::Conflict => "conflict",
            Self::ParentMissing => "parent_missing",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Unauthorized => "unauthorized",
            Self::StorageUnavailable => "storage_unavailable",
            Self::Internal => "internal",
            Self::InvalidMessage => "invalid_message",
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::KeyCollision => "key_collision",
            Self::DuplicateDetected => "duplicate_detected",
            Self::InvalidData => "invalid_data",
            Self::TooLarge => "too_large",
        }
    }

    /// What the reason means for the message.
    pub fn disposition(self) -> Disposition {
        match self {
            Self::Created | Self::Updated | Self::Upserted | Self::Deleted => Disposition::Applied,
            Self::AlreadyWritten | Self::WrittenElsewhere | Self::Superseded | Self::AlreadyAbsent => {
                Disposition::Skipped
            }
            Self::LockBusy
            | Self::LockLost
            | Self::Conflict
            | Self::ParentMissing
            | Self::Throttled
            | Self::Unavailable
            | Self::Unauthorized
            | Self::StorageUnavailable
            | Self::Internal => Disposition::Retry,
            Self::InvalidMessage
            | Self::NotFound
            | Self::Exists
            | Self::KeyCollision
            | Self::DuplicateDetected
            | Self::InvalidData
            | Self::TooLarge => Disposition::Rejected,
        }
    }

    /// The status that an HTTP caller sees.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Created => 201,
            Self::Updated
            | Self::Upserted
            | Self::Deleted
            | Self::AlreadyWritten
            | Self::WrittenElsewhere
            | Self::Superseded
            | Self::AlreadyAbsent => 200,
            Self::Throttled => 429,
            Self::LockBusy
            | Self::LockLost
            | Self::Conflict
            | Self::ParentMissing
            | Self::Unavailable
            | Self::Unauthorized
            | Self::StorageUnavailable
            | Self::Internal => 503,
            Self::InvalidMessage => 400,
            Self::NotFound => 404,
            Self::Exists | Self::KeyCollision | Self::DuplicateDetected => 409,
            Self::InvalidData => 422,
            Self::TooLarge => 413,
        }
    }

    /// One sentence for people, used as the title of a problem document.
    pub fn title(self) -> &'static str {
        match self {
            Self::Created => "The row was created.",
            Self::Updated => "The row was updated.",
            Self::Upserted => "The row was created or updated.",
            Self::Deleted => "The row was deleted.",
            Self::AlreadyWritten => "The row already holds these values.",
            Self::WrittenElsewhere => "Another instance has written this row.",
            Self::Superseded => "The row has this version or a newer one.",
            Self::AlreadyAbsent => "There was no row to delete.",
            Self::LockBusy => "Another writer holds the lock on this record.",
            Self::LockLost => "The lock ended before the write did.",
            Self::Conflict => "Other writers kept winning.",
            Self::ParentMissing => "A row that this record refers to does not exist yet.",
            Self::Throttled => "Dataverse limits the rate of requests.",
            Self::Unavailable => "Dataverse or Entra ID is not available.",
            Self::Unauthorized => "Dataverse or Entra ID refuses this application's identity.",
            Self::StorageUnavailable => "The lock storage is not available.",
            Self::Internal => "The handler failed.",
            Self::InvalidMessage => "The message is not a valid record.",
            Self::NotFound => "The row or the table does not exist.",
            Self::Exists => "The row exists already.",
            Self::KeyCollision => "Another unique key stands in the way.",
            Self::DuplicateDetected => "A duplicate-detection rule refused the row.",
            Self::InvalidData => "Dataverse refuses the data.",
            Self::TooLarge => "The message is too large.",
        }
    }

    /// How long an HTTP caller should wait when no service named a delay.
    pub fn default_retry_after(self) -> Option<Duration> {
        match self.disposition() {
            Disposition::Applied | Disposition::Skipped | Disposition::Rejected => None,
            Disposition::Retry => Some(match self {
                Self::LockBusy | Self::LockLost | Self::Conflict => Duration::from_secs(1),
                Self::ParentMissing => Duration::from_secs(30),
                _ => Duration::from_secs(10),
            }),
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// What Dataverse said, for people and for its support.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAnswer {
    /// The HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The service's own code, `0x…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The service's text. It can hold data of the row: for answers and dead letters, never for logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `x-ms-service-request-id`, which Microsoft's support asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// The result of one message, as HTTP callers and dead letters show it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// `applied`, `skipped`, `retry` or `rejected`.
    #[serde(rename = "outcome")]
    pub disposition: Disposition,
    /// The reason's code.
    pub reason: Reason,
    /// What a person should know beyond the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The entity set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The key as the sender wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Box<RawValue>>,
    /// The sender's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// How often the message was delivered so far, this time included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// What Dataverse said, when it refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataverse: Option<ServiceAnswer>,
    /// A delay that a service named, or that this program thinks fair.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
    /// Whether the host will not deliver the message again.
    #[serde(skip)]
    pub last_attempt: bool,
    /// The key for logs, where its data must not be.
    #[serde(skip)]
    pub key_hash: Option<String>,
    /// The name of the sending system.
    #[serde(skip)]
    pub source: Option<String>,
    /// Where the time went, once it was a record.
    #[serde(skip)]
    pub spent: Option<Spent>,
}

/// Where the time of one record went, over all its tries in place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Waiting for its lock.
    pub lock: Duration,
    /// Writing it, with the reads that this took.
    pub write: Duration,
}

impl Outcome {
    /// An outcome that knows its reason and nothing else yet.
    pub fn new(reason: Reason) -> Self {
        Self {
            disposition: reason.disposition(),
            reason,
            detail: None,
            table: None,
            key: None,
            message_id: None,
            attempts: None,
            dataverse: None,
            retry_after: reason.default_retry_after(),
            last_attempt: false,
            key_hash: None,
            source: None,
            spent: None,
        }
    }

    /// The same, where the host will not deliver the message again. A retry that is none says so.
    #[must_use]
    pub fn for_the_last_time(mut self) -> Self {
        if self.disposition == Disposition::Retry {
            let said = self.detail.take().map(|detail| format!("{detail}; ")).unwrap_or_default();
            let count = self.attempts.map(|attempts| format!(", number {attempts}")).unwrap_or_default();
            self.detail = Some(format!("{said}this was the last attempt{count}"));
            self.last_attempt = true;
        }
        self
    }

    /// The same with a sentence for people.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

#[cfg(test)]
mod tests;
