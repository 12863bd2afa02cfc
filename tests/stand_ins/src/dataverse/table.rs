//! The definition of a table: names, columns, keys and lookups. Plain data.
//!
//! Inconsistent definitions (such as a key over a column that does not exist) panic, because they are errors in a test.
//! Mirrors <https://learn.microsoft.com/power-apps/developer/data-platform/entity-metadata> and
//! <https://learn.microsoft.com/power-apps/developer/data-platform/define-alternate-keys-entity>.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::values;

/// The annotation with the logical name of the table that a lookup points to.
pub(super) const LOOKUP_TABLE: &str = "Microsoft.Dynamics.CRM.lookuplogicalname";

/// The user or team that owns a row.
pub(super) const OWNER: &str = "_ownerid_value";

/// When a row was created.
pub(super) const CREATED_ON: &str = "createdon";
/// The user who created it, the impersonated one if there is one.
pub(super) const CREATED_BY: &str = "_createdby_value";
/// The user who impersonated that user.
pub(super) const CREATED_ON_BEHALF_BY: &str = "_createdonbehalfby_value";

/// The kind of a column: which values it accepts and how it stores them.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Text of at most `max` UTF-16 units.
    Text {
        /// The longest value, in UTF-16 units.
        max: usize,
    },
    /// A 32-bit integer within these bounds.
    Integer {
        /// The minimum.
        min: i32,
        /// The maximum.
        max: i32,
    },
    /// A 64-bit integer.
    BigInteger,
    /// A number with `precision` decimal places, between -100 and +100 billion.
    Decimal {
        /// Decimal places.
        precision: u8,
    },
    /// Money with `precision` decimal places.
    Money {
        /// Decimal places.
        precision: u8,
    },
    /// A floating-point number with `precision` decimal places.
    Double {
        /// Decimal places.
        precision: u8,
    },
    /// Yes or no.
    Boolean,
    /// A point in time, stored in UTC and whole seconds.
    DateTime,
    /// A date.
    DateOnly,
    /// One of these values.
    Choice(Vec<i64>),
    /// Any of these values, sent as text: `"1,9"`.
    MultiChoice(Vec<i64>),
    /// A GUID.
    Guid,
    /// The id of a row that a lookup points to; can only be written with `@odata.bind`.
    Lookup,
    /// `statecode`.
    State,
    /// `statuscode`.
    Status,
}

impl Kind {
    /// The stored form of `value` in a column of this kind; `None` if it is invalid.
    pub fn keeps(&self, value: &Value) -> Option<Value> {
        values::accept(&Table::new("things", "thing", "thingid"), "value", self, value).ok()
    }
}

/// A navigation property that writes a lookup column.
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    pub(super) navigation: String,
    pub(super) column: String,
    pub(super) target_set: String,
}

/// Columns whose combined values are unique.
#[derive(Debug, Clone)]
pub(super) struct Unique {
    pub(super) columns: Vec<String>,
    /// Whether rows can be addressed by it; otherwise it is only a constraint.
    pub(super) is_key: bool,
}

/// The columns of a table's state.
pub(super) const STATE: &str = "statecode";
pub(super) const STATUS: &str = "statuscode";

/// A state, and its statuses; the first of them is its default.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) value: i64,
    pub(super) name: &'static str,
    pub(super) statuses: Vec<i64>,
}

/// A table's definition, built up by chained calls.
#[derive(Debug, Clone)]
pub struct Table {
    pub(super) set: String,
    pub(super) logical_name: String,
    pub(super) primary_key: String,
    pub(super) columns: BTreeMap<String, Kind>,
    pub(super) lookups: Vec<Lookup>,
    pub(super) uniques: Vec<Unique>,
    /// The columns of keys whose index is still being built.
    pub(super) unfinished: Vec<Vec<String>>,
    pub(super) optimistic: bool,
    pub(super) type_name: String,
    /// The first is the state of a new row; empty: rows have no state.
    pub(super) states: Vec<State>,
    /// Columns that are not valid for create or update: values sent for them are ignored.
    pub(super) read_only: BTreeSet<String>,
    pub(super) secured: BTreeSet<String>,
    /// The secured columns whose values our user may not read.
    pub(super) hidden: BTreeSet<String>,
}

impl Table {
    /// A table with only its primary key and the columns that every table has: `Table::new("contacts", "contact", "contactid")`.
    pub fn new(set: &str, logical_name: &str, primary_key: &str) -> Self {
        Self {
            set: set.to_owned(),
            logical_name: logical_name.to_owned(),
            primary_key: primary_key.to_owned(),
            columns: BTreeMap::from([
                (primary_key.to_owned(), Kind::Guid),
                (CREATED_ON.to_owned(), Kind::DateTime),
                (CREATED_BY.to_owned(), Kind::Lookup),
                (CREATED_ON_BEHALF_BY.to_owned(), Kind::Lookup),
            ]),
            lookups: Vec::new(),
            uniques: Vec::new(),
            unfinished: Vec::new(),
            optimistic: false,
            type_name: "Standard".to_owned(),
            states: Vec::new(),
            read_only: BTreeSet::from([CREATED_ON.to_owned()]),
            secured: BTreeSet::new(),
            hidden: BTreeSet::new(),
        }
    }

