//! What a check says: how it ended, what was found, and how to mend it.

use serde::{Serialize, Serializer};

/// What is checked, in the order in which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Every setting of this program.
    Settings,
    /// host.json is there and can be read.
    HostJson,
    /// Nothing relies on a retry policy that these triggers do not have.
    RetryBlock,
    /// How often and when a message comes back.
    Redelivery,
    /// How messages are written in the queue.
    MessageEncoding,
    /// HTTP calls arrive as they are.
    Forwarding,
    /// How many messages the host fetches against how many may enter.
    Concurrency,
    /// An invocation may last as long as the longest wait.
    TimeLimit,
    /// The function that reads the queue.
    QueueFunction,
    /// The function that takes HTTP calls.
    HttpFunction,
    /// Functions lie where the host looks.
    FunctionFolders,
    /// The file that the host starts.
    Executable,
    /// The processor that it is for.
    Architecture,
    /// The C library that it needs.
    Glibc,
    /// A token from Entra ID, and for whom.
    Token,
    /// Dataverse knows us.
    WhoAmI,
    /// The table is there.
    Table,
    /// The alternate key is there and works.
    AlternateKey,
    /// The column that keeps a record's version.
    VersionColumn,
    /// Rows of the table may be read.
    Read,
    /// A lock can be taken and given back.
    LockStorage,
    /// The queue of records.
    Queue,
    /// The queue of dead letters.
    PoisonQueue,
}

impl Check {
    /// Its stable name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::HostJson => "host_json",
            Self::RetryBlock => "retry_block",
            Self::Redelivery => "redelivery",
            Self::MessageEncoding => "message_encoding",
            Self::Forwarding => "forwarding",
            Self::Concurrency => "concurrency",
            Self::TimeLimit => "time_limit",
            Self::QueueFunction => "queue_function",
            Self::HttpFunction => "http_function",
            Self::FunctionFolders => "function_folders",
            Self::Executable => "executable",
            Self::Architecture => "architecture",
            Self::Glibc => "glibc",
            Self::Token => "token",
            Self::WhoAmI => "who_am_i",
            Self::Table => "table",
            Self::AlternateKey => "alternate_key",
            Self::VersionColumn => "version_column",
            Self::Read => "read",
            Self::LockStorage => "lock_storage",
            Self::Queue => "queue",
            Self::PoisonQueue => "poison_queue",
        }
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is as it should be.
    Good,
    /// Something has to be mended.
    Wrong,
    /// It could not be made, because an earlier one failed.
    NotTried,
}

impl Verdict {
    /// Its mark on a terminal.
    pub const fn mark(self) -> char {
        match self {
            Self::Good => '✓',
            Self::Wrong => '✗',
            Self::NotTried => '–',
        }
    }
}

/// One thing that a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: Check,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found, as one clause.
    pub found: String,
    /// How to mend it, where it is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn good(check: Check, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Good, found: found.into(), remedy: None }
    }

    /// Something is wrong, and this mends it.
    pub fn wrong(check: Check, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Wrong, found: found.into(), remedy: Some(remedy.into()) }
    }

    /// It rests on `earlier`, which failed.
    pub fn not_tried(check: Check, earlier: Check) -> Self {
        Self {
            check,
            verdict: Verdict::NotTried,
            found: format!("not tried, because of {}", earlier.code()),
            remedy: None,
        }
    }

    /// The same check, as it ended for one of several things.
    pub fn of(check: Check, result: Result<impl Into<String>, (String, String)>) -> Self {
        match result {
            Ok(found) => Self::good(check, found),
            Err((found, remedy)) => Self::wrong(check, found, remedy),
        }
    }

    /// Whether it is as it should be.
    pub fn is_good(&self) -> bool {
        self.verdict == Verdict::Good
    }
}
