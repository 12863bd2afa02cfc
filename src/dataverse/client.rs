//! The Web API over HTTPS.
//!
//! Only this module sends requests to Dataverse. It keeps no cookies (affinity would pin it to one server), follows no redirects, and
//! repeats a request for one reason only: after a 401 it sends it once more, with another token. Bodies are read up to a cap. No
//! error text has a URL or a column value, except in Dataverse's own message.

mod address;
mod answer;
mod cache;
mod exchange;
pub(crate) mod metadata;
pub mod multipart;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::Secret;
use bytes::Bytes;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH,
};
use reqwest::{Method, Request};
use tokio::time::timeout;
use url::Url;
use uuid::Uuid;

use super::table_metadata::TableMetadata;
use super::{Change, Creator, Error, ReadAccess, Row, Store, Write, Written};
use crate::http::Http;
use crate::identity::{Identity, TokenError};
use crate::record::{KeyValue, Operation, Record, RecordKey};
use crate::telemetry::trace;
use cache::{Cached, MetadataCache, PRIVILEGES_TTL};
use exchange::Answer;

/// Synchronous plug-ins may run for two minutes and twenty seconds; the caller sets an earlier end where it has less time.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/analyze-performance>
const WRITE_TIMEOUT: Duration = Duration::from_secs(150);
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest wait for a token.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(20);

const ODATA_VERSION: HeaderName = HeaderName::from_static("odata-version");
const ODATA_MAX_VERSION: HeaderName = HeaderName::from_static("odata-maxversion");
/// <https://learn.microsoft.com/power-apps/developer/data-platform/send-parallel-requests>
const PARALLELISM: &str = "x-ms-dop-hint";
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
    http: reqwest::Client,
    identity: Arc<Identity>,
    root: Url,
    scope: String,
    headers: HeaderMap,
    /// The last hint; zero if there was none.
    parallelism: AtomicU32,
    metadata_cache: MetadataCache,
    /// The secured columns that we may read.
    readable: Cached<HashSet<Uuid>>,
}

impl Client {
    /// A client of `environment` that gets its tokens from `identity`.
    pub fn new(environment: &Environment, identity: Arc<Identity>, http: &Http) -> Self {
        let mut root = environment.url.clone();
        root.set_path(&format!("/api/data/{}/", environment.api_version));
        Self {
            http: http.to(root.as_str()).clone(),
            identity,
            root,
            scope: environment.scope(),
            headers: environment.common_headers(),
            parallelism: AtomicU32::new(0),
            metadata_cache: MetadataCache::default(),
            readable: Cached::new(PRIVILEGES_TTL),
        }
    }

    async fn token(&self) -> Result<Secret, Error> {
        let token = timeout(TOKEN_TIMEOUT, self.identity.token(&self.scope));
        // A cached token needs no span.
        match trace::span_if_pending(token, || trace::child("token"), exchange::record_token_failure).await {
            Ok(Ok(token)) => Ok(token.token),
            Ok(Err(TokenError { refused, problem, .. })) => Err(Error::NoToken { refused, problem }),
            Err(_) => Err(Error::NoToken { refused: false, problem: "no answer in time".to_owned() }),
        }
    }

    /// A request with the headers that every request has.
    fn request(&self, method: Method, url: Url) -> Request {
        let mut request = Request::new(method, url);
        request.headers_mut().clone_from(&self.headers);
        request
    }

    /// Sends a request and gives its success; a token that is refused is replaced once.
    async fn send(&self, request: &Request) -> Result<Answer, Error> {
        let token = self.token().await?;
        let mut answer = self.send_once(request, &token).await?;
        if answer.status() == 401 {
            self.identity.forget(token.secret());
            answer = self.send_once(request, &self.token().await?).await?;
        }
        if answer.is_success() { Ok(answer) } else { Err(answer::error(answer).await) }
    }

