//! Queue messages as the Functions host sends them, ready to be written to a socket.
//!
//! A [`Message`] is one request, byte for byte as [`stand_ins::host`] builds it, in which only the record's key and version change: the load
//! writes a few bytes for each message instead of building an envelope.

use time::OffsetDateTime;

use stand_ins::host::first_delivery;

/// The function that the messages are for.
const FUNCTION: &str = "SyncQueue";

/// Typical columns of a person; a suffix distinguishes repeated sets.
const CONTACT: &str = r#""firstname~":"Ada","lastname~":"Lovelace","jobtitle~":"Analyst, Engines \"No. 1\"","telephone1~":"+44 20 7946 0958","birthdate~":"1815-12-10","creditlimit~":1500.50,"numberofchildren~":3,"donotemail~":false,"familystatuscode~":2,"new_topics~":"1,4","new_score~":0.1250,"lastonholdtime~":"2026-11-23T10:00:00Z","address1_latitude~":51.50735,"new_externalid~":"0a5ad9d6-0a55-4f6c-8d5e-6f4f5b2c9f10","parentcustomerid_account~@odata.bind":"/accounts(9b2e0c3a-1111-4222-8333-444455556666)""#;

/// One request with a key to be filled in, and perhaps a version.
#[derive(Debug, Clone)]
pub(super) struct Message {
    bytes: Vec<u8>,
    keys: Vec<usize>,
    versions: Vec<usize>,
}

impl Message {
    /// A request with a record of these columns, a JSON object.
    pub(super) fn new(columns: &str) -> Self {
        Self::with(columns, "")
    }

    /// A request with a record of these columns and a version, which rises with each message.
    pub(super) fn versioned(columns: &str) -> Self {
        Self::with(columns, &format!(r#""version":{},"versionColumn":"new_sourceversion","#, version(0)))
    }

    fn with(columns: &str, members: &str) -> Self {
        let zero = key(0);
        let item = format!(
            r#"{{"table":"contacts","key":{{"employeeid":"{zero}"}},"columns":{columns},{members}"source":"hr","messageId":"{zero}"}}"#
        );
        let body = first_delivery(FUNCTION, "record", &item, OffsetDateTime::now_utc());
        let head = format!(
            "POST /{FUNCTION} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Azure-Functions-HostVersion: 4.1037.0.0\r\n\
             X-Azure-Functions-InvocationId: 0a5ad9d6-0a55-4f6c-8d5e-6f4f5b2c9f10\r\n\
             User-Agent: Azure-Functions-Host/4.1037.0.0\r\n\
             traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
             Transfer-Encoding: chunked\r\nContent-Type: application/json; charset=utf-8\r\n\r\n{:X}\r\n",
            body.len()
        );
        let bytes = (head + &body + "\r\n0\r\n\r\n").into_bytes();
        let (keys, versions) = (positions(&bytes, &zero), positions(&bytes, &version(0)));
        Self { bytes, keys, versions }
    }

    /// The request for the record with this number; `message` makes its version, if it has one.
    pub(super) fn fill(&mut self, number: u64, message: u64) -> &[u8] {
        for (text, places) in [(key(number), &self.keys), (version(message), &self.versions)] {
            for at in places {
                self.bytes[*at..*at + text.len()].copy_from_slice(text.as_bytes());
            }
        }
        &self.bytes
    }
}

/// A contact's columns, repeated up to this many bytes and filled up with one text.
pub(super) fn many_columns(length: usize) -> String {
    // Fifteen suffixes of two digits, a comma, and the text's own name make a set longer.
    let sets = 0..(length / (CONTACT.len() + 36)).max(1);
    let sets: Vec<_> = sets.map(|set| CONTACT.replace('~', &format!("{set:02}"))).collect();
    with_text(&sets.join(","), length)
}

/// A contact's columns once, and one long text that fills them up to this many bytes.
pub(super) fn long_text(length: usize) -> String {
    with_text(&CONTACT.replace('~', ""), length)
}

fn with_text(members: &str, length: usize) -> String {
    let without = members.len() + r#"{,"description":""}"#.len();
    let text = "Met at the fair; wants a call on Monday. ".chars().cycle().take(length.saturating_sub(without));
    format!(r#"{{{members},"description":"{}"}}"#, text.collect::<String>())
}

fn positions(bytes: &[u8], text: &str) -> Vec<usize> {
    let found = bytes.windows(text.len()).enumerate().filter(|(_, window)| *window == text.as_bytes());
    found.map(|(at, _)| at).collect()
}

/// The key of the record with this number.
fn key(number: u64) -> String {
    format!("E-{number:07}")
}

/// The version in this message. The number of its digits never changes, and no date or id has so many.
fn version(message: u64) -> String {
    format!("{:016}", 5_000_000_000_000_000 + message)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn columns_have_the_bytes_that_were_asked_for() {
        for (json, many) in [(many_columns(1_024), 16), (many_columns(32_768), 700), (long_text(32_768), 16)] {
            assert!([1_024, 32_768].contains(&json.len()), "{}", json.len());
            let members: serde_json::Map<String, Value> = serde_json::from_str(&json).expect("an object");
            assert!((many..2 * many).contains(&members.len()), "{}", members.len());
        }
    }

    #[test]
    fn the_key_and_the_version_are_filled_in_wherever_the_envelope_has_them() {
        let mut message = Message::versioned("{}");
        message.fill(17, 1);
        let request = String::from_utf8(message.fill(4_711, 2).to_vec()).expect("text");
        assert!(!request.contains("E-0000000") && !request.contains("E-0000017"), "{request}");
        let (_, body) = request.split_once("\r\n\r\n").expect("a head and a body");
        let (size, body) = body.split_once("\r\n").expect("a chunk");
        let body = body.strip_suffix("\r\n0\r\n\r\n").expect("no other chunk");
        assert_eq!(usize::from_str_radix(size, 16), Ok(body.len()));
        let body: Value = serde_json::from_str(body).expect("JSON");
        let record: String =
            serde_json::from_str(body["Data"]["record"].as_str().expect("text")).expect("text in text");
        let record: Value = serde_json::from_str(&record).expect("a record");
        assert_eq!((&record["key"]["employeeid"], &record["messageId"]), (&"E-0004711".into(), &"E-0004711".into()));
        assert_eq!(record["version"], 5_000_000_000_000_002_u64);
    }
}
