//! The lease on one blob, as a pure state machine over a monotonic clock.
//!
//! It does not read a clock: every method takes `now`. Invariants: at most one id holds the lease; an expired lease
//! keeps its id until the blob is written or leased again, and until then only that id may renew it.
//!
//! The transitions are the tables "Outcomes of lease operations on blobs by lease state" and "Outcomes of use attempts
//! on blobs by lease state" of <https://learn.microsoft.com/rest/api/storageservices/lease-blob>.

use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::Instant;
use uuid::Uuid;

use super::error::{Error, Result};

/// The state of a lease as the service names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// Never acquired, or released.
    Available,
    /// Held.
    Leased,
    /// It ran out; its last holder may still renew it.
    Expired,
    /// Ended by a break, but still locked until the break period is over.
    Breaking,
    /// Ended by a break; any caller may acquire it.
    Broken,
}

impl LeaseState {
    /// The service's name for it, as in the header `x-ms-lease-state`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Leased => "leased",
            Self::Expired => "expired",
            Self::Breaking => "breaking",
            Self::Broken => "broken",
        }
    }

    /// Whether writes without the lease's id are rejected; the header `x-ms-lease-status`.
    pub const fn is_locked(self) -> bool {
        matches!(self, Self::Leased | Self::Breaking)
    }
}

/// A lease's duration; `None` is infinite.
pub(super) type Length = Option<Duration>;

/// The lease on one blob.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Lease {
    /// Not held, and without the id of an earlier holder.
    #[default]
    Available,
    /// Held until `ends`, or infinitely.
    Leased { id: Uuid, length: Length, ends: Option<Instant> },
    /// Expired, and not acquired since.
    Expired { id: Uuid, length: Length },
    /// Broken, and locked until `ends`.
    Breaking { id: Uuid, ends: Instant },
    /// Broken.
    Broken { id: Uuid },
}

impl Lease {
    /// The lease as it is at `now`.
    pub(super) fn at(self, now: Instant) -> Self {
        match self {
            Self::Leased { id, length, ends: Some(ends) } if ends <= now => Self::Expired { id, length },
            Self::Breaking { id, ends } if ends <= now => Self::Broken { id },
            other => other,
        }
    }

    /// The state's name.
    pub(super) const fn state(self) -> LeaseState {
        match self {
            Self::Available => LeaseState::Available,
            Self::Leased { .. } => LeaseState::Leased,
            Self::Expired { .. } => LeaseState::Expired,
            Self::Breaking { .. } => LeaseState::Breaking,
            Self::Broken { .. } => LeaseState::Broken,
        }
    }

    /// The id of the current or last holder.
    pub(super) const fn id(self) -> Option<Uuid> {
        match self {
            Self::Available => None,
            Self::Leased { id, .. } | Self::Expired { id, .. } | Self::Breaking { id, .. } | Self::Broken { id } => {
                Some(id)
            }
        }
    }

