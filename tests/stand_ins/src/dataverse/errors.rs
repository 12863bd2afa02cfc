//! The Web API's errors: status, service code, text, and the forms of the body.
//!
//! Each constructor is an error that the service is known to return. See
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/compose-http-requests-handle-errors> and
//! <https://learn.microsoft.com/power-apps/developer/data-platform/reference/web-service-error-codes>.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The `Content-Type` of every JSON response.
pub(super) const JSON: &str = "application/json; odata.metadata=minimal";

/// The `type` of an `innererror`.
const FAULT_TYPE: &str = "System.ServiceModel.FaultException`1[[Microsoft.Xrm.Sdk.OrganizationServiceFault, \
    Microsoft.Xrm.Sdk, Version=8.0.0.0, Culture=neutral, PublicKeyToken=31bf3856ad364e35]]";

/// The format of an error's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BodyForm {
    /// `{"error":{"code","message"}}`.
    #[default]
    Standard,
    /// `{"error":{"code","message","innererror"}}`, as before 2020 and on-premises.
    InnerError,
    /// `{"Message","ExceptionMessage","ErrorCode"}`.
    Legacy,
    /// An HTML page, as a gateway or IIS sends it.
    Html,
    /// No body at all.
    Empty,
    /// The first half of the standard form.
    Truncated,
}

/// Which codes and texts unknown keys, segments and properties have. The service has changed them over the years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorCodes {
    /// 0x80060888 `CrmHttpClientError`, as the service answers today.
    #[default]
    Current,
    /// 0x80060890, 0x8006088a and 0x0.
    Older,
}

/// The code and text that an error had before 0x80060888.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Older {
    code: &'static str,
    message: String,
}

/// An error response.
#[derive(Debug, Clone)]
pub(super) struct Error {
    pub(super) status: StatusCode,
    pub(super) code: Cow<'static, str>,
    pub(super) message: String,
    pub(super) form: BodyForm,
    /// Sent in whole seconds, rounded up.
    pub(super) retry_after: Option<Duration>,
    pub(super) older: Option<Box<Older>>,
    /// Further members of `error`, such as `@Microsoft.PowerApps.CDS.…`.
    pub(super) members: Box<Map<String, Value>>,
    /// Members that only a request which asks for annotations gets.
    pub(super) annotations: Box<Map<String, Value>>,
}

