//! Settings become a [`Config`], or all that is wrong with them at once.
//!
//! It reads from a lookup, never from the environment: `main` alone knows that there is one. Every [`Problem`] starts with the
//! variable's name. Secrets are in no Debug output. The table of settings is in the README; `local.settings.json.sample`
//! holds them all.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::{Host, Url};

use crate::identity::Choice;
use crate::record::OnConflict;
use crate::settings::{Lookup, Problem, non_empty};
use crate::storage::{Address, Service};

/// Headers that this program sets itself; two of a kind would contradict each other.
const OWN_HEADERS: [&str; 14] = [
    "accept",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "if-match",
    "if-none-match",
    "odata-maxversion",
    "odata-version",
    "traceparent",
    "transfer-encoding",
    "x-ms-client-request-id",
];

/// Everything the program needs to know.
#[derive(Debug)]
pub struct Config {
    /// Origin of the Dataverse environment, and its Web API version.
    pub dataverse: Environment,
    /// The Entra credential.
    pub identity: Choice,
    /// The locks, or none with `LOCK_MODE=off`.
    pub locks: Option<LockSettings>,
    /// What a lost create race leads to when the record does not say.
    pub on_conflict: OnConflict,
    /// The column that holds a record's version.
    pub version_column: Option<String>,
    /// Ceiling of requests in flight to Dataverse.
    pub max_concurrency: usize,
    /// Longest wait in place through an outage or throttling.
    pub hold: Duration,
    /// Where to listen on 127.0.0.1.
    pub port: u16,
}

/// Where Dataverse is.
#[derive(Debug, Clone)]
pub struct Environment {
    /// `https://contoso.crm.dynamics.com/`
    pub url: Url,
    /// `v9.2`
    pub api_version: String,
    /// Extra headers of every write.
    pub headers: HeaderMap,
}

/// How records are locked.
#[derive(Debug)]
pub struct LockSettings {
    /// The storage.
    pub address: Address,
    /// The container.
    pub container: String,
    /// Life of a lease.
    pub life: Duration,
    /// Longest wait for a held lock.
    pub wait: Duration,
}

/// Reads settings, collecting problems.
struct Reader<'a> {
    lookup: &'a Lookup<'a>,
    problems: Vec<Problem>,
}

impl Config {
    /// Reads all settings from `lookup`; an empty value counts as not set.
    ///
    /// # Errors
    /// Every problem, in the order of the README's table.
    pub fn from_settings(lookup: &Lookup) -> Result<Self, Vec<Problem>> {
        let lookup = |name: &str| non_empty(lookup, name);
        let mut reader = Reader { lookup: &lookup, problems: Vec::new() };
        let url = reader.dataverse_url();
        let api_version = reader.api_version();
        let identity = Choice::from_settings(&lookup).map_err(|problems| reader.problems.extend(problems)).ok();
        let locks = reader.locks();
        let on_conflict = reader.on_conflict();
        let version_column = reader.version_column();
        let max_concurrency = reader.number("SYNC_MAX_CONCURRENCY", 52, 1, 1000);
        let hold = Duration::from_secs(reader.number("SYNC_HOLD_SECONDS", 480, 0, 86_400));
        let headers = reader.headers();
        let port = reader.port();
        match (url, identity, reader.problems.is_empty()) {
            (Some(url), Some(identity), true) => Ok(Self {
                dataverse: Environment { url, api_version, headers },
                identity,
                locks,
                on_conflict,
                version_column,
                max_concurrency: usize::try_from(max_concurrency).expect("at most 1000"),
                hold,
                port,
            }),
            _ => Err(reader.problems),
        }
    }
}

