//! All checks, one after the other.

use std::io;
use std::sync::Arc;

use azure_core::credentials::TokenCredential;

use super::app::App;
use super::arguments::Arguments;
use super::environment::{self, Target};
use super::finding::{Check, CheckResult, wrong};
use super::report::Report;
use super::{queues, settings, storage};
use crate::config::{Config, LockSettings};
use crate::dataverse::client::Client;
use crate::http::Http;
use crate::identity::{self, Choice, Identity};
use crate::lock::blob::BlobLocks;
use crate::settings::Lookup;
use crate::storage::Connection;

/// Makes every check with the settings that `lookup` gives; returns whether all of them are good.
///
/// # Errors
/// When stdout cannot be written.
pub async fn run(arguments: &Arguments, lookup: &Lookup<'_>) -> io::Result<bool> {
    let mut report = Report::new(arguments.json);
    let config = settings::check(lookup, &mut report);
    let queues = App::new(&arguments.app, lookup).check(config.as_ref(), &mut report);
    let has_token = if let Some(config) = config {
        check_services(arguments, config, &mut report).await
    } else {
        let target = Target::new(arguments, None);
        report.not_tried(&[Check::TOKEN], Check::SETTINGS);
        report.not_tried(&target.checks(), Check::SETTINGS);
        report.not_tried(&[Check::LOCK_STORAGE], Check::SETTINGS);
        true
    };
    queues::check(&queues, has_token, lookup, &mut report).await;
    report.finish()
}

/// Checks the identity, Dataverse and the locks; returns whether the identity has a token.
async fn check_services(arguments: &Arguments, config: Config, report: &mut Report) -> bool {
    let Config { dataverse, identity, locks, version_column, .. } = config;
    let target = Target::new(arguments, version_column.as_deref());
    let credential = identity.name();
    let (identity, http) = match open(identity) {
        Ok(opened) => opened,
        Err(problem) => {
            let found = format!("{credential} cannot be opened: {problem}");
            report.add(Check::TOKEN, wrong(found, "see the Entra variables in the README's settings"));
            report.not_tried(&target.checks(), Check::TOKEN);
            report.not_tried(&[Check::LOCK_STORAGE], Check::TOKEN);
            return false;
        }
    };
    let has_token = report.add(Check::TOKEN, environment::token(&identity, credential, &dataverse).await);
    if has_token {
        let client = Client::new(&dataverse, identity.clone(), &http);
        target.check(&client, &dataverse, report).await;
    } else {
        report.not_tried(&target.checks(), Check::TOKEN);
    }
    match locks {
        Some(locks) if locks.address.needs_identity() && !has_token => {
            report.not_tried(&[Check::LOCK_STORAGE], Check::TOKEN);
        }
        locks => {
            report.add(Check::LOCK_STORAGE, check_locks(locks, &identity, &http).await);
        }
    }
    has_token
}

fn open(choice: Choice) -> Result<(Arc<Identity>, Http), String> {
    let http = Http::new().map_err(|_| "TLS cannot be set up".to_owned())?;
    let identity = Identity::open(choice, &http).map_err(|error| identity::problem(&error))?;
    Ok((Arc::new(identity), http))
}

async fn check_locks(settings: Option<LockSettings>, identity: &Arc<Identity>, http: &Http) -> CheckResult {
    let Some(LockSettings { address, container, life, .. }) = settings else {
        return Ok("not needed: LOCK_MODE is off".to_owned());
    };
    let access = address.access();
    let credential: Arc<dyn TokenCredential> = identity.clone();
    let connection = Connection::new(address, &credential, http);
    let Ok(locks) = BlobLocks::new(&connection, &container, life) else {
        return wrong("the address of LOCK_STORAGE cannot be used", "Entra ID needs an https address");
    };
    storage::lock(&locks, access, &container).await
}
