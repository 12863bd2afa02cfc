//! What a refusal means: the only place that says skip, retry or reject. Pure and total, no I/O.
//!
//! The laws, each with a test below:
//! 1. the service's code beats the HTTP status;
//! 2. a final verdict beats a retry, and a delay never causes one;
//! 3. unknown 5xx and transport failures are retried, unknown 4xx are rejected;
//! 4. what an operator can mend (credentials, permissions, the environment) never costs a message.
//!
//! The codes are data in `classify/codes.rs`.

mod codes;

use crate::dataverse::verify::RowMatch;
use crate::dataverse::{Error, WriteKind};
use crate::lock;
use crate::outcome::Reason;
use crate::record::OnConflict;
use codes::{Meaning, meaning_of_code, meaning_of_status, meaning_of_text};

/// How often one change is sent again in place after a deadlock.
pub const MOST_DEADLOCKS: u32 = 3;

/// How often one change is sent again in place after a lost create race under the policy `retry`. The others look at the row
/// and send again once: see [`race_again`].
pub const MOST_RESENDS: u32 = 3;

/// What was asked, as far as it matters for what the answer means.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// The request.
    pub kind: WriteKind,
    /// Whether it binds a lookup.
    pub binds: bool,
    /// How often it was sent again in place, for whatever reason but a lost race.
    pub again: u32,
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The message ends here, with this reason.
    Settle(Reason),
    /// Somebody else may have created the row first: [`race`] decides by what the row looks like.
    LostRace,
    /// The row changed after it was read: read it again.
    Moved,
    /// The row or a row that it refers to is missing: a read tells.
    RowOrParent,
    /// Send the same again, after a moment.
    Again,
}

/// Whether the table has this service code. One that it has not says nothing: the status decides.
pub fn is_known(code: u32) -> bool {
    meaning_of_code(code, "").is_some()
}

/// Judges a request that failed.
pub fn judge(fault: &Error, attempt: Attempt) -> Verdict {
    match fault {
        Error::Answered { status, code, message, .. } => {
            let text = message.as_deref().unwrap_or_default();
            let said = match code {
                Some(code) => meaning_of_code(*code, text),
                None => meaning_of_text(*status, text),
            };
            let meaning = said.unwrap_or_else(|| meaning_of_status(*status, attempt.kind));
            judge_meaning(meaning, *status, attempt)
        }
        Error::NoAnswer { .. } | Error::NoToken { refused: false, .. } => Verdict::Settle(Reason::Unavailable),
        Error::NoToken { refused: true, .. } => Verdict::Settle(Reason::Unauthorized),
        Error::NotAddressable { .. } => Verdict::Settle(Reason::InvalidData),
        Error::Ambiguous => Verdict::Settle(Reason::KeyCollision),
    }
}

fn judge_meaning(meaning: Meaning, status: u16, attempt: Attempt) -> Verdict {
    match meaning {
        Meaning::DuplicateKey => match attempt.kind {
            WriteKind::Upsert | WriteKind::Create => Verdict::LostRace,
            WriteKind::Update
            | WriteKind::UpdateFound
            | WriteKind::UpdateUnchanged
            | WriteKind::Delete
            | WriteKind::DeleteUnchanged
            | WriteKind::Read => Verdict::Settle(Reason::KeyCollision),
        },
        Meaning::InRecycleBin => Verdict::Settle(Reason::KeyCollision),
        Meaning::VersionMismatch => Verdict::Moved,
        Meaning::DuplicateDetected => Verdict::Settle(Reason::DuplicateDetected),
        Meaning::RowMissing => row_missing(attempt),
        Meaning::UnknownTable => Verdict::Settle(Reason::NotFound),
        Meaning::Unclear if attempt.again == 0 => Verdict::Again,
        Meaning::Unclear | Meaning::Vague => judge_meaning(meaning_of_status(status, attempt.kind), status, attempt),
        Meaning::InvalidData => Verdict::Settle(Reason::InvalidData),
        Meaning::TooLarge => Verdict::Settle(Reason::TooLarge),
        Meaning::Deadlock if attempt.again < MOST_DEADLOCKS => Verdict::Again,
        Meaning::Deadlock | Meaning::Busy => Verdict::Settle(Reason::Unavailable),
        Meaning::Throttled => Verdict::Settle(Reason::Throttled),
        Meaning::Unauthorized => Verdict::Settle(Reason::Unauthorized),
    }
}

/// A row that is missing is ours, or one that a lookup is bound to.
fn row_missing(attempt: Attempt) -> Verdict {
    match attempt.kind {
        WriteKind::Delete => Verdict::Settle(Reason::AlreadyAbsent),
        // These create what is missing, so it must be another row.
        WriteKind::Upsert | WriteKind::Create if attempt.binds => Verdict::Settle(Reason::ParentMissing),
        WriteKind::Update | WriteKind::UpdateFound | WriteKind::UpdateUnchanged if attempt.binds => {
            Verdict::RowOrParent
        }
        // It was there a moment ago.
        WriteKind::UpdateFound | WriteKind::UpdateUnchanged | WriteKind::DeleteUnchanged => Verdict::Moved,
        WriteKind::Upsert | WriteKind::Create | WriteKind::Update | WriteKind::Read => {
            Verdict::Settle(Reason::NotFound)
        }
    }
}