    /// The kind of duration of a lease that is held; the header `x-ms-lease-duration`.
    pub(super) const fn duration(self) -> Option<&'static str> {
        match self {
            Self::Leased { length: Some(_), .. } => Some("fixed"),
            Self::Leased { length: None, .. } => Some("infinite"),
            Self::Available | Self::Expired { .. } | Self::Breaking { .. } | Self::Broken { .. } => None,
        }
    }

    /// When the current lease or break period ends; `None` if neither is running or the lease is infinite.
    pub(super) const fn ends(self) -> Option<Instant> {
        match self {
            Self::Leased { ends, .. } => ends,
            Self::Breaking { ends, .. } => Some(ends),
            Self::Available | Self::Expired { .. } | Self::Broken { .. } => None,
        }
    }

    /// Acquires the lease with the proposed id, or a new one; the holder may acquire it again with another duration.
    pub(super) fn acquire(self, proposed: Option<Uuid>, length: Length, now: Instant) -> Result<Self> {
        match self.at(now) {
            Self::Leased { id, .. } if proposed != Some(id) => Err(ALREADY_PRESENT),
            Self::Breaking { id, .. } if proposed == Some(id) => Err(BREAKING_NOT_ACQUIRED),
            Self::Breaking { .. } => Err(ALREADY_PRESENT),
            Self::Available | Self::Leased { .. } | Self::Expired { .. } | Self::Broken { .. } => {
                Ok(Self::leased(proposed.unwrap_or_else(Uuid::new_v4), length, now))
            }
        }
    }

    /// Renews the holder's lease with its own duration, even after it expired if the blob was not leased or written
    /// since.
    pub(super) fn renew(self, given: Uuid, now: Instant) -> Result<Self> {
        match self.at(now) {
            Self::Leased { id, length, .. } | Self::Expired { id, length } if id == given => {
                Ok(Self::leased(id, length, now))
            }
            Self::Breaking { id, .. } | Self::Broken { id } if id == given => Err(BROKEN_NOT_RENEWED),
            _ => Err(ID_MISMATCH),
        }
    }

    /// Changes the id of the active lease; repeating a change is not an error.
    pub(super) fn change(self, given: Uuid, proposed: Uuid, now: Instant) -> Result<Self> {
        match self.at(now) {
            Self::Leased { id, length, ends } if id == given || id == proposed => {
                Ok(Self::Leased { id: proposed, length, ends })
            }
            Self::Breaking { id, .. } if id == given => Err(BREAKING_NOT_CHANGED),
            Self::Leased { .. } | Self::Breaking { .. } => Err(ID_MISMATCH),
            Self::Available | Self::Expired { .. } | Self::Broken { .. } => Err(NOT_PRESENT),
        }
    }

    /// Releases the lease at once and forgets its id, so that a second release is rejected.
    pub(super) fn release(self, given: Uuid) -> Result<Self> {
        if self.id() == Some(given) { Ok(Self::Available) } else { Err(ID_MISMATCH) }
    }

    /// Ends the lease after `period` or, without one, when it would have ended anyway (an infinite one at once). A
    /// break never extends a lease.
    pub(super) fn break_after(self, period: Option<Duration>, now: Instant) -> Result<Self> {
        let (id, ends) = match self.at(now) {
            Self::Available => return Err(NOT_PRESENT),
            Self::Expired { id, .. } | Self::Broken { id } => return Ok(Self::Broken { id }),
            Self::Leased { id, ends, .. } => (id, ends),
            Self::Breaking { id, ends } => (id, Some(ends)),
        };
        let ends = match (period.map(|period| now + period), ends) {
            (Some(broken), Some(ends)) => broken.min(ends),
            (Some(broken), None) => broken,
            (None, Some(ends)) => ends,
            (None, None) => now,
        };
        Ok(Self::Breaking { id, ends }.at(now))
    }

    /// The lease after it was made to expire early.
    pub(super) const fn cut_short(self) -> Self {
        match self {
            Self::Leased { id, length, .. } => Self::Expired { id, length },
            Self::Breaking { id, .. } => Self::Broken { id },
            other => other,
        }
    }

    /// Whether a write of the blob with this lease id (or without one) is allowed; returns the lease after that write.
    pub(super) fn write(self, given: Option<Uuid>, now: Instant) -> Result<Self> {
        let lease = self.at(now);
        match (given, lease.state().is_locked()) {
            (None, true) => Err(ID_MISSING),
            (None, false) => Ok(Self::Available),
            (Some(_), _) => lease.read(given, now).map(|()| lease),
        }
    }

    /// Whether a read of the blob with this lease id (or without one) is allowed.
    pub(super) fn read(self, given: Option<Uuid>, now: Instant) -> Result<()> {
        let Some(given) = given else { return Ok(()) };
        match self.at(now) {
            Self::Leased { id, .. } | Self::Breaking { id, .. } if id == given => Ok(()),
            Self::Leased { .. } | Self::Breaking { .. } => Err(BLOB_ID_MISMATCH),
            Self::Expired { id, .. } | Self::Broken { id } if id == given => Err(LOST),
            Self::Available | Self::Expired { .. } | Self::Broken { .. } => Err(BLOB_NOT_LEASED),
        }
    }

    fn leased(id: Uuid, length: Length, now: Instant) -> Self {
        Self::Leased { id, length, ends: length.map(|length| now + length) }
    }
}

