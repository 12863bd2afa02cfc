//! A stand-in for the Dataverse Web API: upsert by key as a non-atomic lookup and create, the resulting errors, service
//! protection, injected faults, and a journal of every write.
//!
//! It is as strict as the service: known errors have the service's codes, and where the documentation is unclear, there
//! is an option or the harder case is implemented. Plug-ins exist as faults only. Deep insert, change sets, `$expand` and
//! elastic tables are not supported.
//!
//! Invariants: the journal contains every write that arrived; a row is committed fully or not at all; the store's lock
//! is never held across a wait. Mirrors
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/overview>.

mod batch;
mod body;
mod bulk;
mod call;
mod control;
mod errors;
mod execute;
mod faults;
mod journal;
mod key;
mod limits;
mod literal;
mod metadata;
mod path;
mod read;
mod reply;
mod routes;
mod rows;
mod samples;
mod state;
mod summary;
mod table;
mod values;
mod write;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use serde_json::{Map, Value};
use tokio::time::Instant;
use uuid::Uuid;

use self::call::Call;
use self::errors::Error;
pub use self::errors::{BodyForm, ErrorCodes};
use self::faults::Faults;
pub use self::faults::{Effect, Fault, Status};
pub use self::journal::{Change, Counts, Entry, Operation};
use self::limits::{Left, Limiter};
pub use self::limits::{Limits, Usage};
pub use self::rows::Collation;
use self::rows::{Row, Store, TableRows};
pub use self::state::StateOnCreate;
pub use self::summary::Summary;
pub use self::table::{Kind, Table};
pub use self::write::DuplicateCode;
use crate::identity::Tokens;
use crate::net::{Server, Tls};

/// The stand-in's settings.
#[derive(Debug, Clone)]
pub struct Options {
    /// The port on 127.0.0.1; with 0 the system chooses one.
    pub port: u16,
    /// Serves https with this certificate, with HTTP/2 if it offers that; `None`: http, with HTTP/2 for clients that know.
    pub tls: Option<Tls>,
    /// The time between a write's lookup and its commit.
    pub race_window: Duration,
    /// The random variation of that time per write, up or down, as a fraction of it, from 0 to 1.
    pub race_spread: f64,
    /// Added to every request.
    pub latency: Duration,
    /// The register that tokens are checked against. `None`: any bearer token is accepted, but one is required.
    pub tokens: Option<Arc<Tokens>>,
    /// Service protection limits; `None`: no limits.
    pub limits: Option<Limits>,
    /// The value of `x-ms-dop-hint`.
    pub dop_hint: u32,
    /// The error code of a create that collides with a row of the same key.
    pub duplicate_code: DuplicateCode,
    /// The error code if that row is in the recycle bin.
    pub bin_code: DuplicateCode,
    /// The codes of unknown keys, segments and properties.
    pub error_codes: ErrorCodes,
    /// How text in keys is compared.
    pub collation: Collation,
    /// What a create does with the status of another state than that of a new row.
    pub state_on_create: StateOnCreate,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            tls: None,
            race_window: Duration::from_millis(15),
            race_spread: 0.0,
            latency: Duration::ZERO,
            tokens: None,
            limits: None,
            dop_hint: 8,
            duplicate_code: DuplicateCode::default(),
            bin_code: DuplicateCode::default(),
            error_codes: ErrorCodes::default(),
            collation: Collation::default(),
            state_on_create: StateOnCreate::default(),
        }
    }
}

/// The running stand-in; dropping it stops it.
#[derive(Debug)]
pub struct Dataverse {
    world: Arc<World>,
    server: Server,
}

impl Dataverse {
    /// Starts with empty tables `contacts`, `accounts` and `new_orders`.
    pub async fn start(options: Options) -> io::Result<Self> {
        let (port, tls) = (options.port, options.tls.clone());
        let world = Arc::new(World::new(options));
        let routes = Router::new().fallback(routes::serve).with_state(world.clone());
        let server = Server::start(routes, port, tls.as_ref()).await?;
        world.origin.set(server.url()).expect("this is the only place that sets the origin");
        Ok(Self { world, server })
    }

    /// The organisation's URL, without a trailing slash; also the audience of its tokens.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The time that the journal's times are relative to.
    pub fn started(&self) -> Instant {
        self.world.started
    }

