//! What one look at a table's metadata tells: its type, its columns, which of them may be hidden, and how its lookups are written.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/query-metadata-web-api>

use std::collections::HashMap;

use uuid::Uuid;

/// A table's type and columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMetadata {
    /// `Standard`, `Elastic`, `Virtual` and others.
    pub table_type: Option<String>,
    /// By logical name; for a secured column its id, under which privileges are granted.
    columns: HashMap<String, Option<Uuid>>,
    lookups: Vec<NavigationProperty>,
}

/// One way to write a lookup: a column that can point at several tables has a navigation property for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NavigationProperty {
    /// Its name, which is case-sensitive.
    pub name: String,
    /// The logical name of its column.
    pub column: String,
    /// The logical name of the table that it points at.
    pub table: String,
}

impl TableMetadata {
    /// `columns` are logical names, each with its metadata id if column security applies to it.
    pub fn new(table_type: Option<String>, columns: impl IntoIterator<Item = (String, Option<Uuid>)>) -> Self {
        Self { table_type, columns: columns.into_iter().collect(), lookups: Vec::new() }
    }

    /// The same table with these lookups.
    #[must_use]
    pub fn with_lookups(self, lookups: Vec<NavigationProperty>) -> Self {
        Self { lookups, ..self }
    }

    /// Whether it was read: a service that offers no metadata shows no columns.
    pub(crate) fn is_offered(&self) -> bool {
        !self.columns.is_empty()
    }

    /// The logical names of the columns.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    /// The ways to write its lookups.
    pub(crate) fn lookups(&self) -> &[NavigationProperty] {
        &self.lookups
    }

    /// Whether the data lies outside Dataverse. Rows of such a table have no ETags.
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/virtual-entities/get-started-ve>
    pub(crate) fn is_virtual(&self) -> bool {
        self.table_type.as_deref() == Some("Virtual")
    }

    /// The ids of those `columns` whose values column security may hide; `None` if one does not exist.
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/field-security-entities>
    pub fn secured(&self, columns: &[String]) -> Option<Vec<Uuid>> {
        let found: Option<Vec<_>> = columns.iter().map(|column| self.columns.get(column).copied()).collect();
        found.map(|ids| ids.into_iter().flatten().collect())
    }
}
