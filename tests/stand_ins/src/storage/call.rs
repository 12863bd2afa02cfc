//! A parsed request: service, names, query, headers, body.
//!
//! Invalid names are rejected before any operation. Addressing is path style,
//! `/<account>/<container or queue>/<blob or messages…>`, and every name is percent-decoded once.
//!
//! Naming rules:
//! <https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata> and
//! <https://learn.microsoft.com/rest/api/storageservices/naming-queues-and-metadata>.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::error::{
    Error, INVALID_HEADER_VALUE, INVALID_METADATA, INVALID_QUERY_VALUE, INVALID_RESOURCE_NAME, INVALID_URI,
    MISSING_HEADER, MISSING_QUERY, NAME_OUT_OF_RANGE, QUERY_OUT_OF_RANGE, Result,
};

/// <https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata#blob-names>
const MAX_BLOB_NAME: usize = 1024;

/// User-defined pairs of a blob, container or queue; names are case-insensitive and kept in lower case.
pub type Metadata = BTreeMap<String, String>;

/// Which of the two services was called; each has its own port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Blob,
    Queue,
}

impl Service {
    /// The service's name in host names and canonical resources.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Queue => "queue",
        }
    }
}

/// One request.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) service: Service,
    /// Whether it came over TLS.
    pub(super) secure: bool,
    pub(super) method: Method,
    /// The path as sent, still percent-encoded; signatures cover this form.
    pub(super) raw_path: String,
    /// The container or queue.
    pub(super) container: Option<String>,
    /// The blob, or what follows the queue: `messages`, `messages/<id>`.
    pub(super) name: Option<String>,
    /// Names in lower case; values decoded, several values of one name sorted and joined with commas.
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Call {
    /// Parses a request and checks its names.
    pub(super) fn parse(service: Service, secure: bool, account: &str, parts: Parts, body: Bytes) -> Result<Self> {
        let raw_path = parts.uri.path().to_owned();
        let mut segments = raw_path.trim_start_matches('/').splitn(3, '/');
        if segments.next() != Some(account) {
            return Err(INVALID_URI);
        }
        let container = segments.next().filter(|name| !name.is_empty()).map(decode).transpose()?;
        let name = segments.next().filter(|name| !name.is_empty()).map(decode).transpose()?;
        if let Some(container) = &container {
            check_container(container)?;
        }
        if name.as_ref().is_some_and(|name| name.chars().count() > MAX_BLOB_NAME) {
            return Err(NAME_OUT_OF_RANGE);
        }
        let query = parse_query(parts.uri.query().unwrap_or_default());
        Ok(Self {
            service,
            secure,
            method: parts.method,
            raw_path,
            container,
            name,
            query,
            headers: parts.headers,
            body,
        })
    }

    /// A header's text; `None` if it is absent or not text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
    }

    /// A required header.
    pub(super) fn required_header(&self, name: &str) -> Result<&str> {
        self.header(name).ok_or_else(|| MISSING_HEADER.because(name))
    }

    /// A query parameter's decoded value.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// A required query parameter.
    pub(super) fn required_query(&self, name: &str) -> Result<&str> {
        self.query(name).ok_or_else(|| MISSING_QUERY.because(name))
    }

    /// An integer in the query, within `range`.
    pub(super) fn number(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>> {
        let Some(text) = self.query(name) else { return Ok(None) };
        let number = text.parse().map_err(|_| INVALID_QUERY_VALUE.because(name))?;
        if range.contains(&number) { Ok(Some(number)) } else { Err(QUERY_OUT_OF_RANGE.because(name)) }
    }

    /// A header with a GUID in one of the forms that .NET's `Guid` constructor accepts.
    pub(super) fn guid(&self, name: &str) -> Result<Option<Uuid>> {
        let Some(text) = self.header(name) else { return Ok(None) };
        let invalid: Error = INVALID_HEADER_VALUE.because(name);
        let bare = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text);
        if bare.starts_with("urn:") {
            return Err(invalid);
        }
        Uuid::parse_str(bare).map(Some).map_err(|_| invalid)
    }

    /// A required header with a GUID.
    pub(super) fn required_guid(&self, name: &str) -> Result<Uuid> {
        self.guid(name)?.ok_or_else(|| MISSING_HEADER.because(name))
    }

    /// The `x-ms-meta-*` headers.
    pub(super) fn metadata(&self) -> Result<Metadata> {
        let mut metadata = Metadata::new();
        for (name, value) in &self.headers {
            let Some(name) = name.as_str().strip_prefix("x-ms-meta-") else { continue };
            let value = value.to_str().map_err(|_| INVALID_METADATA)?.trim();
            let fresh = metadata.insert(name.to_owned(), value.to_owned()).is_none();
            if !fresh || !is_identifier(name) || value.is_empty() {
                return Err(INVALID_METADATA);
            }
        }
        Ok(metadata)
    }

    /// The message id in a queue's path `messages/<id>`.
    pub(super) fn message_id(&self) -> Option<&str> {
        self.name.as_deref()?.strip_prefix("messages/").filter(|id| !id.is_empty())
    }
}

fn decode(encoded: &str) -> Result<String> {
    percent_decode_str(encoded).decode_utf8().map(Cow::into_owned).map_err(|_| INVALID_URI)
}

fn parse_query(query: &str) -> BTreeMap<String, String> {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        values.entry(name.to_lowercase()).or_default().push(value.into_owned());
    }
    values
        .into_iter()
        .map(|(name, mut values)| {
            values.sort();
            (name, values.join(","))
        })
        .collect()
}

fn check_container(name: &str) -> Result<()> {
    if name == "$root" {
        return Ok(());
    }
    if !(3..=63).contains(&name.len()) {
        return Err(NAME_OUT_OF_RANGE);
    }
    let allowed = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !allowed || name.starts_with('-') || name.ends_with('-') || name.contains("--") {
        return Err(INVALID_RESOURCE_NAME);
    }
    Ok(())
}

/// Metadata names are C# identifiers; of those, HTTP allows letters, digits and `_`.
fn is_identifier(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;

    use super::*;

    fn parse(uri: &str) -> Result<Call> {
        let request = Request::builder().uri(uri).header("x-ms-meta-Kind", "lock").body(Body::empty());
        let (parts, _) = request.expect("the test's URI is valid").into_parts();
        Call::parse(Service::Blob, false, "acc", parts, Bytes::new())
    }

    #[test]
    fn names_are_decoded_and_a_blob_may_contain_slashes() {
        let call = parse("/acc/locks/a%20b/c?comp=lease&Timeout=5").expect("a valid request");
        assert_eq!(call.container.as_deref(), Some("locks"));
        assert_eq!(call.name.as_deref(), Some("a b/c"));
        assert_eq!((call.query("comp"), call.query("timeout")), (Some("lease"), Some("5")));
        assert_eq!(call.metadata().expect("valid metadata"), Metadata::from([("kind".to_owned(), "lock".to_owned())]));
    }

    #[test]
    fn names_that_the_service_refuses_are_refused() {
        let long = format!("/acc/locks/{}", "x".repeat(1025));
        for (uri, expected) in [
            ("/other/locks", INVALID_URI),
            ("/acc/ab", NAME_OUT_OF_RANGE),
            ("/acc/Upper", INVALID_RESOURCE_NAME),
            ("/acc/two--hyphens", INVALID_RESOURCE_NAME),
            ("/acc/ends-", INVALID_RESOURCE_NAME),
            (long.as_str(), NAME_OUT_OF_RANGE),
        ] {
            assert_eq!(parse(uri).expect_err(uri), expected, "{uri}");
        }
    }
}