    /// Adds a table; an existing one is replaced by an empty one.
    pub fn define(&self, table: Table) {
        self.world.store().define(table);
    }

    /// Every write request that has ended so far, in order of arrival.
    pub fn journal(&self) -> Vec<Entry> {
        self.world.journal()
    }

    /// Pairs of writes to one row that overlapped in time.
    pub fn overlaps(&self) -> Vec<(Entry, Entry)> {
        journal::overlaps(&self.world.journal())
    }

    /// How many requests were handled, by method and status.
    pub fn requests(&self) -> Counts {
        lock(&self.world.counts).clone()
    }

    /// What the limits have counted so far; nothing without limits.
    pub fn usage(&self) -> Usage {
        self.world.limiter.as_ref().map(|limiter| lock(limiter).usage).unwrap_or_default()
    }

    /// The live row in which each of these columns has this value, given as text.
    pub fn row(&self, set: &str, key: &[(&str, &str)]) -> Option<Map<String, Value>> {
        let store = self.world.store();
        find(store.table_rows(set).ok()?, key).map(values_of)
    }

    /// Every live row of the set, oldest write first.
    pub fn rows(&self, set: &str) -> Vec<Map<String, Value>> {
        let store = self.world.store();
        let mut rows: Vec<&Row> =
            store.table_rows(set).map(|table_rows| table_rows.live().collect()).unwrap_or_default();
        rows.sort_by_key(|row| row.version);
        rows.into_iter().map(values_of).collect()
    }

    /// Adds a row without a request and returns its id. `values` is an object of columns, lookups as `_…_value`.
    ///
    /// # Panics
    /// If the row is invalid for the table.
    pub fn insert(&self, set: &str, values: &Value) -> String {
        let mut store = self.world.store();
        let table = store.table_rows(set).expect("the table is defined").table.clone();
        let mut kept = Map::new();
        for (column, value) in values.as_object().expect("values are an object") {
            let kind = table.columns.get(column).expect("the column is defined");
            let value = values::accept(&table, column, kind, value).expect("the column takes the value");
            if *kind == Kind::Lookup {
                kept.insert(Table::lookup_table(column), target_of(&store, &table, column, &value));
            }
            kept.insert(column.clone(), value);
        }
        state::complete(&table, &mut kept);
        let id = kept.get(&table.primary_key).and_then(Value::as_str).and_then(|id| id.parse().ok());
        let id = id.unwrap_or_else(Uuid::new_v4);
        kept.insert(table.primary_key.clone(), id.to_string().into());
        store.put(set, Row { id, values: kept, version: 0, recycled: false }).expect("the row's keys are free");
        id.to_string()
    }

    /// Moves a row into the recycle bin: it is no longer found, but its keys stay taken. Returns whether the row
    /// existed.
    pub fn recycle(&self, set: &str, key: &[(&str, &str)]) -> bool {
        let mut store = self.world.store();
        let id = store.table_rows(set).ok().and_then(|table_rows| find(table_rows, key)).map(|row| row.id);
        id.is_some_and(|id| store.recycle(set, id))
    }

    /// Lets our user read a secured column.
    pub fn grant_read(&self, set: &str, column: &str) {
        self.world.store().change_table(set, |table| _ = table.hidden.remove(column));
    }

    /// Hides a secured column from our user again.
    pub fn revoke_read(&self, set: &str, column: &str) {
        self.world.store().change_table(set, |table| _ = table.hidden.insert(column.to_owned()));
    }

    /// Adds a fault to the active ones.
    pub fn fault(&self, fault: Fault) {
        self.world.faults().add(fault);
    }

    /// Removes a fault, however often it has applied; other faults stay.
    pub fn end_fault(&self, fault: &Fault) {
        self.world.faults().end(fault);
    }

    /// Removes all faults. Requests that already hang stay hung.
    pub fn clear_faults(&self) {
        self.world.faults().clear();
    }

    /// Sets the time between lookup and commit for writes whose lookup happens from now on.
    pub fn set_race_window(&self, window: Duration) {
        *lock(&self.world.race_window) = window;
    }
}

