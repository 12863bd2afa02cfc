//! What a failed request means: the only place that decides between skip, retry and reject. Pure and total, no I/O.
//!
//! The laws, each with a test below:
//! 1. the service's code beats the HTTP status;
//! 2. a final verdict beats a retry, and a delay never causes one;
//! 3. unknown 5xx and transport failures are retried, unknown 4xx are rejected where the body is an error of Dataverse;
//! 4. what an operator can fix (credentials, permissions, the environment) never costs a message.
//!
//! The codes are data in `classify/codes.rs`.

mod codes;
mod loggable;

use crate::dataverse::verify::RowMatch;
use crate::dataverse::{Error, WriteKind};
use crate::lock;
use crate::outcome::Reason;
use crate::record::{AddressedKey, Lookup, OnConflict, common_prefix};
use codes::{Meaning, meaning_of_code, meaning_of_gateway, meaning_of_status};
pub(crate) use loggable::loggable_names;

/// How often one change is sent again in place after an answer that may differ the next time, such as a deadlock.
pub(crate) const MAX_AGAIN: u32 = 3;

/// How often one change is sent again in place after a lost create race under the policy `retry`. The other policies read the
/// row and send again once: see [`race_again`].
pub(crate) const MAX_RESENDS: u32 = 3;

/// The facts about a request that decide what its failure means.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// The request.
    pub kind: WriteKind,
    /// Whether it binds a lookup.
    pub binds: bool,
    /// Whether it is sent on behalf of another user.
    pub impersonates: bool,
    /// How often it was sent again in place, lost races not counted.
    pub again: u32,
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The attempt ends with this reason.
    Settle(Reason),
    /// Another writer may have created the row first: `race` decides by what the row holds.
    LostRace,
    /// The row changed since it was read: read it again.
    Moved,
    /// The row or a row that a lookup names is missing: a read tells which.
    RowOrParent,
    /// Send the same request again after a short pause.
    Again,
}

/// Whether the table contains this service code. For an unknown code the status decides.
pub fn is_known(code: u32) -> bool {
    meaning_of_code(code, "").is_some()
}

/// Judges a request that failed.
pub fn judge(fault: &Error, attempt: Attempt) -> Verdict {
    match fault {
        Error::Answered { status, code, message, .. } => {
            let text = message.as_deref();
            match meaning(*status, *code, text, attempt.kind) {
                Meaning::RowMissing if attempt.impersonates && text.is_some_and(names_a_user) => {
                    Verdict::Settle(Reason::Unauthorized)
                }
                meaning => judge_meaning(meaning, *status, attempt),
            }
        }
        Error::NoAnswer { .. } | Error::NoToken { refused: false, .. } => Verdict::Settle(Reason::Unavailable),
        Error::NoToken { refused: true, .. } => Verdict::Settle(Reason::Unauthorized),
        Error::NotAddressable { .. } => Verdict::Settle(Reason::InvalidData),
        Error::Ambiguous => Verdict::Settle(Reason::KeyCollision),
        // Its own pause has not ended.
        Error::Withheld => Verdict::Settle(Reason::Throttled),
    }
}

/// An answer without a code and a text is not an error of Dataverse.
fn meaning(status: u16, code: Option<u32>, text: Option<&str>, kind: WriteKind) -> Meaning {
    match (code, text) {
        (None, None) => meaning_of_gateway(status),
        (code, text) => codes::meaning(status, code, text.unwrap_or_default(), kind),
    }
}

