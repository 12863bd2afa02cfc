//! The identity and Dataverse, asked: a token, `WhoAmI`, and a table with its key and its version column.
//!
//! <https://learn.microsoft.com/power-platform/admin/manage-application-users>

use azure_core::credentials::TokenCredential as _;
use tokio::time::timeout;

use super::finding::{Check, Finding};
use super::token::Claims;
use crate::dataverse::Error;
use crate::dataverse::client::metadata::{Column, Key, Table};
use crate::dataverse::client::{Client, Environment, TOKEN_TIMEOUT};
use crate::identity::{self, Identity};

/// The caller is no user of the organisation.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/reference/web-service-error-codes>
const NOT_A_MEMBER: u32 = 0x8007_2560;

/// The types of columns that keep a version: a whole number, or a time.
const VERSIONS: [&str; 4] = ["BigInt", "Integer", "Decimal", "DateTime"];

const APPLICATION_USER: &str = "in the Power Platform admin center, under the environment's Settings, Application users: add the \
                                app by its client id, and give it a security role for your tables";

/// Asks for a token for Dataverse, and tells for whom it is.
pub(super) async fn token(identity: &Identity, credential: &str, environment: &Environment) -> Finding {
    let scope = environment.scope();
    let scopes = [scope.as_str()];
    let (refused, problem) = match timeout(TOKEN_TIMEOUT, identity.get_token(&scopes, None)).await {
        Ok(Ok(token)) => {
            let claims = Claims::of(token.token.secret());
            return Finding::good(Check::Token, format!("{credential}: {claims}"));
        }
        Ok(Err(error)) => (identity::is_refusal(&error), identity::problem(&error)),
        Err(_) => (false, "no answer in time".to_owned()),
    };
    // The SDK's list of what it tried begins on the next line.
    let found = format!("{credential}: {}", problem.trim_end_matches(':'));
    let remedy = if refused { remedy_of(credential) } else { "see whether Entra ID can be reached from here" };
    Finding::wrong(Check::Token, found, remedy)
}

/// What mends a credential that is refused, by its name in the log.
fn remedy_of(credential: &str) -> &'static str {
    match credential {
        "client_secret" => {
            "see whether AZURE_CLIENT_SECRET is the value (not the id) of a secret that has not expired, and \
                            AZURE_TENANT_ID and AZURE_CLIENT_ID are the application's"
        }
        "client_certificate" => {
            "upload the certificate of AZURE_CLIENT_CERTIFICATE_PATH to the application of AZURE_CLIENT_ID"
        }
        "workload_identity" => {
            "give the application of AZURE_CLIENT_ID a federated credential for this issuer and subject"
        }
        "user_assigned_managed_identity" => {
            "assign the identity with the client id AZURE_CLIENT_ID to the function app"
        }
        "system_assigned_managed_identity" => {
            "turn the function app's system-assigned identity on, or name a user-assigned one in AZURE_CLIENT_ID"
        }
        _ => "az login, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
    }
}

/// Whether Dataverse knows us.
pub(super) async fn who_am_i(client: &Client, environment: &Environment) -> Finding {
    match client.who_am_i().await {
        Ok(caller) => Finding::good(
            Check::WhoAmI,
            format!(
                "user {} of the organisation {}, Web API {}",
                caller.user_id, caller.organization_id, environment.api_version
            ),
        ),
        Err(error) => failed(Check::WhoAmI, &error, APPLICATION_USER),
    }
}

