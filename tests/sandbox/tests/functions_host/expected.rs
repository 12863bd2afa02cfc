//! Compares what a case shows with what the replay did; ids, times and ports aside.

use serde_json::Value;

/// Whether the observation is what the case shows. A text that the case shortens is compared by its beginning and its length.
pub(crate) fn agree(expected: &Value, observed: &Value) -> bool {
    match (expected, observed) {
        (Value::String(expected), Value::String(observed)) => same_text(expected, observed),
        (Value::Array(expected), Value::Array(observed)) => {
            expected.len() == observed.len() && expected.iter().zip(observed).all(|(one, other)| agree(one, other))
        }
        (Value::Object(expected), Value::Object(observed)) => {
            expected.len() == observed.len()
                && expected.iter().all(|(name, one)| observed.get(name).is_some_and(|other| agree(one, other)))
        }
        _ => expected == observed,
    }
}

/// Both, shortened, for a reader.
pub(crate) fn describe(expected: &Value, observed: &Value) -> String {
    let short = |value: &Value| value.to_string().chars().take(2_000).collect::<String>();
    format!("  expected {}\n  observed {}", short(expected), short(observed))
}

fn same_text(expected: &str, observed: &str) -> bool {
    let Some((beginning, length)) = expected.split_once("… (") else { return expected == observed };
    let (length, unit) = length.trim_end_matches(')').split_once(' ').expect("a number and a unit");
    let length: usize = length.parse().expect("it is a number");
    let lengths_agree = match unit {
        "bytes" => observed.len() == length,
        // It is the length of a request with its ids and times.
        _ => (0..256).contains(&length.saturating_sub(observed.chars().count())),
    };
    observed.starts_with(beginning) && lengths_agree
}

/// Ids, times and ports of a text of HTTP headers.
pub(crate) fn masked_head(text: &str) -> String {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let lines =
        head.lines().map(|line| if line.starts_with("Date: ") { "Date: DATE".to_owned() } else { masked_port(line) });
    format!("{}\n\n{body}", lines.collect::<Vec<_>>().join("\n"))
}

/// The value of a request's header.
pub(crate) fn masked_header(name: &str, value: &str) -> String {
    if !name.eq_ignore_ascii_case("X-Azure-Functions-InvocationId") {
        return masked_port(value);
    }
    // One that the caller chose stays.
    let (theirs, ours) = value.rsplit_once(", ").map_or(("", value), |(theirs, ours)| (theirs, ours));
    if ours.len() == 36 { format!("{theirs} ID") } else { value.to_owned() }
}

/// The host's own values in the body of a call for a message, unless the message hides them.
pub(crate) fn masked_body(body: &str) -> String {
    let mut body = body.to_owned();
    for (name, minimum) in
        [("ExpirationTime", 25), ("InsertionTime", 25), ("NextVisibleTime", 25), ("UtcNow", 20), ("RandGuid", 36)]
    {
        mask(&mut body, &format!("\"{name}\":\""), '"', minimum);
    }
    for (name, minimum) in [("Id", 36), ("PopReceipt", 16)] {
        mask(&mut body, &format!("\"{name}\":\"\\\""), '\\', minimum);
    }
    body
}

/// Replaces the value after `before` if it has at least `minimum` characters up to `end`.
fn mask(body: &mut String, before: &str, end: char, minimum: usize) {
    let Some(start) = body.find(before).map(|at| at + before.len()) else { return };
    let length = body[start..].find(end).unwrap_or(0);
    if length >= minimum && body[start..start + length].is_ascii() {
        body.replace_range(start..start + length, "OWN");
    }
}

fn masked_port(text: &str) -> String {
    let Some((before, after)) = text.split_once("127.0.0.1:") else { return text.to_owned() };
    format!(
        "{before}127.0.0.1:PORT{}",
        after.trim_start_matches("PORT").trim_start_matches(|c: char| c.is_ascii_digit())
    )
}