/// Whether the row that a text says is missing is a user's.
fn names_a_user(text: &str) -> bool {
    text.to_ascii_lowercase().contains("systemuser")
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
        Meaning::KeyCollision => Verdict::Settle(Reason::KeyCollision),
        Meaning::VersionMismatch => Verdict::Moved,
        Meaning::DuplicateDetected => Verdict::Settle(Reason::DuplicateDetected),
        Meaning::RowMissing => row_missing(attempt),
        Meaning::ProviderRowMissing => provider_row_missing(attempt.kind),
        Meaning::ProviderConflict => provider_conflict(attempt.kind),
        Meaning::Referenced => referenced(attempt),
        Meaning::UnknownTable => Verdict::Settle(Reason::NotFound),
        Meaning::Again(times, _) if attempt.again < times => Verdict::Again,
        Meaning::Again(_, then) => judge_meaning(*then, status, attempt),
        Meaning::ByStatus => match meaning_of_status(status, attempt.kind) {
            // A read has no data that could be refused.
            Meaning::InvalidData if attempt.kind == WriteKind::Read => Verdict::Settle(Reason::Unavailable),
            meaning => judge_meaning(meaning, status, attempt),
        },
        Meaning::InvalidData => Verdict::Settle(Reason::InvalidData),
        Meaning::TooLarge => Verdict::Settle(Reason::TooLarge),
        Meaning::Busy => Verdict::Settle(Reason::Unavailable),
        Meaning::Throttled => Verdict::Settle(Reason::Throttled),
        Meaning::KeyNotDefined | Meaning::Unauthorized(_) => Verdict::Settle(Reason::Unauthorized),
    }
}

/// The missing row is the record's own, or one that a lookup names.
fn row_missing(attempt: Attempt) -> Verdict {
    match attempt.kind {
        WriteKind::Delete => Verdict::Settle(Reason::AlreadyAbsent),
        // These create a missing row, so the missing one is another.
        WriteKind::Upsert | WriteKind::Create if attempt.binds => Verdict::Settle(Reason::ParentMissing),
        // The row was deleted after the service had looked it up; sent again, the request creates it.
        WriteKind::Upsert if attempt.again == 0 => Verdict::Again,
        WriteKind::Update | WriteKind::UpdateFound | WriteKind::UpdateUnchanged if attempt.binds => {
            Verdict::RowOrParent
        }
        // A read has just found it.
        WriteKind::UpdateFound | WriteKind::UpdateUnchanged | WriteKind::DeleteUnchanged => Verdict::Moved,
        WriteKind::Upsert | WriteKind::Create | WriteKind::Update | WriteKind::Read => {
            Verdict::Settle(Reason::NotFound)
        }
    }
}

/// A plug-in or the provider of a virtual table says that the row is missing.
fn provider_row_missing(kind: WriteKind) -> Verdict {
    Verdict::Settle(match kind {
        WriteKind::Delete | WriteKind::DeleteUnchanged => Reason::AlreadyAbsent,
        WriteKind::Update | WriteKind::UpdateFound | WriteKind::UpdateUnchanged => Reason::NotFound,
        WriteKind::Upsert | WriteKind::Create | WriteKind::Read => Reason::InvalidData,
    })
}

/// A plug-in or the provider of a virtual table says that the row is not as expected: only an ETag says what is expected.
fn provider_conflict(kind: WriteKind) -> Verdict {
    match kind {
        WriteKind::UpdateUnchanged | WriteKind::DeleteUnchanged => Verdict::Moved,
        WriteKind::Upsert
        | WriteKind::Create
        | WriteKind::Update
        | WriteKind::UpdateFound
        | WriteKind::Delete
        | WriteKind::Read => Verdict::Settle(Reason::InvalidData),
    }
}

/// Others refer to the row that is to be deleted, or the row refers to one that is missing.
fn referenced(attempt: Attempt) -> Verdict {
    let deletes = matches!(attempt.kind, WriteKind::Delete | WriteKind::DeleteUnchanged);
    Verdict::Settle(if attempt.binds && !deletes { Reason::ParentMissing } else { Reason::InvalidData })
}

/// What to do after a lost create race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterRace {
    /// The attempt ends with this reason.
    Settle(Reason),
    /// Send the same request again.
    Resend,
}

/// Judges the first lost create race of an upsert by how the row compares. `created_later` says that no lock was held, and that
/// the row was created after our request was sent: else the request was an update, and another unique key collides.
pub(crate) fn race(policy: OnConflict, found: RowMatch, created_later: bool) -> AfterRace {
    match (policy, found) {
        (OnConflict::Verify | OnConflict::Skip, RowMatch::Same) => AfterRace::Settle(Reason::AlreadyWritten),
        (OnConflict::Skip, RowMatch::NotProven | RowMatch::Differs) if created_later => {
            AfterRace::Settle(Reason::WrittenElsewhere)
        }
        (OnConflict::Verify | OnConflict::Skip | OnConflict::Retry, _) => AfterRace::Resend,
    }
}

