//! The errors of the storage services: an HTTP status, a stable code and a message, sent as a header and as XML.
//!
//! The messages are not the service's and contain nothing from the request. Codes and statuses follow
//! <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes>,
//! <https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes> and
//! <https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes>.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quick_xml::escape::escape;

pub(super) type Result<T> = std::result::Result<T, Error>;

/// Sent to anonymous or rejected callers, for clients that take their authority from it.
const CHALLENGE: &str = "Bearer authorization_uri=https://login.microsoftonline.com/common/oauth2/authorize \
                         resource_id=https://storage.azure.com";

/// An error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Error {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    message: &'static str,
    detail: Option<String>,
    retry_after: Option<Duration>,
}

impl Error {
    /// An error without detail.
    pub(super) const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message, detail: None, retry_after: None }
    }

    /// Adds what exactly was wrong.
    #[must_use]
    pub(super) fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a `Retry-After` header, in whole seconds.
    #[must_use]
    pub(super) const fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    fn xml(&self) -> String {
        let tag = match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "AuthenticationErrorDetail",
            _ => "Reason",
        };
        let detail =
            self.detail.as_deref().map_or_else(String::new, |detail| format!("<{tag}>{}</{tag}>", escape(detail)));
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{}</Code><Message>{}</Message>{detail}</Error>",
            escape(self.code),
            escape(self.message),
        )
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = if self.status == StatusCode::NOT_MODIFIED { Body::empty() } else { Body::from(self.xml()) };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        let code = HeaderValue::from_str(self.code).unwrap_or(HeaderValue::from_static("InternalError"));
        headers.insert(HeaderName::from_static("x-ms-error-code"), code);
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        response
    }
}

/// The date of a request is more than 15 minutes from the service's.
pub(super) fn old_date(date: &str) -> Error {
    AUTHENTICATION_FAILED.because(format!("Request date header too old: '{date}'"))
}

pub(super) const CONTAINER_NOT_FOUND: Error =
    Error::new(StatusCode::NOT_FOUND, "ContainerNotFound", "The specified container does not exist.");
pub(super) const CONTAINER_ALREADY_EXISTS: Error =
    Error::new(StatusCode::CONFLICT, "ContainerAlreadyExists", "The specified container already exists.");
pub(super) const CONTAINER_BEING_DELETED: Error =
    Error::new(StatusCode::CONFLICT, "ContainerBeingDeleted", "The specified container is being deleted.");
pub(super) const BLOB_NOT_FOUND: Error =
    Error::new(StatusCode::NOT_FOUND, "BlobNotFound", "The specified blob does not exist.");
pub(super) const BLOB_ALREADY_EXISTS: Error =
    Error::new(StatusCode::CONFLICT, "BlobAlreadyExists", "The specified blob already exists.");
pub(super) const CONDITION_NOT_MET: Error = Error::new(
    StatusCode::PRECONDITION_FAILED,
    "ConditionNotMet",
    "The condition specified using HTTP conditional header(s) is not met.",
);
pub(super) const NOT_MODIFIED: Error =
    Error::new(StatusCode::NOT_MODIFIED, "ConditionNotMet", "The condition specified is not met.");
pub(super) const INVALID_RANGE: Error = Error::new(
    StatusCode::RANGE_NOT_SATISFIABLE,
    "InvalidRange",
    "The range specified is invalid for the current size of the resource.",
);
pub(super) const QUEUE_NOT_FOUND: Error =
    Error::new(StatusCode::NOT_FOUND, "QueueNotFound", "The specified queue does not exist.");
pub(super) const QUEUE_ALREADY_EXISTS: Error =
    Error::new(StatusCode::CONFLICT, "QueueAlreadyExists", "The specified queue already exists.");
pub(super) const QUEUE_BEING_DELETED: Error =
    Error::new(StatusCode::CONFLICT, "QueueBeingDeleted", "The specified queue is being deleted.");
pub(super) const MESSAGE_NOT_FOUND: Error =
    Error::new(StatusCode::NOT_FOUND, "MessageNotFound", "The specified message does not exist.");
pub(super) const POP_RECEIPT_MISMATCH: Error = Error::new(
    StatusCode::BAD_REQUEST,
    "PopReceiptMismatch",
    "The specified pop receipt did not match the pop receipt for a dequeued message.",
);
pub(super) const REQUEST_BODY_TOO_LARGE: Error = Error::new(
    StatusCode::PAYLOAD_TOO_LARGE,
    "RequestBodyTooLarge",
    "The request body is too large and exceeds the maximum permissible limit.",
);
pub(super) const INVALID_XML: Error =
    Error::new(StatusCode::BAD_REQUEST, "InvalidXmlDocument", "XML specified is not syntactically valid.");
