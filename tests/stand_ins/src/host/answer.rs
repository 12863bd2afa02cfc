//! Interprets the handler's response to an invocation.
//!
//! Only the body of a 2xx response is read, by Newtonsoft.Json: more than JSON is taken, and what follows the first value is
//! ignored. An empty body or `null` does not complete the invocation, which then hangs until its time limit.
//!
//! Contract: <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#response-payload>.

use super::newtonsoft::{self, Value};
use super::wire::Response;

/// The meaning of a response.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// The handler is done.
    Done {
        /// Its lines for the invocation's scope.
        logs: Vec<String>,
        /// Its values for output bindings.
        outputs: Outputs,
    },
    /// The invocation failed with this exception text.
    Failed(String),
    /// The invocation is not completed.
    Never,
}

/// Values for output bindings, by the binding's name.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outputs {
    /// `Outputs`.
    pub(super) named: Vec<(String, Value)>,
    /// The members of `ReturnValue`, if it is an object. They go over `Outputs`.
    pub(super) returned: Vec<(String, Value)>,
}

/// Interprets a response.
pub(super) fn read(response: &Response) -> Answer {
    if !(200..300).contains(&response.status) {
        return Answer::Failed(refusal(response.status, &response.reason));
    }
    if response.body.is_empty() {
        return Answer::Never;
    }
    let media_type = response.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !["application/json", "text/json"].iter().any(|known| media_type.eq_ignore_ascii_case(known)) {
        return invalid(&response.body);
    }
    let text = String::from_utf8_lossy(&response.body);
    match newtonsoft::parse_start(text.trim_start_matches('\u{feff}')) {
        Some(Value::Null) => Answer::Never,
        Some(Value::Object(fields)) => done(fields).unwrap_or_else(|| invalid(&response.body)),
        _ => invalid(&response.body),
    }
}

fn refusal(status: u16, reason: &str) -> String {
    if reason.trim().is_empty() {
        return format!("Response status code does not indicate success: {status}.");
    }
    format!("Response status code does not indicate success: {status} ({reason}).")
}

fn invalid(body: &[u8]) -> Answer {
    Answer::Failed(format!("Invalid HttpResponseMessage: {}", String::from_utf8_lossy(body)))
}

/// Property names are matched ignoring case; `None` when a property has the wrong shape.
fn done(fields: Vec<(String, Value)>) -> Option<Answer> {
    let (mut logs, mut outputs) = (Vec::new(), Outputs::default());
    for (name, value) in fields {
        match (name.to_ascii_lowercase().as_str(), value) {
            ("logs", Value::Array(lines)) => logs = lines.iter().map(Value::as_string).collect::<Option<_>>()?,
            ("outputs", Value::Object(values)) => outputs.named = values,
            ("returnvalue", Value::Object(values)) => outputs.returned = values,
            ("logs" | "outputs", Value::Null) => {}
            ("logs" | "outputs", _) => return None,
            _ => {}
        }
    }
    Some(Answer::Done { logs, outputs })
}

#[cfg(test)]
mod tests;