/// Judges a 412 on an upsert that was sent again, `resends` times so far. A `create` is judged as under `verify`.
///
/// Under `verify` and `skip` the row was read before. If it existed, the last request was an update; if not, the key was free.
/// Either way another unique key collides, and sending again would fail for ever. The service answers the loser of a race only
/// after the winner has committed, so a row that is missing after a 412 was rolled back or never existed.
pub(crate) fn race_again(policy: OnConflict, resends: u32) -> AfterRace {
    match policy {
        OnConflict::Verify | OnConflict::Skip => AfterRace::Settle(Reason::KeyCollision),
        OnConflict::Retry if resends < MAX_RESENDS => AfterRace::Resend,
        OnConflict::Retry => AfterRace::Settle(Reason::Conflict),
    }
}

/// Judges the first 412 on a `create` by how the row compares. `delivered_before` says that an earlier delivery of this
/// message may have created the row, and `is_ours` that our own user did: then it is enough that no value differs.
pub(crate) fn create_refused(found: RowMatch, delivered_before: bool, is_ours: bool) -> AfterRace {
    match found {
        RowMatch::Same if delivered_before => AfterRace::Settle(Reason::AlreadyWritten),
        RowMatch::NotProven if delivered_before && is_ours => AfterRace::Settle(Reason::AlreadyWritten),
        RowMatch::Same | RowMatch::NotProven | RowMatch::Differs => AfterRace::Settle(Reason::Exists),
        // The winner was rolled back, or another key collides.
        RowMatch::Missing => AfterRace::Resend,
    }
}

/// `InvalidStateCodeStatusCode`.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/reference/web-service-error-codes>
const INVALID_STATE: u32 = 0x8004_8408;

/// Whether a request was refused because the row's state does not have the status: a new row's is always the first one.
pub(crate) fn is_state_refused(fault: &Error) -> bool {
    matches!(fault, Error::Answered { code: Some(INVALID_STATE), .. })
}

/// Which of the service protection limits throttled a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitKind {
    /// Requests or execution time within a time window, or not named: a lower rate would have been enough.
    Rate,
    /// Requests in flight: fewer at once would have been enough, at any rate.
    Concurrency,
}

/// `ThrottlingConcurrencyLimitExceededError`.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/api-limits#concurrent-requests>
const CONCURRENCY_LIMIT_EXCEEDED: u32 = 0x8007_2326;

/// Which limit a throttled request met, by its service code.
pub(crate) fn limit_kind(fault: Option<&Error>) -> LimitKind {
    match fault {
        Some(Error::Answered { code: Some(CONCURRENCY_LIMIT_EXCEEDED), .. }) => LimitKind::Concurrency,
        _ => LimitKind::Rate,
    }
}

/// What one failure is evidence about: at least this much does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FailureScope {
    /// Every write: without a token or a lock no request can be sent.
    Environment,
    /// The record's table: privileges are granted by table.
    Table,
    /// A key of a table, by its position among the record's [addressed keys](crate::record::Record::addressed_keys).
    Key(usize),
    /// The record's row.
    Row,
}

pub(crate) fn failure_scope(fault: &Error) -> FailureScope {
    match fault {
        Error::NoToken { .. } => FailureScope::Environment,
        Error::Answered { status, code, message, .. } => {
            match meaning(*status, *code, message.as_deref(), WriteKind::Upsert) {
                Meaning::Unauthorized(scope) => scope,
                Meaning::KeyNotDefined => FailureScope::Table,
                Meaning::DuplicateKey
                | Meaning::KeyCollision
                | Meaning::VersionMismatch
                | Meaning::DuplicateDetected
                | Meaning::RowMissing
                | Meaning::ProviderRowMissing
                | Meaning::ProviderConflict
                | Meaning::Referenced
                | Meaning::UnknownTable
                | Meaning::InvalidData
                | Meaning::TooLarge
                | Meaning::ByStatus
                | Meaning::Again(..)
                | Meaning::Busy
                | Meaning::Throttled => FailureScope::Row,
            }
        }
        Error::NoAnswer { .. } | Error::NotAddressable { .. } | Error::Ambiguous | Error::Withheld => FailureScope::Row,
    }
}

