//! Reads the settings: a [`Config`], or every [`Problem`] at once.
//!
//! The settings come from a lookup; only `main` reads the environment. Debug output holds no secrets. [`table`] has every setting with
//! its default and its meaning.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::dataverse::client::Environment;
use crate::identity::Choice;
use crate::record::{OnConflict, Tables, is_logical_name, parse_word};
use crate::settings::{Lookup, Problem, is_confidential, non_empty, read_resolved, table};
use crate::storage::{self, Address, Service};
use crate::telemetry;

/// Headers that this program sets itself.
const OWN_HEADERS: &str = "accept authorization connection content-length content-type cookie host if-match if-none-match \
    odata-maxversion odata-version traceparent transfer-encoding x-ms-client-request-id";

/// The host sets it for the process that it starts.
const PORT: &str = "FUNCTIONS_CUSTOMHANDLER_PORT";

/// The older name of the same variable, which the host sets too.
const OLD_PORT: &str = "FUNCTIONS_HTTPWORKER_PORT";

const RUNTIME: &str = "FUNCTIONS_WORKER_RUNTIME";

const TABLES: &str = "SYNC_TABLES";

/// The configuration of a serving handler.
#[derive(Debug)]
pub struct Config {
    /// The Dataverse environment.
    pub dataverse: Environment,
    /// The Entra credential.
    pub identity: Choice,
    /// `None` with `LOCK_MODE=off`.
    pub locks: Option<LockSettings>,
    /// The conflict policy of a record that does not name one.
    pub on_conflict: OnConflict,
    /// The column that holds a record's version.
    pub version_column: Option<String>,
    /// The most requests in flight to Dataverse.
    pub max_concurrency: usize,
    /// Whether records that wait together are sent as one request.
    pub batches: bool,
    /// The longest wait in place through an outage or throttling.
    pub hold: Duration,
    /// The tables that may be written.
    pub tables: Tables,
    /// The port to listen on at 127.0.0.1.
    pub port: u16,
}

/// How records are locked.
#[derive(Debug)]
pub struct LockSettings {
    /// The blob service.
    pub address: Address,
    /// The container.
    pub container: String,
    /// The duration of a lease.
    pub life: Duration,
    /// The longest wait for a lock that is held.
    pub wait: Duration,
}

impl LockSettings {
    /// Reads these settings alone; `None` with `LOCK_MODE=off`.
    ///
    /// # Errors
    /// Every problem.
    pub(crate) fn from_settings(lookup: &Lookup) -> Result<Option<Self>, Vec<Problem>> {
        read(lookup, |reader| Some(reader.locks()))
    }
}

/// Reads settings one by one and collects the problems.
struct Reader<'a> {
    lookup: &'a Lookup<'a>,
    problems: Vec<Problem>,
}

