//! The lock storage, asked: a lock of the doctor's own is taken, renewed and given back, as serving does it.
//!
//! The lock container and an empty blob, [`PROBE`], are created where they are missing, and stay.

use super::finding::{Check, Finding};
use crate::lock::blob::BlobLocks;
use crate::lock::{Error, LockName, Locks as _, Renewed, TryAcquire};

/// The blob of the doctor's lock. No record's lock has this name: those end in 64 hexadecimal digits.
pub const PROBE: &str = "doctor-probe";

/// What a round with the lock met.
enum Round {
    Whole,
    Held,
    Lost,
    Kept,
}

/// Takes the lock, renews it, gives it back, and looks whether it is free again.
pub(super) async fn lock(locks: &BlobLocks, access: &str, container: &str) -> Finding {
    let again = "run this again in a minute; another doctor may have been at work";
    match round(locks).await {
        Ok(Round::Whole) => Finding::good(
            Check::LockStorage,
            format!("a lock in {container} was taken, renewed and given back ({access})"),
        ),
        Ok(Round::Held) => Finding::wrong(Check::LockStorage, format!("somebody else holds the lock {PROBE}"), again),
        Ok(Round::Lost) => Finding::wrong(Check::LockStorage, "a lock was lost as soon as it was taken", again),
        Ok(Round::Kept) => Finding::wrong(
            Check::LockStorage,
            "a lock was taken and could not be given back",
            "see the warning on stderr; the lock lapses by itself",
        ),
        Err(error) => Finding::wrong(Check::LockStorage, error.to_string(), remedy(&error, access)),
    }
}

async fn round(locks: &BlobLocks) -> Result<Round, Error> {
    let name = LockName::new(PROBE);
    let TryAcquire::Granted(mut lease) = locks.try_acquire(&name).await? else { return Ok(Round::Held) };
    let renewed = locks.renew(&mut lease).await;
    locks.release(lease).await;
    if renewed? == Renewed::Lost {
        return Ok(Round::Lost);
    }
    // A release reports nothing; a lock that can be taken again was given back.
    let TryAcquire::Granted(lease) = locks.try_acquire(&name).await? else { return Ok(Round::Kept) };
    locks.release(lease).await;
    Ok(Round::Whole)
}

fn remedy(error: &Error, access: &str) -> &'static str {
    match (error, access) {
        (Error::Refused { .. }, "entra") => {
            "give the identity the role Storage Blob Data Contributor on the storage account, and wait some minutes"
        }
        (Error::Refused { .. }, "sas") => {
            "the signature must not have expired, and allow read, create and write on containers and blobs"
        }
        (Error::Refused { .. }, _) => {
            "see whether the key in the connection string is still the account's, and keys are allowed there"
        }
        (Error::Unreachable { .. }, _) => {
            "see whether the account's name is right, and its firewall lets this app in (on your machine: whether Azurite runs)"
        }
        (Error::Token { .. }, _) => {
            "see whether this identity may have tokens for storage (its blob service is asked for one of its own)"
        }
        (Error::Service { .. } | Error::NotUnderstood, _) => {
            "see whether the account is one with blobs (general-purpose v2)"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_mended_by_the_way_in() {
        let refused = || Error::Refused { status: 403, code: "AuthorizationPermissionMismatch".to_owned() };
        for (access, word) in [("entra", "Storage Blob Data Contributor"), ("sas", "expired"), ("shared_key", "key")] {
            assert!(remedy(&refused(), access).contains(word), "{access}");
        }
    }
}
