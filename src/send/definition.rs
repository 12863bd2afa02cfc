//! The kinds of columns by the table's definition in Dataverse.

use std::collections::HashMap;

use super::kind::Kind;
use crate::config;
use crate::dataverse::Error;
use crate::dataverse::client::Client;
use crate::identity;
use crate::settings::{Lookup, Problem, non_empty};

/// The columns of a table; `None` is a lookup.
pub(super) type Columns = HashMap<String, Option<Kind>>;

/// Why a definition cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum DefinitionError {
    #[error("{} of the settings cannot be used", .0.len())]
    Settings(Vec<Problem>),
    #[error("{0}")]
    Unreadable(String),
}

/// Reads the columns of the table with this entity set name; `None` where no environment is set.
///
/// # Errors
/// The settings cannot be used, or the definition cannot be read.
pub(super) async fn read(set: &str, lookup: &Lookup<'_>) -> Result<Option<Columns>, DefinitionError> {
    if non_empty(lookup, "DATAVERSE_URL").is_none() {
        return Ok(None);
    }
    let (environment, choice) = config::dataverse(lookup).map_err(DefinitionError::Settings)?;
    let credential = choice.name();
    let unreadable = |problem: String| {
        DefinitionError::Unreadable(format!(
            "the definition of {set} cannot be read as {credential}: {problem}; name the kinds of all columns by --types, \
             or unset DATAVERSE_URL to send them as text"
        ))
    };
    let (identity, http) = identity::open(choice).map_err(unreadable)?;
    let client = Client::new(&environment, identity, &http);
    let failed = |error: Error| unreadable(error.to_string());
    let Some(table) = client.table(set).await.map_err(failed)? else {
        return Err(DefinitionError::Unreadable(format!(
            "there is no table with the entity set name {set}; check --table"
        )));
    };
    let columns = client.columns(&table).await.map_err(failed)?;
    Ok(Some(
        columns.into_iter().map(|column| (column.logical_name.clone(), Kind::of_attribute(column.kind()))).collect(),
    ))
}
