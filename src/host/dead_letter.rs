//! The dead letter: a rejected message and why it was rejected. Written by [`super::Answer`], read by `handler dead-letters`.
//!
//! The format is the contract's `Outputs.deadLetter`. A field without a value is left out. The host reads a dead letter and writes
//! it again, indented and with its own form of what reads as a time, so `messageGzip` (base64 of gzip) stands for a `message` that
//! would not fit a queue message or not stay as it is.
//!
//! Reading accepts letters of other versions: unknown members are ignored and only the message, `reason` and `at` are required. It
//! is strict about these three, because replaying a dead letter removes the wrapping: a message that only resembles one must stay
//! as it is.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/put-message#remarks>,
//! <https://github.com/JamesNK/Newtonsoft.Json/blob/master/Src/Newtonsoft.Json/Utilities/DateTimeUtils.cs>

use std::io::{self, Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use time::OffsetDateTime;

use super::MessageEncoding;
use crate::outcome::{Outcome, ServiceAnswer};

/// A reason code is not longer than this, in bytes.
const MAX_CODE_LENGTH: usize = 64;

/// The characters of a detail that are kept: it may name a member of the message.
const MAX_DETAIL_CHARS: usize = 1_000;

/// The bytes of a queue message, as it is sent.
const MAX_QUEUE_MESSAGE: usize = 64 * 1024;

/// The bytes of an unpacked message. No letter of ours has more: a queue message has 64 KiB, or 48 KiB in base64, each byte of
/// which may have become the three of U+FFFD.
const MAX_UNPACKED: u64 = 256 * 1024;

/// The most bytes by which the host lengthens a letter's time: `Z` may become `+00:00`.
const LONGER_TIME: usize = 5;

/// A message that another attempt cannot help, and what is known about why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeadLetter {
    /// The message's text, unchanged.
    #[serde(flatten, serialize_with = "write_message", deserialize_with = "read_message")]
    pub(crate) message: String,
    /// The reason's code, such as `key_collision`. Another version may know other codes.
    pub(crate) reason: String,
    /// What a person should know beyond the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dataverse: Option<ServiceAnswer>,
    /// How often the message had been delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempts: Option<u64>,
    /// The host's id of the invocation that rejected the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) invocation_id: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) at: OffsetDateTime,
}

/// The message in one of its two forms.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_gzip: Option<String>,
}

fn write_message<S: Serializer>(message: &str, serializer: S) -> Result<S::Ok, S::Error> {
    Message { message: Some(message.to_owned()), message_gzip: None }.serialize(serializer)
}

fn read_message<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let message = match Message::deserialize(deserializer)? {
        Message { message: Some(message), message_gzip: None } => Some(message),
        Message { message: None, message_gzip: Some(packed) } => unpacked(&packed),
        Message { message: Some(_), message_gzip: Some(_) } | Message { message: None, message_gzip: None } => None,
    };
    message.ok_or_else(|| D::Error::custom("there must be one message that can be read"))
}

impl DeadLetter {
    /// The dead letter for a delivery of `message` that ended in `outcome`.
    pub(crate) fn new(outcome: &Outcome, message: &[u8], invocation_id: &str, at: OffsetDateTime) -> Self {
        let detail = outcome.detail.as_ref();
        let dataverse = outcome
            .dataverse
            .clone()
            .map(|answer| ServiceAnswer { message: answer.message.map(|text| writable(&text)), ..answer });
        Self {
            message: String::from_utf8_lossy(message).into_owned(),
            reason: outcome.reason.code().to_owned(),
            detail: detail.map(|text| writable(&text.chars().take(MAX_DETAIL_CHARS).collect::<String>())),
            dataverse,
            attempts: outcome.attempts.map(u64::from),
            invocation_id: Some(invocation_id.to_owned()).filter(|id| !id.is_empty()),
            at,
        }
    }

    /// Reads the content of a queue message; `None` when it is not a dead letter.
    pub(crate) fn parse(content: &[u8]) -> Option<Self> {
        serde_json::from_slice(content).ok().filter(|letter: &Self| is_code(&letter.reason))
    }

    /// The JSON that the host is to write as a queue message in this encoding; `None` if it does not fit in either form.
    pub(super) fn for_host(self, encoding: MessageEncoding) -> Option<Box<RawValue>> {
        if is_kept_by_host(&self.message) && fits(&self, encoding) {
            return Some(to_raw_value(&self).expect("a dead letter is plain data"));
        }
        let mut letter = json!(self);
        letter["messageGzip"] = packed(letter["message"].take().as_str()?).into();
        letter.as_object_mut()?.remove("message");
        fits(&letter, encoding).then(|| to_raw_value(&letter).expect("a dead letter is plain data"))
    }
}

