//! The storage account: the locks, and the two queues.
//!
//! The doctor takes a lock of its own, renews it and gives it back, as serving does. Of the queues it checks whether they exist
//! and may be read; no message is received. The lock container and an empty blob, [`PROBE`], are created if they are missing, and stay.

use super::functions::Queues;
use super::report::{CheckResult, Report, wrong};
use crate::dead_letters::account::Account;
use crate::dead_letters::queue::describe;
use crate::lock::blob::BlobLocks;
use crate::lock::{Error, LockName, Locks as _};
use crate::settings::{Lookup, Problem, non_empty};
use crate::storage::{Address, OLD_DATE, Service, WRONG_NETWORK};

/// The blob of the doctor's lock. No record's lock has this name: those end in 64 hexadecimal digits.
const PROBE: &str = "doctor-probe";

/// Takes the lock, renews it, gives it back, and checks that it is free again.
pub(super) async fn lock(locks: &BlobLocks, access: &str, container: &str) -> CheckResult {
    let failed = |error: Error| (error.to_string(), remedy(&error, access).to_owned());
    let again = "run this again in a minute; another doctor may have been at work";
    let name = LockName::new(PROBE);
    let Some(mut lease) = locks.try_acquire(&name).await.map_err(failed)? else {
        return wrong(format!("another process holds the lock {PROBE}"), again);
    };
    let renewed = locks.renew(&mut lease).await;
    locks.release(lease).await;
    if !renewed.map_err(failed)? {
        return wrong("a lock was lost as soon as it was taken", again);
    }
    // A release reports no result; a lock that can be taken again was given back.
    let Some(lease) = locks.try_acquire(&name).await.map_err(failed)? else {
        let remedy = "see the warning on stderr; the lock expires by itself";
        return wrong("a lock was taken and could not be given back", remedy);
    };
    locks.release(lease).await;
    Ok(format!("a lock in {container} was taken, renewed and given back ({access})"))
}

/// The remedy for a refusal that has nothing to do with the key or the role.
fn remedy_by_code(error: &Error) -> Option<&'static str> {
    let Error::Refused { code, .. } = error else { return None };
    match code.as_str() {
        OLD_DATE => Some("set this machine's clock, which differs from the service's by more than 15 minutes"),
        WRONG_NETWORK => Some(
            "in the account's Networking: admit this app's network (firewall, virtual network), or connect the app to the \
             account's private endpoint",
        ),
        _ => None,
    }
}

/// The remedy for an error of the storage, by the kind of access to it.
fn remedy(error: &Error, access: &str) -> &'static str {
    if let Some(remedy) = remedy_by_code(error) {
        return remedy;
    }
    match (error, access) {
        (Error::Refused { .. }, "entra") => {
            "give the identity the role Storage Blob Data Contributor on the storage account, and wait some minutes"
        }
        (Error::Refused { .. }, "sas") => {
            "the signature must not have expired, and allow read, create and write on containers and blobs"
        }
        (Error::Refused { .. }, _) => {
            "check that the key in the connection string is still the account's, and that the account allows keys"
        }
        (Error::Unreachable { .. }, _) => {
            "check the account's name, and that its firewall admits this app, and the proxy if there is one (on your machine: that Azurite runs)"
        }
        (Error::Token { .. }, _) => "check whether this identity may have tokens for storage",
        (Error::Service { .. } | Error::NotUnderstood, _) => {
            "check that the account has blobs and queues (general-purpose v2)"
        }
    }
}

/// Without a token, queues that need one are not tried.
pub(super) async fn queues(queues: &Queues, has_token: bool, lookup: &Lookup<'_>, report: &mut Report) {
    let trimmed = |name: &str| non_empty(lookup, name);
    let failed = match Address::resolve(Service::Queue, &queues.connection, &trimmed) {
        Err(_) => names(report, &queues.connection).then_some("settings"),
        Ok(address) => (address.needs_identity() && !has_token).then_some("token"),
    };
    let account = failed.map_or_else(|| Ok(Account::open(&queues.connection, lookup)), Err);
    for (check, name) in [("queue", &queues.records), ("poison_queue", &queues.poison)] {
        let result = match &account {
            Ok(Ok(account)) => Ok(look(account, name).await),
            Ok(Err(problems)) => Ok(unusable(problems)),
            Err(failed) => Err(*failed),
        };
        report.add(check, result);
    }
}

/// Whether a finding about the settings names the variable.
fn names(report: &Report, variable: &str) -> bool {
    let mut wrong = report.findings().iter().filter(|finding| finding.check == "settings" && finding.remedy.is_some());
    wrong.any(|finding| finding.found.split(' ').next() == Some(variable))
}

fn unusable(problems: &[Problem]) -> CheckResult {
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    wrong(problems.join("; "), "set the connection that function.json names; `handler settings` says how")
}

async fn look(account: &Account, name: &str) -> CheckResult {
    let queue = match account.queue(name) {
        Ok(queue) => queue,
        Err(problems) => return unusable(&problems),
    };
    match queue.stats().await {
        Ok((counted, _)) => Ok(format!("{name} in {}: about {counted} messages", account.name())),
        Err(error) => wrong(format!("{name} in {}: {}", account.name(), describe(&error)), queue_remedy(&error, name)),
    }
}

fn queue_remedy(error: &Error, name: &str) -> String {
    if let Some(remedy) = remedy_by_code(error) {
        return remedy.to_owned();
    }
    match error {
        error if error.is_missing() => {
            format!("az storage queue create --name {name} --account-name <account> --auth-mode login")
        }
        Error::Refused { .. } => {
            "give the identity the role Storage Queue Data Contributor, or check that the key or signature is still valid"
                .to_owned()
        }
        _ => remedy(error, "").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_and_the_network_are_not_taken_for_a_wrong_key_or_role() {
        for (code, word) in [(OLD_DATE, "clock"), (WRONG_NETWORK, "Networking")] {
            let error = Error::Refused { status: 403, code: code.to_owned() };
            for access in ["entra", "sas", "shared_key"] {
                assert!(remedy(&error, access).contains(word), "{code} {access}");
            }
            assert!(queue_remedy(&error, "sync-records").contains(word), "{code}");
        }
    }

    #[test]
    fn the_remedy_for_a_refusal_depends_on_the_kind_of_access() {
        let refused = || Error::Refused { status: 403, code: "AuthorizationPermissionMismatch".to_owned() };
        for (access, word) in [("entra", "Storage Blob Data Contributor"), ("sas", "expired"), ("shared_key", "key")] {
            assert!(remedy(&refused(), access).contains(word), "{access}");
        }
    }
}
