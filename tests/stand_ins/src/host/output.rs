//! Creates the queue messages of an invocation's outputs.
//!
//! Outputs are bound to the function's own output bindings; others are ignored. A value of `Outputs` that is text in base64 is
//! decoded. Text that looks like JSON, and objects, are read and written again, indented; an array gives one message per element;
//! anything else is .NET's text.
//!
//! Contract: `HttpScriptInvocationResultExtensions` and `FunctionBinding` in <https://github.com/Azure/azure-functions-host>.

use super::answer::Outputs;
use super::app::QueueBinding;
use super::encoding;
use super::newtonsoft::{self, Value};
use super::settings::Encoding;

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

/// Turns output values into queue messages; the error is the exception text.
pub(super) fn bind<'a>(
    outputs: &Outputs,
    bindings: &'a [QueueBinding],
    encoding: Encoding,
) -> Result<Vec<Output<'a>>, String> {
    let mut bound = Vec::new();
    for binding in bindings {
        for bytes in messages(outputs, &binding.name)? {
            let raw = encoding::encode(&bytes, encoding)?;
            bound.push(Output { binding, text: String::from_utf8_lossy(&bytes).into_owned(), raw });
        }
    }
    Ok(bound)
}

fn messages(outputs: &Outputs, name: &str) -> Result<Vec<Vec<u8>>, String> {
    let find =
        |values: &[(String, Value)]| values.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    if let Some(value) = find(&outputs.returned) {
        return elements(value);
    }
    let decoded = |value: &Value| if let Value::Text(text) = value { encoding::from_base64(text) } else { None };
    match find(&outputs.named) {
        None => Ok(Vec::new()),
        Some(value) => decoded(&value).map_or_else(|| elements(value), |bytes| Ok(vec![bytes])),
    }
}

fn elements(value: Value) -> Result<Vec<Vec<u8>>, String> {
    let value = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Text(text) if newtonsoft::looks_like_json(&text) => {
            newtonsoft::parse(&text).ok_or("The output looks like JSON and is not.")?
        }
        other => other,
    };
    let values = if let Value::Array(values) = value { values } else { vec![value] };
    Ok(values.iter().map(|value| value.to_text().into_bytes()).collect())
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn texts_of(outputs: &str, returned: &str) -> Result<Vec<String>, String> {
        let members = |json| match newtonsoft::parse(json) {
            Some(Value::Object(members)) => members,
            other => panic!("{other:?} is not an object"),
        };
        let outputs = Outputs { named: members(outputs), returned: members(returned) };
        let bindings = ["deadLetter"].map(|name| QueueBinding {
            name: name.to_owned(),
            queue: "dead".to_owned(),
            connection: "C".to_owned(),
        });
        let bound = bind(&outputs, &bindings, Encoding::Base64)?;
        for output in &bound {
            assert_eq!(output.raw, STANDARD.encode(&output.text));
        }
        Ok(bound.into_iter().map(|output| output.text).collect())
    }

    fn texts(value: &str) -> Result<Vec<String>, String> {
        texts_of(&format!("{{\"deadLetter\":{value}}}"), "{}")
    }

    #[test]
    fn values_become_messages() {
        for (value, expected) in [
            (r#"{"a":1,"b":[]}"#, vec!["{\n  \"a\": 1,\n  \"b\": []\n}"]),
            (
                r#""{\"at\":\"2026-11-23T10:00:00+02:00\",\"n\":1.50}""#,
                vec!["{\n  \"at\": \"2026-11-23T08:00:00+00:00\",\n  \"n\": 1.5\n}"],
            ),
            (r#"{"at":"2026-11-23T10:00:00.12345678Z"}"#, vec!["{\n  \"at\": \"2026-11-23T10:00:00.12345678Z\"\n}"]),
            (r#""aGVs\nbG8=""#, vec!["hello"]),
            (r#""not base64""#, vec!["not base64"]),
            (r#""""#, vec![""]),
            (r#"["a b",{},"aGVsbG8=",1.50,null,true]"#, vec!["a b", "{}", "aGVsbG8=", "1.5", "", "True"]),
            (r#""[1,\"x\"]""#, vec!["1", "x"]),
            ("20", vec!["20"]),
            (r#""2026-11-23T10:00:00+02:00""#, vec!["11/23/2026 08:00:00"]),
            ("null", vec![]),
        ] {
            assert_eq!(texts(value).expect(value), expected, "{value}");
        }
    }

    #[test]
    fn text_that_only_looks_like_json_fails_the_invocation() {
        assert!(texts(r#""{not json}""#).is_err());
    }

    #[test]
    fn the_members_of_a_returned_object_go_over_the_outputs() {
        let outputs = r#"{"deadLetter":"from outputs"}"#;
        assert_eq!(texts_of(outputs, r#"{"deadLetter":"abcd"}"#), Ok(vec!["abcd".to_owned()]));
        assert_eq!(texts_of(outputs, r#"{"deadLetter":null}"#), Ok(Vec::new()));
    }

    #[test]
    fn unknown_outputs_are_ignored_and_names_are_matched_exactly() {
        assert_eq!(texts_of(r#"{"other":"x","deadletter":"y"}"#, "{}"), Ok(Vec::new()));
    }

    #[test]
    fn an_output_over_64_kib_after_wrapping_fails_the_invocation() {
        assert!(texts(&format!("\"{}\"", "!".repeat(49_152))).is_ok());
        assert!(texts(&format!("\"{}\"", "!".repeat(49_153))).is_err());
    }
}