/// What to do after a lost create race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterRace {
    /// The message ends here.
    Settle(Reason),
    /// Send it again.
    Resend,
}

/// Judges the first lost create race of an upsert by what a read found.
pub fn race(policy: OnConflict, found: RowMatch) -> AfterRace {
    match (policy, found) {
        (OnConflict::Verify, RowMatch::Same) => AfterRace::Settle(Reason::AlreadyWritten),
        (OnConflict::Skip, RowMatch::Same | RowMatch::NotProven) => AfterRace::Settle(Reason::WrittenElsewhere),
        (OnConflict::Verify | OnConflict::Skip | OnConflict::Retry, _) => AfterRace::Resend,
    }
}

/// Judges a 412 on an upsert that was sent again, `resends` times so far. A `create` is judged as under `verify`.
///
/// Under `verify` and `skip` the row was looked at before. Where it was there, the last request was an update; where it was
/// not, nobody had our key: either way it is not our key that is taken, and sending again fails for ever. The service names
/// the loser of a race only when the winner has committed, so a row that is not seen after a 412 was rolled back or never was.
pub fn race_again(policy: OnConflict, resends: u32) -> AfterRace {
    match policy {
        OnConflict::Verify | OnConflict::Skip => AfterRace::Settle(Reason::KeyCollision),
        OnConflict::Retry if resends < MOST_RESENDS => AfterRace::Resend,
        OnConflict::Retry => AfterRace::Settle(Reason::Conflict),
    }
}

/// Judges the first 412 on a `create` by what a read found. `delivered_before` says that an earlier delivery of this message
/// may have made the row.
pub fn create_refused(found: RowMatch, delivered_before: bool) -> AfterRace {
    match found {
        RowMatch::Same if delivered_before => AfterRace::Settle(Reason::AlreadyWritten),
        RowMatch::Same | RowMatch::NotProven => AfterRace::Settle(Reason::Exists),
        // Whoever won has rolled back, or it is another key.
        RowMatch::Missing => AfterRace::Resend,
    }
}

/// Judges lock storage that gave no usable answer: an operator can mend it, and nothing was written yet.
pub fn judge_locks(error: &lock::Error) -> Reason {
    match error {
        lock::Error::Refused { .. }
        | lock::Error::Service { .. }
        | lock::Error::Unreachable { .. }
        | lock::Error::NotUnderstood
        | lock::Error::Token { .. } => Reason::StorageUnavailable,
    }
}

/// Which of the service protection limits throttled a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// Requests or execution time within a time window, or not named: a lower rate would have been enough.
    Rate,
    /// Requests in flight: fewer at once would have been enough, at any rate.
    Concurrency,
}

/// `ThrottlingConcurrencyLimitExceededError`.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/api-limits#concurrent-requests>
const CONCURRENCY_LIMIT_EXCEEDED: u32 = 0x8007_2326;

/// Which limit a throttled request met, by its service code.
pub fn limit_kind(fault: Option<&Error>) -> LimitKind {
    match fault {
        Some(Error::Answered { code: Some(CONCURRENCY_LIMIT_EXCEEDED), .. }) => LimitKind::Concurrency,
        _ => LimitKind::Rate,
    }
}

/// What one failure is evidence about: at least this much does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureScope {
    /// Every write: without a token no request can be sent.
    Environment,
    /// The record's table: privileges are granted by table.
    Table,
    /// The record's row.
    Row,
}

/// The scope of a failed request.
pub fn failure_scope(fault: &Error) -> FailureScope {
    match fault {
        Error::NoToken { .. } => FailureScope::Environment,
        Error::Answered { status: 403, .. } => FailureScope::Table,
        Error::Answered { .. } | Error::NoAnswer { .. } | Error::NotAddressable { .. } | Error::Ambiguous => {
            FailureScope::Row
        }
    }
}

/// Whether a write whose connection dropped may simply be sent again: none that a second time means something else.
pub fn may_repeat(fault: &Error, kind: WriteKind) -> bool {
    let dropped = matches!(fault, Error::NoAnswer { sent: true, .. });
    match kind {
        WriteKind::Upsert | WriteKind::Update | WriteKind::UpdateFound | WriteKind::Delete => dropped,
        // After the first of two, a condition on the row tells the second something else.
        WriteKind::Create | WriteKind::UpdateUnchanged | WriteKind::DeleteUnchanged | WriteKind::Read => false,
    }
}

#[cfg(test)]
mod tests;
