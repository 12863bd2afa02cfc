//! Parses a request's path.
//!
//! Like IIS and the service, it rejects every path in which one of `/ < > * % & : \ ? + #` is data, percent-encoded or
//! not: the service decodes before it splits. See the remarks on special characters in
//! <https://learn.microsoft.com/power-apps/developer/data-platform/define-alternate-keys-entity#constraints-in-creating-alternate-keys>.

use axum::http::StatusCode;
use percent_encoding::percent_decode_str;

use super::errors::Error;

/// A parsed path, e.g. `contacts(employeeid='E1')` or `contacts/Microsoft.Dynamics.CRM.UpsertMultiple`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    /// The first segment without its predicate, e.g. the entity set.
    pub(super) name: String,
    /// The text in parentheses.
    pub(super) predicate: Option<String>,
    /// The second segment.
    pub(super) tail: Option<String>,
}

/// Strips `/api/data/v9.x/`; `None` if the path does not start with it.
pub(super) fn below_root(path: &str) -> Option<&str> {
    let (version, rest) = path.strip_prefix("/api/data/")?.split_once('/')?;
    ["v9.0", "v9.1", "v9.2"].contains(&version).then_some(rest)
}

/// Set and key, as far as a possibly invalid path contains them; for the journal and for matching faults.
pub(super) fn glimpse(path: &str) -> (String, String) {
    let decoded = percent_decode_str(below_root(path).unwrap_or(path)).decode_utf8_lossy();
    match decoded.split_once('(') {
        Some((set, rest)) => (set.to_owned(), rest.strip_suffix(')').unwrap_or(rest).to_owned()),
        None => (decoded.split('/').next().unwrap_or_default().to_owned(), String::new()),
    }
}

/// Parses a path below the root, still percent-encoded.
pub(super) fn parse(path: &str) -> Result<Resource, Error> {
    let text = decode(path)?;
    let Some((name, rest)) = text.split_once('(').filter(|(name, _)| !name.contains('/')) else {
        let (name, tail) = split_tail(&text);
        return Ok(Resource { name: name.to_owned(), predicate: None, tail });
    };
    let end = predicate_end(rest).ok_or_else(Error::query_syntax)?;
    let (predicate, after) = rest.split_at(end);
    if predicate.contains('/') {
        // The path is decoded before it is split, so a slash in the key ends the segment.
        return Err(Error::no_segment(predicate.split('/').next().unwrap_or_default()));
    }
    let tail = match &after[1..] {
        "" => None,
        more => Some(more.strip_prefix('/').ok_or_else(Error::query_syntax)?),
    };
    Ok(Resource { name: name.to_owned(), predicate: Some(predicate.to_owned()), tail: tail.map(str::to_owned) })
}

fn split_tail(text: &str) -> (&str, Option<String>) {
    match text.split_once('/') {
        Some((name, tail)) if !tail.is_empty() => (name, Some(tail.to_owned())),
        Some((name, _)) => (name, None),
        None => (text, None),
    }
}

/// The position of the predicate's closing parenthesis outside quotes.
fn predicate_end(text: &str) -> Option<usize> {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            ')' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

fn decode(path: &str) -> Result<String, Error> {
    let decoded = percent_decode_str(path).decode_utf8().map_err(|_| dangerous('%'))?;
    if decoded.contains('+') {
        let text =
            "The request filtering module is configured to deny a request that contains a double escape sequence.";
        return Err(Error::page(StatusCode::NOT_FOUND, text));
    }
    match decoded.chars().find(|c| matches!(c, '<' | '>' | '*' | '%' | '&' | ':' | '\\' | '?' | '#')) {
        Some(c) => Err(dangerous(c)),
        None => Ok(decoded.into_owned()),
    }
}

fn dangerous(c: char) -> Error {
    let text = format!("A potentially dangerous Request.Path value was detected from the client ({c}).");
    Error::page(StatusCode::BAD_REQUEST, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str) -> Result<Resource, u16> {
        parse(path).map_err(|error| error.status.as_u16())
    }

    #[test]
    fn name_predicate_and_tail_are_separated() {
        let resource = parsed("contacts(employeeid='A%20(b)%27%27c')").expect("a key");
        assert_eq!(resource.name, "contacts");
        assert_eq!(resource.predicate.as_deref(), Some("employeeid='A (b)''c'"));
        assert_eq!(resource.tail, None);
        let bulk = parsed("contacts/Microsoft.Dynamics.CRM.UpsertMultiple").expect("an action");
        assert_eq!((bulk.name.as_str(), bulk.predicate), ("contacts", None));
        assert_eq!(bulk.tail.as_deref(), Some("Microsoft.Dynamics.CRM.UpsertMultiple"));
        let nested = parsed("EntityDefinitions(LogicalName='contact')/Attributes").expect("a tail");
        assert_eq!(nested.tail.as_deref(), Some("Attributes"));
    }

    #[test]
    fn data_with_forbidden_characters_cannot_be_addressed_even_encoded() {
        for c in ["%3C", "%3E", "*", "%2A", "%25", "&", "%26", ":", "%3A", "%5C", "%3F", "%23"] {
            assert_eq!(parsed(&format!("contacts(employeeid='a{c}b')")), Err(400), "{c}");
        }
        for c in ["/", "%2F", "+", "%2B"] {
            assert_eq!(parsed(&format!("contacts(employeeid='a{c}b')")), Err(404), "{c}");
        }
    }

    #[test]
    fn an_open_parenthesis_is_a_syntax_error() {
        assert_eq!(parsed("contacts(employeeid='x'"), Err(400));
        assert_eq!(parsed("contacts(employeeid='x')y"), Err(400));
    }
}
