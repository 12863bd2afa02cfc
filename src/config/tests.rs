use super::*;
use crate::settings::lookup_in;

const FINE: [(&str, &str); 3] = [
    ("DATAVERSE_URL", "https://contoso.crm.dynamics.com"),
    ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
    ("FUNCTIONS_CUSTOMHANDLER_PORT", "7071"),
];

/// Complete settings, and more.
fn with(more: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
    Config::from_settings(&lookup_in(&[&FINE, more].concat()))
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = with(&[]).expect("complete settings");
    let locks = config.locks.expect("leases are the default");
    assert_eq!(config.dataverse.api_version, "v9.2");
    assert_eq!((locks.life, locks.wait), (Duration::from_secs(15), Duration::from_secs(10)));
    assert_eq!(locks.container, "sync-locks");
    assert_eq!(config.on_conflict, OnConflict::Verify);
    assert_eq!((config.max_concurrency, config.hold), (52, Duration::from_mins(8)));
    assert_eq!(config.version_column, None);
    assert_eq!(config.identity.name(), "developer_tools");
}

#[test]
fn a_connection_that_is_not_set_is_named_with_the_setting_that_names_it() {
    let problems = with(&[("LOCK_STORAGE", "Locks")]).expect_err("it is not set");
    let text = problems[0].to_string();
    assert!(text.starts_with("Locks is not set, ") && text.ends_with("; LOCK_STORAGE names this connection"), "{text}");
}

#[test]
fn every_bad_setting_is_named() {
    for (name, value) in [
        ("DATAVERSE_URL", "nonsense"),
        ("DATAVERSE_URL", "http://contoso.crm.dynamics.com"),
        ("DATAVERSE_URL", "https://contoso.crm.dynamics.com/api/data/v9.2"),
        ("DATAVERSE_URL", "https://user:pass@contoso.crm.dynamics.com"),
        ("DATAVERSE_API_VERSION", "9.2"),
        ("DATAVERSE_API_VERSION", "v9.2/../x"),
        ("AZURE_TENANT_ID", ""),
        ("AzureWebJobsStorage", "nonsense"),
        ("LOCK_CONTAINER", "Sync_Locks"),
        ("LOCK_LEASE_SECONDS", "14"),
        ("LOCK_LEASE_SECONDS", "61"),
        ("LOCK_WAIT_SECONDS", "ten"),
        ("LOCK_MODE", "on"),
        ("SYNC_ON_CONFLICT", "ask"),
        ("SYNC_VERSION_COLUMN", "New Version"),
        ("SYNC_MAX_CONCURRENCY", "0"),
        ("SYNC_BATCH", "on"),
        ("SYNC_HOLD_SECONDS", "-1"),
        ("SYNC_TABLES", "contacts,,accounts"),
        ("SYNC_TABLES", "contacts accounts"),
        ("SYNC_TABLES", "contacts,Contacts"),
        ("SYNC_HEADERS", "a=b"),
        ("SYNC_HEADERS", r#"{"If-Match":"*"}"#),
        ("SYNC_HEADERS", r#"{"a b":"x"}"#),
        ("SYNC_HEADERS", r#"{"a":7}"#),
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "99999"),
    ] {
        let secret: &[_] =
            if value.is_empty() { &[("AZURE_CLIENT_SECRET", "s"), ("AZURE_CLIENT_ID", "c")] } else { &[] };
        let problems = with(&[&[(name, value)], secret].concat()).expect_err(value);
        assert_eq!(problems.len(), 1, "{name}={value}: {problems:?}");
        assert_eq!(problems[0].variable, name);
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let settings =
        [("LOCK_LEASE_SECONDS", "5"), ("SYNC_HEADERS", "x"), ("AZURE_CLIENT_SECRET", "s"), ("SYNC_ON_CONFLICT", "x")];
    let problems = Config::from_settings(&lookup_in(&settings)).expect_err("much is wrong");
    let names: Vec<_> = problems.iter().map(|problem| problem.variable.as_str()).collect();
    let expected = [
        "DATAVERSE_URL",
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_ID",
        "LOCK_LEASE_SECONDS",
        "AzureWebJobsStorage",
        "SYNC_ON_CONFLICT",
        "SYNC_HEADERS",
        "FUNCTIONS_CUSTOMHANDLER_PORT",
    ];
    assert_eq!(names, expected);
}

#[test]
fn plain_http_reaches_loopback_only() {
    for (url, fine) in [
        ("http://127.0.0.1:8080", true),
        ("http://localhost:8080/", true),
        ("http://[::1]:8080", true),
        ("http://127.0.0.1.example.com", false),
        ("ftp://127.0.0.1", false),
    ] {
        assert_eq!(with(&[("DATAVERSE_URL", url)]).is_ok(), fine, "{url}");
    }
}

#[test]
fn without_locks_no_storage_is_needed() {
    let settings = [("AzureWebJobsStorage", ""), ("LOCK_MODE", "off")];
    assert!(with(&settings).expect("complete settings").locks.is_none());
}

#[test]
fn another_connection_can_hold_the_locks() {
    let settings = [("AzureWebJobsStorage", ""), ("LOCK_STORAGE", "Locks"), ("Locks__accountName", "contosolocks")];
    let locks = with(&settings).expect("complete settings").locks.expect("leases");
    assert_eq!(locks.address.host(), "contosolocks.blob.core.windows.net");
}
