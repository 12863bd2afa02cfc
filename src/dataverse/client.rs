//! The Web API over HTTPS: requests out, facts back.
//!
//! Only this module sends to Dataverse. It keeps no cookies (affinity would pin it to one server), follows no redirects, and
//! repeats nothing by itself but one thing: a 401 refreshes the token once. Bodies are read up to a cap; addresses and
//! column values are in none of its errors' texts, except in what Dataverse itself said.

mod address;
mod answer;
mod exchange;
pub mod metadata;
mod metadata_cache;
mod request_spec;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::Method;
use axum::http::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, USER_AGENT};
use azure_core::credentials::TokenCredential as _;
use bytes::Bytes;
use tokio::time::timeout;
use url::Url;

use super::table_metadata::TableMetadata;
use super::{Change, Error, Row, Store, WriteKind, Written};
use crate::config::Environment;
use crate::http::{self, Http, Server, Way};
use crate::identity::{self, Identity};
use crate::record::{KeyValue, Operation, Record, RecordKey};
use crate::telemetry::trace;
use exchange::Answer;
use metadata_cache::MetadataCache;
use request_spec::RequestSpec;

/// Synchronous plug-ins may run for two minutes.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/analyze-performance>
const WRITE_TIMEOUT: Duration = Duration::from_secs(130);
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest wait for a token.
pub const TOKEN_TIMEOUT: Duration = Duration::from_secs(20);

const ODATA_VERSION: HeaderName = HeaderName::from_static("odata-version");
const ODATA_MAX_VERSION: HeaderName = HeaderName::from_static("odata-maxversion");
/// <https://learn.microsoft.com/power-apps/developer/data-platform/send-parallel-requests>
const PARALLELISM: &str = "x-ms-dop-hint";
const PREFER: HeaderName = HeaderName::from_static("prefer");
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");

/// A client of one environment.
#[derive(Debug)]
pub struct Client {
    way: Way,
    identity: Arc<Identity>,
    root: Url,
    scope: String,
    headers: HeaderMap,
    /// The last hint; zero stands for none.
    parallelism: AtomicU32,
    metadata_cache: MetadataCache,
}

/// What a token for `environment` is asked for.
pub fn scope(environment: &Environment) -> String {
    format!("{}/.default", environment.url.origin().ascii_serialization())
}

/// What every request has, those of the settings among it.
fn headers(environment: &Environment) -> HeaderMap {
    let mut headers = environment.headers.clone();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(ODATA_VERSION, HeaderValue::from_static("4.0"));
    headers.insert(ODATA_MAX_VERSION, HeaderValue::from_static("4.0"));
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(http::USER_AGENT));
    headers
}

impl Client {
    /// A client of `environment` that proves who it is with `identity`.
    pub fn new(environment: &Environment, identity: Arc<Identity>, http: impl Into<Http>) -> Self {
        let mut root = environment.url.clone();
        root.set_path(&format!("/api/data/{}/", environment.api_version));
        let scope = scope(environment);
        let (metadata_cache, parallelism) = (MetadataCache::default(), AtomicU32::new(0));
        let way = Way::to(root.as_str(), Server::Dataverse, http.into());
        Self { way, identity, root, scope, headers: headers(environment), parallelism, metadata_cache }
    }

    async fn token(&self) -> Result<HeaderValue, Error> {
        let scopes = [self.scope.as_str()];
        let asked = timeout(TOKEN_TIMEOUT, self.identity.get_token(&scopes, None));
        // A token from the cache is there at once.
        let token = match trace::span_if_pending(asked, trace::token, exchange::tell_token).await {
            Ok(Ok(token)) => token,
            Ok(Err(error)) => {
                let refused = identity::is_refusal(&error);
                return Err(Error::NoToken { refused, problem: identity::problem(&error) });
            }
            Err(_) => return Err(Error::NoToken { refused: false, problem: "no answer in time".to_owned() }),
        };
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.token.secret()))
            .map_err(|_| Error::NoToken { refused: true, problem: "the token is no header value".to_owned() })?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Sends with a token; with a fresh one if the first is refused.
    async fn send(&self, ask: &RequestSpec) -> Result<Answer, Error> {
        let answer = self.send_once(ask).await?;
        if answer.status() != 401 {
            return Ok(answer);
        }
        self.identity.refresh();
        self.send_once(ask).await
    }

    async fn send_once(&self, ask: &RequestSpec) -> Result<Answer, Error> {
        let request = ask.request(&self.headers, self.token().await?)?;
        let answer = exchange::exchange(&self.way, request, ask.limit, &self.root).await?;
        if let Some(hint) = answer.header(PARALLELISM).and_then(|value| value.trim().parse().ok()) {
            self.parallelism.store(hint, Ordering::Relaxed);
        }
        Ok(answer)
    }
}

