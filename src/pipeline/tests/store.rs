//! A scripted store: each request gets the next answer and is recorded.
//!
//! A request beyond the script, or of another kind than the script expects, fails the test.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;

use crate::classify::{FailureScope, failure_scope};
use crate::dataverse::table_metadata::TableMetadata;
use crate::dataverse::{Change, Creator, Error, ReadAccess, Row, Store, Write, Written};
use crate::record::RecordKey;

/// The user that our requests come from.
pub(super) const OUR_USER: &str = "0c7b3f3e-1111-4222-8333-444455550000";

/// The answer to one request.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// A write succeeds.
    Wrote(Written),
    /// A write succeeds, and this JSON object comes back.
    Returned(Written, &'static str),
    /// A write succeeds after a delay.
    Slow(Duration, Written),
    /// A read finds this JSON object.
    Row(&'static str),
    /// A read finds this JSON object after a delay.
    SlowRow(Duration, &'static str),
    /// A read finds nothing.
    NoRow,
    /// A write or a read fails.
    Fails(Error),
    /// A write fails after a delay.
    SlowlyFails(Duration, Error),
    /// No answer ever arrives.
    Hangs,
}

impl Answer {
    /// Dataverse refuses with a code.
    pub(super) fn refused(status: u16, code: u32) -> Self {
        Self::Fails(Error::answered(status, Some(code), None))
    }

    /// Dataverse refuses with a status and a delay.
    pub(super) fn wait(status: u16, retry_after: Option<Duration>) -> Self {
        Self::Fails(Error::Answered { status, code: None, message: None, request_id: None, retry_after, sent_at: None })
    }

    /// No answer arrives; `sent` says whether the request may have arrived.
    pub(super) fn lost(sent: bool) -> Self {
        Self::Fails(Error::NoAnswer { sent, problem: "the connection broke" })
    }
}

/// The scripted store.
#[derive(Debug, Default)]
pub(super) struct ScriptedStore {
    answers: Mutex<VecDeque<Answer>>,
    requests: Mutex<Vec<String>>,
    security: Mutex<Security>,
    on_behalf: bool,
}

/// What a look at the metadata tells, as long as it is answered.
#[derive(Debug)]
struct Security {
    access: ReadAccess,
    table_type: Option<&'static str>,
    metadata: Option<Arc<TableMetadata>>,
    looks: usize,
    hangs: bool,
}

impl Default for Security {
    fn default() -> Self {
        Self { access: ReadAccess::Unknown, table_type: None, metadata: None, looks: 0, hangs: false }
    }
}

impl ScriptedStore {
    pub(super) fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() }
    }

    /// The same, with requests on behalf of another user.
    pub(super) fn on_behalf(self, on_behalf: bool) -> Self {
        Self { on_behalf, ..self }
    }

    /// The requests so far: `upsert`, `create`, `update` or `delete` with the primary key and ETag, if any, and the
    /// version as `column=json`; `read` with the wanted columns; `creator`. A write of a part of the record shows the part as JSON.
    pub(super) fn requests(&self) -> Vec<String> {
        lock(&self.requests).clone()
    }

    /// From now on a look at the metadata says whether columns can be read.
    pub(super) fn set_access(&self, access: ReadAccess) {
        lock(&self.security).access = access;
    }

    /// From now on a look at the metadata does not end.
    pub(super) fn set_access_hanging(&self) {
        lock(&self.security).hangs = true;
    }

    /// From now on a look at the metadata says that the table is of this type.
    pub(super) fn set_table_type(&self, table_type: &'static str) {
        lock(&self.security).table_type = Some(table_type);
    }

    /// From now on a look at the metadata finds this.
    pub(super) fn set_metadata(&self, metadata: TableMetadata) {
        lock(&self.security).metadata = Some(Arc::new(metadata));
    }

    /// How often the metadata was asked for.
    pub(super) fn looks(&self) -> usize {
        lock(&self.security).looks
    }

    /// The number of unused answers.
    pub(super) fn answers_left(&self) -> usize {
        lock(&self.answers).len()
    }

    fn next(&self, request: String) -> Answer {
        let next = lock(&self.answers).pop_front();
        let answer = next.unwrap_or_else(|| panic!("the script has no answer for `{request}`"));
        lock(&self.requests).push(request);
        answer
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The verb of a write, and its ETag.
fn parts(write: Write<'_>) -> (&'static str, Option<&str>) {
    match write {
        Write::Upsert => ("upsert", None),
        Write::Create => ("create", None),
        Write::Update => ("update", None),
        Write::UpdateFound => ("update found", None),
        Write::UpdateUnchanged(etag) => ("update", Some(etag)),
        Write::Delete => ("delete", None),
        Write::DeleteUnchanged(etag) => ("delete", Some(etag)),
    }
}

#[async_trait]
impl Store for ScriptedStore {
    async fn write(&self, change: &Change<'_>) -> Result<Written, Error> {
        Ok(self.write_returning(change, &[]).await?.0)
    }

    async fn write_returning(&self, change: &Change<'_>, columns: &[String]) -> Result<(Written, Option<Row>), Error> {
        let version = change.version.map(|(column, json)| format!("{column}={json}"));
        let id = change.id.map(|id| id.to_string());
        let (verb, etag) = parts(change.write);
        let is_whole = std::ptr::eq(change.columns, &raw const change.record.columns);
        let part = (!is_whole).then(|| String::from_utf8_lossy(&change.columns.object()).into_owned());
        let returning = (!columns.is_empty()).then(|| format!("returning {}", columns.join(",")));
        let parts = [Some(verb), id.as_deref(), etag, part.as_deref(), version.as_deref(), returning.as_deref()];
        let request = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        match self.next(request) {
            Answer::Wrote(written) => Ok((written, None)),
            Answer::Returned(written, row) => {
                Ok((written, Some(Row::from_json(row.to_owned()).expect("scripts hold JSON objects"))))
            }
            Answer::Slow(duration, written) => {
                sleep(duration).await;
                Ok((written, None))
            }
            Answer::Fails(fault) => Err(fault),
            Answer::SlowlyFails(duration, fault) => {
                sleep(duration).await;
                Err(fault)
            }
            Answer::Hangs => pending().await,
            answer @ (Answer::Row(_) | Answer::SlowRow(..) | Answer::NoRow) => {
                panic!("the script expects a read: {answer:?}")
            }
        }
    }

    fn impersonates(&self) -> bool {
        self.on_behalf
    }

    /// Fails as the next request will, unless only its table refuses us.
    async fn check(&self) -> Result<(), Error> {
        match lock(&self.answers).front() {
            Some(Answer::Fails(fault)) if failure_scope(fault) != FailureScope::Table => Err(fault.clone()),
            _ => Ok(()),
        }
    }

    async fn metadata(&self, _: &str) -> Option<Arc<TableMetadata>> {
        let mut security = lock(&self.security);
        security.looks += 1;
        let of_type = security.table_type.map(|kind| Arc::new(TableMetadata::new(Some(kind.to_owned()), [])));
        security.metadata.clone().or(of_type)
    }

    async fn read_access(&self, _: &str, _: &[String]) -> ReadAccess {
        let (access, hangs) = {
            let mut security = lock(&self.security);
            security.looks += 1;
            (security.access, security.hangs)
        };
        if hangs { pending().await } else { access }
    }

    async fn creator(&self) -> Result<Creator, Error> {
        lock(&self.requests).push("creator".to_owned());
        Ok(Creator { column: "_createdby_value", user: OUR_USER.parse().expect("a GUID") })
    }

    async fn read(&self, _: &str, _: &RecordKey, columns: &[String]) -> Result<Option<Row>, Error> {
        match self.next(format!("read {}", columns.join(",")).trim_end().to_owned()) {
            Answer::Row(json) => Ok(Some(Row::from_json(json.to_owned()).expect("scripts hold JSON objects"))),
            Answer::SlowRow(duration, json) => {
                sleep(duration).await;
                Ok(Some(Row::from_json(json.to_owned()).expect("scripts hold JSON objects")))
            }
            Answer::NoRow => Ok(None),
            Answer::Fails(fault) => Err(fault),
            Answer::Hangs => pending().await,
            answer @ (Answer::Wrote(_) | Answer::Returned(..) | Answer::Slow(..) | Answer::SlowlyFails(..)) => {
                panic!("the script expects a write: {answer:?}")
            }
        }
    }
}
