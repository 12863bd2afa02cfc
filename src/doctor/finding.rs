//! The finding of a check: its verdict, what was found, and the remedy.

use serde::Serialize;

pub(super) use super::elf::{CheckResult, wrong};

/// A check, by its stable code. They are made in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Check(pub(crate) &'static str);

impl Check {
    pub(crate) const SETTINGS: Self = Self("settings");
    pub(crate) const HOST_JSON: Self = Self("host_json");
    pub(crate) const RETRY_BLOCK: Self = Self("retry_block");
    pub(crate) const REDELIVERY: Self = Self("redelivery");
    pub(crate) const MESSAGE_ENCODING: Self = Self("message_encoding");
    pub(crate) const FORWARDING: Self = Self("forwarding");
    pub(crate) const CONCURRENCY: Self = Self("concurrency");
    pub(crate) const TIME_LIMIT: Self = Self("time_limit");
    pub(crate) const QUEUE_FUNCTION: Self = Self("queue_function");
    pub(crate) const HTTP_FUNCTION: Self = Self("http_function");
    pub(crate) const FUNCTION_FOLDERS: Self = Self("function_folders");
    pub(crate) const EXECUTABLE: Self = Self("executable");
    pub(crate) const ARCHITECTURE: Self = Self("architecture");
    pub(crate) const GLIBC: Self = Self("glibc");
    pub(crate) const TOKEN: Self = Self("token");
    pub(crate) const WHO_AM_I: Self = Self("who_am_i");
    pub(crate) const TABLE: Self = Self("table");
    pub(crate) const ALTERNATE_KEY: Self = Self("alternate_key");
    pub(crate) const VERSION_COLUMN: Self = Self("version_column");
    pub(crate) const READ: Self = Self("read");
    pub(crate) const LOCK_STORAGE: Self = Self("lock_storage");
    pub(crate) const QUEUE: Self = Self("queue");
    pub(crate) const POISON_QUEUE: Self = Self("poison_queue");
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Good,
    Wrong,
    /// The check was not made, because an earlier one failed.
    NotTried,
}

/// One finding of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) check: Check,
    pub(crate) verdict: Verdict,
    /// What was found, as one clause.
    pub(crate) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
}

impl Finding {
    pub(crate) fn new(check: Check, result: CheckResult) -> Self {
        match result {
            Ok(found) => Self { check, verdict: Verdict::Good, found, remedy: None },
            Err((found, remedy)) => Self { check, verdict: Verdict::Wrong, found, remedy: Some(remedy) },
        }
    }

    pub(crate) fn not_tried(check: Check, failed: Check) -> Self {
        Self { check, verdict: Verdict::NotTried, found: format!("not tried, because of {}", failed.0), remedy: None }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.verdict == Verdict::Good
    }
}
