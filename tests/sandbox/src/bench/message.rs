//! Queue messages as the Functions host sends them, ready to be written to a socket.
//!
//! A [`Template`] is one request, byte for byte as [`stand_ins::host`] builds it, in which only the record's key changes: the load
//! writes a few bytes for each message instead of building an envelope. `columns` has the requested number of bytes.

use std::ops::Range;

use serde_json::value::RawValue;
use time::OffsetDateTime;

use stand_ins::host::first_delivery;

/// The function that the messages are for.
const FUNCTION: &str = "SyncQueue";

/// The prefix of a key; seven digits follow.
const PREFIX: &str = "E-";
const DIGITS: usize = 7;

/// The table of the rows.
pub(super) const TABLE: &str = "contacts";

/// The contents of `columns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    /// A contact's columns, repeated up to this many bytes.
    Many(usize),
    /// A contact's columns once, and one long text.
    LongText(usize),
}

/// One request with a key to be filled in.
#[derive(Debug, Clone)]
pub(super) struct Template {
    bytes: Vec<u8>,
    holes: Vec<usize>,
}

impl Template {
    /// A request with a record of these columns.
    pub(super) fn new(columns: Columns) -> Self {
        let columns = columns.json();
        let item = format!(
            r#"{{"table":"{TABLE}","key":{{"employeeid":"{}"}},"columns":{columns},"source":"hr","messageId":"{}"}}"#,
            key(0),
            key(0)
        );
        let body = first_delivery(FUNCTION, "record", &item, OffsetDateTime::now_utc());
        let head = format!(
            "POST /{FUNCTION} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
             X-Azure-Functions-InvocationId: 0a5ad9d6-0a55-4f6c-8d5e-6f4f5b2c9f10\r\n\
             X-Azure-Functions-HostVersion: 4.1037.0.0\r\n\
             traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let bytes = (head + &body).into_bytes();
        let wanted = key(0);
        let holes = bytes.windows(wanted.len()).enumerate();
        let holes = holes.filter(|(_, window)| *window == wanted.as_bytes()).map(|(at, _)| at + PREFIX.len()).collect();
        Self { bytes, holes }
    }

    /// The position of the first occurrence of the record's number.
    pub(super) fn number_at(&self) -> Range<usize> {
        let at = self.holes[0];
        at..at + DIGITS
    }

    /// Its length in bytes, head and body.
    pub(super) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// The request for the record with this number.
    pub(super) fn fill(&mut self, number: u64) -> &[u8] {
        let key = key(number);
        let digits = &key.as_bytes()[PREFIX.len()..];
        for hole in &self.holes {
            self.bytes[*hole..*hole + digits.len()].copy_from_slice(digits);
        }
        &self.bytes
    }
}

impl Columns {
    /// The length of the object in bytes.
    pub(super) fn length(self) -> usize {
        match self {
            Self::Many(bytes) | Self::LongText(bytes) => bytes,
        }
    }

    fn json(self) -> String {
        let mut members = vec![contact("")];
        let mut round = 1;
        let length = |members: &[String]| members.iter().map(|member| member.len() + 1).sum::<usize>() + 1;
        while matches!(self, Self::Many(_)) && length(&members) + contact("00").len() < self.length() {
            members.push(contact(&format!("{round:02}")));
            round += 1;
        }
        let around = length(&members) + r#","description":"""#.len();
        let text: String = "Met at the fair; wants a call on Monday. "
            .chars()
            .cycle()
            .take(self.length().saturating_sub(around))
            .collect();
        members.push(format!(r#""description":"{text}""#));
        let json = format!("{{{}}}", members.join(","));
        debug_assert!(serde_json::from_str::<&RawValue>(&json).is_ok(), "columns are JSON");
        json
    }
}

/// The account of every contact.
pub(super) const ACCOUNT: &str = "9b2e0c3a-1111-4222-8333-444455556666";

/// Typical columns of a person in the Dataverse stand-in; a suffix distinguishes repeated sets.
fn contact(suffix: &str) -> String {
    format!(
        r#""firstname{suffix}":"Ada","lastname{suffix}":"Lovelace","jobtitle{suffix}":"Analyst, Engines \"No. 1\"","telephone1{suffix}":"+44 20 7946 0958","birthdate{suffix}":"1815-12-10","creditlimit{suffix}":1500.50,"numberofchildren{suffix}":3,"donotemail{suffix}":false,"familystatuscode{suffix}":2,"new_topics{suffix}":"1,4","new_score{suffix}":0.1250,"lastonholdtime{suffix}":"2026-11-23T10:00:00Z","address1_latitude{suffix}":51.50735,"new_externalid{suffix}":"0a5ad9d6-0a55-4f6c-8d5e-6f4f5b2c9f10","parentcustomerid_account{suffix}@odata.bind":"/accounts({ACCOUNT})""#
    )
}

/// The key of the record with this number.
pub(super) fn key(number: u64) -> String {
    format!("{PREFIX}{number:0DIGITS$}")
}

/// The number in a row's address, if its key is one of ours.
pub(super) fn number_in(address: &str) -> Option<u64> {
    let from = number_at(address.as_bytes())?;
    address.get(from..from + DIGITS)?.parse().ok()
}

/// The position of the first record number in these bytes.
pub(super) fn number_at(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(PREFIX.len()).position(|window| window == PREFIX.as_bytes())? + PREFIX.len();
    (bytes.len() >= at + DIGITS).then_some(at)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn body(request: &[u8]) -> Value {
        let text = std::str::from_utf8(request).expect("it is text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        serde_json::from_str(body).expect("an envelope is JSON")
    }

    fn record(request: &[u8]) -> Value {
        let body = body(request);
        let once: String = serde_json::from_str(body["Data"]["record"].as_str().expect("text")).expect("text in text");
        serde_json::from_str(&once).expect("a record")
    }

    #[test]
    fn columns_have_the_bytes_that_were_asked_for() {
        for columns in
            [Columns::Many(1_024), Columns::LongText(1_024), Columns::Many(32_768), Columns::LongText(32_768)]
        {
            let json = columns.json();
            assert_eq!(json.len(), columns.length(), "{columns:?}");
            let members: serde_json::Map<String, Value> = serde_json::from_str(&json).expect("an object");
            assert_eq!(members.len() > 100, columns == Columns::Many(32_768), "{columns:?}: {}", members.len());
        }
    }

    #[test]
    fn the_key_is_filled_in_wherever_the_envelope_has_it() {
        let mut template = Template::new(Columns::Many(1_024));
        assert_eq!(record(template.fill(17))["key"]["employeeid"], "E-0000017");
        let request = template.fill(4_711).to_vec();
        let text = String::from_utf8(request.clone()).expect("text");
        assert!(!text.contains("E-0000000") && !text.contains("E-0000017"), "{text}");
        assert_eq!(record(&request)["messageId"], "E-0004711");
        assert_eq!(body(&request)["Metadata"]["key"]["employeeid"], "E-0004711");
    }

    #[test]
    fn a_rows_address_names_its_number() {
        assert_eq!(number_in("/api/data/v9.2/contacts(employeeid='E-0004711')"), Some(4_711));
        assert_eq!(number_in("/api/data/v9.2/contacts(employeeid=%27E-0000000%27)"), Some(0));
        assert_eq!(number_in("/api/data/v9.2/contacts(employeeid='X-1')"), None);
    }
}