/// Which of the `keys` that a request used is missing in its table, or not active: the service names the table only. `None` if
/// that is not what the service says.
pub(crate) fn refused_key(fault: &Error, keys: &[AddressedKey]) -> Option<usize> {
    let Error::Answered { status, code, message: Some(text), .. } = fault else { return None };
    if meaning(*status, *code, Some(text), WriteKind::Upsert) != Meaning::KeyNotDefined {
        return None;
    }
    let named = keys.iter().enumerate().filter_map(|(at, key)| Some((key.likeness(named_table(text)?), at)));
    // Of two keys of one table the last: the record's own is the first, and as the one in more use it is less likely to be missing.
    named.max().map(|(_, at)| at).or(keys.len().checked_sub(1))
}

/// The table that a refusal of a key names, by its logical name.
fn named_table(text: &str) -> Option<&str> {
    let (_, after) =
        text.split_once("Microsoft.Dynamics.CRM.").or_else(|| text.split_once("a defined key for the "))?;
    after.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()
}

/// Which of the rows that lookups name can be the missing one, by what the service says of it: its primary key, or the logical name of
/// its table. All of them where it says neither.
pub(crate) fn missing_rows(fault: &Error, mut lookups: Vec<Lookup>) -> Vec<Lookup> {
    let Error::Answered { message: Some(text), .. } = fault else { return lookups };
    let text = text.to_ascii_lowercase();
    let is_named = |lookup: &Lookup| lookup.target.id().is_some_and(|id| text.contains(&id.to_string()));
    let named_table = text.split_once(" does not exist in ").and_then(|(_, name)| name.split_once(" entity"));
    // Entity sets are mostly the plural.
    let is_in_table = |lookup: &Lookup| match (named_table, &lookup.target.table) {
        (Some((name, _)), Some(table)) => common_prefix(table, name) + 1 >= name.len(),
        (Some(_) | None, _) => false,
    };
    if lookups.iter().any(is_named) {
        lookups.retain(is_named);
    } else if lookups.iter().any(is_in_table) {
        lookups.retain(is_in_table);
    }
    lookups
}

/// The scope of a failed request to the lock storage. A blob can be refused by itself, for example by a policy that makes it
/// immutable.
pub(crate) fn lock_failure_scope(error: &lock::Error) -> FailureScope {
    match error {
        lock::Error::Service { status: 400..=428 | 430..=499, .. } => FailureScope::Row,
        lock::Error::Refused { .. }
        | lock::Error::Service { .. }
        | lock::Error::Unreachable { .. }
        | lock::Error::NotUnderstood
        | lock::Error::Token { .. } => FailureScope::Environment,
    }
}

/// What a failed request that writes nothing shows about every write: the reason why all fail, if they do.
pub(crate) fn judge_check(fault: &Error) -> Option<Reason> {
    match judge(fault, Attempt { kind: WriteKind::Read, binds: false, impersonates: false, again: MAX_AGAIN }) {
        Verdict::Settle(reason) => {
            Some(reason).filter(|reason| [Reason::Unavailable, Reason::Unauthorized].contains(reason))
        }
        Verdict::LostRace | Verdict::Moved | Verdict::RowOrParent | Verdict::Again => None,
    }
}

/// Whether a write whose connection dropped may be sent again: only if it means the same the second time.
pub(crate) fn may_repeat(fault: &Error, kind: WriteKind) -> bool {
    let dropped = matches!(fault, Error::NoAnswer { sent: true, .. });
    match kind {
        WriteKind::Upsert | WriteKind::Update | WriteKind::UpdateFound | WriteKind::Delete => dropped,
        // The first request may have changed what the condition of the second is checked against.
        WriteKind::Create | WriteKind::UpdateUnchanged | WriteKind::DeleteUnchanged | WriteKind::Read => false,
    }
}

#[cfg(test)]
mod tests;
