//! The Web API over HTTPS.
//!
//! Only this module sends requests to Dataverse. It keeps no cookies (affinity would pin it to one server), follows no redirects, and
//! repeats a request for one reason only: after a 401 it sends it once more, with another token. Bodies are read up to a cap. No
//! error text has a URL or a column value, except in Dataverse's own message.

mod address;
mod answer;
mod batch;
mod cache;
mod exchange;
pub(crate) mod metadata;
pub mod multipart;
mod service;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use reqwest::{Method, Request};
use url::Url;
use uuid::Uuid;

use super::table_metadata::TableMetadata;
use super::{Change, Creator, Error, ReadAccess, Row, Store, Write, Written};
use crate::http::Http;
use crate::identity::Identity;
use crate::record::{KeyValue, Operation, Record, RecordKey};
pub(crate) use address::percent_encoded;
pub use batch::Gate;
use batch::{Batches, Exchange as _, UNANSWERED};
use cache::{Cached, MetadataCache, PRIVILEGES_TTL};
use exchange::Answer;
use service::Service;

const ODATA_VERSION: HeaderName = HeaderName::from_static("odata-version");
const ODATA_MAX_VERSION: HeaderName = HeaderName::from_static("odata-maxversion");
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Each names the user on whose behalf a request is made.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/impersonate-another-user-web-api>
const IMPERSONATED_USER: [&str; 2] = ["callerobjectid", "mscrmcallerid"];
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");

/// A Dataverse environment.
#[derive(Debug, Clone)]
pub struct Environment {
    /// `https://contoso.crm.dynamics.com/`
    pub url: Url,
    /// `v9.2`
    pub api_version: String,
    /// Extra headers of every request.
    pub headers: HeaderMap,
}

impl Environment {
    /// The OAuth scope of a token for this environment.
    pub(crate) fn scope(&self) -> String {
        format!("{}/.default", self.url.origin().ascii_serialization())
    }

    /// The headers of every request.
    fn common_headers(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ODATA_VERSION, HeaderValue::from_static("4.0"));
        headers.insert(ODATA_MAX_VERSION, HeaderValue::from_static("4.0"));
        headers
    }
}

/// A client of one environment.
#[derive(Debug)]
pub struct Client {
    service: Arc<Service>,
    /// `None`: every read and write is a request of its own.
    batches: Option<Arc<Batches>>,
    metadata_cache: MetadataCache,
    /// The secured columns that we may read.
    readable: Cached<HashSet<Uuid>>,
}

impl Client {
    /// A client of `environment` that gets its tokens from `identity`.
    pub fn new(environment: &Environment, identity: Arc<Identity>, http: &Http) -> Self {
        Self {
            service: Arc::new(Service::new(environment, identity, http)),
            batches: None,
            metadata_cache: MetadataCache::default(),
            readable: Cached::new(PRIVILEGES_TTL),
        }
    }

    /// Sends reads and writes that wait together as one request, as far as `gate` admits requests.
    #[must_use]
    pub fn with_batches(mut self, gate: Arc<dyn Gate>) -> Self {
        self.batches = Some(Arc::new(Batches::new(self.service.clone(), gate)));
        self
    }

    /// Sends a request about the row that `row` identifies, perhaps as a part of a batch.
    async fn send(&self, request: Request, row: impl FnOnce() -> String) -> Result<Answer, Error> {
        match &self.batches {
            None => self.service.send(&request).await,
            Some(batches) => batches.send(request, row()).await,
        }
    }

    async fn look_at_table(&self, table: &str) -> Option<Arc<TableMetadata>> {
        self.metadata_cache.get(table, self.read_metadata(table)).await
    }

    /// Sends a batch with one part, which asks who we are.
    pub(crate) async fn try_batch(&self) -> Result<(), Error> {
        let parts = [&self.metadata_request("WhoAmI", None)];
        self.service.together(&parts).await?.pop().unwrap_or(Err(UNANSWERED)).map(drop)
    }

    /// PATCH and DELETE name the row. A row that no URL can name, and that does not exist, is created by POST.
    ///
    /// With `returning`, these columns of the row come with the answer.
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/create-entity-web-api#create-with-data-returned>
    fn write_request(&self, change: &Change<'_>, returning: &[String]) -> Result<Request, Error> {
        let record = change.record;
        let (method, url, json) = match address::row(&self.service.root, &record.table, &record.key, change.id) {
            None => (Method::POST, address::set(&self.service.root, &record.table), Some(new_row(change)?)),
            Some(row) if record.operation == Operation::Delete => (Method::DELETE, row, None),
            Some(row) => (Method::PATCH, row, Some(body(change, &[]))),
        };
        let condition = match change.write {
            // A new row, without a condition.
            _ if method == Method::POST => None,
            Write::Create => Some((IF_NONE_MATCH, "*")),
            Write::Update | Write::UpdateFound => Some((IF_MATCH, "*")),
            Write::UpdateUnchanged(etag) | Write::DeleteUnchanged(etag) => Some((IF_MATCH, etag)),
            Write::Upsert | Write::Delete => None,
        };
        let mut request = self.service.request(method, url);
        if !returning.is_empty() {
            request.url_mut().set_query(Some(&format!("$select={}", returning.join(","))));
            request.headers_mut().insert(PREFER, HeaderValue::from_static("return=representation"));
        }
        if let Some(json) = json {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Some(json.into());
        }
        if let Some((name, value)) = condition {
            request.headers_mut().insert(name, HeaderValue::from_str(value).map_err(|_| Error::NOT_SENDABLE)?);
        }
        Ok(request)
    }

