//! A table for a reader: its keys, its writable columns with their types, and its lookups.

use super::Dataverse;
use super::table::{CREATED_BY, CREATED_ON, CREATED_ON_BEHALF_BY, Kind, Table};

/// Columns that every table has and the service fills in.
const SYSTEM: [&str; 3] = [CREATED_ON, CREATED_BY, CREATED_ON_BEHALF_BY];

/// A table of the stand-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The entity set, as in URLs.
    pub set: String,
    /// The column of the primary key.
    pub primary_key: String,
    /// The columns of each alternate key.
    pub keys: Vec<Vec<String>>,
    /// Columns and their types.
    pub columns: Vec<(String, String)>,
    /// Navigation properties, each with the entity set that it points to.
    pub lookups: Vec<(String, String)>,
}

impl Dataverse {
    /// All tables, by name.
    pub fn tables(&self) -> Vec<Summary> {
        let mut tables: Vec<_> = self.world.store().tables().map(|table| Summary::of(table)).collect();
        tables.sort_by(|left, right| left.set.cmp(&right.set));
        tables
    }
}

impl Summary {
    /// Sums up a definition.
    pub(super) fn of(table: &Table) -> Self {
        let columns = table.columns.iter().filter(|(name, kind)| {
            !SYSTEM.contains(&name.as_str()) && **name != table.primary_key && **kind != Kind::Lookup
        });
        Self {
            set: table.set.clone(),
            primary_key: table.primary_key.clone(),
            keys: table.uniques.iter().filter(|unique| unique.is_key).map(|unique| unique.columns.clone()).collect(),
            columns: columns.map(|(name, kind)| (name.clone(), type_of(kind))).collect(),
            lookups: table
                .lookups
                .iter()
                .map(|lookup| (lookup.navigation.clone(), lookup.target_set.clone()))
                .collect(),
        }
    }
}

fn type_of(kind: &Kind) -> String {
    let among = |values: &[i64]| values.iter().map(i64::to_string).collect::<Vec<_>>().join("|");
    match kind {
        Kind::Text { max } => format!("text {max}"),
        Kind::Integer { .. } => "integer".to_owned(),
        Kind::BigInteger => "big integer".to_owned(),
        Kind::Decimal { precision } => format!("decimal .{precision}"),
        Kind::Money { precision } => format!("money .{precision}"),
        Kind::Double { precision } => format!("float .{precision}"),
        Kind::Boolean => "true|false".to_owned(),
        Kind::DateTime => "time".to_owned(),
        Kind::DateOnly => "date".to_owned(),
        Kind::Choice(values) => among(values),
        Kind::MultiChoice(values) => format!("some of {}", among(values)),
        Kind::Guid => "GUID".to_owned(),
        Kind::Lookup => "lookup".to_owned(),
        Kind::State => "state".to_owned(),
        Kind::Status => "status".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_keys_the_writable_columns_and_the_lookups() {
        let table = Table::new("things", "thing", "thingid")
            .text("name", 50)
            .column("size", Kind::Choice(vec![1, 2]))
            .lookup("parent", "_parent_value", "accounts")
            .key(&["name", "_parent_value"])
            .unique(&["size"]);
        let pair = |(left, right): (&str, &str)| (left.to_owned(), right.to_owned());
        let expected = Summary {
            set: "things".to_owned(),
            primary_key: "thingid".to_owned(),
            keys: vec![vec!["name".to_owned(), "_parent_value".to_owned()]],
            columns: [("name", "text 50"), ("size", "1|2")].map(pair).to_vec(),
            lookups: [("parent", "accounts")].map(pair).to_vec(),
        };
        assert_eq!(Summary::of(&table), expected);
    }
}