/// The table, and what records need of it. `set` is its entity set name, `key` the columns of the alternate key, if one is used.
pub(super) async fn table(client: &Client, set: &str, key: &[String], version_column: Option<&str>) -> Vec<Finding> {
    let wanted = wanted(key, version_column);
    let table = match client.table(set).await {
        Ok(Some(table)) => table,
        Ok(None) => {
            let found = format!("there is no entity set {set}");
            let remedy = "take its name in the plural, in lower case as in the Web API's addresses, such as contacts";
            return without(Check::Table, Finding::wrong(Check::Table, found, remedy), &wanted);
        }
        Err(error) => {
            let first = failed(Check::Table, &error, APPLICATION_USER);
            return without(Check::Table, first, &wanted);
        }
    };
    let mut findings = vec![Finding::good(Check::Table, format!("{set} is the table {}", table.logical_name))];
    if !key.is_empty() {
        findings.push(match client.keys(&table).await {
            Ok(keys) => Finding::of(Check::AlternateKey, judge_key(&keys, key)),
            Err(error) => failed(Check::AlternateKey, &error, APPLICATION_USER),
        });
    }
    if let Some(column) = version_column {
        findings.push(match client.columns(&table).await {
            Ok(columns) => Finding::of(Check::VersionColumn, judge_version(&table, &columns, column)),
            Err(error) => failed(Check::VersionColumn, &error, APPLICATION_USER),
        });
    }
    let role = format!(
        "give the application user a security role that may read {} (and create, write, append)",
        table.logical_name
    );
    findings.push(match client.can_read(set, &table).await {
        Ok(()) => Finding::good(Check::Read, format!("rows of {set} may be read")),
        Err(error) => failed(Check::Read, &error, &role),
    });
    findings
}

/// The checks of a table, where they are not tried because of `earlier`.
pub(super) fn table_not_tried(earlier: Check, key: &[String], version_column: Option<&str>) -> Vec<Finding> {
    without(earlier, Finding::not_tried(Check::Table, earlier), &wanted(key, version_column))
}

fn without(earlier: Check, first: Finding, rest: &[Check]) -> Vec<Finding> {
    let rest = rest.iter().map(|check| Finding::not_tried(*check, earlier));
    [first].into_iter().chain(rest).collect()
}

/// The checks that rest on the table.
fn wanted(key: &[String], version_column: Option<&str>) -> Vec<Check> {
    let key = (!key.is_empty()).then_some(Check::AlternateKey);
    let version = version_column.map(|_| Check::VersionColumn);
    key.into_iter().chain(version).chain([Check::Read]).collect()
}

fn judge_key(keys: &[Key], columns: &[String]) -> Result<String, (String, String)> {
    let sorted = |columns: &[String]| {
        let mut names: Vec<String> = columns.iter().map(|name| logical_name(name).to_owned()).collect();
        names.sort();
        names
    };
    let told = columns.join(", ");
    let Some(key) = keys.iter().find(|key| sorted(&key.key_attributes) == sorted(columns)) else {
        let others: Vec<_> = keys.iter().map(|key| key.key_attributes.join(", ")).collect();
        let others =
            if others.is_empty() { "it has none".to_owned() } else { format!("it has ({})", others.join("), (")) };
        return Err((
            format!("the table has no alternate key of {told}; {others}"),
            "in Power Apps, under the table's Keys: add it, and wait until its index is Active".to_owned(),
        ));
    };
    match key.entity_key_index_status.as_deref() {
        Some("Active") => Ok(format!("{told}, its index is Active")),
        status => Err((
            format!("{told} is a key whose index is {}, so rows are not found by it", status.unwrap_or("of unknown state")),
            "wait until its index is Active; where it Failed, two rows have the same values: mend these, then activate the key again"
                .to_owned(),
        )),
    }
}

/// A lookup's own name: `_primarycontactid_value` is how records and the Web API write `primarycontactid`.
fn logical_name(column: &str) -> &str {
    column.strip_prefix('_').and_then(|name| name.strip_suffix("_value")).unwrap_or(column)
}

fn judge_version(table: &Table, columns: &[Column], name: &str) -> Result<String, (String, String)> {
    let remedy = || {
        format!("add a column of whole numbers (big) to {}, or name another in SYNC_VERSION_COLUMN", table.logical_name)
    };
    let Some(column) = columns.iter().find(|column| column.logical_name == name) else {
        return Err((format!("{} has no column {name} (SYNC_VERSION_COLUMN)", table.logical_name), remedy()));
    };
    let kind = column.attribute_type.as_deref().unwrap_or("of unknown type");
    if !VERSIONS.contains(&kind) {
        return Err((format!("{name} is {kind}, which keeps neither a whole number nor a time"), remedy()));
    }
    if !table.is_optimistic_concurrency_enabled {
        return Err((
            format!("{} has no optimistic concurrency, so a version cannot be kept safely", table.logical_name),
            "enable it for the table, or send records without a version".to_owned(),
        ));
    }
    Ok(format!("{name} is {kind}"))
}

