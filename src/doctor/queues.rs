//! The two queues, asked whether they are there and may be read. No message is received.

use super::finding::{Check, Finding};
use super::functions::Queues;
use crate::dead_letters::account::Desk;
use crate::dead_letters::arguments::Place;
use crate::dead_letters::encoding::Encoding;
use crate::dead_letters::queue::Error;
use crate::settings::{Lookup, Problem, non_empty};
use crate::storage::{self, Address, Service};

/// What is known by then to stand in the way.
pub(super) struct Earlier {
    /// What is wrong with the connection was said among the settings.
    pub(super) connection_is_told: bool,
    /// There is no token to be had.
    pub(super) no_token: bool,
}

/// Both, the records' first.
pub(super) async fn check(queues: &Queues, earlier: Earlier, lookup: &Lookup<'_>) -> [Finding; 2] {
    let both = [(Check::Queue, &queues.records), (Check::PoisonQueue, &queues.poison)];
    let trimmed = |name: &str| non_empty(lookup, name);
    let because = match Address::resolve(Service::Queue, &queues.connection, &trimmed) {
        Err(_) => earlier.connection_is_told.then_some(Check::Settings),
        Ok(address) => (address.needs_identity() && earlier.no_token).then_some(Check::Token),
    };
    if let Some(because) = because {
        return both.map(|(check, _)| Finding::not_tried(check, because));
    }
    let desk = match Desk::open(&place(queues), lookup) {
        Ok(desk) => desk,
        Err(problems) => return both.map(|(check, _)| unusable(check, &problems)),
    };
    let [(first, records), (second, poison)] = both;
    [look(&desk, first, records).await, look(&desk, second, poison).await]
}

fn place(queues: &Queues) -> Place {
    Place {
        queue: queues.records.clone(),
        connection: queues.connection.clone(),
        // No message is read, so it does not matter.
        encoding: Some(Encoding::default()),
        json: false,
    }
}

fn unusable(check: Check, problems: &[Problem]) -> Finding {
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    Finding::wrong(check, told.join("; "), "set the connection that function.json names, as the README's settings say")
}

async fn look(desk: &Desk, check: Check, name: &str) -> Finding {
    let queue = match desk.queue(name) {
        Ok(queue) => queue,
        Err(problems) => return unusable(check, &problems),
    };
    match queue.look().await {
        Ok(look) => Finding::good(check, format!("{name} in {}: about {} messages", desk.name(), look.counted)),
        Err(error) => {
            let remedy = match &error {
                Error::NoQueue => {
                    format!("az storage queue create --name {name} --account-name <account> --auth-mode login")
                }
                Error::Refused(_) => {
                    "give the identity the role Storage Queue Data Contributor, or see whether the key or \
                                          signature is still good"
                        .to_owned()
                }
                Error::Storage(storage::Error::Unreachable { .. }) => {
                    "see whether the account's name is right, and its firewall lets this app in (on your machine: whether Azurite runs)".to_owned()
                }
                Error::Storage(storage::Error::Token { .. }) => "see whether this identity may have tokens for storage".to_owned(),
                Error::Storage(_) => "see whether the queue's name is right and the account has queues".to_owned(),
            };
            Finding::wrong(check, format!("{name} in {}: {error}", desk.name()), remedy)
        }
    }
}
