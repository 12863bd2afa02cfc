//! The identity and Dataverse: a token, `WhoAmI`, and a table with its key and its version column.
//!
//! <https://learn.microsoft.com/power-platform/admin/manage-application-users>

use std::collections::HashSet;

use uuid::Uuid;

use super::arguments::Arguments;
use super::report::{CheckResult, Failed, Report, after, wrong};
use super::token;
use crate::dataverse::Error;
use crate::dataverse::client::metadata::{Column, Key, Table};
use crate::dataverse::client::{Client, Environment};
use crate::identity::Identity;

/// The caller is not a user of the organisation.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/reference/web-service-error-codes>
const NOT_A_MEMBER: u32 = 0x8007_2560;

/// The types of columns that can hold a version: a whole number, or a time.
const VERSION_TYPES: [&str; 4] = ["BigInt", "Integer", "Decimal", "DateTime"];

const READ_USERS: &str = "give the application user a security role that may read users: only so it learns which secured \
                          columns it may read";

const APPLICATION_USER: &str = "in the Power Platform admin center, under the environment's Settings, Application users: add the \
                                app by its client id, and give it a security role for your tables";

const WITHOUT_BATCHES: &str =
    "let POST to $batch pass, or set SYNC_BATCH to off: without batches light tables take about 20 records a second";

/// Requests a token for Dataverse, and reads from it whom it is for. Without one, each source of the credential is a finding.
pub(super) async fn token(
    identity: &Identity,
    credential: &str,
    environment: &Environment,
    report: &mut Report,
) -> Result<(), Failed> {
    const CHECK: &str = "token";
    let error = match identity.token(&environment.scope()).await {
        Ok(token) => {
            report.add(CHECK, Ok(Ok(format!("{credential}: {}", token::identity(token.token.secret())))));
            return Ok(());
        }
        Err(error) => error,
    };
    for (found, remedy) in token::problems(credential, &error) {
        report.add(CHECK, Ok(wrong(found, remedy)));
    }
    Err(CHECK)
}

/// Checks the caller and, if one is named, a table with what records need of it. `client` is the name of a failed check where
/// there is none.
pub(super) async fn check(
    arguments: &Arguments,
    version_column: Option<&str>,
    batches: bool,
    client: Result<(&Client, &Environment), Failed>,
    report: &mut Report,
) {
    let caller = after(client, async |(client, environment)| who_am_i(client, environment).await).await;
    let caller = report.keep("who_am_i", caller, String::clone);
    let client = caller.and(client).map(|(client, _)| client);
    if batches {
        match client.map(Client::try_batch) {
            Ok(tried) => match tried.await {
                Ok(()) => report.add("batch", Ok(Ok("records that wait together are sent as one request".to_owned()))),
                Err(error) => report.warn("batch", failed(&error, APPLICATION_USER).0, WITHOUT_BATCHES),
            },
            Err(failed) => report.add("batch", Err(failed)),
        }
    }
    let Some(set) = arguments.table.as_deref() else { return };
    let table = after(client, async |client| table(client, set).await).await;
    let table = report.keep("table", table, |table| describe(set, table));
    if table.as_ref().is_ok_and(|table| table.kind.as_deref() == Some("Elastic")) {
        // <https://learn.microsoft.com/power-apps/developer/data-platform/use-elastic-tables#upsert-a-record-in-an-elastic-table>
        let found = format!("{set} is an elastic table, in which an upsert replaces the whole row");
        report.warn(
            "table",
            found,
            "send every column of the row each time, or update rows that exist: \"operation\":\"update\"",
        );
    }
    let found = client.and_then(|client| Ok((client, table.as_ref().map_err(|failed| *failed)?)));
    if !arguments.key.is_empty() {
        let key = async |(client, table): (&Client, &Table)| {
            let keys = client.keys(table).await.map_err(|error| failed(&error, APPLICATION_USER));
            keys.and_then(|keys| judge_key(&keys, &arguments.key))
        };
        report.add("alternate_key", after(found, key).await);
    }
    if let Some(column) = version_column {
        let version = async |(client, table): (&Client, &Table)| {
            let columns = client.columns(table).await.map_err(|error| failed(&error, APPLICATION_USER))?;
            let column = judge_version(table, &columns, column)?;
            let readable = if column.is_secured() {
                Some(client.readable_columns().await.map_err(|error| failed(&error, READ_USERS))?)
            } else {
                None
            };
            judge_security(column, readable.as_ref())
        };
        report.add("version_column", after(found, version).await);
    }
    report.add("read", after(found, async |(client, table)| read(client, set, table).await).await);
}

async fn who_am_i(client: &Client, environment: &Environment) -> CheckResult {
    let caller = client.who_am_i().await.map_err(|error| failed(&error, APPLICATION_USER))?;
    let (user, organisation, version) = (caller.user_id, caller.organization_id, &environment.api_version);
    Ok(format!("user {user} of the organisation {organisation}, Web API {version}"))
}

