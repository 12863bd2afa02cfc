//! The table's definition in Dataverse: the kinds of its columns, and whether the options name what there is.

use std::collections::HashMap;

use super::arguments::RecordOptions;
use super::kind::Kind;
use super::lookup::Lookup;
use crate::config;
use crate::dataverse::Error;
use crate::dataverse::client::Client;
use crate::dataverse::client::metadata::Table;
use crate::dataverse::suggestion::suggestions;
use crate::dataverse::table_metadata::TableMetadata;
use crate::dead_letters::command::Failure;
use crate::doctor::judge_key;
use crate::identity;
use crate::settings::{self, non_empty};

/// The columns of a table; `None` is a lookup.
pub(super) type Columns = HashMap<String, Option<Kind>>;

/// Reads the columns of the table with this entity set name, and checks the key and the lookups of the options; `None` where no
/// environment is set.
///
/// # Errors
/// The settings cannot be used, a definition cannot be read, or an option does not fit it.
pub(super) async fn read(
    set: &str,
    options: &RecordOptions,
    lookup: &settings::Lookup<'_>,
) -> Result<Option<Columns>, Failure> {
    if non_empty(lookup, "DATAVERSE_URL").is_none() {
        return Ok(None);
    }
    let (environment, choice) = config::dataverse(lookup).map_err(Failure::Settings)?;
    let credential = choice.name();
    let (identity, http) = identity::open(choice).map_err(|problem| unreadable(credential, &problem))?;
    let definitions = Definitions { client: Client::new(&environment, identity, &http), credential };
    let table = definitions.table("--table", set).await?;
    definitions.check_key("--key", &table, &options.key).await?;
    definitions.check_lookups(&table, &options.lookup).await?;
    let columns = definitions.client.columns(&table).await.map_err(|error| definitions.failed(&error))?;
    Ok(Some(
        columns.into_iter().map(|column| (column.logical_name.clone(), Kind::of_attribute(column.kind()))).collect(),
    ))
}

fn unreadable(credential: &str, problem: &str) -> Failure {
    Failure::Service(format!(
        "the table's definition cannot be read as {credential}: {problem}; name the kinds of all columns by --types, or unset \
         DATAVERSE_URL to send them as text"
    ))
}

/// The environment's definitions.
struct Definitions {
    client: Client,
    credential: &'static str,
}

impl Definitions {
    fn failed(&self, error: &Error) -> Failure {
        unreadable(self.credential, &error.to_string())
    }

    /// The table that an option names.
    async fn table(&self, option: &str, set: &str) -> Result<Table, Failure> {
        let table = self.client.table(set).await.map_err(|error| self.failed(&error))?;
        table.ok_or_else(|| Failure::Usage(format!("{option}: there is no table with the entity set name {set}")))
    }

    /// Without columns it is the primary key.
    async fn check_key(&self, option: &str, table: &Table, columns: &[String]) -> Result<(), Failure> {
        let primary = &table.primary_id_attribute;
        if columns.is_empty() || columns == std::slice::from_ref(primary) {
            return Ok(());
        }
        let keys = self.client.keys(table).await.map_err(|error| self.failed(&error))?;
        let wrong =
            |(found, remedy)| Failure::Usage(format!("{option}: {found} (the primary key is {primary}); {remedy}"));
        judge_key(&keys, columns).map(drop).map_err(wrong)
    }

    async fn check_lookups(&self, table: &Table, lookups: &[Lookup]) -> Result<(), Failure> {
        if lookups.is_empty() {
            return Ok(());
        }
        let known = self.client.lookups(table).await.map_err(|error| self.failed(&error))?;
        let metadata = TableMetadata::new(None, []).with_lookups(known);
        for lookup in lookups {
            let option = format!("--lookup {}", lookup.name);
            let Some((set, key)) = lookup.target() else { continue };
            if metadata.lookups().iter().all(|known| known.name != lookup.name) {
                let names = suggestions(&metadata, &lookup.name, Some(&set)).join(" or ");
                let hint = if names.is_empty() { String::new() } else { format!("; did you mean {names}?") };
                let problem = format!("{option}: the table has no navigation property of that name{hint}");
                return Err(Failure::Usage(problem));
            }
            let target = self.table(&option, &set).await?;
            self.check_key(&option, &target, &key).await?;
        }
        Ok(())
    }
}
