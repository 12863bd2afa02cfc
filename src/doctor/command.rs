//! All checks, one after the other.

use std::io;
use std::sync::Arc;

use super::app::App;
use super::arguments::Arguments;
use super::report::{CheckResult, Report, after, wrong};
use super::{environment, settings, storage};
use crate::config::{Config, LockSettings};
use crate::dataverse::client::Client;
use crate::http::Http;
use crate::identity::{self, Identity};
use crate::lock::blob::BlobLocks;
use crate::settings::environment::Environment;
use crate::storage::Connection;

/// Makes every check with these settings; returns whether all of them are good.
///
/// # Errors
/// When stdout cannot be written.
pub async fn run(arguments: &Arguments, environment: &Environment) -> io::Result<bool> {
    let mut report = Report::new(arguments.json);
    let lookup = &|name: &str| environment.get(name);
    let config = settings::check(environment, &mut report).ok_or("settings");
    let queues = App::new(&arguments.app, lookup).check(config.as_ref().map_err(|failed| *failed), &mut report);
    let has_token = match config {
        Ok(config) => check_services(arguments, config, &mut report).await,
        Err(failed) => {
            report.add("token", Err(failed));
            environment::check(arguments, None, true, Err(failed), &mut report).await;
            report.add("lock_storage", Err(failed));
            true
        }
    };
    storage::queues(&queues, has_token, lookup, &mut report).await;
    report.finish()
}

/// Checks the identity, Dataverse and the locks; returns whether the identity has a token.
async fn check_services(arguments: &Arguments, config: Config, report: &mut Report) -> bool {
    let Config { dataverse, identity, locks, version_column, batches, .. } = config;
    let credential = identity.name();
    let opened = identity::open(identity);
    let token = match &opened {
        Ok((identity, _)) => environment::token(identity, credential, &dataverse, report).await,
        Err(problem) => {
            let found = format!("{credential} cannot be opened: {problem}");
            report.add("token", Ok(wrong(found, "see the Entra ID variables in `handler settings`")));
            Err("token")
        }
    };
    let opened = opened.map_err(|_| "token");
    let client = token.and(opened.clone()).map(|(identity, http)| Client::new(&dataverse, identity, &http));
    let client = client.as_ref().map(|client| (client, &dataverse)).map_err(|failed| *failed);
    environment::check(arguments, version_column.as_deref(), batches, client, report).await;
    let needs_token = locks.as_ref().is_some_and(|locks| locks.address.needs_identity());
    let access = if needs_token { token.and(opened) } else { opened };
    let locks = async |(identity, http)| check_locks(locks, identity, &http).await;
    report.add("lock_storage", after(access, locks).await);
    token.is_ok()
}

async fn check_locks(settings: Option<LockSettings>, identity: Arc<Identity>, http: &Http) -> CheckResult {
    let Some(LockSettings { address, container, life, .. }) = settings else {
        return Ok("not needed: LOCK_MODE is off".to_owned());
    };
    let access = address.access();
    let connection = Connection::new(address, identity, http);
    let Ok(locks) = BlobLocks::new(&connection, &container, life) else {
        return wrong("the address of LOCK_STORAGE cannot be used", "Entra ID needs an https address");
    };
    storage::lock(&locks, access, &container).await
}
