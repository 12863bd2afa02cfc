//! The result of one message: an [`Outcome`], with a [`Reason`] whose code is stable.
//!
//! The codes are part of the public contract: log field, metric label, dead-letter text and HTTP member. This module decides
//! nothing; it lists what each reason means to the two callers, the queue and HTTP.

mod caller;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// Dataverse holds what the message asked for.
    Applied,
    /// There was nothing to do.
    Skipped,
    /// The host should deliver the message again.
    Retry,
    /// Another attempt cannot help: the message becomes a dead letter.
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

/// Why a message has this disposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The row did not exist and was created.
    Created,
    /// The row existed and was updated.
    Updated,
    /// Created or updated; Dataverse does not say which.
    Upserted,
    /// The row existed and was deleted.
    Deleted,
    /// A 412, and the row holds every value that was sent.
    AlreadyWritten,
    /// A 412 under the policy `skip`, and another instance has written the row.
    WrittenElsewhere,
    /// The row has this version or a newer one.
    Superseded,
    /// There was no row to delete.
    AlreadyAbsent,
    /// Another writer held the lock for the whole wait.
    LockBusy,
    /// The lease ended before the write did.
    LockLost,
    /// Other writers kept winning.
    Conflict,
    /// A lookup points at a row that does not exist yet.
    ParentMissing,
    /// Dataverse's service protection limits.
    Throttled,
    /// Dataverse or Entra ID did not answer, or the answer was not usable; or this process is at its limit of calls or memory.
    Unavailable,
    /// Dataverse or Entra ID refuses our identity.
    Unauthorized,
    /// The lock storage did not answer, or refuses us.
    StorageUnavailable,
    /// A defect in this program.
    Internal,
    /// The message is not a record.
    InvalidMessage,
    /// The row or entity set does not exist.
    NotFound,
    /// `create` of a row that exists.
    Exists,
    /// Another row, possibly in the recycle bin, has the same unique key.
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
        self.properties().1
    }

    /// What the reason means for the message.
    pub fn disposition(self) -> Disposition {
        self.properties().0
    }

    /// The status that an HTTP caller gets.
    pub fn http_status(self) -> u16 {
        self.properties().2
    }

    /// One sentence for people, the title of a problem document.
    pub fn title(self) -> &'static str {
        self.properties().3
    }

    /// How long an HTTP caller should wait when no service named a delay; `None` unless it is a retry.
    pub(crate) fn default_retry_after(self) -> Option<Duration> {
        let seconds = match self {
            Self::LockBusy | Self::LockLost | Self::Conflict => 1,
            Self::ParentMissing => 30,
            _ => 10,
        };
        (self.disposition() == Disposition::Retry).then_some(Duration::from_secs(seconds))
    }

    /// Its disposition, code, HTTP status and title.
    fn properties(self) -> (Disposition, &'static str, u16, &'static str) {
        use Disposition::{Applied, Rejected, Retry, Skipped};
        match self {
            Self::Created => (Applied, "created", 201, "The row was created."),
            Self::Updated => (Applied, "updated", 200, "The row was updated."),
            Self::Upserted => (Applied, "upserted", 200, "The row was created or updated."),
            Self::Deleted => (Applied, "deleted", 200, "The row was deleted."),
            Self::AlreadyWritten => (Skipped, "already_written", 200, "The row already holds these values."),
            Self::WrittenElsewhere => (Skipped, "written_elsewhere", 200, "Another instance has written this row."),
            Self::Superseded => (Skipped, "superseded", 200, "The row has this version or a newer one."),
            Self::AlreadyAbsent => (Skipped, "already_absent", 200, "There was no row to delete."),
            Self::LockBusy => (Retry, "lock_busy", 503, "Another writer holds the lock on this record."),
            Self::LockLost => (Retry, "lock_lost", 503, "The lock was lost before the write ended."),
            Self::Conflict => (Retry, "conflict", 503, "Other writers kept winning."),
            Self::ParentMissing => {
                (Retry, "parent_missing", 503, "A row that this record refers to does not exist yet.")
            }
            Self::Throttled => (Retry, "throttled", 429, "Dataverse limits the rate of requests."),
            Self::Unavailable => {
                (Retry, "unavailable", 503, "Dataverse or Entra ID is not available, or the handler is at a limit.")
            }
            Self::Unauthorized => (
                Retry,
                "unauthorized",
                503,
                "Dataverse or Entra ID refuses this application's identity, or the table lacks this alternate key.",
            ),
            Self::StorageUnavailable => (Retry, "storage_unavailable", 503, "The lock storage is not available."),
            Self::Internal => (Retry, "internal", 503, "The handler failed."),
            Self::InvalidMessage => (Rejected, "invalid_message", 400, "The message is not a valid record."),
            Self::NotFound => (Rejected, "not_found", 404, "The row or the table does not exist."),
            Self::Exists => (Rejected, "exists", 409, "The row exists already."),
            Self::KeyCollision => (Rejected, "key_collision", 409, "Another row has the same unique key."),
            Self::DuplicateDetected => {
                (Rejected, "duplicate_detected", 409, "A duplicate-detection rule refused the row.")
            }
            Self::InvalidData => (Rejected, "invalid_data", 422, "Dataverse refuses the data."),
            Self::TooLarge => (Rejected, "too_large", 413, "The message is too large."),
        }
    }
}

