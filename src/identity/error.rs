//! Why there is no token, in one line without secrets: a refusal of our identity, or an outage.

use std::error::Error;
use std::iter::successors;

use azure_core::error::ErrorKind;

use crate::sanitize::sanitize_short;

/// The characters of a foreign text that are quoted.
const MAX_QUOTED: usize = 300;

/// What Entra ID answers about itself, with whatever status: faults and limits that pass. Every other code refuses the request.
/// <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>
const TRANSIENT: [(u32, &str); 11] = [
    (40010, "OAuth2IdPRetryableServerError"),
    (50000, "TokenIssuanceError"),
    (50033, "RetryableError"),
    // The issuer of a federated token did not answer Entra ID.
    (50166, "ExternalClaimsProviderThrottled"),
    // Too many of the same request in a short time.
    (50196, "LoopDetected"),
    (90006, "ExternalServerRetryableError"),
    (90012, "RequestTimeout"),
    (90024, "RequestBudgetExceededError"),
    (90033, "MsodsServiceUnavailable"),
    (90055, "TenantThrottlingError"),
    (90090, "GraphRetryableError"),
];

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct TokenError {
    /// Whether our identity is refused, as opposed to no usable answer.
    pub(crate) refused: bool,
    /// The number behind `AADSTS`.
    pub(crate) code: Option<u32>,
    /// One line, without secrets.
    pub(crate) problem: String,
    /// For a credential with several sources: each one and its own reason.
    pub(crate) sources: Vec<(&'static str, String)>,
}

impl TokenError {
    /// There is no usable answer.
    pub(super) fn outage(problem: impl Into<String>) -> Self {
        Self { refused: false, code: None, problem: problem.into(), sources: Vec::new() }
    }

    /// No source has a token.
    pub(super) fn of_sources(sources: Vec<(&'static str, String)>) -> Self {
        let problem = sources.iter().map(|(name, reason)| format!("{name}: {reason}")).collect::<Vec<_>>().join("; ");
        Self { refused: true, code: None, problem, sources }
    }
}

/// An error of the SDK. Without an answer it is an outage; what remains is local: no developer login, an unreadable token file.
impl From<&azure_core::Error> for TokenError {
    fn from(error: &azure_core::Error) -> Self {
        let first: &(dyn Error + 'static) = error;
        let chain = || successors(Some(first), |&error| error.source());
        if let Some(known) = chain().find_map(|error| error.downcast_ref::<Self>()) {
            return known.clone();
        }
        let is_outage = |error: &azure_core::Error| {
            matches!(error.kind(), ErrorKind::Io | ErrorKind::Connection | ErrorKind::DataConversion)
        };
        let refused = !chain().filter_map(|error| error.downcast_ref()).any(is_outage);
        Self { refused, code: None, problem: describe(error), sources: Vec::new() }
    }
}

impl From<TokenError> for azure_core::Error {
    fn from(error: TokenError) -> Self {
        Self::new(ErrorKind::Credential, error)
    }
}

/// The SDK's error that says what happened; those around it only name the credential.
pub(super) fn innermost(error: &azure_core::Error) -> &azure_core::Error {
    successors(Some(error), |&error| error.source()?.downcast_ref()).last().unwrap_or(error)
}

/// What an error of the SDK says, with its causes, in one line.
pub(super) fn describe(error: &azure_core::Error) -> String {
    let inner = innermost(error);
    let causes = successors(inner.source(), |&cause| cause.source()).map(ToString::to_string);
    let join = |text: String, cause: String| if text.contains(&cause) { text } else { format!("{text}: {cause}") };
    quote(&causes.fold(inner.to_string(), join))
}

/// A foreign text as one short line: without what only support can use, tokens, or characters that control a terminal.
pub(super) fn quote(text: &str) -> String {
    let end = text.find("Trace ID").unwrap_or(text.len());
    let is_token = |word: &str| word.len() > 20 && word.contains("eyJ");
    let words = text[..end].split_whitespace().map(|word| if is_token(word) { "…" } else { word });
    sanitize_short(&words.collect::<Vec<_>>().join(" "), MAX_QUOTED).into_owned()
}

/// The number behind `AADSTS` in a text.
pub(super) fn code_in(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("AADSTS")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// Whether the code says that a fault or a limit will pass.
pub(super) fn is_transient(code: u32) -> bool {
    TRANSIENT.iter().any(|(transient, _)| *transient == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_sdk_is_a_refusal_only_if_something_was_answered_or_is_wrong_here() {
        for (kind, refused) in [
            (ErrorKind::Io, false),
            (ErrorKind::Connection, false),
            (ErrorKind::DataConversion, false),
            (ErrorKind::Credential, true),
            (ErrorKind::Other, true),
        ] {
            let inner = azure_core::Error::with_message(kind.clone(), "it\nfailed");
            let outer =
                azure_core::Error::with_error(ErrorKind::Credential, inner, "SomeCredential failed. it\nfailed");
            let error = TokenError::from(&outer);
            assert_eq!((error.refused, error.problem.as_str()), (refused, "it failed"), "{kind:?}");
        }
        let known = TokenError::of_sources(vec![("az", "not installed".to_owned())]);
        let wrapped = azure_core::Error::with_error(
            ErrorKind::Credential,
            azure_core::Error::from(known.clone()),
            "SomeCredential failed.",
        );
        assert_eq!(TokenError::from(&wrapped), known);
    }

    #[test]
    fn a_code_is_the_number_behind_its_prefix() {
        for (text, code) in [
            ("AADSTS7000222: expired", Some(7_000_222)),
            ("ERROR: AADSTS70043", Some(70043)),
            ("AADSTS: none", None),
            ("AADSTS99999999999", None),
            ("expired", None),
        ] {
            assert_eq!(code_in(text), code, "{text}");
        }
        assert!(TRANSIENT.is_sorted(), "in order, so that a code is found at a glance");
    }
}