impl Error {
    pub(super) fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let (code, message) = (code.into(), message.into());
        Self {
            status,
            code,
            message,
            form: BodyForm::Standard,
            retry_after: None,
            older: None,
            members: Box::default(),
            annotations: Box::default(),
        }
    }

    pub(super) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// An HTML page of IIS rather than a response of the service.
    pub(super) fn page(status: StatusCode, message: impl Into<String>) -> Self {
        Self { form: BodyForm::Html, ..Self::new(status, "", message) }
    }

    /// 404 for an entity set, function or action that does not exist under exactly this name.
    pub(super) fn no_segment(segment: &str) -> Self {
        let text = format!("Resource not found for the segment '{segment}'.");
        Self::wrapped(StatusCode::NOT_FOUND, text, "0x8006088a")
    }

    pub(super) fn no_row(logical_name: &str, id: impl std::fmt::Display) -> Self {
        let text = format!("{logical_name} With Id = {id} Does Not Exist");
        Self::new(StatusCode::NOT_FOUND, "0x80040217", text)
    }

    /// 400 for a delete that loses against another one of the same row.
    pub(super) fn concurrent_delete(id: Uuid) -> Self {
        let text = format!("More than one concurrent Delete requests detected for an Entity {id}.");
        Self::bad_request("0x80048105", text)
    }

    pub(super) fn no_row_with_key(logical_name: &str) -> Self {
        let text = format!("A record with the specified key values does not exist in {logical_name} entity");
        Self::new(StatusCode::NOT_FOUND, "0x80060891", text)
    }

    /// 400 for columns that are not a key of the table, or whose key is not Active.
    pub(super) fn no_key(logical_name: &str) -> Self {
        let resource = format!("resource 'Microsoft.Dynamics.CRM.{logical_name}'");
        let text = format!(
            "The key in the request URI is not valid for {resource}. Ensure that the names and number of key properties \
             match the declared or alternate key properties for the {resource}."
        );
        let message = format!("The specified key attributes are not a defined key for the {logical_name} entity");
        let older = Some(Box::new(Older { code: "0x80060890", message }));
        Self { older, ..Self::query(text) }
    }

    /// 400 for a property in the query that `type_name` does not have.
    pub(super) fn no_property(type_name: &str, name: &str) -> Self {
        let text = format!("Could not find a property named '{name}' on type 'Microsoft.Dynamics.CRM.{type_name}'.");
        Self::wrapped(StatusCode::BAD_REQUEST, text, "0x0")
    }

    /// 400 for a property in the body that the table does not have.
    pub(super) fn no_property_to_write(logical_name: &str, name: &str) -> Self {
        let text = format!(
            "An error occurred while validating input parameters: Microsoft.Crm.CrmException: Invalid property '{name}' \
             was found in entity 'Microsoft.Dynamics.CRM.{logical_name}'. ---> Microsoft.OData.ODataException: Does not \
             support untyped value in non-open type."
        );
        Self::wrapped(StatusCode::BAD_REQUEST, text, "0x0")
    }

    /// 400 for a payload that the OData reader cannot parse.
    pub(super) fn payload(set: &str, cause: impl std::fmt::Display) -> Self {
        Self::in_payload(set, format_args!("Microsoft.OData.ODataException: {cause}"))
    }

    /// 400 for a request in a batch whose body cannot be read because of a line end that is not CRLF. See
    /// <https://learn.microsoft.com/troubleshoot/power-platform/dataverse/dataverse-web-api-and-sdk/web-api-client-errors>.
    pub(super) fn unreadable(set: &str) -> Self {
        Self::in_payload(set, format_args!("System.ArgumentException: Stream was not readable."))
    }

    fn in_payload(set: &str, exception: std::fmt::Arguments<'_>) -> Self {
        let text = format!(
            "Error identified in Payload provided by the user for Entity :'{set}', For more information on this error \
             please follow this help link https://go.microsoft.com/fwlink/?linkid=2195293  ---->  InnerException : \
             {exception}"
        );
        Self::bad_request("0x80048d19", text)
    }

    pub(super) fn query(message: impl Into<String>) -> Self {
        Self::bad_request("0x80060888", message)
    }

    pub(super) fn query_syntax() -> Self {
        Self::wrapped(StatusCode::BAD_REQUEST, "Bad Request - Error in query syntax.".to_owned(), "0x8006088a")
    }

    /// 0x80060888, which was the code `older` with the same text.
    fn wrapped(status: StatusCode, message: String, older: &'static str) -> Self {
        let older = Some(Box::new(Older { code: older, message: message.clone() }));
        Self { older, ..Self::new(status, "0x80060888", message) }
    }

    /// This error with the code and text of `codes`.
    pub(super) fn with(mut self, codes: ErrorCodes) -> Self {
        if let (ErrorCodes::Older, Some(older)) = (codes, self.older.take()) {
            (self.code, self.message) = (older.code.into(), older.message);
        }
        self
    }

    pub(super) fn stale() -> Self {
        let text = "The version of the existing record doesn't match the RowVersion property provided.";
        Self::new(StatusCode::PRECONDITION_FAILED, "0x80060882", text)
    }

    pub(super) fn duplicate() -> Self {
        let text = "A record with matching key values already exists.";
        Self::new(StatusCode::PRECONDITION_FAILED, "0x80040237", text)
    }

    pub(super) fn method_not_allowed(method: &str) -> Self {
        let text = format!("The requested resource does not support http method '{method}'.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "0x0", text)
    }

    fn body(&self) -> (&'static str, String) {
        let mut error = Map::new();
        error.insert("code".to_owned(), json!(self.code));
        error.insert("message".to_owned(), json!(self.message));
        error.extend((*self.members).clone());
        if self.form == BodyForm::InnerError {
            let inner = json!({ "message": self.message, "type": FAULT_TYPE, "stacktrace": "   at Microsoft.Crm" });
            error.insert("innererror".to_owned(), inner);
        }
        let standard = json!({ "error": error }).to_string();
        match self.form {
            BodyForm::Standard | BodyForm::InnerError => (JSON, standard),
            BodyForm::Legacy => {
                let legacy =
                    json!({ "Message": self.message, "ExceptionMessage": self.message, "ErrorCode": self.code });
                ("application/json; charset=utf-8", legacy.to_string())
            }
            BodyForm::Html => {
                let page = format!(
                    "<!DOCTYPE html><html><head><title>{0}</title></head><body>{0}</body></html>",
                    self.message
                );
                ("text/html; charset=utf-8", page)
            }
            BodyForm::Empty => ("text/plain", String::new()),
            BodyForm::Truncated => (JSON, standard.chars().take(standard.chars().count() / 2).collect()),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (content_type, body) = self.body();
        let mut response = (self.status, [(CONTENT_TYPE, content_type)], body).into_response();
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        response
    }
}

/// `wait` in seconds, rounded up, for `Retry-After`.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        assert_eq!(whole_seconds(Duration::from_millis(1_001)), 2);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
        assert_eq!(whole_seconds(Duration::ZERO), 0);
    }

    #[test]
    fn each_form_of_body_is_what_it_says() {
        let error = |form| Error { form, ..Error::duplicate() }.body().1;
        assert!(error(BodyForm::Standard).starts_with(r#"{"error":{"code":"0x80040237""#));
        assert!(error(BodyForm::Legacy).contains(r#""ErrorCode":"0x80040237""#));
        assert!(error(BodyForm::Html).starts_with("<!DOCTYPE html>"));
        assert_eq!(error(BodyForm::Empty), "");
        assert!(serde_json::from_str::<serde_json::Value>(&error(BodyForm::Truncated)).is_err());
    }
}
