//! What a request to Azure Storage fails with, and what that says about trying again.

use azure_core::error::ErrorKind;

use crate::identity::TokenError;
use crate::sanitize::sanitize_short;

/// The storage gave no usable answer. Addresses, keys and signatures are in none of the texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It refuses our identity or permissions; an operator can fix that.
    #[error("the storage refuses access ({status} {code})")]
    Refused {
        /// 401 or 403.
        status: u16,
        /// The service's code.
        code: String,
    },
    /// Any other error status.
    #[error("the storage answered {status} {code}")]
    Service {
        /// The HTTP status.
        status: u16,
        /// The service's code, empty when a proxy answered.
        code: String,
    },
    /// It could not be reached, or did not answer in time.
    #[error("the storage cannot be reached: {problem}")]
    Unreachable {
        /// Whether the request may have arrived.
        sent: bool,
        /// What happened, in a few words.
        problem: &'static str,
    },
    /// It answered with something that is not a storage service's answer.
    #[error("the answer of the storage was not understood")]
    NotUnderstood,
    /// There is no Entra ID token for it.
    #[error("there is no token for the storage: {problem}")]
    Token {
        /// Whether our identity was refused, as opposed to no answer from the authority.
        refused: bool,
        /// What the authority answered, one line.
        problem: String,
    },
}

/// The characters of a service's code that are kept; the longest known has fewer.
const MAX_CODE: usize = 100;

/// Stands for the code of a 403 whose body says that the request's date is more than 15 minutes off.
/// <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key#specifying-the-date-header>
pub(crate) const OLD_DATE: &str = "AuthenticationFailed: Request date header too old";

/// The code of a request from a network that the account does not admit.
/// <https://learn.microsoft.com/troubleshoot/azure/azure-storage/blobs/authentication/storage-troubleshoot-403-errors>
pub(crate) const WRONG_NETWORK: &str = "AuthorizationFailure";

fn is_about_the_date(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).contains("Request date header too old")
}

impl Error {
    pub(crate) const TIMEOUT: Self = Self::Unreachable { sent: true, problem: "no answer in time" };

    /// Whether the same request may succeed a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Service { status, .. } => matches!(status, 408 | 429 | 500..),
            Self::Unreachable { .. } => true,
            Self::Token { refused, .. } => !refused,
            Self::Refused { .. } | Self::NotUnderstood => false,
        }
    }

    /// Whether there is no such queue or container.
    /// <https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes>
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Service { status: 404, code } if ["QueueNotFound", "ContainerNotFound"].contains(&&**code))
    }

    /// Whether the request may have been carried out nevertheless.
    pub(crate) fn is_ambiguous(&self) -> bool {
        match self {
            // 503: the service was too busy to begin.
            Self::Service { status, .. } => matches!(status, 408 | 500..) && *status != 503,
            Self::Unreachable { sent, .. } => *sent,
            Self::NotUnderstood => true,
            Self::Refused { .. } | Self::Token { .. } => false,
        }
    }
}

impl From<azure_core::Error> for Error {
    fn from(error: azure_core::Error) -> Self {
        match error.kind() {
            ErrorKind::HttpResponse { status, error_code, raw_response } => {
                let is_old = raw_response.as_ref().is_some_and(|answer| is_about_the_date(answer.body().as_ref()));
                let code = error_code.as_deref().unwrap_or_default();
                let code = if is_old { OLD_DATE.to_owned() } else { sanitize_short(code, MAX_CODE).into_owned() };
                let status = u16::from(*status);
                if matches!(status, 401 | 403) {
                    Self::Refused { status, code }
                } else {
                    Self::Service { status, code }
                }
            }
            ErrorKind::Connection => Self::Unreachable { sent: false, problem: "no connection" },
            ErrorKind::Io => Self::Unreachable { sent: true, problem: "the connection broke" },
            ErrorKind::Credential => {
                let TokenError { refused, problem, .. } = TokenError::from(&error);
                Self::Token { refused, problem }
            }
            _ => Self::NotUnderstood,
        }
    }
}

#[cfg(test)]
mod tests {
    use azure_core::http::RawResponse;
    use azure_core::http::headers::Headers;

    use super::*;

    #[test]
    fn an_answer_is_final_unless_it_is_transient() {
        for (status, is_transient, is_ambiguous) in [
            (404, false, false),
            (400, false, false),
            (413, false, false),
            (429, true, false),
            (503, true, false),
            (408, true, true),
            (500, true, true),
            (502, true, true),
        ] {
            let error = Error::Service { status, code: String::new() };
            assert_eq!((error.is_transient(), error.is_ambiguous()), (is_transient, is_ambiguous), "{status}");
        }
    }

    #[test]
    fn an_error_of_the_sdk_becomes_a_fact_without_an_address() {
        let sdk = |kind| Error::from(azure_core::Error::with_message(kind, "https://account/queue?sig=secret"));
        for (kind, expected) in [
            (ErrorKind::Connection, Error::Unreachable { sent: false, problem: "no connection" }),
            (ErrorKind::Io, Error::Unreachable { sent: true, problem: "the connection broke" }),
            (ErrorKind::DataConversion, Error::NotUnderstood),
        ] {
            assert_eq!(sdk(kind), expected);
        }
        let answered = |status: u16, code: &str| {
            let error_code = Some(code.to_owned());
            sdk(ErrorKind::HttpResponse { status: status.into(), error_code, raw_response: None })
        };
        let code = || "AuthorizationPermissionMismatch".to_owned();
        assert_eq!(answered(403, &code()), Error::Refused { status: 403, code: code() });
        assert_eq!(answered(409, "x"), Error::Service { status: 409, code: "x".to_owned() });
        let long = answered(409, &"x".repeat(10_000));
        assert_eq!(long, Error::Service { status: 409, code: format!("{}…", "x".repeat(MAX_CODE)) });
        let body = "<Error><Code>AuthenticationFailed</Code><AuthenticationErrorDetail>Request date header too old: \
                    'Mon, 23 Nov 2026 10:00:00 GMT'</AuthenticationErrorDetail></Error>";
        let answer = RawResponse::from_bytes(403.into(), Headers::new(), body);
        let error_code = Some("AuthenticationFailed".to_owned());
        let kind = ErrorKind::HttpResponse { status: 403.into(), error_code, raw_response: Some(Box::new(answer)) };
        assert_eq!(sdk(kind), Error::Refused { status: 403, code: OLD_DATE.to_owned() });
    }
}
