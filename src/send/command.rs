//! The command: checks the file, then puts its records.

use std::collections::hash_map::RandomState;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::arguments::{Arguments, Format, OutputOptions, RecordOptions};
use super::columns::Kinds;
use super::definition;
use super::input::InputFile;
use super::job::{Job, Target, interrupted, on_thread, unreadable};
use super::kind::Kind;
use super::message::Mapping;
use super::source::Plan;
use crate::config;
use crate::dead_letters::account::Account;
use crate::dead_letters::command::Failure;
use crate::dead_letters::message_encoding;
use crate::host::MessageEncoding;
use crate::record::Tables;
use crate::settings::Lookup;
use crate::terminal::say;

/// Checks a file and puts its records; returns whether all of them are put. `stop` ends it early.
///
/// # Errors
/// When nothing is put because of the arguments, the settings, or a service.
pub async fn run(arguments: Arguments, lookup: &Lookup<'_>, stop: CancellationToken) -> Result<bool, Failure> {
    let Arguments { file, record, input, output } = arguments;
    let mut options = options(&record, &input, &output);
    let file = InputFile::new(file, input).map_err(Failure::Usage)?;
    if file.format == Format::Csv && (record.table.is_none() || record.key.is_empty()) {
        let problem = "a CSV file needs --table and --key, such as --table contacts --key employeeid";
        return Err(Failure::Usage(problem.to_owned()));
    }
    let Settings { target, encoding, tables } = Settings::read(&output, lookup)?;
    let opened = file.clone();
    let Some(lines) = on_thread(&stop, move || opened.open()).await else { return Ok(interrupted()) };
    let lines = lines.map_err(|error| unreadable(&file, &error))?;
    let (kinds, mapping) = kinds(&record, lines.header(), file.name(), lookup).await?;
    // Keys depend on the kinds, and the order on keys.
    options.insert("types, or definition of the table".to_owned(), json!(kinds));
    let plan = Arc::new(Plan { mapping, kinds, tables, encoding, hasher: RandomState::new() });
    let job = Job { file, plan, stop };
    let Some(target) = target else { return job.dry_run(lines).await };
    job.send(lines, target, output, options).await
}

/// What the settings name.
struct Settings {
    /// `None` where nothing is put.
    target: Option<Target>,
    encoding: MessageEncoding,
    tables: Tables,
}

impl Settings {
    fn read(output: &OutputOptions, lookup: &Lookup<'_>) -> Result<Self, Failure> {
        let open = || {
            let account = Account::open(&output.connection, lookup)?;
            let name = format!("{} of {}", output.queue, account.name());
            Ok(Some(Target { queue: account.queue(&output.queue)?, name }))
        };
        let target = if output.dry_run { Ok(None) } else { open() };
        let encoding = message_encoding(output.message_encoding, lookup).map_err(|problem| vec![problem]);
        let tables = config::tables(lookup).map_err(|problem| vec![problem]);
        match (target, encoding, tables) {
            (Ok(target), Ok((encoding, _)), Ok(tables)) => Ok(Self { target, encoding, tables }),
            (target, encoding, tables) => {
                let problems = [target.err(), encoding.err(), tables.err()];
                Err(Failure::Settings(problems.into_iter().flatten().flatten().collect()))
            }
        }
    }
}

/// The kinds of the columns in the header, and how lines become records.
async fn kinds(
    record: &RecordOptions,
    header: &[String],
    file: String,
    lookup: &Lookup<'_>,
) -> Result<(Vec<Kind>, Mapping), Failure> {
    let mut kinds = Kinds { options: record, definition: None };
    if let Some(set) = record.table.as_deref().filter(|_| kinds.needs_definition(header)) {
        kinds.definition = definition::read(set, record, lookup).await?;
        if kinds.definition.is_none() {
            say("DATAVERSE_URL is not set, so columns that --types does not name are sent as text.\n");
        }
    }
    if !header.is_empty() {
        kinds.check(header).map_err(Failure::Usage)?;
    }
    let mapping = Mapping::new(record.clone(), |column| kinds.of(column), file);
    let mapping = mapping.map_err(|problem| Failure::Usage(problem.to_string()))?;
    Ok((header.iter().map(|column| kinds.of(column)).collect(), mapping))
}

/// What an offset depends on.
fn options(record: &RecordOptions, input: &impl Serialize, output: &OutputOptions) -> Map<String, Value> {
    let members = |value: serde_json::Result<Value>| match value {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    };
    let mut options = members(serde_json::to_value(record));
    options.extend(members(serde_json::to_value(input)));
    options.insert("queue".to_owned(), output.queue.clone().into());
    options.insert("connection".to_owned(), output.connection.clone().into());
    options.into_iter().map(|(name, value)| (name.replace('_', "-"), value)).collect()
}