#[derive(Debug)]
struct World {
    options: Options,
    origin: OnceLock<String>,
    started: Instant,
    race_window: Mutex<Duration>,
    store: Mutex<Store>,
    faults: Mutex<Faults>,
    limiter: Option<Mutex<Limiter>>,
    counts: Mutex<Counts>,
    journal: Mutex<Vec<Entry>>,
    seq: AtomicU64,
}

impl World {
    fn new(options: Options) -> Self {
        let mut store = Store::new(options.collation);
        for table in samples::tables() {
            store.define(table);
        }
        Self {
            origin: OnceLock::new(),
            started: Instant::now(),
            race_window: Mutex::new(options.race_window),
            store: Mutex::new(store),
            faults: Mutex::default(),
            limiter: options.limits.map(|limits| Mutex::new(Limiter::new(limits))),
            counts: Mutex::default(),
            journal: Mutex::default(),
            seq: AtomicU64::new(0),
            options,
        }
    }

    fn origin(&self) -> &str {
        self.origin.get().map_or("", String::as_str)
    }

    /// The time since the stand-in's start.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The race window for one write.
    fn race_window(&self) -> Duration {
        let spread = self.options.race_spread.clamp(0.0, 1.0);
        lock(&self.race_window).mul_f64(1.0 - spread + 2.0 * spread * fastrand::f64())
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    fn journal(&self) -> Vec<Entry> {
        let mut entries = lock(&self.journal).clone();
        entries.sort_by_key(|entry| entry.seq);
        entries
    }

    /// The `WWW-Authenticate` header of a 401.
    fn challenge(&self) -> String {
        let tenant = self.options.tokens.as_ref().map_or("common", |tokens| tokens.tenant());
        let authority = format!("https://login.microsoftonline.com/{tenant}/oauth2/authorize");
        format!("Bearer authorization_uri={authority}, resource_id={}/", self.origin())
    }

    fn enter(&self, user: &str) -> Result<Option<Left>, Error> {
        self.limiter.as_ref().map(|limiter| lock(limiter).enter(user, Instant::now())).transpose()
    }

    fn leave(&self, user: &str, spent: Duration) {
        if let Some(limiter) = &self.limiter {
            lock(limiter).leave(user, Instant::now(), spent);
        }
    }

    fn next_seq(&self) -> u64 {
        self.seq.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn new_entry(&self, call: &Call, request_id: &str) -> Entry {
        let (set, key) = path::glimpse(&call.path);
        let now = self.now();
        Entry {
            seq: self.next_seq(),
            protocol: format!("{:?}", call.version),
            method: call.method.to_string(),
            target: call.target.clone(),
            batch: call.batch.clone(),
            set,
            key,
            operation: Operation::Unknown,
            change: None,
            row: None,
            start: now,
            looked_up: None,
            commit: None,
            end: now,
            status: None,
            code: None,
            request_id: request_id.to_owned(),
            headers: call.headers_shown(),
            values: Map::new(),
            identity: String::new(),
        }
    }

    fn count(&self, method: &str, status: Option<u16>) {
        lock(&self.counts).add(method, status);
    }

    fn record(&self, entries: Vec<Entry>) {
        lock(&self.journal).extend(entries);
    }
}

/// Locks, ignoring poison: a panic fails its own test, and the data is never half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A row's columns, without annotations.
fn values_of(row: &Row) -> Map<String, Value> {
    row.values
        .iter()
        .filter(|(name, _)| !name.contains('@'))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The logical name of the first table, of those that a lookup column may point to, that has this row.
fn target_of(store: &Store, table: &Table, column: &str, id: &Value) -> Value {
    let id: Option<Uuid> = id.as_str().and_then(|id| id.parse().ok());
    let mut shelves = table.lookups_of(column).filter_map(|lookup| store.table_rows(&lookup.target_set).ok());
    let target = shelves.find(|table_rows| id.is_some_and(|id| table_rows.get(id).is_some()));
    target.map_or(Value::Null, |table_rows| table_rows.table.logical_name.as_str().into())
}

fn find<'a>(table_rows: &'a TableRows, key: &[(&str, &str)]) -> Option<&'a Row> {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let same = |row: &Row, column: &str, text: &str| row.values.get(column).is_some_and(|value| shown(value) == text);
    table_rows.live().find(|row| key.iter().all(|(column, text)| same(row, column, text)))
}

#[cfg(test)]
mod tests;