/// How Dataverse answered, for people and for Microsoft's support.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceAnswer {
    /// The HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The service's own code, `0x…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The service's text. It may contain column values: for answers and dead letters, never for logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The request id that Microsoft's support asks for: `REQ_ID`, else the last `x-ms-service-request-id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// The result of one message. Serialised, it is the contract's result object.
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
    /// How often the message was delivered, this delivery included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// How Dataverse answered, when it refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataverse: Option<ServiceAnswer>,
    /// The detail as it may be logged: without the service's text, which can hold column values.
    #[serde(skip)]
    pub(crate) log_detail: Option<String>,
    /// The delay that a service named, or the reason's default.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
    /// Whether the host will not deliver the message again.
    #[serde(skip)]
    pub last_attempt: bool,
    /// The key's hash, for logs, which must not contain the key.
    #[serde(skip)]
    pub key_hash: Option<String>,
    /// The name of the sending system.
    #[serde(skip)]
    pub source: Option<String>,
    /// How long its parts took; `None` unless the message was a record.
    #[serde(skip)]
    pub timings: Option<Timings>,
}

/// How long the parts of one record took, summed over all attempts in place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Waiting for its lock.
    pub lock: Duration,
    /// Writing it, including the reads this needed.
    pub write: Duration,
}

impl Outcome {
    /// An outcome with this reason and nothing else.
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
            log_detail: None,
            retry_after: reason.default_retry_after(),
            last_attempt: false,
            key_hash: None,
            source: None,
            timings: None,
        }
    }

    /// Marks a retry that cannot happen, because the host will not deliver the message again.
    #[must_use]
    pub fn on_last_attempt(mut self) -> Self {
        if self.disposition == Disposition::Retry {
            let prefix = self.detail.take().map(|detail| format!("{detail}; ")).unwrap_or_default();
            let count = self.attempts.map(|attempts| format!(", number {attempts}")).unwrap_or_default();
            self.detail = Some(format!("{prefix}this was the last attempt{count}"));
            self.last_attempt = true;
        }
        self
    }

    /// Whether a queue message with this outcome becomes a dead letter. After the last delivery the host would move the message to
    /// the poison queue as it is; a dead letter names the cause.
    pub(crate) fn is_dead_letter(&self) -> bool {
        match self.disposition {
            Disposition::Applied | Disposition::Skipped => false,
            Disposition::Retry => self.last_attempt,
            Disposition::Rejected => true,
        }
    }

    /// Adds a sentence for people.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

#[cfg(test)]
mod tests;