async fn table(client: &Client, set: &str) -> Result<Table, (String, String)> {
    let remedy = "use the entity set name: plural, lower case, as in the Web API's addresses, such as contacts";
    match client.table(set).await {
        Ok(Some(table)) => Ok(table),
        Ok(None) => wrong(format!("there is no entity set {set}"), remedy),
        Err(error) => Err(failed(&error, APPLICATION_USER)),
    }
}

fn describe(set: &str, table: &Table) -> String {
    let text = format!("{set} is the table {}", table.logical_name);
    match table.kind.as_deref() {
        None | Some("Standard") => text,
        Some(kind) => format!("{text} ({kind})"),
    }
}

async fn read(client: &Client, set: &str, table: &Table) -> CheckResult {
    let role = format!(
        "give the application user a security role that may read {} (and create, write, append)",
        table.logical_name
    );
    client.can_read(set, table).await.map_err(|error| failed(&error, &role))?;
    Ok(format!("rows of {set} may be read"))
}

/// Whether one of these keys has these columns, and rows are found by it.
pub(crate) fn judge_key(keys: &[Key], columns: &[String]) -> CheckResult {
    let sorted = |columns: &[String]| {
        let mut names: Vec<String> = columns.iter().map(|name| logical_name(name).to_owned()).collect();
        names.sort();
        names
    };
    let wanted = columns.join(", ");
    let Some(key) = keys.iter().find(|key| sorted(&key.key_attributes) == sorted(columns)) else {
        let others: Vec<_> = keys.iter().map(|key| key.key_attributes.join(", ")).collect();
        let others =
            if others.is_empty() { "it has none".to_owned() } else { format!("it has ({})", others.join("), (")) };
        return wrong(
            format!("the table has no alternate key of {wanted}; {others}"),
            "in Power Apps, under the table's Keys: add it, and wait until its index is Active",
        );
    };
    match key.entity_key_index_status.as_deref() {
        Some("Active") => Ok(format!("{wanted}, its index is Active")),
        status => wrong(
            format!(
                "{wanted} is a key whose index is {}, so rows are not found by it",
                status.unwrap_or("in an unknown state")
            ),
            "wait until its index is Active; if it Failed, two rows have the same values: correct them, then activate the key again",
        ),
    }
}

/// A lookup's own name: `_primarycontactid_value` is how records and the Web API write `primarycontactid`.
fn logical_name(column: &str) -> &str {
    column.strip_prefix('_').and_then(|name| name.strip_suffix("_value")).unwrap_or(column)
}

/// The version column, if the table can keep versions in it.
fn judge_version<'a>(table: &Table, columns: &'a [Column], name: &str) -> Result<&'a Column, (String, String)> {
    let remedy = || {
        format!("add a column of whole numbers (big) to {}, or name another in SYNC_VERSION_COLUMN", table.logical_name)
    };
    let Some(column) = columns.iter().find(|column| column.logical_name == name) else {
        return wrong(format!("{} has no column {name} (SYNC_VERSION_COLUMN)", table.logical_name), remedy());
    };
    let kind = column.kind();
    if !VERSION_TYPES.contains(&kind) {
        return wrong(format!("{name} is {kind}, which holds neither a whole number nor a time"), remedy());
    }
    if table.kind.as_deref() == Some("Virtual") {
        return wrong(
            format!(
                "{} is a virtual table, whose rows have no ETags, so versions cannot be compared",
                table.logical_name
            ),
            "send records of this table without a version",
        );
    }
    if !table.is_optimistic_concurrency_enabled {
        return wrong(
            format!("{} has no optimistic concurrency, so versions cannot be compared safely", table.logical_name),
            "enable it for the table, or send records without a version",
        );
    }
    Ok(column)
}

/// `readable` are the secured columns that we may read, where this column is secured.
fn judge_security(column: &Column, readable: Option<&HashSet<Uuid>>) -> CheckResult {
    let (name, kind) = (&column.logical_name, column.kind());
    match readable {
        None => Ok(format!("{name} is {kind}")),
        Some(readable) if column.id().is_some_and(|id| readable.contains(&id)) => {
            Ok(format!("{name} is {kind}, secured, and our user may read it"))
        }
        Some(_) => wrong(
            format!("{name} is secured, and our user may not read it, so versions cannot be compared"),
            format!("give the application user a column security profile that may read, create and update {name}"),
        ),
    }
}

