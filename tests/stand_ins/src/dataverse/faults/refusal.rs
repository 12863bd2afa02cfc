//! The error response of a fault, for faults that have one.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/reference/web-service-error-codes>

use std::time::Duration;

use axum::http::StatusCode;

use super::super::errors::Error;
use super::Effect;

impl Effect {
    /// The response that this effect sends instead of executing the request; `None`: it executes the request or sends
    /// no response.
    pub(in super::super) fn refusal(&self) -> Option<Error> {
        match self {
            Self::Status(fault) => {
                let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let mut error = Error::new(status, fault.code.clone(), fault.message.clone());
                error.retry_after = fault.retry_after.map(|seconds| Duration::from_secs(seconds.into()));
                error.form = fault.form;
                error.members.extend(fault.members.clone());
                Some(error)
            }
            Self::Deadlock => Some(Error::new(StatusCode::INTERNAL_SERVER_ERROR, "0x80044150", DEADLOCK)),
            Self::WrappedDeadlock => {
                let text = format!("An error occurred in New.Plugin:{DEADLOCK}");
                Some(Error::bad_request("0x80040265", text))
            }
            Self::Sandbox => Some(sandbox()),
            Self::PluginStatus(status) => {
                let code = ISV_ABORTED.iter().find(|(of, _)| of == status).map_or("0x80040265", |(_, code)| *code);
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST);
                Some(Error::new(status, code, "A plug-in refused the request."))
            }
            Self::Hang
            | Self::Slow(_)
            | Self::DropBefore
            | Self::DropAfterCommit
            | Self::DeletedMeanwhile
            | Self::HangAfterCommit
            | Self::CutMidway
            | Self::NoStatus
            | Self::WrongOrder
            | Self::StopAtError => None,
        }
    }
}

/// SQL Server's message for a deadlock victim.
const DEADLOCK: &str =
    " Sql error: Generic SQL error. CRM ErrorCode: -2147204784 Sql ErrorCode: -2146232060 Sql Number: 1205";

/// The statuses that a plug-in can choose, with their codes:
/// <https://learn.microsoft.com/power-apps/developer/data-platform/reference/web-service-error-codes>.
const ISV_ABORTED: [(u16, &str); 16] = [
    (404, "0x80048d02"),
    (503, "0x80048d03"),
    (429, "0x80048d04"),
    (401, "0x80048d05"),
    (403, "0x80048d06"),
    (408, "0x80048d07"),
    (409, "0x80048d08"),
    (412, "0x80048d09"),
    (500, "0x80048d0a"),
    (400, "0x80048d0b"),
    (405, "0x80048d0c"),
    (410, "0x80048d0d"),
    (424, "0x80048d0e"),
    (502, "0x80048d0f"),
    (504, "0x80048d10"),
    (413, "0x80048d11"),
];

/// The sandbox has no process for a plug-in.
fn sandbox() -> Error {
    let text =
        "The plug-in execution failed because no Sandbox Worker processes are currently available. Please try again.";
    let details = [
        ("ApiExceptionSourceKey", "Plugin/New.Plugin"),
        ("ApiStepKey", "00000000-0000-0000-0000-000000000001"),
        ("ApiDepthKey", "1"),
        ("ApiExceptionCategory", "SystemFailure"),
        ("ApiExceptionMesageName", "SandboxWorkerNotAvailable"),
        ("ApiExceptionHttpStatusCode", "500"),
    ];
    let details = details.map(|(name, value)| (format!("ErrorDetails.{name}"), value));
    let others = [
        (
            "HelpLink",
            "http://go.microsoft.com/fwlink/?LinkID=398563&error=Microsoft.Crm.CrmException%3a8004418d&client=platform",
        ),
        ("TraceText", "\r\n[New.Plugin: New.Plugin.Step]\r\n"),
        ("InnerError.Message", text),
    ];
    let members = details.into_iter().chain(others.map(|(name, value)| (name.to_owned(), value)));
    let members = members.map(|(name, value)| (format!("@Microsoft.PowerApps.CDS.{name}"), value.into()));
    let message = format!(
        "{text}\r\nSystem.ServiceModel.CommunicationException: The server did not provide a meaningful reply; this might \
         be caused by a contract mismatch, a premature session shutdown or an internal server error."
    );
    let error = Error::new(StatusCode::INTERNAL_SERVER_ERROR, "0x8004418d", message);
    Error { members: Box::new(members.collect()), ..error }
}