const ALREADY_PRESENT: Error =
    Error::new(StatusCode::CONFLICT, "LeaseAlreadyPresent", "There is already a lease present.");
const BREAKING_NOT_ACQUIRED: Error = Error::new(
    StatusCode::CONFLICT,
    "LeaseIsBreakingAndCannotBeAcquired",
    "The lease ID matched, but the lease is currently in breaking state and cannot be acquired until it is broken.",
);
const BREAKING_NOT_CHANGED: Error = Error::new(
    StatusCode::CONFLICT,
    "LeaseIsBreakingAndCannotBeChanged",
    "The lease ID matched, but the lease is currently in breaking state and cannot be changed.",
);
const BROKEN_NOT_RENEWED: Error = Error::new(
    StatusCode::CONFLICT,
    "LeaseIsBrokenAndCannotBeRenewed",
    "The lease ID matched, but the lease has been broken explicitly and cannot be renewed.",
);
const ID_MISMATCH: Error = Error::new(
    StatusCode::CONFLICT,
    "LeaseIdMismatchWithLeaseOperation",
    "The lease ID specified did not match the lease ID for the blob.",
);
const NOT_PRESENT: Error =
    Error::new(StatusCode::CONFLICT, "LeaseNotPresentWithLeaseOperation", "There is currently no lease on the blob.");
