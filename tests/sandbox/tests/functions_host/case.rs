//! A line of the file, with what was shortened in it written out.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::recorder::Answer;

/// A case.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// The line.
    pub(crate) line: Value,
    /// What the handler answers.
    pub(crate) answer: Answer,
}

impl Case {
    /// All cases of the file.
    pub(crate) fn all() -> Vec<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../stand_ins/data/functions-host.ndjson");
        let text = fs::read_to_string(path).expect("it is in the repository");
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("every line is JSON"));
        let cases = lines.filter(|line: &Value| line["name"].is_string());
        cases.map(Self::of).collect()
    }

    /// The kind: Q, R, A, H, N or P.
    pub(crate) fn kind(&self) -> &str {
        &self.name[..1]
    }

    /// What the sender put on the queue, as it lies there.
    pub(crate) fn queued(&self) -> Queued {
        if let Some(raw) = self.line["queueMessageText"].as_str() {
            return Queued::Raw(written_out(raw));
        }
        match &self.line["message"] {
            Value::String(text) => Queued::Text(written_out(text)),
            other => Queued::Text(python(other)),
        }
    }

    /// The bytes that the caller of an HTTP case sends to this port.
    pub(crate) fn caller(&self, port: u16) -> Vec<u8> {
        let text = self.line["caller"].as_str().expect("an HTTP case has a caller");
        let (head, body) = text.split_once("\r\n\r\n").expect("it is a request");
        let length = head.lines().filter_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok()).max();
        let body = match length {
            // A long body is shown by its beginning.
            Some(length) if length > body.len() => filled(body, length),
            _ => body.to_owned(),
        };
        format!("{head}\r\n\r\n{body}").replace("Host: HOST", &format!("Host: 127.0.0.1:{port}")).into_bytes()
    }

    fn of(line: Value) -> Self {
        let name = line["name"].as_str().expect("it has a name").to_owned();
        let answer =
            Option::<Answer>::deserialize(&line["handlerAnswers"]).expect("the form is known").unwrap_or_default();
        let answer = Answer {
            reason: answer.reason.as_deref().map(repeated),
            body: answer.body.as_deref().map(written_out),
            ..answer
        };
        Self { name, line, answer }
    }
}

/// A queue message.
#[derive(Debug)]
pub(crate) enum Queued {
    /// As it lies in the queue.
    Raw(String),
    /// To be encoded.
    Text(String),
}

/// `beginning… (n bytes)`: its last character repeated, and the end of the JSON that it begins.
fn written_out(text: &str) -> String {
    let Some((beginning, length)) = text.split_once('…') else { return text.to_owned() };
    match length.trim_matches([' ', '(', ')']).strip_suffix(" bytes") {
        Some(length) => filled(beginning, length.parse().expect("it is a number")),
        // The one message without a length has 48,000 of the last character, which gives the length of its request.
        None => filled(beginning, 48_018),
    }
}

fn filled(beginning: &str, length: usize) -> String {
    let end = if beginning.starts_with("{\"Outputs\"") { "\"}}, \"Logs\": [], \"ReturnValue\": null}" } else { "\"}" };
    let fill = beginning.chars().next_back().expect("it is not empty");
    let fill = fill.to_string().repeat(length - beginning.len() - end.len());
    format!("{beginning}{fill}{end}")
}

/// `c × n`
fn repeated(text: &str) -> String {
    match text.split_once(" × ") {
        Some((part, count)) => part.repeat(count.parse().expect("it is a number")),
        None => text.to_owned(),
    }
}

/// As Python's `json.dumps` writes an object of text.
fn python(value: &Value) -> String {
    let members = value.as_object().expect("it is an object").iter();
    let members: Vec<_> = members.map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{{}}}", members.join(", "))
}