/// What `read` makes of the settings, or every problem; `None` always comes with one.
fn read<T>(lookup: &Lookup, read: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> Result<T, Vec<Problem>> {
    read_resolved(lookup, |lookup| {
        let mut reader = Reader { lookup, problems: Vec::new() };
        let settings = read(&mut reader).filter(|_| reader.problems.is_empty());
        settings.ok_or(reader.problems)
    })
}

impl Config {
    /// Reads all settings; an empty value counts as not set.
    ///
    /// # Errors
    /// Every problem, in the order of the documented table.
    pub fn from_settings(lookup: &Lookup) -> Result<Self, Vec<Problem>> {
        read(lookup, |reader| {
            let (url, api_version, identity) = (reader.dataverse_url(), reader.api_version(), reader.identity());
            let locks = reader.locks();
            let on_conflict = reader.on_conflict();
            let version_column = reader.version_column();
            let max_concurrency = reader.number("SYNC_MAX_CONCURRENCY", 1, 1000);
            let batches = reader.batches();
            let hold = Duration::from_secs(reader.number("SYNC_HOLD_SECONDS", 0, 86_400));
            let tables = reader.tables();
            let headers = reader.headers();
            let port = reader.port();
            Some(Self {
                dataverse: Environment { url: url?, api_version, headers },
                identity: identity?,
                locks,
                on_conflict,
                version_column,
                max_concurrency: usize::try_from(max_concurrency).expect("at most 1000"),
                batches,
                hold,
                tables,
                port,
            })
        })
    }

    /// For a command: the settings as a serving handler would read them, but for the port, and what is wrong with those of the log and
    /// of the host too.
    pub(crate) fn check(lookup: &Lookup) -> (Option<Self>, Vec<Problem>) {
        let with_port = |name: &str| lookup(name).or_else(|| (name == PORT).then(|| "0".to_owned()));
        let (config, mut problems) = match Self::from_settings(&with_port) {
            Ok(config) => (Some(config), Vec::new()),
            Err(problems) => (None, problems),
        };
        problems.extend(telemetry::Settings::read(lookup).err().into_iter().flatten());
        // With another value the host would start another language's worker.
        if non_empty(lookup, RUNTIME).is_some_and(|runtime| runtime != "custom") {
            problems.push(Problem::new(RUNTIME, "must be custom, or the host does not start this program"));
        }
        (config, problems)
    }

    pub(crate) fn summary(&self) -> String {
        let locks = match &self.locks {
            None => "no locks".to_owned(),
            Some(locks) => format!("locks in {} ({})", locks.address.host(), locks.address.access()),
        };
        let dataverse = self.dataverse.url.host_str().unwrap_or_default();
        format!("Dataverse {dataverse} as {}, {locks}", self.identity.name())
    }
}

/// The Dataverse environment and the credential, without the other settings.
///
/// # Errors
/// Every problem with them.
pub(crate) fn dataverse(lookup: &Lookup) -> Result<(Environment, Choice), Vec<Problem>> {
    read(lookup, |reader| {
        let (url, api_version, identity) = (reader.dataverse_url(), reader.api_version(), reader.identity());
        let headers = reader.headers();
        Some((Environment { url: url?, api_version, headers }, identity?))
    })
}

/// The tables that may be written.
///
/// # Errors
/// What is wrong with the setting.
pub(crate) fn tables(lookup: &Lookup) -> Result<Tables, Problem> {
    let parsed = non_empty(lookup, TABLES).map(|text| Tables::parse(&text)).transpose();
    parsed.map(Option::unwrap_or_default).map_err(|problem| Problem::new(TABLES, problem))
}

impl Reader<'_> {
    /// The value of a setting, else its default.
    fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name).or_else(|| table::default(name))
    }

    fn problem(&mut self, variable: &str, text: impl Into<String>) {
        self.problems.push(Problem::new(variable, text));
    }

    /// The number of a setting that has a default.
    fn number(&mut self, name: &str, min: u64, max: u64) -> u64 {
        let number = self.get(name).and_then(|text| text.parse().ok()).filter(|number| (min..=max).contains(number));
        number.unwrap_or_else(|| {
            self.problem(name, format!("must be a whole number from {min} to {max}"));
            min
        })
    }

    /// The text of a setting that has a default.
    fn text(&mut self, name: &str, is_valid: fn(&str) -> bool, problem: &str) -> String {
        let text = self.get(name).unwrap_or_default();
        if !is_valid(&text) {
            self.problem(name, problem);
        }
        text
    }

    fn dataverse_url(&mut self) -> Option<Url> {
        const NAME: &str = "DATAVERSE_URL";
        let Some(text) = self.get(NAME) else {
            self.problem(NAME, "is not set; it is the environment's address, such as https://contoso.crm.dynamics.com");
            return None;
        };
        let problem = match Url::parse(&text) {
            Err(_) => "is not a URL such as https://contoso.crm.dynamics.com",
            Ok(url) if !is_confidential(&url) => "must be https; plain http is for loopback addresses only",
            Ok(url) if !url.username().is_empty() || url.password().is_some() => "must not hold a user or password",
            Ok(url) if url.path() != "/" || url.query().is_some() || url.fragment().is_some() => {
                "must be the environment's address without a path"
            }
            Ok(url) => return Some(url),
        };
        self.problem(NAME, problem);
        None
    }

    fn api_version(&mut self) -> String {
        self.text("DATAVERSE_API_VERSION", is_api_version, "must look like v9.2")
    }

    fn identity(&mut self) -> Option<Choice> {
        Choice::from_settings(self.lookup).map_err(|problems| self.problems.extend(problems)).ok()
    }

    fn locks(&mut self) -> Option<LockSettings> {
        const CONTAINER: &str = "must be a container name: 3 to 63 lower-case letters, digits and single hyphens";
        let life = Duration::from_secs(self.number("LOCK_LEASE_SECONDS", 15, 60));
        let wait = Duration::from_secs(self.number("LOCK_WAIT_SECONDS", 0, 300));
        let container = self.text("LOCK_CONTAINER", storage::is_name, CONTAINER);
        let mode = self.text("LOCK_MODE", |mode| ["lease", "off"].contains(&mode), "must be lease or off");
        if mode == "off" {
            return None;
        }
        let name = self.get("LOCK_STORAGE").unwrap_or_default();
        let address = Address::resolve(Service::Blob, &name, self.lookup).map_err(|mut problem| {
            if (self.lookup)("LOCK_STORAGE").is_some() {
                problem.text += "; LOCK_STORAGE names this connection";
            }
            self.problems.push(problem);
        });
        Some(LockSettings { address: address.ok()?, container, life, wait })
    }

    fn on_conflict(&mut self) -> OnConflict {
        let is_valid = |text: &str| parse_word::<OnConflict>(text).is_some();
        let text = self.text("SYNC_ON_CONFLICT", is_valid, "must be verify, skip or retry");
        parse_word(&text).unwrap_or_default()
    }

    fn batches(&mut self) -> bool {
        self.text("SYNC_BATCH", |mode| ["auto", "off"].contains(&mode), "must be auto or off") == "auto"
    }

    fn version_column(&mut self) -> Option<String> {
        const NAME: &str = "SYNC_VERSION_COLUMN";
        let text = self.get(NAME)?;
        if !is_logical_name(&text) {
            self.problem(NAME, "must be a column's logical name: lower-case letters, digits and _");
        }
        Some(text)
    }

    fn tables(&mut self) -> Tables {
        tables(self.lookup).map_err(|problem| self.problems.push(problem)).unwrap_or_default()
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
            let header = HeaderName::try_from(name.as_str()).ok();
            let value = value.as_str().and_then(|value| HeaderValue::try_from(value).ok());
            let Some((header, mut value)) = header.zip(value) else {
                self.problem(NAME, format!("has `{name}`, which is not a header name with a string value"));
                continue;
            };
            if OWN_HEADERS.split(' ').any(|own| header == own) {
                self.problem(NAME, format!("has `{name}`, which this program sets itself"));
                continue;
            }
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        headers
    }

    fn port(&mut self) -> u16 {
        for name in [PORT, OLD_PORT] {
            if self.get(name).is_some() {
                return u16::try_from(self.number(name, 0, 65_535)).expect("at most 65535");
            }
        }
        self.problem(
            PORT,
            "is not set; the Functions host sets it (try `func start` or `cargo sandbox`), by hand any free port will do",
        );
        0
    }
}

fn is_api_version(text: &str) -> bool {
    let is_number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = text.strip_prefix('v').and_then(|rest| rest.split_once('.'));
    parts.is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}

#[cfg(test)]
mod tests;
