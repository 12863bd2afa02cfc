//! What the host says about a delivery, unless the message itself could have set that value.
//!
//! The host merges the properties of a message that is a JSON object into `Metadata`, over its own and in any case. So its
//! `DequeueCount` and its `InsertionTime` count only where the message cannot have replaced them.

use std::borrow::Cow;
use std::str::FromStr;

use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::json::{Members, Value};

const DEQUEUE_COUNT: &str = "DequeueCount";

const INSERTION_TIME: &str = "InsertionTime";

/// The values of a delivery that are certainly the host's own.
#[derive(Debug, Default)]
pub(super) struct TriggerMetadata {
    pub(super) dequeue_count: Option<u32>,
    pub(super) insertion_time: Option<OffsetDateTime>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata<'a> {
    #[serde(borrow)]
    dequeue_count: Option<&'a RawValue>,
    #[serde(borrow)]
    insertion_time: Option<&'a RawValue>,
}

impl TriggerMetadata {
    /// Reads `metadata`, which came with `message`.
    pub(super) fn read(metadata: &RawValue, message: &str) -> Self {
        let Ok(Metadata { dequeue_count, insertion_time }) = serde_json::from_str(metadata.get()) else {
            return Self::default();
        };
        let properties = OwnProperties::of(message);
        let hosts_own = |raw: Option<&'_ RawValue>, name| raw.filter(|_| !properties.may_include(name)).map(text);
        Self {
            dequeue_count: hosts_own(dequeue_count, DEQUEUE_COUNT).and_then(|text| u32::from_str(&text).ok()),
            insertion_time: hosts_own(insertion_time, INSERTION_TIME)
                .and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok()),
        }
    }
}

/// A value as text: a string, in some versions of the host JSON-encoded once more, or a number.
fn text(raw: &RawValue) -> String {
    let text = match Value::of(raw) {
        Value::Text(text) => text,
        _ => Cow::Borrowed(raw.get()),
    };
    text.trim_matches('"').to_owned()
}

/// The properties that the host may have taken from a message.
enum OwnProperties<'a> {
    Read(Members<'a>),
    /// The host reads more as an object than we do, so the text tells what may be a property.
    Unread(&'a str),
}

impl<'a> OwnProperties<'a> {
    fn of(message: &'a str) -> Self {
        serde_json::from_str(message).map_or(Self::Unread(message), Self::Read)
    }

    /// Whether there may be a property with this name. In a text that our parser does not read it is enough that the name occurs,
    /// or an escape that could hide it.
    fn may_include(&self, name: &str) -> bool {
        match self {
            Self::Read(Members(members)) => members.iter().any(|(member, _)| member.eq_ignore_ascii_case(name)),
            Self::Unread(text) => {
                text.contains("\\u") || text.to_ascii_lowercase().contains(&name.to_ascii_lowercase())
            }
        }
    }
}
