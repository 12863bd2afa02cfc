//! The row store behind the [`Store`] trait, and its errors as facts.
//!
//! An [`Error`] says what was answered, or that nothing was; [`crate::classify`] decides what follows from it.
//!
//! The Web API: <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/overview>

pub mod client;
pub mod error_body;
mod retry_after;
pub(crate) mod suggestion;
pub mod table_metadata;
pub mod verify;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::json::{Members, Value};
use crate::outcome::ServiceAnswer;
use crate::record::{Columns, Record, RecordKey, guid};
use table_metadata::TableMetadata;

/// Rows by key.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// Makes one change.
    ///
    /// # Errors
    /// See [`Error`]. After [`Error::NoAnswer`] with `sent` the change may have been made.
    async fn write(&self, change: &Change<'_>) -> Result<Written, Error>;

    /// Makes one change, and returns these columns of the row as it is then; `None` if the answer does not show them.
    ///
    /// # Errors
    /// As for [`Store::write`].
    async fn write_returning(&self, change: &Change<'_>, _columns: &[String]) -> Result<(Written, Option<Row>), Error> {
        Ok((self.write(change).await?, None))
    }

    /// Reads `columns`, or all columns if it is empty, of the row of `table` with this key; `None` if there is no such row.
    ///
    /// # Errors
    /// See [`Error`].
    async fn read(&self, table: &str, key: &RecordKey, columns: &[String]) -> Result<Option<Row>, Error>;

    /// The number of concurrent requests, by all clients together, that the store last recommended.
    fn parallelism(&self) -> Option<u32> {
        None
    }

    /// Whether requests are made on behalf of another user.
    fn impersonates(&self) -> bool {
        false
    }

    /// Finds out whether the store answers at all, by a request that writes nothing.
    ///
    /// # Errors
    /// See [`Error`].
    async fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// How a row shows that we created it.
    ///
    /// # Errors
    /// See [`Error`].
    async fn creator(&self) -> Result<Creator, Error> {
        Err(Error::NoAnswer { sent: false, problem: "it does not know who we are" })
    }

    /// The table's metadata, at most an hour old; `None` when it could not be read.
    async fn metadata(&self, _table: &str) -> Option<Arc<TableMetadata>> {
        None
    }

    /// Whether our user may read these columns of the table, so that null means null.
    async fn read_access(&self, _table: &str, _columns: &[String]) -> ReadAccess {
        ReadAccess::Unknown
    }
}

/// Whether the values of some columns can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadAccess {
    /// All of them, in every row.
    Granted,
    /// Column security hides one of them.
    Denied,
    /// It could not be found out.
    Unknown,
    /// The service offers no metadata, as an emulator may, so nothing says that a column can be hidden.
    NoMetadata,
}

/// How a row shows that we created it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Creator {
    /// The column that names the user who sent the request.
    pub column: &'static str,
    /// Our user.
    pub user: Uuid,
}

/// One change to one row.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Table, key and columns.
    pub record: &'a Record,
    /// The row's primary key, if it is known: it addresses the row instead of the record's key.
    pub id: Option<Uuid>,
    /// The columns that are written; the record's, or a part of them.
    pub columns: &'a Columns,
    /// What is done with the row.
    pub write: Write<'a>,
    /// The version column and its JSON value, written in addition to the columns.
    pub version: Option<(&'a str, &'a str)>,
}

/// What is done with a row, and on which condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write<'a> {
    /// Create or update, no condition.
    Upsert,
    /// `If-None-Match: *`
    Create,
    /// `If-Match: *`
    Update,
    /// `If-Match: *`, for a row that was just read.
    UpdateFound,
    /// `If-Match` with this ETag.
    UpdateUnchanged(&'a str),
    /// DELETE, no condition.
    Delete,
    /// DELETE, `If-Match` with this ETag.
    DeleteUnchanged(&'a str),
}

impl Write<'_> {
    /// The kind of the request.
    pub fn kind(self) -> WriteKind {
        match self {
            Self::Upsert => WriteKind::Upsert,
            Self::Create => WriteKind::Create,
            Self::Update => WriteKind::Update,
            Self::UpdateFound => WriteKind::UpdateFound,
            Self::UpdateUnchanged(_) => WriteKind::UpdateUnchanged,
            Self::Delete => WriteKind::Delete,
            Self::DeleteUnchanged(_) => WriteKind::DeleteUnchanged,
        }
    }
}

/// The kind of a request: a [`Write`] without its ETag, or a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteKind {
    /// Create or update, no condition.
    Upsert,
    /// `If-None-Match: *`
    Create,
    /// `If-Match: *`
    Update,
    /// `If-Match: *`, for a row that was just read.
    UpdateFound,
    /// `If-Match: <etag>`
    UpdateUnchanged,
    /// DELETE, no condition.
    Delete,
    /// DELETE, `If-Match: <etag>`
    DeleteUnchanged,
    /// GET
    Read,
}

/// A change that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The row did not exist.
    Created,
    /// The row existed.
    Updated,
    /// It was created or updated.
    Upserted,
    /// The row is gone.
    Deleted,
}

/// A row that was read.
#[derive(Debug)]
pub struct Row {
    text: String,
}