/// Base64 of gzip.
fn packed(text: &str) -> String {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let written = gzip.write_all(text.as_bytes()).and_then(|()| gzip.finish());
    STANDARD.encode(written.expect("memory takes everything"))
}

fn unpacked(packed: &str) -> Option<String> {
    let gzip = STANDARD.decode(packed).ok()?;
    let mut text = String::new();
    let length = GzDecoder::new(&*gzip).take(MAX_UNPACKED + 1).read_to_string(&mut text).ok()?;
    (u64::try_from(length).ok()? <= MAX_UNPACKED).then_some(text)
}

/// Whether the host can write what it makes of the letter: JSON indented by two blanks, in which U+0085, U+2028 and U+2029 are
/// escaped too.
fn fits(letter: &impl Serialize, encoding: MessageEncoding) -> bool {
    let mut counted = Counted::default();
    serde_json::to_writer_pretty(&mut counted, letter).expect("a dead letter is plain data");
    let most = match encoding {
        MessageEncoding::None => MAX_QUEUE_MESSAGE,
        MessageEncoding::Base64 => MAX_QUEUE_MESSAGE / 4 * 3,
    };
    counted.0 + LONGER_TIME <= most
}

/// The bytes of JSON as the host writes it.
#[derive(Default)]
struct Counted(usize);

impl io::Write for Counted {
    /// Strings arrive whole, or cut at an ASCII character.
    fn write(&mut self, json: &[u8]) -> io::Result<usize> {
        let escaped = |character: &[u8]| json.windows(character.len()).filter(|found| *found == character).count();
        let longer = |character: &str| escaped(character.as_bytes()) * (r"\u0085".len() - character.len());
        self.0 += json.len() + ["\u{85}", "\u{2028}", "\u{2029}"].into_iter().map(longer).sum::<usize>();
        Ok(json.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the host writes a text again as it was: nothing that as a whole may read as a time, no character that XML cannot hold in
/// any notation.
fn is_kept_by_host(text: &str) -> bool {
    let is_iso = (19..=40).contains(&text.len()) && text.as_bytes()[10] == b'T' && text.starts_with(char::is_numeric);
    let is_microsoft = text.starts_with("/Date(") && text.ends_with(")/");
    !is_iso && !is_microsoft && !text.contains(NEVER_XML)
}

/// <https://www.w3.org/TR/xml/#charsets>; JSON has an escape for the others.
const NEVER_XML: [char; 2] = ['\u{fffe}', '\u{ffff}'];

/// The text without characters that make the host's output fail.
fn writable(text: &str) -> String {
    text.replace(NEVER_XML, "\u{fffd}")
}

fn is_code(text: &str) -> bool {
    text.len() <= MAX_CODE_LENGTH
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::outcome::Reason;

    impl DeadLetter {
        /// What stands in `messageGzip` for this text.
        pub(crate) fn packed_for_test(text: &str) -> String {
            packed(text)
        }
    }

    #[test]
    fn a_dead_letter_is_read_back_as_it_was_written() {
        for reason in Reason::ALL {
            let full = Outcome {
                attempts: Some(2),
                dataverse: Some(ServiceAnswer { status: Some(412), ..ServiceAnswer::default() }),
                ..Outcome::new(reason).detail("because")
            };
            for outcome in [full, Outcome::new(reason)] {
                let letter = DeadLetter::new(&outcome, b"{the \"original\"\n", "id-1", datetime!(2026-11-23 10:00 UTC));
                let json = serde_json::to_vec(&letter).expect("plain data");
                assert_eq!(DeadLetter::parse(&json), Some(letter));
            }
        }
    }

    const AT: OffsetDateTime = datetime!(2026-11-23 10:00 UTC);

    /// The letter for `message` as JSON.
    fn for_host(message: &str, encoding: MessageEncoding) -> Option<serde_json::Value> {
        let letter = DeadLetter::new(&Outcome::new(Reason::InvalidMessage), message.as_bytes(), "id", AT);
        let json = letter.clone().for_host(encoding)?;
        assert_eq!(DeadLetter::parse(json.get().as_bytes()), Some(letter), "it is read back");
        Some(serde_json::from_str(json.get()).expect("JSON"))
    }

    #[test]
    fn a_message_that_would_not_fit_is_packed_and_the_size_is_the_one_that_the_host_writes() {
        for (encoding, most) in [(MessageEncoding::None, 65_536), (MessageEncoding::Base64, 49_152)] {
            for unit in ["x", "\"", "\u{e4}", "\u{1}", "\u{85}", "\u{2028}"] {
                let escaped = serde_json::to_string(unit).expect("text").len() - 2;
                let size = if "\u{85}\u{2028}".contains(unit) { 6 } else { escaped };
                // What surrounds it takes less than 200 bytes.
                let is_plain = |free: usize| {
                    let letter = for_host(&unit.repeat((most - free) / size), encoding).expect("it can be packed");
                    letter.get("message").is_some()
                };
                assert!(is_plain(200) && !is_plain(0), "{unit:?} {encoding:?}");
            }
            let plain = |length: usize| for_host(&"x".repeat(length), encoding).expect("fits").get("message").is_some();
            let longest = (0..most).rev().find(|length| plain(*length)).expect("some fit");
            let letter = for_host(&"x".repeat(longest), encoding).expect("it fits");
            let indented = serde_json::to_string_pretty(&letter).expect("JSON").len();
            assert_eq!(indented + LONGER_TIME, most);
        }
    }

    #[test]
    fn a_message_that_the_host_would_change_is_packed() {
        for message in [
            "2026-11-23T10:00:00+02:00",
            "2026-11-23T10:00:00",
            "2026-11-23T10:00:00.1234567Z",
            "/Date(1700000000000)/",
            "a\u{fffe}b",
            "{\u{ffff}",
        ] {
            for encoding in [MessageEncoding::None, MessageEncoding::Base64] {
                let letter = for_host(message, encoding).expect("it fits");
                assert!(letter.get("message").is_none() && letter["messageGzip"].is_string(), "{letter}");
            }
        }
        let text = r#"{"at":"2026-11-23T10:00:00+02:00"}"#;
        for message in [
            "",
            "2026-11-23",
            "hello",
            "\u{0}\u{1}\u{85}",
            text,
            "\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}",
        ] {
            assert_eq!(for_host(message, MessageEncoding::None).expect("it fits")["message"], message);
        }
    }

    #[test]
    fn a_message_that_does_not_fit_even_so_gives_no_letter() {
        // Text without a pattern is hardly compressed.
        let mut state = 1_u64;
        let random = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b' ' + u8::try_from((state >> 33) % 95).expect("it is below 95"))
        });
        let random: String = random.take(65_000).collect();
        assert_eq!(for_host(&random, MessageEncoding::None), None);
        assert!(for_host(&random[..40_000], MessageEncoding::None).is_some());
        assert_eq!(for_host(&random[..49_000], MessageEncoding::Base64), None);
    }

