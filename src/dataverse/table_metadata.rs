//! What one look at a table's metadata tells: its type, its columns, and which of them may be hidden.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/query-metadata-web-api>

use std::collections::HashMap;

/// A table's type and columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMetadata {
    /// `Standard`, `Elastic`, `Virtual` and others.
    pub table_type: Option<String>,
    /// By logical name, whether the column is secured.
    columns: HashMap<String, bool>,
}

impl TableMetadata {
    /// `columns` are logical names, each with whether the column is secured.
    pub fn new(table_type: Option<String>, columns: impl IntoIterator<Item = (String, bool)>) -> Self {
        Self { table_type, columns: columns.into_iter().collect() }
    }

    /// Whether the column exists and column security hides none of its values, so that null means null.
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/field-security-entities>
    pub fn is_readable(&self, column: &str) -> bool {
        self.columns.get(column) == Some(&false)
    }
}