    /// Adds the token, and a request id that no other sending has.
    async fn send_once(&self, request: &Request, token: &Secret) -> Result<Answer, Error> {
        let mut request = request.try_clone().expect("its body is in memory");
        let id = Uuid::new_v4().to_string();
        request.headers_mut().insert(AUTHORIZATION, bearer(token)?);
        request.headers_mut().insert(CLIENT_REQUEST_ID, HeaderValue::try_from(id).expect("a UUID is ASCII"));
        let timeout = if request.method() == Method::GET { READ_TIMEOUT } else { WRITE_TIMEOUT };
        let answer = exchange::exchange(&self.http, request, timeout, &self.root).await?;
        if let Some(hint) = answer.header(PARALLELISM).and_then(|value| value.trim().parse().ok()) {
            self.parallelism.store(hint, Ordering::Relaxed);
        }
        Ok(answer)
    }

    /// PATCH and DELETE name the row. A row that no URL can name, and that does not exist, is created by POST.
    ///
    /// With `returning`, these columns of the row come with the answer.
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/create-entity-web-api#create-with-data-returned>
    fn write_request(&self, change: &Change<'_>, returning: &[String]) -> Result<Request, Error> {
        let record = change.record;
        let (method, url, json) = match address::row(&self.root, &record.table, &record.key, change.id) {
            None => (Method::POST, address::set(&self.root, &record.table), Some(new_row(change)?)),
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
        let mut request = self.request(method, url);
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
    async fn read_rows(&self, mut url: Url, query: Option<&str>) -> Result<Answer, Error> {
        url.set_query(query);
        let mut request = self.request(Method::GET, url);
        request.headers_mut().insert(PREFER, HeaderValue::from_static(metadata::LOOKUP_TABLES));
        self.send(&request).await
    }

    /// The row that a filter by key finds.
    async fn find(&self, table: &str, key: &RecordKey, select: Option<&str>) -> Result<Option<Row>, Error> {
        let filter = address::filter(key);
        let query = [Some(filter.as_str()), select, Some("$top=2")].into_iter().flatten().collect::<Vec<_>>().join("&");
        let answer = self.read_rows(address::set(&self.root, table), Some(&query)).await?;
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
        let answer = self.send(&self.write_request(change, columns)?).await?;
        if !answer.is_of_dataverse() {
            return Err(Error::NoAnswer { sent: true, problem: "the answer is not Dataverse's" });
        }
        let written = match (change.write, answer.status()) {
            (Write::Delete | Write::DeleteUnchanged(_), _) => Written::Deleted,
            (Write::Create, _) | (_, 201) => Written::Created,
            (Write::Update | Write::UpdateFound | Write::UpdateUnchanged(_), _) | (_, 200) => Written::Updated,
            (Write::Upsert, _) => Written::Upserted,
        };
        // The change is made, whatever becomes of the body.
        let row = if columns.is_empty() { None } else { answer::row(answer).await.ok() };
        Ok((written, row))
    }

    async fn read(&self, table: &str, key: &RecordKey, columns: &[String]) -> Result<Option<Row>, Error> {
        let select = (!columns.is_empty()).then(|| format!("$select={}", columns.join(",")));
        let Some(row) = address::row(&self.root, table, key, None) else {
            return self.find(table, key, select.as_deref()).await;
        };
        match self.read_rows(row, select.as_deref()).await {
            Ok(answer) => answer::row(answer).await.map(Some),
            Err(error) if answer::is_missing_row(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parallelism(&self) -> Option<u32> {
        Some(self.parallelism.load(Ordering::Relaxed)).filter(|hint| *hint > 0)
    }

    fn impersonates(&self) -> bool {
        IMPERSONATED_USER.iter().any(|name| self.headers.contains_key(*name))
    }

    async fn check(&self) -> Result<(), Error> {
        self.who_am_i().await.map(drop)
    }

    async fn creator(&self) -> Result<Creator, Error> {
        let column = if self.impersonates() { "_createdonbehalfby_value" } else { "_createdby_value" };
        Ok(Creator { column, user: self.own_user().await? })
    }

    async fn metadata(&self, table: &str) -> Option<Arc<TableMetadata>> {
        self.metadata_cache.get(table, self.read_metadata(table)).await
    }

    async fn read_access(&self, table: &str, columns: &[String]) -> ReadAccess {
        let metadata = self.metadata(table).await;
        match metadata.as_ref().and_then(|metadata| metadata.secured(columns)) {
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

fn bearer(token: &Secret) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.secret()))
        .map_err(|_| Error::NoToken { refused: false, problem: "the token is not a header value".to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
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
