//! A parsed request, alone or in a batch: the headers and query options that the Web API uses.
//!
//! It rejects contradictory conditions, OData versions other than 4.0 and bodies that are not JSON. See
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/compose-http-requests-handle-errors#http-headers>.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::body::Bytes;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Version};
use uuid::Uuid;

use super::errors::Error;
use super::path;
use super::table::Table;
use super::write::{Author, Condition};

/// One request to the Web API.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) version: Version,
    /// Path and query as sent.
    pub(super) target: String,
    /// The path as sent.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The request id of the batch that it is a part of.
    pub(super) batch: Option<String>,
    /// Whether its body ends in a way that the service cannot read.
    pub(super) is_unreadable: bool,
    query: Vec<(String, String)>,
}

impl Call {
    pub(super) fn new(head: Parts, body: Bytes) -> Self {
        let Parts { method, uri, version, headers, .. } = head;
        let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let target = uri.path_and_query().map_or_else(String::new, ToString::to_string);
        Self {
            method,
            version,
            target,
            path: uri.path().to_owned(),
            headers,
            body,
            batch: None,
            is_unreadable: false,
            query,
        }
    }

    /// The path below the service root, still percent-encoded.
    pub(super) fn below_root(&self) -> Result<&str, Error> {
        path::below_root(&self.path).ok_or_else(|| {
            let text = format!("No HTTP resource was found that matches the request URI '{}'.", self.path);
            Error::new(StatusCode::NOT_FOUND, "", text)
        })
    }

    /// The path of the service root, e.g. `/api/data/v9.2/`.
    pub(super) fn root(&self) -> &str {
        let below = path::below_root(&self.path).map_or(0, str::len);
        &self.path[..self.path.len() - below]
    }

    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// All headers except the token, for the journal; repeated headers are joined as HTTP allows.
    pub(super) fn headers_shown(&self) -> BTreeMap<String, String> {
        let mut shown: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in self.headers.iter().filter(|(name, _)| *name != AUTHORIZATION) {
            let value = String::from_utf8_lossy(value.as_bytes());
            let joined = shown.entry(name.as_str().to_owned()).or_default();
            if !joined.is_empty() {
                joined.push_str(", ");
            }
            joined.push_str(&value);
        }
        shown
    }

    /// A query option such as `$select`.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header(&AUTHORIZATION)?.split_once(' ')?;
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    }

    /// Whose request it is, if `user` sent it: it may impersonate another.
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/impersonate-another-user-web-api>
    pub(super) fn author(&self, user: &str) -> Author {
        match self.headers.get("callerobjectid").and_then(|value| value.to_str().ok()) {
            None => Author { by: user.to_owned(), on_behalf_by: None },
            Some(other) => Author { by: system_user(other), on_behalf_by: Some(user.to_owned()) },
        }
    }

    /// Checks what applies to every request.
    pub(super) fn check(&self) -> Result<(), Error> {
        for name in ["odata-version", "odata-maxversion"] {
            let version = self.headers.get(name).map(HeaderValue::as_bytes);
            if version.is_some_and(|version| version != b"4.0") {
                return Err(Error::query(format!("The {name} header must be 4.0.")));
            }
        }
        let known = ["$select", "$filter", "$top", "$expand", "tag"];
        if let Some((name, _)) = self.query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            let text = match name.as_str() {
                "$skip" => "Skip Clause is not supported in CRM".to_owned(),
                _ => format!("The query parameter {name} is not supported"),
            };
            return Err(Error::query(text));
        }
        let has_body = self.method == Method::PATCH || self.method == Method::POST;
        let content_type = self.header(&CONTENT_TYPE).unwrap_or_default();
        if has_body && !content_type.to_ascii_lowercase().starts_with("application/json") {
            let text = format!("The request entity's media type '{content_type}' is not supported for this resource.");
            return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "", text));
        }
        if has_body && self.is_unreadable {
            return Err(Error::unreadable(&path::glimpse(&self.path).0));
        }
        Ok(())
    }

    /// The condition in `If-Match` and `If-None-Match`. `null`, which some clients send for "none", counts as absent.
    pub(super) fn condition(&self) -> Result<Condition, Error> {
        let given = |name| self.header(name).filter(|value| *value != "null");
        match (given(&IF_MATCH), given(&IF_NONE_MATCH)) {
            (None, None) => Ok(Condition::Any),
            (Some("*"), None) => Ok(Condition::Present),
            (None, Some("*")) => Ok(Condition::Absent),
            (Some(etag), None) if is_etag(etag) => Ok(Condition::Version(etag.to_owned())),
            (Some(_), Some(_)) => Err(Error::query("If-Match and If-None-Match cannot be used together.")),
            (Some(_), None) | (None, Some(_)) => Err(Error::query("The condition of the request is not a valid ETag.")),
        }
    }

    /// Whether `Prefer` has this preference.
    pub(super) fn prefers(&self, wanted: &str) -> bool {
        let preferences = self.headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        preferences.flat_map(|list| list.split(',')).any(|preference| preference.trim() == wanted)
    }

    /// Whether a write requests the row in the response.
    pub(super) fn wants_representation(&self) -> bool {
        self.prefers("return=representation")
    }

    /// Whether a read requests this annotation.
    pub(super) fn wants_annotation(&self, name: &str) -> bool {
        let preferences = self.headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        let lists = preferences.filter_map(|preference| preference.split_once("odata.include-annotations="));
        let list = lists.map(|(_, list)| list.trim_start_matches('"').split('"').next().unwrap_or_default());
        list.flat_map(|list| list.split(',')).any(|wanted| wanted == "*" || wanted == name)
    }

    /// The columns in `$select`; `None`: all.
    pub(super) fn selection(&self, table: &Table) -> Result<Option<Vec<String>>, Error> {
        let Some(list) = self.option("$select") else { return Ok(None) };
        let columns: Vec<String> = list.split(',').map(|name| name.trim().to_owned()).collect();
        match columns.iter().find(|name| !table.columns.contains_key(*name)) {
            Some(name) => Err(Error::no_property(&table.logical_name, name)),
            None => Ok(Some(columns)),
        }
    }
}

/// The id in Dataverse of the user with this object id in Entra.
fn system_user(object_id: &str) -> String {
    let mut hasher = DefaultHasher::new();
    object_id.hash(&mut hasher);
    Uuid::from_u64_pair(hasher.finish(), 1).to_string()
}

fn is_etag(text: &str) -> bool {
    let digits = text.strip_prefix("W/\"").and_then(|rest| rest.strip_suffix('"'));
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}
