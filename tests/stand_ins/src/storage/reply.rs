//! Responses: a status, headers, and XML or bytes; and the services' two time formats.
//!
//! Values that are not valid in a header are left out. Every response carries the request's id and version, see
//! <https://learn.microsoft.com/rest/api/storageservices/common-rest-api-response-headers>.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tokio::time::Instant;

use super::call::Metadata;

const RFC_1123: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// One moment on two clocks: decisions use the monotonic one, responses show the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) utc: OffsetDateTime,
}

impl Now {
    /// The current time.
    pub(super) fn read() -> Self {
        Self { instant: Instant::now(), utc: OffsetDateTime::now_utc() }
    }
}

/// A time in the format of HTTP headers and the services' XML.
pub(super) fn http_date(time: OffsetDateTime) -> String {
    time.to_offset(time::UtcOffset::UTC).format(RFC_1123).expect("the format names only what every time has")
}

/// A response builder.
#[derive(Debug)]
pub(super) struct Reply(Response);

impl Reply {
    /// A response without a body.
    pub(super) fn new(status: StatusCode) -> Self {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        Self(response)
    }

    /// Adds a header.
    #[must_use]
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            self.0.headers_mut().insert(name, value);
        }
        self
    }

    /// Adds the `x-ms-meta-*` headers.
    #[must_use]
    pub(super) fn metadata(self, metadata: &Metadata) -> Self {
        metadata.iter().fold(self, |reply, (name, value)| reply.header(&format!("x-ms-meta-{name}"), value))
    }

    /// Sets the body to XML; `xml` has no declaration.
    #[must_use]
    pub(super) fn xml(self, xml: &str) -> Self {
        let document = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>{xml}");
        self.header(header::CONTENT_TYPE.as_str(), "application/xml").bytes(Bytes::from(document))
    }

    /// Sets the body.
    #[must_use]
    pub(super) fn bytes(mut self, bytes: Bytes) -> Self {
        *self.0.body_mut() = Body::from(bytes);
        self
    }

    /// The finished response.
    pub(super) fn done(self) -> Response {
        self.0
    }
}
