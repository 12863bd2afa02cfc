//! Parses the log line that the handler writes at the end of a record, in the text log format.
//!
//! Tests and chaos runs need only the outcome and the hash of the key.

/// The outcome of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// `applied/created`
    pub ending: String,
    /// The hash of its key; `None` if the message was not a valid record.
    pub key_hash: Option<String>,
}

impl Closing {
    /// Parses a line; `None` if it is not such a line.
    pub fn read(line: &str) -> Option<Self> {
        let field = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let (outcome, reason) = (field("outcome")?, field("reason")?);
        Some(Self { ending: format!("{outcome}/{reason}"), key_hash: field("key_hash").map(str::to_owned) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_closing_line_of_a_record_is_recognised() {
        let line =
            "2026-11-24T10:00:00.000001Z INFO record settled outcome=applied reason=created key_hash=1f2e attempt=1";
        let closing = Closing { ending: "applied/created".to_owned(), key_hash: Some("1f2e".to_owned()) };
        assert_eq!(Closing::read(line), Some(closing));
        assert_eq!(Closing::read("2026-11-24T10:00:00.000001Z WARN it waits reason=throttled waiting=3"), None);
    }
}
