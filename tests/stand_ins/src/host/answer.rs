//! Interprets the handler's response to an invocation, and creates the queue messages of its outputs.
//!
//! Only the body of a 2xx response is read. An empty body or `null` does not complete the invocation, which then hangs
//! until its time limit. Outputs are bound to the function's own output bindings; others are ignored, as the real host
//! does.
//!
//! Contract: <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#response-payload>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::app::QueueBinding;
use super::settings::Encoding;
use super::wire::Response;

/// <https://learn.microsoft.com/rest/api/storageservices/put-message#remarks>
const LARGEST_MESSAGE: usize = 64 * 1024;

/// The meaning of a response.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// The handler is done.
    Done {
        /// Its lines for the invocation's scope.
        logs: Vec<String>,
        /// Its values for output bindings, by name.
        outputs: Map<String, Value>,
    },
    /// The invocation failed with this exception text.
    Failed(String),
    /// Does not complete the invocation.
    Never,
}

/// A queue message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Output<'a> {
    /// The binding, and with it the queue.
    pub(super) binding: &'a QueueBinding,
    /// The text before encoding.
    pub(super) text: String,
    /// The encoded text.
    pub(super) raw: String,
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
    match serde_json::from_slice(&response.body) {
        Ok(Value::Null) => Answer::Never,
        Ok(Value::Object(fields)) => done(fields).unwrap_or_else(|| invalid(&response.body)),
        _ => invalid(&response.body),
    }
}

/// Turns output values into queue messages; the error is the exception text.
pub(super) fn bind(
    mut outputs: Map<String, Value>,
    bindings: &[QueueBinding],
    encoding: Encoding,
) -> Result<Vec<Output<'_>>, String> {
    let mut bound = Vec::new();
    for binding in bindings {
        let values = match outputs.remove(&binding.name) {
            None | Some(Value::Null) => continue,
            Some(Value::Array(values)) => values,
            Some(value) => vec![value],
        };
        for value in values {
            bound.push(output(binding, &value, encoding)?);
        }
    }
    Ok(bound)
}

/// Decodes a message; `None` if it is not in the encoding that host.json requires.
pub(super) fn decode(raw: &str, encoding: Encoding) -> Option<String> {
    match encoding {
        Encoding::None => Some(raw.to_owned()),
        Encoding::Base64 => String::from_utf8(STANDARD.decode(raw).ok()?).ok(),
    }
}

/// Encodes a message's bytes as host.json requires; `None` if they must be text and are not.
pub(super) fn encode(bytes: &[u8], encoding: Encoding) -> Option<String> {
    match encoding {
        Encoding::None => String::from_utf8(bytes.to_vec()).ok(),
        Encoding::Base64 => Some(STANDARD.encode(bytes)),
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
fn done(fields: Map<String, Value>) -> Option<Answer> {
    let (mut logs, mut outputs) = (Vec::new(), Map::new());
    for (name, value) in fields {
        match (name.to_ascii_lowercase().as_str(), value) {
            ("logs", Value::Array(lines)) => logs = lines.into_iter().map(line).collect::<Option<_>>()?,
            ("outputs", Value::Object(values)) => outputs = values,
            ("logs" | "outputs", Value::Null) => {}
            ("logs" | "outputs", _) => return None,
            _ => {}
        }
    }
    Some(Answer::Done { logs, outputs })
}

fn line(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Object(_) | Value::Array(_) => None,
        other => Some(other.to_string()),
    }
}

fn output<'a>(binding: &'a QueueBinding, value: &Value, encoding: Encoding) -> Result<Output<'a>, String> {
    let bytes = match value {
        Value::String(text) => from_base64(text).unwrap_or_else(|| text.clone().into_bytes()),
        other => other.to_string().into_bytes(),
    };
    let raw = encode(&bytes, encoding).ok_or_else(|| format!("Output '{}' is not text.", binding.name))?;
    if raw.len() > LARGEST_MESSAGE {
        // The storage SDK's error text.
        return Err("The request body is too large and exceeds the maximum permissible limit.".to_owned());
    }
    Ok(Output { binding, text: String::from_utf8_lossy(&bytes).into_owned(), raw })
}

/// Decodes base64 as .NET does: white space is ignored.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let compact: String = text.chars().filter(|character| !" \t\r\n".contains(*character)).collect();
    STANDARD.decode(compact).ok()
}

#[cfg(test)]
mod tests;