    /// A read of `url` that also says which table a lookup points to.
    async fn read_rows(
        &self,
        mut url: Url,
        query: Option<&str>,
        row: impl FnOnce() -> String,
    ) -> Result<Answer, Error> {
        url.set_query(query);
        let mut request = self.service.request(Method::GET, url);
        request.headers_mut().insert(PREFER, HeaderValue::from_static(metadata::LOOKUP_TABLES));
        self.send(request, row).await
    }

    /// The row that a filter by key finds.
    async fn find(&self, table: &str, key: &RecordKey, select: Option<&str>) -> Result<Option<Row>, Error> {
        let filter = address::filter(key);
        let query = [Some(filter.as_str()), select, Some("$top=2")].into_iter().flatten().collect::<Vec<_>>().join("&");
        let answer =
            self.read_rows(address::set(&self.service.root, table), Some(&query), || key.lock_name("", table)).await?;
        let mut rows = answer::rows(answer).await?;
        if rows.len() > 1 { Err(Error::Ambiguous) } else { Ok(rows.pop()) }
    }
}

#[async_trait]
impl Store for Client {
    async fn write(&self, change: &Change<'_>) -> Result<Written, Error> {
        Ok(self.write_returning(change, &[]).await?.0)
    }

    async fn write_returning(&self, change: &Change<'_>, columns: &[String]) -> Result<(Written, Option<Row>), Error> {
        let answer = self
            .send(self.write_request(change, columns)?, || change.record.key.lock_name("", &change.record.table))
            .await?;
        if !answer.is_of_dataverse() {
            return Err(Error::NoAnswer { sent: true, problem: "the answer is not Dataverse's" });
        }
        let written = match (change.write, answer.status()) {
            (Write::Delete | Write::DeleteUnchanged(_), _) => Written::Deleted,
            (Write::Create, _) | (_, 201) => Written::Created,
            (Write::Update | Write::UpdateFound | Write::UpdateUnchanged(_), _) | (_, 200) => Written::Updated,
            (Write::Upsert, _) => Written::Upserted,
        };
        // The change was made, even if the body cannot be read.
        let row = if columns.is_empty() { None } else { answer::row(answer).await.ok() };
        Ok((written, row))
    }

    async fn read(&self, table: &str, key: &RecordKey, columns: &[String]) -> Result<Option<Row>, Error> {
        let select = (!columns.is_empty()).then(|| format!("$select={}", columns.join(",")));
        let Some(row) = address::row(&self.service.root, table, key, None) else {
            return self.find(table, key, select.as_deref()).await;
        };
        match self.read_rows(row, select.as_deref(), || key.lock_name("", table)).await {
            Ok(answer) => answer::row(answer).await.map(Some),
            Err(error) if answer::is_missing_row(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parallelism(&self) -> Option<u32> {
        Some(self.service.parallelism.load(Ordering::Relaxed)).filter(|hint| *hint > 0)
    }

    fn impersonates(&self) -> bool {
        IMPERSONATED_USER.iter().any(|name| self.service.headers.contains_key(*name))
    }

    async fn check(&self) -> Result<(), Error> {
        self.who_am_i().await.map(drop)
    }

    async fn creator(&self) -> Result<Creator, Error> {
        let column = if self.impersonates() { "_createdonbehalfby_value" } else { "_createdby_value" };
        Ok(Creator { column, user: self.own_user().await? })
    }

    async fn metadata(&self, table: &str) -> Option<Arc<TableMetadata>> {
        self.look_at_table(table).await.filter(|metadata| metadata.is_offered())
    }

    async fn read_access(&self, table: &str, columns: &[String]) -> ReadAccess {
        let metadata = self.look_at_table(table).await;
        match metadata.as_ref().and_then(|metadata| metadata.secured(columns)) {
            None if metadata.is_some_and(|metadata| !metadata.is_offered()) => ReadAccess::NoMetadata,
            None => ReadAccess::Unknown,
            Some(secured) if secured.is_empty() => ReadAccess::Granted,
            Some(secured) => match self.readable.get(self.look_at_privileges()).await {
                None => ReadAccess::Unknown,
                Some(readable) if secured.iter().all(|id| readable.contains(id)) => ReadAccess::Granted,
                Some(_) => ReadAccess::Denied,
            },
        }
    }
}

/// The body of a new row, with the key's columns, which no URL names.
fn new_row(change: &Change<'_>) -> Result<Bytes, Error> {
    let mut key = Vec::new();
    for column in change.record.key.columns() {
        let json = match &column.value {
            KeyValue::Text(text) => serde_json::to_string(text).expect("text can be written to memory"),
            KeyValue::Number(_) => column.value.to_string(),
            // The key does not say which navigation property sets it.
            KeyValue::Guid(_) => return Err(not_addressable(change.record)),
        };
        key.push((column.name.as_str(), json));
    }
    if change.write == Write::Create { Ok(body(change, &key)) } else { Err(not_addressable(change.record)) }
}

fn not_addressable(record: &Record) -> Error {
    Error::NotAddressable { column: record.key.not_addressable().unwrap_or_default().to_owned() }
}

/// The columns as they were sent, with `key` and the version added.
fn body(change: &Change<'_>, key: &[(&str, String)]) -> Bytes {
    let columns = change.columns;
    match change.version {
        None if key.is_empty() => columns.object(),
        version => columns.object_with(key, version).into(),
    }
}

#[cfg(test)]
mod tests;
