//! The definition of a table, as far as it decides whether two notations are one value. Pure.
//!
//! It refuses to be complete: labels, lengths and ranges are the service's business. Invariants: columns go by their logical
//! names, lookups by their navigation properties, in the service's own case; what is not known is not guessed.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/entity-metadata>

use std::collections::HashMap;

/// What is known of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    logical_name: String,
    primary_key: String,
    columns: HashMap<String, Column>,
    lookups: Vec<Lookup>,
}

/// What is known of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// How its values compare.
    pub kind: Kind,
    /// Whether column security may hide its values: then null is what a reader without the permission sees.
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/field-security-entities>
    pub secured: bool,
}

/// How the values of a column compare when they are not equal as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text, whole numbers, choices, booleans: two notations are two values.
    Plain,
    /// A decimal or an amount of money, rounded to so many places when they are known.
    Decimal(Option<u8>),
    /// A floating-point number, rounded to so many places when they are known.
    Double(Option<u8>),
    /// A moment, kept in UTC and whole seconds.
    Instant,
    /// Date and time without a zone; what becomes of an offset is not documented.
    ZoneFree,
    /// A set of choices.
    Choices,
    /// A GUID that is no lookup.
    Guid,
    /// Anything else: days, files, images. Only equal notations are known to be equal.
    Opaque,
}

/// A navigation property and the column that it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    navigation: String,
    column: String,
    target: String,
    shared: bool,
}

impl Definition {
    /// A table without columns: `Definition::new("contact", "contactid")`.
    pub fn new(logical_name: impl Into<String>, primary_key: impl Into<String>) -> Self {
        Self {
            logical_name: logical_name.into(),
            primary_key: primary_key.into(),
            columns: HashMap::new(),
            lookups: Vec::new(),
        }
    }

    /// The same with a column.
    #[must_use]
    pub fn with_column(mut self, name: impl Into<String>, kind: Kind, secured: bool) -> Self {
        self.columns.insert(name.into(), Column { kind, secured });
        self
    }

    /// The same with a navigation property that writes `column` with rows of the table whose logical name is `target`.
    #[must_use]
    pub fn with_lookup(
        mut self,
        navigation: impl Into<String>,
        column: impl Into<String>,
        target: impl Into<String>,
    ) -> Self {
        let (navigation, column, target) = (navigation.into(), column.into(), target.into());
        let mut shared = false;
        for other in self.lookups.iter_mut().filter(|other| other.column == column && other.target != target) {
            other.shared = true;
            shared = true;
        }
        self.lookups.push(Lookup { navigation, column, target, shared });
        self
    }

    /// The table's name in the singular, e.g. `contact`.
    pub fn logical_name(&self) -> &str {
        &self.logical_name
    }

    /// The primary key's column, e.g. `contactid`.
    pub fn primary_key(&self) -> &str {
        &self.primary_key
    }

    /// The column of that logical name.
    pub fn column(&self, name: &str) -> Option<Column> {
        self.columns.get(name).copied()
    }

    /// The lookup that a navigation property of exactly that name writes.
    pub fn lookup(&self, navigation: &str) -> Option<&Lookup> {
        self.lookups.iter().find(|lookup| lookup.navigation == navigation)
    }

    /// Whether column security may hide what a lookup holds.
    pub fn hides(&self, lookup: &Lookup) -> bool {
        self.column(&lookup.column).is_none_or(|column| column.secured)
    }
}

impl Lookup {
    /// The property under which the column comes back, e.g. `_parentcustomerid_value`.
    pub fn property(&self) -> String {
        format!("_{}_value", self.column)
    }

    /// The logical name of the table that it points at.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Whether the column can point at rows of another table as well, so that an id alone does not say which row is meant.
    pub fn is_shared(&self) -> bool {
        self.shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_points_at_two_tables_is_shared_by_both_navigation_properties() {
        let contact = Definition::new("contact", "contactid")
            .with_lookup("parentcustomerid_account", "parentcustomerid", "account")
            .with_lookup("ownerid", "ownerid", "owner")
            .with_lookup("parentcustomerid_contact", "parentcustomerid", "contact");
        let shared = |navigation: &str| contact.lookup(navigation).expect("defined").is_shared();
        assert!(shared("parentcustomerid_account") && shared("parentcustomerid_contact"));
        assert!(!shared("ownerid"));
    }

    #[test]
    fn a_navigation_property_is_known_by_its_exact_name_and_its_column_by_its_own() {
        let order =
            Definition::new("new_order", "new_orderid").with_lookup("new_AccountId", "new_accountid", "account");
        assert_eq!(order.lookup("new_AccountId").map(Lookup::property).as_deref(), Some("_new_accountid_value"));
        assert_eq!(order.lookup("new_accountid"), None);
    }

    #[test]
    fn a_lookup_whose_column_is_not_known_may_be_hidden() {
        let order = Definition::new("new_order", "new_orderid")
            .with_lookup("new_a", "new_a", "account")
            .with_lookup("new_b", "new_b", "account")
            .with_column("new_b", Kind::Opaque, false);
        let hides = |navigation: &str| order.hides(order.lookup(navigation).expect("defined"));
        assert_eq!((hides("new_a"), hides("new_b")), (true, false));
    }
}