impl Reader<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
    }

    fn problem(&mut self, variable: &str, text: impl Into<String>) {
        self.problems.push(Problem::new(variable, text));
    }

    fn number(&mut self, name: &str, default: u64, least: u64, most: u64) -> u64 {
        let Some(text) = self.get(name) else { return default };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                self.problem(name, format!("must be a whole number from {least} to {most}"));
                default
            }
        }
    }

    fn dataverse_url(&mut self) -> Option<Url> {
        const NAME: &str = "DATAVERSE_URL";
        let Some(text) = self.get(NAME) else {
            self.problem(NAME, "is not set; it is the environment's address, such as https://contoso.crm.dynamics.com");
            return None;
        };
        let problem = match Url::parse(&text) {
            Err(_) => "is no address; it looks like https://contoso.crm.dynamics.com",
            Ok(url) if !is_safe(&url) => "must be https; plain http is for loopback addresses only",
            Ok(url) if !url.username().is_empty() || url.password().is_some() => "must not hold a user or password",
            Ok(url) if url.path() != "/" || url.query().is_some() || url.fragment().is_some() => {
                "must be the environment's address alone, without a path"
            }
            Ok(url) => return Some(url),
        };
        self.problem(NAME, problem);
        None
    }

    fn api_version(&mut self) -> String {
        const NAME: &str = "DATAVERSE_API_VERSION";
        let text = self.get(NAME).unwrap_or_else(|| "v9.2".to_owned());
        let digits = text.strip_prefix('v').and_then(|rest| rest.split_once('.'));
        let number = |part: &str| !part.is_empty() && part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits.is_some_and(|(major, minor)| number(major) && number(minor)) {
            self.problem(NAME, "must look like v9.2");
        }
        text
    }

    fn locks(&mut self) -> Option<LockSettings> {
        let mode = self.get("LOCK_MODE").unwrap_or_else(|| "lease".to_owned());
        let life = Duration::from_secs(self.number("LOCK_LEASE_SECONDS", 15, 15, 60));
        let wait = Duration::from_secs(self.number("LOCK_WAIT_SECONDS", 10, 0, 300));
        let container = self.container();
        if mode == "off" {
            return None;
        }
        if mode != "lease" {
            self.problem("LOCK_MODE", "must be lease or off");
        }
        let name = self.get("LOCK_STORAGE").unwrap_or_else(|| "AzureWebJobsStorage".to_owned());
        match Address::resolve(Service::Blob, &name, self.lookup) {
            Ok(address) => Some(LockSettings { address, container, life, wait }),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    /// <https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>
    fn container(&mut self) -> String {
        const NAME: &str = "LOCK_CONTAINER";
        let text = self.get(NAME).unwrap_or_else(|| "sync-locks".to_owned());
        let chars = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let valid = (3..=63).contains(&text.len())
            && chars
            && !text.starts_with('-')
            && !text.ends_with('-')
            && !text.contains("--");
        if !valid {
            self.problem(NAME, "must be a container name: 3 to 63 lower-case letters, digits and single hyphens");
        }
        text
    }

    fn on_conflict(&mut self) -> OnConflict {
        const NAME: &str = "SYNC_ON_CONFLICT";
        let Some(text) = self.get(NAME) else { return OnConflict::default() };
        OnConflict::parse(&text).unwrap_or_else(|| {
            self.problem(NAME, "must be verify, skip or retry");
            OnConflict::default()
        })
    }

    fn version_column(&mut self) -> Option<String> {
        const NAME: &str = "SYNC_VERSION_COLUMN";
        let text = self.get(NAME)?;
        let valid = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !valid {
            self.problem(NAME, "must be a column's logical name: lower-case letters, digits and _");
        }
        Some(text)
    }

    fn headers(&mut self) -> HeaderMap {
        const NAME: &str = "SYNC_HEADERS";
        let mut headers = HeaderMap::new();
        let Some(text) = self.get(NAME) else { return headers };
        let Ok(map) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text) else {
            self.problem(
                NAME,
                r#"must be a JSON object of strings, such as {"MSCRM.SuppressDuplicateDetection":"false"}"#,
            );
            return headers;
        };
        for (name, value) in map {
            let parsed = HeaderName::try_from(name.as_str())
                .ok()
                .zip(value.as_str().and_then(|value| HeaderValue::try_from(value).ok()));
            match parsed {
                None => self.problem(NAME, format!("has `{name}`, which is no header name with a string value")),
                Some((header, _)) if OWN_HEADERS.contains(&header.as_str()) => {
                    self.problem(NAME, format!("has `{name}`, which this program sets itself"));
                }
                Some((header, mut value)) => {
                    value.set_sensitive(true);
                    headers.insert(header, value);
                }
            }
        }
        headers
    }

    /// The host passes both names; the second one is the older.
    fn port(&mut self) -> u16 {
        for name in ["FUNCTIONS_CUSTOMHANDLER_PORT", "FUNCTIONS_HTTPWORKER_PORT"] {
            if self.get(name).is_some() {
                return u16::try_from(self.number(name, 0, 0, 65_535)).expect("at most 65535");
            }
        }
        self.problem(
            "FUNCTIONS_CUSTOMHANDLER_PORT",
            "is not set; the Functions host sets it (try `func start` or `cargo sandbox`), by hand any free port will do",
        );
        0
    }
}

/// https, or http to this machine.
fn is_safe(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.has_host() && (url.scheme() == "https" || (url.scheme() == "http" && loopback))
}

#[cfg(test)]
mod tests;