    /// Adds a column.
    #[must_use]
    pub fn column(mut self, name: &str, kind: Kind) -> Self {
        self.columns.insert(name.to_owned(), kind);
        self
    }

    /// Adds a text column of at most `max` UTF-16 units.
    #[must_use]
    pub fn text(self, name: &str, max: usize) -> Self {
        self.column(name, Kind::Text { max })
    }

    /// Makes an existing column read-only, as calculated columns and rollups are: a value sent for it is ignored.
    #[must_use]
    pub fn read_only(mut self, column: &str) -> Self {
        assert!(self.columns.contains_key(column), "{column} is not a column");
        self.read_only.insert(column.to_owned());
        self
    }

    /// Adds `ownerid`, one navigation property for users and teams: their tables have to be defined.
    #[must_use]
    pub fn owned(self) -> Self {
        let owner = |table: Self, set| table.lookup("ownerid", OWNER, set);
        ["systemusers", "teams"].into_iter().fold(self, owner)
    }

    /// Adds a navigation property that writes `column` (`_…_value`) with rows of `target_set`. Several may share a
    /// column.
    #[must_use]
    pub fn lookup(mut self, navigation: &str, column: &str, target_set: &str) -> Self {
        let lookup =
            Lookup { navigation: navigation.to_owned(), column: column.to_owned(), target_set: target_set.to_owned() };
        self.lookups.push(lookup);
        self.column(column, Kind::Lookup)
    }

    /// Adds an alternate key over existing columns.
    #[must_use]
    pub fn key(self, columns: &[&str]) -> Self {
        self.unique_over(columns, true)
    }

    /// Adds an alternate key whose index is still being built: it is listed, but until it is Active, rows cannot be
    /// addressed by it and are not kept unique.
    #[must_use]
    pub fn key_in_progress(mut self, columns: &[&str]) -> Self {
        self.unfinished.push(self.existing(columns));
        self
    }

    /// Adds a unique constraint that is not a key.
    #[must_use]
    pub fn unique(self, columns: &[&str]) -> Self {
        self.unique_over(columns, false)
    }

    /// Enables optimistic concurrency: `If-Match` with an etag is checked rather than rejected.
    #[must_use]
    pub fn optimistic_concurrency(mut self) -> Self {
        self.optimistic = true;
        self
    }

    /// Adds `statecode` and `statuscode` with the states Active (statuses 1 and 3) and Inactive (2 and 4).
    #[must_use]
    pub fn states(mut self) -> Self {
        let state = |value, name, statuses: [i64; 2]| State { value, name, statuses: statuses.to_vec() };
        self.states = vec![state(0, "Active", [1, 3]), state(1, "Inactive", [2, 4])];
        self.column(STATE, Kind::State).column(STATUS, Kind::Status)
    }

    /// Applies column security to an existing column. Its values may be written, but not read until
    /// [`Dataverse::grant_read`](super::Dataverse::grant_read).
    #[must_use]
    pub fn secured(mut self, column: &str) -> Self {
        assert!(self.columns.contains_key(column), "{column} is not a column");
        self.secured.insert(column.to_owned());
        self.hidden.insert(column.to_owned());
        self
    }

    /// Sets the type, such as `Elastic`. Rows of a `Virtual` table have no ETag.
    #[must_use]
    pub fn table_type(mut self, table_type: &str) -> Self {
        table_type.clone_into(&mut self.type_name);
        self
    }

    /// Whether its rows have ETags.
    pub(super) fn has_etags(&self) -> bool {
        self.type_name != "Virtual"
    }

    /// The state that has this status.
    pub(super) fn state_of(&self, status: i64) -> Option<&State> {
        self.states.iter().find(|state| state.statuses.contains(&status))
    }

    /// The annotation of a lookup column with the table that it points to.
    pub(super) fn lookup_table(column: &str) -> String {
        format!("{column}@{LOOKUP_TABLE}")
    }

    /// The navigation properties that write a lookup column.
    pub(super) fn lookups_of(&self, column: &str) -> impl Iterator<Item = &Lookup> {
        self.lookups.iter().filter(move |lookup| lookup.column == column)
    }

    pub(super) fn navigation(&self, name: &str) -> Option<&Lookup> {
        self.lookups.iter().find(|lookup| lookup.navigation == name)
    }

    fn unique_over(mut self, columns: &[&str], is_key: bool) -> Self {
        self.uniques.push(Unique { columns: self.existing(columns), is_key });
        self
    }

    fn existing(&self, columns: &[&str]) -> Vec<String> {
        let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
        assert!(columns.iter().all(|name| self.columns.contains_key(name)), "{columns:?} are not all columns");
        columns
    }
}
