//! How one attempt ended: the reason, and the facts for the next attempt and for the answer.

use std::time::Duration;

use tokio::time::Instant;

use crate::admission::{NotAdmitted, RejectReason};
use crate::classify::{self, FailureScope};
use crate::dataverse::Error;
use crate::lock;
use crate::outcome::Reason;

/// The end of an attempt.
#[derive(Debug)]
pub(super) struct Settlement {
    pub(super) reason: Reason,
    pub(super) detail: Option<String>,
    pub(super) fault: Option<Box<Error>>,
    /// Whether the row may still change because of a request without an answer.
    pub(super) is_ambiguous: bool,
    /// Whether the row may have been created, although the attempt failed afterwards.
    pub(super) has_created: bool,
    /// The delay that Dataverse named.
    pub(super) retry_after: Option<Duration>,
    /// No other attempt may begin before: the lease is left to expire.
    pub(super) not_before: Option<Instant>,
    /// The scope of the failure.
    pub(super) scope: FailureScope,
}

impl Settlement {
    pub(super) fn new(reason: Reason) -> Self {
        Self {
            reason,
            detail: None,
            fault: None,
            is_ambiguous: false,
            has_created: false,
            retry_after: None,
            not_before: None,
            scope: FailureScope::Row,
        }
    }

    pub(super) fn refused(reason: Reason, fault: Error) -> Self {
        let detail = match &fault {
            Error::Answered { message: Some(message), .. } if !message.is_empty() => message.clone(),
            other => other.to_string(),
        };
        let (is_ambiguous, retry_after) = (fault.is_ambiguous(), fault.retry_after());
        let scope = classify::failure_scope(&fault);
        Self { is_ambiguous, retry_after, scope, fault: Some(Box::new(fault)), ..Self::new(reason).detail(detail) }
    }

    /// The lock storage gave no usable answer: an operator can fix it, and nothing was written yet.
    pub(super) fn lock_storage(error: &lock::Error) -> Self {
        let scope = classify::lock_failure_scope(error);
        Self { scope, ..Self::new(Reason::StorageUnavailable).detail(error.to_string()) }
    }

    /// The last attempt was `last`, and there is no time for another.
    pub(super) fn not_admitted(last: Option<Self>, rejection: NotAdmitted) -> Self {
        let settlement = last.unwrap_or_else(|| match rejection.reason {
            RejectReason::Paused => Self::new(Reason::Throttled).detail("Dataverse asked for a pause that is not over"),
            RejectReason::CircuitOpen(cause) | RejectReason::Failing(cause) => {
                Self::new(cause.reason).detail(format!("not tried, because others fail: {}", cause.message))
            }
            RejectReason::Full => {
                Self::new(Reason::Throttled).detail("too many requests are under way, and none ended in time")
            }
        });
        Self { retry_after: settlement.retry_after.or(rejection.retry_after), ..settlement }
    }

    /// The detail for the log, without any text that can hold column values; `None` where the reason is enough.
    pub(super) fn log_detail(&self) -> Option<String> {
        if !self.reason.is_for_operators() {
            return None;
        }
        let (Some(fault), Some(detail)) = (&self.fault, &self.detail) else { return self.detail.clone() };
        let text = match &**fault {
            // What stands before the service's text is in our own words.
            Error::Answered { message: Some(message), .. } if !message.is_empty() => {
                format!("{}{fault}", detail.strip_suffix(message).unwrap_or_default())
            }
            Error::Answered { .. }
            | Error::NoAnswer { .. }
            | Error::NoToken { .. }
            | Error::NotAddressable { .. }
            | Error::Ambiguous
            | Error::Withheld => detail.clone(),
        };
        Some(classify::loggable_names(fault).map_or_else(|| text.clone(), |names| format!("{text}; {names}")))
    }

    /// Whether a request was not sent because sending had stopped: then nothing was learned.
    pub(super) fn is_withheld(&self) -> bool {
        matches!(self.fault.as_deref(), Some(Error::Withheld))
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}