impl Client {
    /// PATCH and DELETE go to the row. A row that no address can name, and that is not there, is created by POST.
    fn ask(&self, change: &Change<'_>) -> Result<RequestSpec, Error> {
        let record = change.record;
        let delete = record.operation == Operation::Delete;
        let ask = match address::row(&self.root, &record.table, &record.key, change.id) {
            Some(row) if delete => RequestSpec::write(Method::DELETE, row, None),
            Some(row) => RequestSpec::write(Method::PATCH, row, Some(body(change, &[]))),
            // What has no address yet is new, and there is no condition to make.
            None => {
                let set = address::set(&self.root, &record.table);
                return Ok(RequestSpec::write(Method::POST, set, Some(new_row(change)?)));
            }
        };
        Ok(match change.kind {
            WriteKind::Create => ask.with(IF_NONE_MATCH, "*"),
            WriteKind::Update | WriteKind::UpdateFound => ask.with(IF_MATCH, "*"),
            WriteKind::UpdateUnchanged | WriteKind::DeleteUnchanged => {
                ask.with(IF_MATCH, change.etag.unwrap_or("*").to_owned())
            }
            WriteKind::Upsert | WriteKind::Delete | WriteKind::Read => ask,
        })
    }

    /// The rows of a set that a filter finds.
    async fn find(&self, table: &str, key: &RecordKey, select: Option<String>) -> Result<Option<Row>, Error> {
        let query = [Some(address::filter(key)), select, Some("$top=2".to_owned())];
        let query = query.into_iter().flatten().collect::<Vec<_>>().join("&");
        let url = address::asked(&address::set(&self.root, table), Some(&query));
        let answer = self.send(&RequestSpec::read(url).with(PREFER, metadata::LOOKUP_TABLES)).await?;
        if !answer.is_success() {
            return Err(answer::refusal(answer).await);
        }
        let mut rows = answer::rows(answer).await?;
        if rows.len() > 1 { Err(Error::Ambiguous) } else { Ok(rows.pop()) }
    }
}

#[async_trait]
impl Store for Client {
    async fn write(&self, change: &Change<'_>) -> Result<Written, Error> {
        let answer = self.send(&self.ask(change)?).await?;
        if !answer.is_success() {
            return Err(answer::refusal(answer).await);
        }
        Ok(match (change.kind, answer.status()) {
            (WriteKind::Delete | WriteKind::DeleteUnchanged, _) => Written::Deleted,
            (WriteKind::Create, _) | (_, 201) => Written::Created,
            (WriteKind::Update | WriteKind::UpdateFound | WriteKind::UpdateUnchanged, _) | (_, 200) => Written::Updated,
            (WriteKind::Upsert | WriteKind::Read, _) => Written::Upserted,
        })
    }

    async fn read(&self, table: &str, key: &RecordKey, columns: &[String]) -> Result<Option<Row>, Error> {
        let select = (!columns.is_empty()).then(|| format!("$select={}", columns.join(",")));
        let Some(row) = address::row(&self.root, table, key, None) else {
            return self.find(table, key, select).await;
        };
        let url = address::asked(&row, select.as_deref());
        let answer = self.send(&RequestSpec::read(url).with(PREFER, metadata::LOOKUP_TABLES)).await?;
        if answer.is_success() {
            return answer::row(answer).await.map(Some).map_err(Error::from);
        }
        let fault = answer::refusal(answer).await;
        if answer::is_missing_row(&fault) { Ok(None) } else { Err(fault) }
    }

    fn parallelism(&self) -> Option<u32> {
        Some(self.parallelism.load(Ordering::Relaxed)).filter(|hint| *hint > 0)
    }

    async fn metadata(&self, table: &str) -> Option<Arc<TableMetadata>> {
        self.metadata_cache.get(table, self.read_metadata(table)).await
    }
}

/// A whole new row: the key's columns stand in the body, for there is no address to say them.
fn new_row(change: &Change<'_>) -> Result<Bytes, Error> {
    let mut key = Vec::new();
    for column in change.record.key.columns() {
        let json = match &column.value {
            KeyValue::Text(text) => serde_json::to_string(text).expect("text can be written to memory"),
            KeyValue::Number(_) => column.value.to_string(),
            // Which navigation property sets it, the key does not say.
            KeyValue::Guid(_) => return Err(not_addressable(change.record)),
        };
        key.push((column.name.as_str(), json));
    }
    if change.kind == WriteKind::Create { Ok(body(change, &key)) } else { Err(not_addressable(change.record)) }
}

fn not_addressable(record: &Record) -> Error {
    Error::NotAddressable { column: record.key.not_addressable().unwrap_or_default().to_owned() }
}

/// The key's columns where they are needed, the columns as they were sent, and the version.
fn body(change: &Change<'_>, key: &[(&str, String)]) -> Bytes {
    let columns = &change.record.columns;
    match change.stamp {
        None if key.is_empty() => columns.object(),
        stamp => columns.object_with(key, stamp).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_agent_of_the_settings_takes_the_place_of_ours() {
        let url = Url::parse("https://contoso.crm.dynamics.com/").expect("an address");
        let mut environment = Environment { url, api_version: "v9.2".to_owned(), headers: HeaderMap::new() };
        assert_eq!(headers(&environment)[USER_AGENT], http::USER_AGENT);
        environment.headers.insert(USER_AGENT, HeaderValue::from_static("contoso/1"));
        assert_eq!(headers(&environment)[USER_AGENT], "contoso/1");
    }
}