/// A request that failed; `permission` mends it where we may not.
fn failed(check: Check, error: &Error, permission: &str) -> Finding {
    let message = match error {
        Error::Answered { message: Some(message), .. } => format!(": {message}"),
        _ => String::new(),
    };
    let remedy = match error {
        Error::Answered { code: Some(NOT_A_MEMBER), .. } => APPLICATION_USER,
        Error::Answered { status: 401, .. } => "see whether DATAVERSE_URL is an environment of the identity's tenant",
        Error::Answered { status: 403, .. } => permission,
        Error::Answered { status: 404, .. } => {
            "see whether DATAVERSE_URL is an environment's address, and DATAVERSE_API_VERSION v9.2"
        }
        Error::Answered { .. } => {
            "try again later; if it stays so, ask Microsoft's support, with the time of this request"
        }
        Error::NoAnswer { .. } => {
            "see whether the name in DATAVERSE_URL is right, and no firewall or proxy stands between"
        }
        Error::NoToken { .. } => "see the check of the token, which was good a moment ago",
        Error::NotAddressable { .. } | Error::Ambiguous => "report this: no such request was made",
    };
    Finding::wrong(check, format!("{error}{message}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let judged = judge_key(&keys, &columns(names));
            let wrong = judged.as_ref().err().map(|(found, _)| found.as_str());
            assert_eq!(judged.is_ok(), word.is_none(), "{names:?}: {judged:?}");
            assert!(wrong.unwrap_or_default().contains(word.unwrap_or_default()), "{names:?}: {judged:?}");
        }
        let (found, _) = judge_key(&[], &columns(&["a"])).expect_err("there is none");
        assert!(found.contains("it has none"), "{found}");
    }

    #[test]
    fn a_version_column_is_there_keeps_versions_and_its_table_heeds_etags() {
        let table = |optimistic| Table {
            logical_name: "contact".to_owned(),
            primary_id_attribute: "contactid".to_owned(),
            is_optimistic_concurrency_enabled: optimistic,
            table_type: None,
        };
        let column = |name: &str, kind: &str| Column {
            logical_name: name.to_owned(),
            attribute_type: Some(kind.to_owned()),
            is_secured: None,
        };
        let columns = [column("v", "BigInt"), column("at", "DateTime"), column("name", "String")];
        assert_eq!(judge_version(&table(true), &columns, "v"), Ok("v is BigInt".to_owned()));
        assert!(judge_version(&table(true), &columns, "at").is_ok());
        for (optimistic, name, word) in
            [(true, "w", "no column w"), (true, "name", "String"), (false, "v", "optimistic concurrency")]
        {
            let (found, _) = judge_version(&table(optimistic), &columns, name).expect_err(name);
            assert!(found.contains(word), "{found}");
        }
    }

    #[test]
    fn what_failed_is_told_with_what_mends_it() {
        let answered = |status, code| Error::Answered {
            status,
            code,
            message: Some("The user is not a member of the organization.".to_owned()),
            request_id: None,
            retry_after: None,
        };
        for (fault, found, remedy) in [
            (answered(403, Some(NOT_A_MEMBER)), "403 0x80072560: The user is not", "Application users"),
            (answered(403, None), "403", "PERMISSION"),
            (answered(401, None), "401", "tenant"),
            (answered(404, None), "404", "DATAVERSE_API_VERSION"),
            (answered(503, None), "503", "later"),
            (Error::NoAnswer { sent: false, problem: "no connection" }, "no connection", "firewall"),
        ] {
            let finding = failed(Check::WhoAmI, &fault, "PERMISSION");
            let mended = finding.remedy.as_deref().unwrap_or_default();
            assert!(finding.found.contains(found) && mended.contains(remedy), "{finding:?}");
        }
    }
}