impl Row {
    /// A row from its JSON object, or `None` if the text is not one.
    pub(crate) fn from_json(text: String) -> Option<Self> {
        let _: Members<'_> = serde_json::from_str(&text).ok()?;
        Some(Self { text })
    }

    /// Its properties, annotations included.
    pub(crate) fn members(&self) -> Members<'_> {
        serde_json::from_str(&self.text).expect("checked when it was made")
    }

    /// Its primary key, which the service adds to the columns that were `selected`: the one GUID that was not.
    pub(crate) fn id(&self, selected: &[String]) -> Option<Uuid> {
        let Members(members) = self.members();
        let added = members.into_iter().filter(|(name, _)| !name.contains('@') && !selected.iter().any(|s| s == name));
        let mut ids = added.filter_map(|(_, raw)| match Value::of(raw) {
            Value::Text(text) => guid(&text),
            _ => None,
        });
        ids.next().filter(|_| ids.next().is_none())
    }

    /// Its ETag. ETags are not ordered.
    pub fn etag(&self) -> Option<String> {
        self.text("@odata.etag")
    }

    /// The text in a property.
    fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.members().get(name)?.get()).ok()
    }

    /// When it was created, in whole seconds.
    pub(crate) fn created_on(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(&self.text("createdon")?, &Rfc3339).ok()
    }

    /// Whether it names this creator.
    pub(crate) fn is_created_by(&self, creator: &Creator) -> bool {
        self.text(creator.column).and_then(|id| guid(&id)) == Some(creator.user)
    }
}

/// A request that did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Dataverse answered, and not with a success.
    #[error("Dataverse answered {status}{}", code.map(|code| format!(" {code:#010x}")).unwrap_or_default())]
    Answered {
        /// The HTTP status.
        status: u16,
        /// The service's own code, unless it is empty or zero.
        code: Option<u32>,
        /// The service's text, which can hold data of the row; `None` if the body was not Dataverse's, such as a gateway's page.
        message: Option<String>,
        /// The request id that support asks for.
        request_id: Option<String>,
        /// The delay that it asked for.
        retry_after: Option<Duration>,
        /// The last second, by the service's clock, in which the request can have been sent; `None` if the answer has no date.
        sent_at: Option<OffsetDateTime>,
    },
    /// There was no usable answer.
    #[error("Dataverse did not answer: {problem}")]
    NoAnswer {
        /// Whether the request may have arrived.
        sent: bool,
        /// What happened; contains no address.
        problem: &'static str,
    },
    /// There was no token for the request.
    #[error("there is no Entra ID token: {problem}")]
    NoToken {
        /// Whether our identity was refused, as opposed to no answer from the authority.
        refused: bool,
        /// In Entra's words.
        problem: String,
    },
    /// The key cannot be written in a URL, and the row does not exist, so that it has no primary key either.
    #[error("the key column {column} contains a character that is not allowed in a Dataverse key URL")]
    NotAddressable {
        /// The key column.
        column: String,
    },
    /// More than one row has this key.
    #[error("more than one row has this key, so its columns are not a key of the table")]
    Ambiguous,
    /// It was not sent, because sending had to stop before its turn.
    #[error("it was not sent, because Dataverse had asked for a pause")]
    Withheld,
}

impl Error {
    pub(crate) const NOT_SENDABLE: Self = Self::NoAnswer { sent: false, problem: "the request could not be built" };

    /// The service's answer, for results and dead letters.
    pub(crate) fn answer(&self) -> Option<ServiceAnswer> {
        match self {
            Self::Answered { status, code, message, request_id, .. } => Some(ServiceAnswer {
                status: Some(*status),
                code: code.map(|code| format!("{code:#010x}")),
                message: message.clone().filter(|text| !text.is_empty()),
                request_id: request_id.clone(),
            }),
            Self::NoAnswer { .. }
            | Self::NoToken { .. }
            | Self::NotAddressable { .. }
            | Self::Ambiguous
            | Self::Withheld => None,
        }
    }

    /// The delay that the service asked for.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered { retry_after, .. } => *retry_after,
            Self::NoAnswer { .. }
            | Self::NoToken { .. }
            | Self::NotAddressable { .. }
            | Self::Ambiguous
            | Self::Withheld => None,
        }
    }

    /// The last second, by the service's clock, in which the request can have been sent.
    pub(crate) fn sent_at(&self) -> Option<OffsetDateTime> {
        match self {
            Self::Answered { sent_at, .. } => *sent_at,
            Self::NoAnswer { .. }
            | Self::NoToken { .. }
            | Self::NotAddressable { .. }
            | Self::Ambiguous
            | Self::Withheld => None,
        }
    }

    /// Whether the change may have been made: there was no answer, or a gateway answered that it received none.
    pub(crate) fn is_ambiguous(&self) -> bool {
        matches!(self, Self::NoAnswer { sent: true, .. } | Self::Answered { status: 502 | 504, code: None, .. })
    }
}

#[cfg(test)]
impl Error {
    /// An answer of Dataverse; without a text that of a gateway.
    pub(crate) fn answered(status: u16, code: Option<u32>, text: Option<&str>) -> Self {
        let message = text.map(str::to_owned);
        Self::Answered { status, code, message, request_id: None, retry_after: None, sent_at: None }
    }
}