pub(super) const INVALID_METADATA: Error =
    Error::new(StatusCode::BAD_REQUEST, "InvalidMetadata", "The specified metadata is invalid.");
pub(super) const INVALID_URI: Error = Error::new(
    StatusCode::BAD_REQUEST,
    "InvalidUri",
    "The requested URI does not represent any resource on the server.",
);
pub(super) const INVALID_RESOURCE_NAME: Error = Error::new(
    StatusCode::BAD_REQUEST,
    "InvalidResourceName",
    "The specified resource name contains invalid characters.",
);
pub(super) const NAME_OUT_OF_RANGE: Error = Error::new(
    StatusCode::BAD_REQUEST,
    "OutOfRangeInput",
    "The specified resource name length is not within the permissible limits.",
);
pub(super) const INVALID_HEADER_VALUE: Error = Error::new(
    StatusCode::BAD_REQUEST,
    "InvalidHeaderValue",
    "The value for one of the HTTP headers is not in the correct format.",
);
pub(super) const MISSING_HEADER: Error = Error::new(
    StatusCode::BAD_REQUEST,
    "MissingRequiredHeader",
    "An HTTP header that is mandatory for this request is not specified.",
);
pub(super) const MISSING_CONTENT_LENGTH: Error = Error::new(
    StatusCode::LENGTH_REQUIRED,
    "MissingContentLengthHeader",
    "The Content-Length header was not specified.",
);
pub(super) const INVALID_QUERY_VALUE: Error = Error::new(
    StatusCode::BAD_REQUEST,
    "InvalidQueryParameterValue",
    "Value for one of the query parameters specified in the request URI is invalid.",
);
pub(super) const QUERY_OUT_OF_RANGE: Error = Error::new(
    StatusCode::BAD_REQUEST,
    "OutOfRangeQueryParameterValue",
    "One of the query parameters specified in the request URI is outside the permissible range.",
);
pub(super) const MISSING_QUERY: Error = Error::new(
    StatusCode::BAD_REQUEST,
    "MissingRequiredQueryParameter",
    "A query parameter that is mandatory for this request is not specified.",
);
pub(super) const NOT_IMPLEMENTED: Error = Error::new(
    StatusCode::NOT_IMPLEMENTED,
    "NotImplemented",
    "The requested operation is not implemented on the specified resource.",
);
pub(super) const RESOURCE_NOT_FOUND: Error =
    Error::new(StatusCode::NOT_FOUND, "ResourceNotFound", "The specified resource does not exist.");
pub(super) const AUTHENTICATION_FAILED: Error = Error::new(
    StatusCode::FORBIDDEN,
    "AuthenticationFailed",
    "Server failed to authenticate the request. Make sure the value of the Authorization header is formed correctly \
     including the signature.",
);
pub(super) const NO_AUTHENTICATION: Error = Error::new(
    StatusCode::UNAUTHORIZED,
    "NoAuthenticationInformation",
    "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.",
);
pub(super) const INVALID_TOKEN: Error = Error::new(
    StatusCode::UNAUTHORIZED,
    "InvalidAuthenticationInfo",
    "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.",
);
pub(super) const INVALID_AUTHORIZATION: Error = Error::new(
    StatusCode::BAD_REQUEST,
    "InvalidAuthenticationInfo",
    "Authentication information is not given in the correct format. Check the value of Authorization header.",
);
pub(super) const PERMISSION_MISMATCH: Error = Error::new(
    StatusCode::FORBIDDEN,
    "AuthorizationPermissionMismatch",
    "This request is not authorized to perform this operation using this permission.",
);
pub(super) const SERVICE_MISMATCH: Error = Error::new(
    StatusCode::FORBIDDEN,
    "AuthorizationServiceMismatch",
    "This request is not authorized to perform this operation using this service.",
);
pub(super) const RESOURCE_TYPE_MISMATCH: Error = Error::new(
    StatusCode::FORBIDDEN,
    "AuthorizationResourceTypeMismatch",
    "This request is not authorized to perform this operation using this resource type.",
);
pub(super) const PROTOCOL_MISMATCH: Error = Error::new(
    StatusCode::FORBIDDEN,
    "AuthorizationProtocolMismatch",
    "This request is not authorized to perform this operation using this protocol.",
);
