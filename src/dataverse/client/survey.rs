//! What an operator wants to know of an environment before records go there. Reads only; the pipeline asks none of this.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/query-metadata-web-api>

use serde::Deserialize;

use super::Client;
use crate::dataverse::Error;
use crate::record::is_logical_name;

/// Who we are to the environment.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Caller {
    /// The application user's row.
    pub user_id: String,
    /// The environment's organisation.
    pub organization_id: String,
}

/// A table.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Table {
    /// Its name in the singular, such as `contact`.
    pub logical_name: String,
    /// The column of its primary key.
    pub primary_id_attribute: String,
    /// Whether `If-Match` with an etag is heeded.
    #[serde(default)]
    pub is_optimistic_concurrency_enabled: bool,
}

/// An alternate key.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Key {
    /// Its columns, by logical name: a lookup without `_…_value`.
    pub key_attributes: Vec<String>,
    /// `Pending`, `InProgress`, `Active` or `Failed`.
    pub entity_key_index_status: Option<String>,
}

/// A column.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Column {
    /// Its name.
    pub logical_name: String,
    /// Such as `BigInt` or `DateTime`.
    pub attribute_type: Option<String>,
}

impl Client {
    /// Who we are.
    pub async fn who_am_i(&self) -> Result<Caller, Error> {
        self.look_at("WhoAmI", None).await
    }

    /// The table with this entity set name; `None` when there is none.
    pub async fn table(&self, set: &str) -> Result<Option<Table>, Error> {
        let select = "$select=LogicalName,PrimaryIdAttribute,IsOptimisticConcurrencyEnabled";
        let query = format!("{select}&$filter=EntitySetName eq '{set}'");
        let table = self.whole_list::<Table>("EntityDefinitions", &query).await?.pop();
        let fit = table.as_ref().is_none_or(|table| is_logical_name(&table.logical_name));
        if fit { Ok(table) } else { Err(Error::NoAnswer { sent: false, problem: "the table has no name" }) }
    }

    /// Its alternate keys.
    pub async fn keys(&self, table: &Table) -> Result<Vec<Key>, Error> {
        let path = format!("EntityDefinitions(LogicalName='{}')/Keys", table.logical_name);
        self.whole_list(&path, "$select=KeyAttributes,EntityKeyIndexStatus").await
    }

    /// Its columns.
    pub async fn columns(&self, table: &Table) -> Result<Vec<Column>, Error> {
        let path = format!("EntityDefinitions(LogicalName='{}')/Attributes", table.logical_name);
        self.whole_list(&path, "$select=LogicalName,AttributeType").await
    }

    /// Reads the primary key of one row, if there is one: only whether that is allowed counts.
    pub async fn can_read(&self, set: &str, table: &Table) -> Result<(), Error> {
        let query = format!("$select={}&$top=1", table.primary_id_attribute);
        self.look_at::<serde::de::IgnoredAny>(set, Some(&query)).await.map(drop)
    }
}
