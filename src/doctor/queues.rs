//! The two queues: whether they exist and may be read. No message is received.

use super::functions::Queues;
use super::report::{CheckResult, Report, wrong};
use super::storage;
use crate::dead_letters::account::Account;
use crate::dead_letters::queue::Error;
use crate::settings::{Lookup, Problem, non_empty};
use crate::storage::{Address, Service};

/// Without a token, queues that need one are not tried.
pub(super) async fn check(queues: &Queues, has_token: bool, lookup: &Lookup<'_>, report: &mut Report) {
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
    wrong(problems.join("; "), "set the connection that function.json names, as the README's settings say")
}

async fn look(account: &Account, name: &str) -> CheckResult {
    let queue = match account.queue(name) {
        Ok(queue) => queue,
        Err(problems) => return unusable(&problems),
    };
    match queue.stats().await {
        Ok(stats) => Ok(format!("{name} in {}: about {} messages", account.name(), stats.counted)),
        Err(error) => wrong(format!("{name} in {}: {error}", account.name()), remedy(&error, name)),
    }
}

fn remedy(error: &Error, name: &str) -> String {
    match error {
        Error::NoQueue => format!("az storage queue create --name {name} --account-name <account> --auth-mode login"),
        Error::Refused(_) => {
            "give the identity the role Storage Queue Data Contributor, or check that the key or signature is still valid"
                .to_owned()
        }
        Error::Storage(error) => storage::remedy(error, "").to_owned(),
    }
}
