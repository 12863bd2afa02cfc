//! The row store behind the [`Store`] seam, and its failures as facts.
//!
//! Nothing here judges: an [`Error`] says what was answered, or that nothing was, and [`crate::classify`] says what that means.
//!
//! The Web API: <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/overview>

pub mod client;
pub mod error_body;
mod retry_after;
pub mod table_metadata;
pub mod verify;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::json::{Members, Value};
use crate::outcome::ServiceAnswer;
use crate::record::{Record, RecordKey, guid};
use table_metadata::TableMetadata;

/// Rows by key.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// Makes one change.
    ///
    /// # Errors
    /// What was answered instead, or that nothing was. After [`Error::NoAnswer`] with `sent` the change may have been made.
    async fn write(&self, change: &Change<'_>) -> Result<Written, Error>;

    /// Reads the row of `table` that the key means; `columns` are those wanted, none means all.
    ///
    /// # Errors
    /// What was answered instead, or that nothing was. A row that is not there is no error.
    async fn read(&self, table: &str, key: &RecordKey, columns: &[String]) -> Result<Option<Row>, Error>;

    /// How many requests at once the store last recommended to all its clients together, if it ever did.
    fn parallelism(&self) -> Option<u32> {
        None
    }

    /// The table's metadata, at most an hour old; `None` when it could not be read.
    async fn metadata(&self, _table: &str) -> Option<Arc<TableMetadata>> {
        None
    }
}

/// One change to one row.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Table, key and columns.
    pub record: &'a Record,
    /// The row's primary key, where it is known: then it addresses the row in place of the record's key.
    pub id: Option<Uuid>,
    /// What is done.
    pub kind: WriteKind,
    /// The ETag that the row must have, for [`WriteKind::UpdateUnchanged`] and [`WriteKind::DeleteUnchanged`].
    pub etag: Option<&'a str>,
    /// A column beyond the record's, with its JSON value: the version.
    pub stamp: Option<(&'a str, &'a str)>,
}

/// What a request asks of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteKind {
    /// Create or update, no condition.
    Upsert,
    /// `If-None-Match: *`
    Create,
    /// `If-Match: *`
    Update,
    /// `If-Match: *`, on a row that a read has just found.
    UpdateFound,
    /// `If-Match: <etag>`
    UpdateUnchanged,
    /// Remove, no condition.
    Delete,
    /// Remove, `If-Match: <etag>`
    DeleteUnchanged,
    /// GET
    Read,
}

/// A change that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The row was missing.
    Created,
    /// The row was there.
    Updated,
    /// One of the two.
    Upserted,
    /// The row is gone.
    Deleted,
}

/// A row as it was read.
#[derive(Debug)]
pub struct Row {
    text: String,
}

impl Row {
    /// A row from its JSON object, or `None` when it is none.
    pub fn from_json(text: String) -> Option<Self> {
        let _: Members<'_> = serde_json::from_str(&text).ok()?;
        Some(Self { text })
    }

    /// Its properties, annotations included.
    pub fn members(&self) -> Members<'_> {
        serde_json::from_str(&self.text).expect("checked when it was made")
    }

    /// Its primary key, when it was read for `selected`: the service sends it along, the one GUID that nobody asked for.
    pub fn id(&self, selected: &[String]) -> Option<Uuid> {
        let Members(members) = self.members();
        let unasked =
            members.into_iter().filter(|(name, _)| !name.contains('@') && !selected.iter().any(|s| s == name));
        let mut ids = unasked.filter_map(|(_, raw)| match Value::of(raw) {
            Value::Text(text) => guid(&text),
            _ => None,
        });
        ids.next().filter(|_| ids.next().is_none())
    }

    /// Its ETag, which has no order.
    pub fn etag(&self) -> Option<String> {
        let Members(members) = self.members();
        let (_, raw) = members.into_iter().find(|(name, _)| name == "@odata.etag")?;
        serde_json::from_str(raw.get()).ok()
    }
}

/// A request that did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Dataverse answered with something else than success.
    #[error("Dataverse answered {status}{}", code.map(|code| format!(" {code:#010x}")).unwrap_or_default())]
    Answered {
        /// The HTTP status.
        status: u16,
        /// The service's own code, unless it is empty or zero.
        code: Option<u32>,
        /// The service's text. It can hold data of the row.
        message: Option<String>,
        /// `x-ms-service-request-id`
        request_id: Option<String>,
        /// The delay it named.
        retry_after: Option<Duration>,
    },
    /// Nothing came back.
    #[error("Dataverse did not answer: {problem}")]
    NoAnswer {
        /// Whether the request may have arrived.
        sent: bool,
        /// What happened, without addresses.
        problem: &'static str,
    },
    /// There was no token to ask with.
    #[error("there is no Entra ID token: {problem}")]
    NoToken {
        /// Whether our identity was refused, rather than nobody having answered.
        refused: bool,
        /// In Entra's words.
        problem: String,
    },
    /// The row cannot be addressed by this key, and it is not there to be addressed by its primary key.
    #[error("the key column {column} holds a character that Dataverse cannot find in an address")]
    NotAddressable {
        /// The key column.
        column: String,
    },
    /// More than one row has this key.
    #[error("more than one row has this key, so its columns are no key of the table")]
    Ambiguous,
}

impl Error {
    /// For answers and dead letters.
    pub fn answer(&self) -> Option<ServiceAnswer> {
        match self {
            Self::Answered { status, code, message, request_id, .. } => Some(ServiceAnswer {
                status: Some(*status),
                code: code.map(|code| format!("{code:#010x}")),
                message: message.clone(),
                request_id: request_id.clone(),
            }),
            Self::NoAnswer { .. } | Self::NoToken { .. } | Self::NotAddressable { .. } | Self::Ambiguous => None,
        }
    }

    /// The delay that the service named.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered { retry_after, .. } => *retry_after,
            Self::NoAnswer { .. } | Self::NoToken { .. } | Self::NotAddressable { .. } | Self::Ambiguous => None,
        }
    }

    /// Whether the change may have been made: there was no answer, or a gateway answered that it received none.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::NoAnswer { sent: true, .. } | Self::Answered { status: 502 | 504, code: None, .. })
    }
}
