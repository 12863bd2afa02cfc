//! One contact, sent through a host: the answer, and what the handler logged.

use serde_json::{Value, json};
use stand_ins::host::Host;

use crate::caller::{Answer, Caller};

/// The verdict of an applied upsert.
pub(crate) const UPSERTED: (u16, &str, &str) = (200, "applied", "upserted");

impl Answer {
    /// Status, outcome and reason, for comparison.
    pub(crate) fn verdict(&self) -> (u16, &str, &str) {
        let text = |name: &str| self.body[name].as_str().unwrap_or_default();
        (self.status, text("outcome"), text("reason"))
    }
}

/// A contact's record.
pub(crate) fn contact(key: &str) -> Value {
    json!({ "table": "contacts", "key": { "employeeid": key }, "columns": { "firstname": "Ada" } })
}

/// Sends the contact `key` through `host` and reads the answer.
pub(crate) async fn send(host: &Host, key: &str) -> Answer {
    Caller::of(host).post(&contact(key)).await
}

/// Whether the handler printed a line that contains `text`.
pub(crate) fn printed(host: &Host, text: &str) -> bool {
    host.logs().iter().any(|line| line.text.contains(text))
}