    #[test]
    fn what_is_not_the_message_is_bounded_and_can_be_written() {
        let outcome = Outcome {
            dataverse: Some(ServiceAnswer { message: Some("a\u{ffff}".to_owned()), ..ServiceAnswer::default() }),
            ..Outcome::new(Reason::InvalidMessage).detail("\u{fffe}".repeat(60_000))
        };
        let letter = DeadLetter::new(&outcome, b"{}", "id", AT);
        assert_eq!(letter.detail, Some("\u{fffd}".repeat(MAX_DETAIL_CHARS)));
        assert_eq!(letter.dataverse.and_then(|answer| answer.message).as_deref(), Some("a\u{fffd}"));
    }

    #[test]
    fn what_is_not_exactly_one_readable_message_is_not_a_letter() {
        let read = |members: &str| {
            DeadLetter::parse(format!(r#"{{{members},"reason":"exists","at":"2026-11-23T10:00:00Z"}}"#).as_bytes())
        };
        let bomb = packed(&" ".repeat(2 * 1024 * 1024));
        let good = packed("hello");
        assert_eq!(read(&format!(r#""messageGzip":"{good}""#)).expect("a letter").message, "hello");
        let cut = STANDARD.encode(&STANDARD.decode(&good).expect("base64")[..20]);
        for members in [
            format!(r#""messageGzip":"{good}","message":"hello""#),
            format!(r#""messageGzip":"{bomb}""#),
            format!(r#""messageGzip":"{cut}""#),
            r#""messageGzip":"aGVsbG8=""#.to_owned(),
            r#""messageGzip":7"#.to_owned(),
            r#""message":null"#.to_owned(),
        ] {
            assert_eq!(read(&members), None, "{members:.80}");
        }
    }

    #[test]
    fn only_message_reason_and_time_are_required_and_unknown_members_are_ignored() {
        for more in ["", r#","detail":null,"dataverse":null"#, r#","dataverse":{},"attempts":3,"shard":7"#] {
            let json = format!(r#"{{"message":"{{}}","reason":"new_reason","at":"2026-11-23T10:00:00Z"{more}}}"#);
            let letter = DeadLetter::parse(json.as_bytes()).expect("a dead letter");
            assert_eq!((letter.message.as_str(), letter.reason.as_str(), letter.detail), ("{}", "new_reason", None));
        }
    }
}