const ID_MISSING: Error = Error::new(
    StatusCode::PRECONDITION_FAILED,
    "LeaseIdMissing",
    "There is currently a lease on the blob and no lease ID was specified in the request.",
);
const BLOB_ID_MISMATCH: Error = Error::new(
    StatusCode::PRECONDITION_FAILED,
    "LeaseIdMismatchWithBlobOperation",
    "The lease ID specified did not match the lease ID for the blob.",
);
const BLOB_NOT_LEASED: Error = Error::new(
    StatusCode::PRECONDITION_FAILED,
    "LeaseNotPresentWithBlobOperation",
    "There is currently no lease on the blob.",
);
const LOST: Error = Error::new(
    StatusCode::PRECONDITION_FAILED,
    "LeaseLost",
    "A lease ID was specified, but the lease for the blob has expired.",
);

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Length = Some(Duration::from_secs(15));
    const A: Uuid = Uuid::from_u128(0xA);
    const B: Uuid = Uuid::from_u128(0xB);
    const C: Uuid = Uuid::from_u128(0xC);

    /// The five columns of the documentation's tables, each with A as its current or last holder.
    fn columns(now: Instant) -> [Lease; 5] {
        let ends = now + Duration::from_secs(10);
        [
            Lease::Available,
            Lease::Leased { id: A, length: LENGTH, ends: Some(ends) },
            Lease::Breaking { id: A, ends },
            Lease::Broken { id: A },
            Lease::Expired { id: A, length: LENGTH },
        ]
    }

    /// Checks one row of a table against all columns; `expected` is `state(id)` or the error's code.
    fn row(what: &str, operation: impl Fn(Lease, Instant) -> Result<Lease>, expected: [&str; 5]) {
        let now = Instant::now();
        for (column, expected) in columns(now).into_iter().zip(expected) {
            let outcome = match operation(column, now) {
                Ok(Lease::Available) => "available".to_owned(),
                Ok(lease) => format!("{} {:X}", lease.state().as_str(), lease.id().map_or(0, |id| id.as_u128())),
                Err(error) => error.code.to_owned(),
            };
            assert_eq!(outcome, expected, "{what} on {column:?}");
        }
    }

    const PRESENT: &str = "LeaseAlreadyPresent";
    const MISMATCH: &str = "LeaseIdMismatchWithLeaseOperation";
    const NONE: &str = "LeaseNotPresentWithLeaseOperation";
    const BROKEN: &str = "LeaseIsBrokenAndCannotBeRenewed";

    #[test]
    fn lease_operations_follow_the_documented_table() {
        let breaking = "LeaseIsBreakingAndCannotBeAcquired";
        row(
            "acquire A",
            |l, now| l.acquire(Some(A), LENGTH, now),
            ["leased A", "leased A", breaking, "leased A", "leased A"],
        );
        row(
            "acquire B",
            |l, now| l.acquire(Some(B), LENGTH, now),
            ["leased B", PRESENT, PRESENT, "leased B", "leased B"],
        );
        let zero = Some(Duration::ZERO);
        row("break 0", |l, now| l.break_after(zero, now), [NONE, "broken A", "broken A", "broken A", "broken A"]);
        let five = Some(Duration::from_secs(5));
        row("break 5", |l, now| l.break_after(five, now), [NONE, "breaking A", "breaking A", "broken A", "broken A"]);
        let breaking = "LeaseIsBreakingAndCannotBeChanged";
        row("change A to B", |l, now| l.change(A, B, now), [NONE, "leased B", breaking, NONE, NONE]);
        row("change B to A", |l, now| l.change(B, A, now), [NONE, "leased A", MISMATCH, NONE, NONE]);
        row("change B to C", |l, now| l.change(B, C, now), [NONE, MISMATCH, MISMATCH, NONE, NONE]);
        row("renew A", |l, now| l.renew(A, now), [MISMATCH, "leased A", BROKEN, BROKEN, "leased A"]);
        row("renew B", |l, now| l.renew(B, now), [MISMATCH; 5]);
        row("release A", |l, _| l.release(A), [MISMATCH, "available", "available", "available", "available"]);
        row("release B", |l, _| l.release(B), [MISMATCH; 5]);
        let later = Duration::from_secs(10);
        row(
            "time passes",
            |l, now| Ok(l.at(now + later)),
            ["available", "expired A", "broken A", "broken A", "expired A"],
        );
    }

    #[test]
    fn use_attempts_follow_the_documented_table() {
        let (missing, other) = ("LeaseIdMissing", "LeaseIdMismatchWithBlobOperation");
        let (free, lost) = ("LeaseNotPresentWithBlobOperation", "LeaseLost");
        row("write with A", |l, now| l.write(Some(A), now), [free, "leased A", "breaking A", lost, lost]);
        row("write with B", |l, now| l.write(Some(B), now), [free, other, other, free, free]);
        row("write with none", |l, now| l.write(None, now), ["available", missing, missing, "available", "available"]);
        let same = ["available", "leased A", "breaking A", "broken A", "expired A"];
        row("read with none", |l, now| l.read(None, now).map(|()| l), same);
        row("read with A", |l, now| l.read(Some(A), now).map(|()| l), [free, "leased A", "breaking A", lost, lost]);
    }

    #[test]
    fn an_expired_lease_cannot_be_renewed_once_the_blob_was_written() {
        let now = Instant::now();
        let expired = Lease::Expired { id: A, length: LENGTH };
        let written = expired.write(None, now).expect("an expired lease guards nothing");
        assert_eq!(written.renew(A, now), Err(ID_MISMATCH));
    }

    #[test]
    fn a_new_holder_ends_the_old_holders_right_to_renew() {
        let now = Instant::now();
        let taken = Lease::Expired { id: A, length: LENGTH }.acquire(Some(B), LENGTH, now).expect("it is free");
        assert_eq!(taken.renew(A, now), Err(ID_MISMATCH));
        assert_eq!(taken.release(A), Err(ID_MISMATCH));
    }

    #[test]
    fn a_break_never_prolongs_a_lease_and_ends_an_infinite_one_at_once() {
        let now = Instant::now();
        let short = Lease::leased(A, LENGTH, now);
        let broken = short.break_after(Some(Duration::from_mins(1)), now).expect("it is leased");
        assert_eq!(broken.ends(), Some(now + Duration::from_secs(15)));
        let infinite = Lease::leased(A, None, now);
        assert_eq!(infinite.break_after(None, now), Ok(Lease::Broken { id: A }));
    }

    #[test]
    fn renewing_starts_the_clock_anew_with_the_same_length() {
        let now = Instant::now();
        let later = now + Duration::from_secs(14);
        let renewed = Lease::leased(A, LENGTH, now).renew(A, later).expect("it is still held");
        assert_eq!(renewed.ends(), Some(later + Duration::from_secs(15)));
    }
}
