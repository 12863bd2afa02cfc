//! The checks, one after the other, each printed as soon as it is made.

use std::io::{self, Write as _, stdout};
use std::sync::Arc;

use azure_core::credentials::TokenCredential;

use super::app::App;
use super::arguments::Arguments;
use super::environment;
use super::finding::{Check, Finding};
use super::report::Report;
use super::{queues, settings, storage};
use crate::config::{Config, LockSettings};
use crate::dataverse::client::{Client, Environment};
use crate::http::Http;
use crate::identity::{self, Choice, Identity};
use crate::lock::blob::BlobLocks;
use crate::settings::Lookup;
use crate::storage::Connection;

/// What was found so far, printed as it comes unless it is to be JSON.
struct Sheet {
    json: bool,
    report: Report,
}

impl Sheet {
    fn note(&mut self, finding: Finding) -> io::Result<()> {
        if !self.json {
            print(&Report::line(&finding))?;
        }
        self.report.add(finding);
        Ok(())
    }

    fn note_all(&mut self, findings: impl IntoIterator<Item = Finding>) -> io::Result<()> {
        findings.into_iter().try_for_each(|finding| self.note(finding))
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Makes every check with the settings that `lookup` gives; says whether all is well.
///
/// # Errors
/// When stdout cannot be written.
pub async fn run(arguments: &Arguments, lookup: &Lookup<'_>) -> io::Result<bool> {
    let mut sheet = Sheet { json: arguments.json, report: Report::default() };
    let (config, settings) = settings::check(lookup);
    sheet.note_all(settings.iter().cloned())?;
    let (findings, queues) = App::new(&arguments.app).check(lookup, config.as_ref());
    sheet.note_all(findings)?;
    let mut earlier = queues::Earlier { connection_is_told: is_about(&settings, &queues.connection), no_token: false };
    if let Some(config) = config {
        earlier.no_token = !ask(&mut sheet, arguments, config).await?;
    } else {
        sheet.note_all(not_tried(arguments, Check::Settings, None))?;
    }
    sheet.note_all(queues::check(&queues, earlier, lookup).await)?;
    let report = sheet.report;
    print(&if arguments.json { report.to_json() } else { report.last_line() })?;
    Ok(report.is_good())
}

/// Whether a problem with the variable of that name is among them.
fn is_about(settings: &[Finding], variable: &str) -> bool {
    settings.iter().any(|finding| !finding.is_good() && finding.found.split(' ').next() == Some(variable))
}

/// The checks that rest on the settings as a whole.
fn not_tried(arguments: &Arguments, earlier: Check, version_column: Option<&str>) -> Vec<Finding> {
    let mut findings = vec![Finding::not_tried(Check::Token, earlier)];
    findings.extend(dataverse_not_tried(arguments, earlier, version_column));
    findings.push(Finding::not_tried(Check::LockStorage, earlier));
    findings
}

fn dataverse_not_tried(arguments: &Arguments, earlier: Check, version_column: Option<&str>) -> Vec<Finding> {
    let mut findings = vec![Finding::not_tried(Check::WhoAmI, earlier)];
    if arguments.table.is_some() {
        findings.extend(environment::table_not_tried(earlier, &arguments.key, version_column));
    }
    findings
}

/// The identity, Dataverse and the locks; whether there is a token to be had.
async fn ask(sheet: &mut Sheet, arguments: &Arguments, config: Config) -> io::Result<bool> {
    let Config { dataverse, identity, locks: lock_settings, version_column, .. } = config;
    let (credential, version_column) = (identity.name(), version_column.as_deref());
    let (identity, http) = match open(identity) {
        Ok(opened) => opened,
        Err(problem) => {
            let found = format!("{credential} cannot be opened: {problem}");
            sheet.note(Finding::wrong(Check::Token, found, "see the Entra variables in the README's settings"))?;
            sheet.note_all(not_tried(arguments, Check::Token, version_column).into_iter().skip(1))?;
            return Ok(false);
        }
    };
    let token = environment::token(&identity, credential, &dataverse).await;
    let has_token = token.is_good();
    sheet.note(token)?;
    if has_token {
        let client = Client::new(&dataverse, identity.clone(), &http);
        ask_dataverse(sheet, arguments, &client, &dataverse, version_column).await?;
    } else {
        sheet.note_all(dataverse_not_tried(arguments, Check::Token, version_column))?;
    }
    sheet.note(locks(lock_settings, has_token, &identity, &http).await)?;
    Ok(has_token)
}

fn open(choice: Choice) -> Result<(Arc<Identity>, Http), String> {
    let http = Http::new().map_err(|_| "TLS cannot be set up".to_owned())?;
    let identity = Identity::open(choice, &http).map_err(|error| identity::problem(&error))?;
    Ok((Arc::new(identity), http))
}

async fn ask_dataverse(
    sheet: &mut Sheet,
    arguments: &Arguments,
    client: &Client,
    environment: &Environment,
    version_column: Option<&str>,
) -> io::Result<()> {
    let known = environment::who_am_i(client, environment).await;
    let is_known = known.is_good();
    sheet.note(known)?;
    let Some(set) = &arguments.table else { return Ok(()) };
    sheet.note_all(if is_known {
        environment::table(client, set, &arguments.key, version_column).await
    } else {
        environment::table_not_tried(Check::WhoAmI, &arguments.key, version_column)
    })
}

async fn locks(settings: Option<LockSettings>, has_token: bool, identity: &Arc<Identity>, http: &Http) -> Finding {
    let Some(LockSettings { address, container, life, .. }) = settings else {
        return Finding::good(Check::LockStorage, "not needed: LOCK_MODE is off");
    };
    if address.needs_identity() && !has_token {
        return Finding::not_tried(Check::LockStorage, Check::Token);
    }
    let access = address.access();
    let credential: Arc<dyn TokenCredential> = identity.clone();
    let connection = Connection::new(address, &credential, http);
    let Ok(locks) = BlobLocks::new(&connection, &container, life) else {
        let found = "the address of LOCK_STORAGE cannot be used";
        return Finding::wrong(Check::LockStorage, found, "Entra ID needs an https address");
    };
    storage::lock(&locks, access, &container).await
}