/// The finding about a request that failed; `permission` is the remedy for 403.
fn failed(error: &Error, permission: &str) -> (String, String) {
    let message = match error {
        Error::Answered { message: Some(message), .. } => format!(": {message}"),
        _ => String::new(),
    };
    let remedy = match error {
        Error::Answered { code: Some(NOT_A_MEMBER), .. } => APPLICATION_USER,
        Error::Answered { status: 401, .. } => "check that DATAVERSE_URL is an environment of the identity's tenant",
        Error::Answered { status: 403, .. } => permission,
        Error::Answered { status: 404, .. } => {
            "check that DATAVERSE_URL is an environment's address, and DATAVERSE_API_VERSION v9.2"
        }
        Error::Answered { .. } => {
            "try again later; if it persists, contact Microsoft support with the time of this request"
        }
        Error::NoAnswer { .. } => "check the name in DATAVERSE_URL, and that no firewall or proxy blocks it",
        Error::NoToken { .. } => "run this again: the token was good a moment ago",
        Error::NotAddressable { .. } | Error::Ambiguous | Error::Withheld => "report this as a bug",
    };
    (format!("{error}{message}"), remedy.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "11111111-2222-4333-8444-555555555555";

    fn key(columns: &[&str], status: Option<&str>) -> Key {
        let key_attributes = columns.iter().map(|&name| name.to_owned()).collect();
        Key { key_attributes, entity_key_index_status: status.map(str::to_owned) }
    }

    fn columns(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_key_is_good_when_it_is_over_these_columns_in_any_order_and_its_index_is_active() {
        let keys = [
            key(&["employeeid"], Some("Active")),
            key(&["new_number", "new_region"], Some("InProgress")),
            key(&["new_accountid", "new_reference"], Some("Active")),
            key(&["emailaddress1"], None),
        ];
        for (names, word) in [
            (&["employeeid"][..], None),
            (&["new_reference", "_new_accountid_value"], None),
            (&["new_region", "new_number"], Some("InProgress")),
            (&["emailaddress1"], Some("unknown")),
            (&["new_number"], Some("no alternate key of new_number; it has (employeeid), (new_number, new_region)")),
        ] {
            let result = judge_key(&keys, &columns(names));
            let wrong = result.as_ref().err().map(|(found, _)| found.as_str());
            assert_eq!(result.is_ok(), word.is_none(), "{names:?}: {result:?}");
            assert!(wrong.unwrap_or_default().contains(word.unwrap_or_default()), "{names:?}: {result:?}");
        }
        let (found, _) = judge_key(&[], &columns(&["a"])).expect_err("there is none");
        assert!(found.contains("it has none"), "{found}");
    }

    fn column(name: &str, kind: &str) -> Column {
        Column {
            metadata_id: ID.to_owned(),
            logical_name: name.to_owned(),
            attribute_type: Some(kind.to_owned()),
            is_secured: Some(false),
        }
    }

    #[test]
    fn a_version_column_exists_holds_versions_and_its_table_has_etags() {
        let table = |optimistic, kind: &str| Table {
            logical_name: "contact".to_owned(),
            primary_id_attribute: "contactid".to_owned(),
            is_optimistic_concurrency_enabled: optimistic,
            kind: Some(kind.to_owned()),
        };
        let columns = [column("v", "BigInt"), column("at", "DateTime"), column("name", "String")];
        for name in ["v", "at"] {
            assert_eq!(judge_version(&table(true, "Standard"), &columns, name).expect(name).logical_name, name);
        }
        for (optimistic, kind, name, word) in [
            (true, "Standard", "w", "no column w"),
            (true, "Standard", "name", "String"),
            (false, "Standard", "v", "optimistic concurrency"),
            (true, "Virtual", "v", "virtual table"),
        ] {
            let (found, _) = judge_version(&table(optimistic, kind), &columns, name).expect_err(name);
            assert!(found.contains(word), "{found}");
        }
        let described = ["Standard", "Virtual", "Elastic"].map(|kind| describe("contacts", &table(true, kind)));
        let endings = ["the table contact", "contact (Virtual)", "contact (Elastic)"];
        for (found, ending) in described.iter().zip(endings) {
            assert!(found.ends_with(ending), "{found}");
        }
    }

    #[test]
    fn a_secured_version_column_has_to_be_readable() {
        let (column, id) = (column("v", "BigInt"), ID.parse().expect("a GUID"));
        assert_eq!(judge_security(&column, None), Ok("v is BigInt".to_owned()));
        let readable = judge_security(&column, Some(&HashSet::from([id])));
        assert_eq!(readable, Ok("v is BigInt, secured, and our user may read it".to_owned()));
        let (found, remedy) = judge_security(&column, Some(&HashSet::new())).expect_err("it is hidden");
        assert!(found.contains("may not read it") && remedy.contains("update v"), "{found}, {remedy}");
    }

    #[test]
    fn a_request_that_failed_has_a_remedy_by_its_cause() {
        let text = Some("The user is not a member of the organization.");
        let answered = |status, code| Error::answered(status, code, text);
        for (error, found, remedy) in [
            (answered(403, Some(NOT_A_MEMBER)), "403 0x80072560: The user is not", "Application users"),
            (answered(403, None), "403", "PERMISSION"),
            (answered(401, None), "401", "tenant"),
            (answered(404, None), "404", "DATAVERSE_API_VERSION"),
            (answered(503, None), "503", "later"),
            (Error::NoAnswer { sent: false, problem: "no connection" }, "no connection", "firewall"),
        ] {
            let finding = failed(&error, "PERMISSION");
            assert!(finding.0.contains(found) && finding.1.contains(remedy), "{finding:?}");
        }
    }
}
