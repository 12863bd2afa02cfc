//! The rows of every table and the indexes over their unique columns.
//!
//! It rejects a row that has the same unique value as another one, including rows in the recycle bin. It validates
//! nothing else: values are already in stored form. Invariant: an index contains exactly the rows in which all its
//! columns have a value. See
//! <https://learn.microsoft.com/power-apps/developer/data-platform/define-alternate-keys-entity> and
//! <https://learn.microsoft.com/power-apps/developer/data-platform/restore-deleted-records>.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::errors::Error;
use super::key::Address;
use super::table::Table;

/// How the values of text columns are compared in keys. The service's behaviour is not documented; its databases
/// compare like [`Collation::Insensitive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Collation {
    /// Ignoring case and trailing blanks.
    #[default]
    Insensitive,
    /// Exactly.
    Exact,
}

/// One row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) values: Map<String, Value>,
    /// Increases with every write in the whole store.
    pub(super) version: u64,
    /// In the recycle bin: invisible, but its unique values are taken.
    pub(super) recycled: bool,
}

impl Row {
    /// `W/"…"`, as in `@odata.etag` and `ETag`.
    pub(super) fn etag(&self) -> String {
        format!("W/\"{}\"", self.version)
    }
}

/// Why a row could not be stored: another row already has the values of these unique columns.
#[derive(Debug, Clone)]
pub(super) struct Collision {
    pub(super) columns: Vec<String>,
    /// Their values.
    pub(super) values: Vec<Value>,
    /// Whether the columns are a key (primary or alternate) rather than only a constraint.
    pub(super) is_key: bool,
    /// Whether the other row is in the recycle bin.
    pub(super) recycled: bool,
}

/// All tables.
#[derive(Debug, Default)]
pub(super) struct Store {
    shelves: BTreeMap<String, TableRows>,
    version: u64,
    collation: Collation,
}

/// One table with its rows.
#[derive(Debug)]
pub(super) struct TableRows {
    pub(super) table: Arc<Table>,
    rows: HashMap<Uuid, Row>,
    /// One per entry of `table.uniques`.
    indexes: Vec<HashMap<String, Uuid>>,
    collation: Collation,
}

impl Store {
    pub(super) fn new(collation: Collation) -> Self {
        Self { collation, ..Self::default() }
    }

    /// Adds an empty table; an existing one is replaced.
    pub(super) fn define(&mut self, table: Table) {
        let indexes = vec![HashMap::new(); table.uniques.len()];
        let set = table.set.clone();
        let empty = TableRows { table: Arc::new(table), rows: HashMap::new(), indexes, collation: self.collation };
        self.shelves.insert(set, empty);
    }

    /// Changes a table's definition; its rows stay as they are.
    pub(super) fn change_table(&mut self, set: &str, change: impl FnOnce(&mut Table)) {
        let table_rows = self.shelves.get_mut(set).expect("the table is defined");
        change(Arc::make_mut(&mut table_rows.table));
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.shelves.values().map(|table_rows| &table_rows.table)
    }

    /// The table of this entity set; the name is case-sensitive.
    pub(super) fn table_rows(&self, set: &str) -> Result<&TableRows, Error> {
        self.shelves.get(set).ok_or_else(|| Error::no_segment(set))
    }

    /// Adds the row or replaces the one with its id, with a new version.
    pub(super) fn put(&mut self, set: &str, mut row: Row) -> Result<(), Collision> {
        let place = self.shelves.get_mut(set).expect("callers hold a table of this store");
        place.check(&row)?;
        self.version += 1;
        row.version = self.version;
        place.replace(row.id, Some(row));
        Ok(())
    }

    /// Restores the row to an earlier state (`Some`) or removes it (`None`), without a new version.
    pub(super) fn restore(&mut self, set: &str, id: Uuid, row: Option<Row>) {
        self.shelves.get_mut(set).expect("callers hold a table of this store").replace(id, row);
    }

    /// Moves a live row into the recycle bin.
    pub(super) fn recycle(&mut self, set: &str, id: Uuid) -> bool {
        let row = self.shelves.get_mut(set).and_then(|table_rows| table_rows.rows.get_mut(&id));
        row.map(|row| row.recycled = true).is_some()
    }
}

impl TableRows {
    /// The live row with this id.
    pub(super) fn get(&self, id: Uuid) -> Option<&Row> {
        self.rows.get(&id).filter(|row| !row.recycled)
    }

    /// The live row at this address.
    pub(super) fn find(&self, address: &Address) -> Option<&Row> {
        match address {
            Address::Id(id) => self.get(*id),
            Address::Key { unique, values } => {
                let columns = &self.table.uniques[*unique].columns;
                let mark = fingerprint(columns, |column| values.get(column), self.collation)?;
                self.get(*self.indexes[*unique].get(&mark)?)
            }
        }
    }

    /// Every live row, unordered.
    pub(super) fn live(&self) -> impl Iterator<Item = &Row> {
        self.rows.values().filter(|row| !row.recycled)
    }

