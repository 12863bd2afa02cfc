//! The initial tables of every stand-in: contacts, accounts and a custom table of orders.
//!
//! The columns are a small part of the real tables, enough for each kind of value:
//! <https://learn.microsoft.com/power-apps/developer/data-platform/reference/entities/contact>,
//! <https://learn.microsoft.com/power-apps/developer/data-platform/reference/entities/account>.

use super::table::{Kind, Table};

/// The column for the source's version in each of the tables.
const VERSION: &str = "new_sourceversion";

/// Version columns of two sources of their own.
const VERSIONS_OF_SOURCES: [&str; 2] = ["new_hrversion", "new_orgversion"];

/// All sample tables.
pub(super) fn tables() -> [Table; 3] {
    [contacts(), accounts(), orders()]
}

fn contacts() -> Table {
    Table::new("contacts", "contact", "contactid")
        .text("employeeid", 50)
        .text("emailaddress1", 100)
        .text("firstname", 50)
        .text("lastname", 50)
        .text("jobtitle", 100)
        .text("telephone1", 50)
        .text("description", 2_000)
        .column("birthdate", Kind::DateOnly)
        .column("creditlimit", Kind::Money { precision: 2 })
        .column("numberofchildren", Kind::Integer { min: 0, max: 1_000_000_000 })
        .column("donotemail", Kind::Boolean)
        .column("familystatuscode", Kind::Choice(vec![1, 2, 3, 4]))
        .column("new_topics", Kind::MultiChoice((1..=9).collect()))
        .column("new_score", Kind::Decimal { precision: 4 })
        .column("lastonholdtime", Kind::DateTime)
        .column("address1_latitude", Kind::Double { precision: 5 })
        .column("new_externalid", Kind::Guid)
        .column(VERSION, Kind::BigInteger)
        .column(VERSIONS_OF_SOURCES[0], Kind::BigInteger)
        .column(VERSIONS_OF_SOURCES[1], Kind::BigInteger)
        .lookup("parentcustomerid_account", "_parentcustomerid_value", "accounts")
        .lookup("parentcustomerid_contact", "_parentcustomerid_value", "contacts")
        .key(&["employeeid"])
        .key(&["emailaddress1"])
        .states()
        .optimistic_concurrency()
}

fn accounts() -> Table {
    Table::new("accounts", "account", "accountid")
        .text("accountnumber", 20)
        .text("name", 160)
        .column("revenue", Kind::Money { precision: 2 })
        .column(VERSION, Kind::BigInteger)
        .lookup("primarycontactid", "_primarycontactid_value", "contacts")
        .key(&["accountnumber"])
        .states()
        .optimistic_concurrency()
}

fn orders() -> Table {
    Table::new("new_orders", "new_order", "new_orderid")
        .text("new_name", 100)
        .text("new_region", 20)
        .text("new_reference", 50)
        .column("new_number", Kind::Integer { min: 0, max: i32::MAX })
        .column("new_amount", Kind::Money { precision: 2 })
        .column("new_day", Kind::DateOnly)
        .column(VERSION, Kind::BigInteger)
        .lookup("new_accountid", "_new_accountid_value", "accounts")
        .key(&["new_number", "new_region"])
        .key(&["_new_accountid_value", "new_reference"])
        .states()
        .optimistic_concurrency()
}
