//! Every setting of the app: its name, its default and its meaning, in the order of `local.settings.json.sample`.
//!
//! Defaults are taken from here where a setting is read, and `handler settings` prints the rest. Variables that Azure or the host sets
//! are not among them.

/// A setting: an environment variable, as an app setting in Azure or a value of local.settings.json.
#[derive(Debug)]
pub struct Setting {
    /// The variable.
    pub name: &'static str,
    /// What an unset one means; empty if that is no value.
    pub default: &'static str,
    /// What it is for, as a phrase.
    pub meaning: &'static str,
    /// Whether its value is never shown.
    pub is_secret: bool,
}

const fn setting(name: &'static str, default: &'static str, meaning: &'static str) -> Setting {
    Setting { name, default, meaning, is_secret: false }
}

const fn secret(name: &'static str, meaning: &'static str) -> Setting {
    Setting { name, default: "", meaning, is_secret: true }
}

/// Groups of settings, each with its heading.
pub const GROUPS: [(&str, &[Setting]); 6] = [
    ("Functions host", &HOST),
    ("Dataverse", &DATAVERSE),
    ("Entra ID: one of these; else the managed identity; else your az or azd login", &IDENTITY),
    ("Locks", &LOCKS),
    ("Records", &RECORDS),
    ("Log and telemetry", &TELEMETRY),
];

const HOST: [Setting; 2] = [
    setting(
        "FUNCTIONS_WORKER_RUNTIME",
        "",
        "custom, so that the host starts this program; not needed on Flex Consumption",
    ),
    secret(
        "AzureWebJobsStorage",
        "the storage account of the queues: a connection string, or AzureWebJobsStorage__accountName with Entra ID; required",
    ),
];

const DATAVERSE: [Setting; 2] = [
    setting("DATAVERSE_URL", "", "the environment's address, such as https://contoso.crm.dynamics.com; required"),
    setting("DATAVERSE_API_VERSION", "v9.2", "the version of the Web API"),
];

const IDENTITY: [Setting; 6] = [
    setting("AZURE_TENANT_ID", "", "the directory of the application, its id or a domain"),
    setting("AZURE_CLIENT_ID", "", "the application, or alone a user-assigned managed identity"),
    secret("AZURE_CLIENT_SECRET", "the application's secret"),
    setting("AZURE_CLIENT_CERTIFICATE_PATH", "", "a file with its certificate and key, PEM or PKCS#12"),
    secret("AZURE_CLIENT_CERTIFICATE_PASSWORD", "the password of a PKCS#12 file"),
    setting("AZURE_FEDERATED_TOKEN_FILE", "", "a file with a federated token, as in Kubernetes"),
];

const LOCKS: [Setting; 5] = [
    setting("LOCK_STORAGE", "AzureWebJobsStorage", "the name of the connection whose storage account has the locks"),
    setting("LOCK_CONTAINER", "sync-locks", "the blob container of the locks; created when missing"),
    setting("LOCK_LEASE_SECONDS", "15", "15 to 60: the longest delay of a record after a process was killed"),
    setting("LOCK_WAIT_SECONDS", "10", "0 to 300: the longest wait of one try for another instance's lock"),
    setting("LOCK_MODE", "lease", "lease, or off for no locks"),
];

const RECORDS: [Setting; 7] = [
    setting(
        "SYNC_ON_CONFLICT",
        "verify",
        "verify, skip or retry: what follows when another writer created the row first",
    ),
    setting("SYNC_VERSION_COLUMN", "", "the column that holds a record's version"),
    setting("SYNC_MAX_CONCURRENCY", "52", "1 to 1000: the most requests in flight to Dataverse, per instance"),
    setting("SYNC_BATCH", "auto", "auto: records that wait together are sent as one request; off: each on its own"),
    setting("SYNC_HOLD_SECONDS", "480", "0 to 86400: the longest wait in place through an outage or throttling"),
    setting(
        "SYNC_TABLES",
        "",
        "entity sets that may be written, such as contacts,accounts; else all but the environment's own code and privileges",
    ),
    secret("SYNC_HEADERS", "a JSON object of extra request headers for Dataverse"),
];

const TELEMETRY: [Setting; 3] = [
    setting("RUST_LOG", "info", "a level, or a filter such as info,dataverse_sync=debug"),
    setting("SYNC_LOG_FORMAT", "text", "text, or json: each line of the log is a JSON object"),
    setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "where traces and metrics go, such as http://localhost:4318; else there are none",
    ),
];

/// All settings.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    GROUPS.iter().flat_map(|(_, settings)| settings.iter())
}

/// The default of a setting that has one.
pub(crate) fn default(name: &str) -> Option<String> {
    all().find(|setting| setting.name == name && !setting.default.is_empty()).map(|setting| setting.default.to_owned())
}