    /// A text that is identical for all spellings of one address; for comparing journal entries.
    pub(super) fn identity(&self, address: &Address) -> String {
        match address {
            Address::Id(id) => id.to_string(),
            Address::Key { unique, values } => {
                let columns = &self.table.uniques[*unique].columns;
                fingerprint(columns, |column| values.get(column), self.collation).unwrap_or_default()
            }
        }
    }

    /// Whether a stored value equals a requested one.
    pub(super) fn same(&self, kept: &Value, asked: &Value) -> bool {
        folded(kept, self.collation) == folded(asked, self.collation)
    }

    fn check(&self, row: &Row) -> Result<(), Collision> {
        for (unique, index) in self.table.uniques.iter().zip(&self.indexes) {
            let mark = fingerprint(&unique.columns, |column| row.values.get(column), self.collation);
            let Some(other) = mark.and_then(|mark| index.get(&mark)).filter(|other| **other != row.id) else {
                continue;
            };
            let recycled = self.rows.get(other).is_some_and(|row| row.recycled);
            let values = unique.columns.iter().filter_map(|column| row.values.get(column).cloned()).collect();
            return Err(Collision { columns: unique.columns.clone(), values, is_key: unique.is_key, recycled });
        }
        Ok(())
    }

    /// The collision with the live or recycled row that already has this id.
    pub(super) fn taken(&self, id: Uuid) -> Option<Collision> {
        let columns = vec![self.table.primary_key.clone()];
        let values = vec![id.to_string().into()];
        self.rows.get(&id).map(|row| Collision { columns, values, is_key: true, recycled: row.recycled })
    }

    fn replace(&mut self, id: Uuid, row: Option<Row>) {
        let old = self.rows.remove(&id);
        for (unique, index) in self.table.uniques.iter().zip(&mut self.indexes) {
            let mark = |row: &Row| fingerprint(&unique.columns, |column| row.values.get(column), self.collation);
            if let Some(gone) = old.as_ref().and_then(mark) {
                index.remove(&gone);
            }
            if let Some(mark) = row.as_ref().and_then(mark) {
                index.insert(mark, id);
            }
        }
        if let Some(row) = row {
            self.rows.insert(id, row);
        }
    }
}

/// One text for the values of `columns`; `None` if one of them is missing, because such a row is in no index.
fn fingerprint<'a>(
    columns: &[String],
    value: impl Fn(&str) -> Option<&'a Value>,
    collation: Collation,
) -> Option<String> {
    let mut mark = String::new();
    for column in columns {
        let part = folded(value(column).filter(|value| !value.is_null())?, collation);
        // The length distinguishes ("a", "bc") from ("ab", "c").
        write!(mark, "{}:{part}", part.len()).expect("writing to a String cannot fail");
    }
    Some(mark)
}

fn folded(value: &Value, collation: Collation) -> String {
    match (value, collation) {
        (Value::String(text), Collation::Exact) => text.clone(),
        (Value::String(text), Collation::Insensitive) => text.trim_end_matches(' ').to_lowercase(),
        (other, _) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::samples;
    use super::*;

    fn store(collation: Collation) -> Store {
        let mut store = Store::new(collation);
        for table in samples::tables() {
            store.define(table);
        }
        store
    }

    fn contact(values: &Value) -> Row {
        let values = values.as_object().expect("an object").clone();
        Row { id: Uuid::new_v4(), values, version: 0, recycled: false }
    }

    #[test]
    fn keys_ignore_case_and_trailing_blanks_by_default() {
        let mut loose = store(Collation::Insensitive);
        loose.put("contacts", contact(&json!({ "employeeid": "ab" }))).expect("the first");
        assert!(loose.put("contacts", contact(&json!({ "employeeid": "AB " }))).is_err());
        let mut exact = store(Collation::Exact);
        exact.put("contacts", contact(&json!({ "employeeid": "ab" }))).expect("the first");
        assert!(exact.put("contacts", contact(&json!({ "employeeid": "AB " }))).is_ok());
    }

    #[test]
    fn a_recycled_row_is_not_found_and_still_collides() {
        let mut store = store(Collation::Insensitive);
        let row = contact(&json!({ "employeeid": "1" }));
        let id = row.id;
        store.put("contacts", row).expect("the first");
        assert!(store.recycle("contacts", id));
        assert!(store.table_rows("contacts").expect("defined").get(id).is_none());
        let collision = store.put("contacts", contact(&json!({ "employeeid": "1" }))).expect_err("taken");
        assert!(collision.recycled);
    }

    #[test]
    fn rows_without_a_key_value_do_not_collide_and_a_moved_key_is_free_again() {
        let mut store = store(Collation::Insensitive);
        store.put("contacts", contact(&json!({ "lastname": "a" }))).expect("no key");
        store.put("contacts", contact(&json!({ "lastname": "a", "employeeid": null }))).expect("no key");
        let mut row = contact(&json!({ "employeeid": "1" }));
        store.put("contacts", row.clone()).expect("the first");
        row.values.insert("employeeid".to_owned(), json!("2"));
        store.put("contacts", row).expect("the same row");
        store.put("contacts", contact(&json!({ "employeeid": "1" }))).expect("free again");
    }
}
