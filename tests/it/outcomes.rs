//! The contract's table of outcomes, row by row: the real handler's answer to an HTTP caller, through the host.
//!
//! Each answer is compared as a whole. Refusals are caused by data where possible, and by the stand-in's faults
//! otherwise.

mod applied;
mod internal;
mod keys;
mod rejected;
mod retry;
mod skipped;

use sandbox::world::{Backing, World};
use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault, Status};
use stand_ins::host::Host;
use stand_ins::storage::Storage;

use crate::caller::{Answer, Caller, contact};

/// Dataverse's text for a key that is in use.
const DUPLICATE: &str = "A record with matching key values already exists.";

/// One host and its caller.
struct Scene {
    world: World,
    caller: Caller,
    host: Host,
}

impl Scene {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A handler that never holds failing records in place.
    async fn at_once() -> Self {
        Self::with(&[crate::AT_ONCE]).await
    }

    async fn with(settings: &[(&str, &str)]) -> Self {
        let world = crate::world().await;
        let host = world.host("instance-1", settings).await.expect("the host starts");
        Self { caller: Caller::of(&host), world, host }
    }

    async fn post(&self, record: &Value) -> Answer {
        self.caller.post(record).await
    }

    /// Posts an upsert of one contact.
    async fn upsert(&self, key: &str, columns: &Value) -> Answer {
        self.post(&contact(key, columns)).await
    }

    /// Posts an operation on one contact.
    async fn operate(&self, operation: &str, key: &str, columns: &Value) -> Answer {
        let mut record = contact(key, columns);
        record["operation"] = json!(operation);
        self.post(&record).await
    }

    /// The next `times` writes of this contact are answered with `status`.
    fn refuse(&self, times: u32, key: &str, status: Status) {
        self.world.dataverse.fault(Fault::new(Effect::Status(status)).method("PATCH").key(key).times(times));
    }

    /// The value of one column of a contact's row.
    fn stored(&self, key: &str, column: &str) -> Option<Value> {
        self.world.dataverse.row("contacts", &[("employeeid", key)])?.get(column).cloned()
    }

    /// The `dataverse` member for this refusal, with the request id of the last write that arrived.
    fn said(&self, status: u16, code: &str, message: &str) -> Value {
        let journal = self.world.dataverse.journal();
        let last = journal.last().expect("a write arrived");
        json!({ "status": status, "code": code, "message": message, "requestId": last.request_id })
    }

    fn storage(&self) -> &Storage {
        match &self.world.storage {
            Backing::Embedded(storage) => storage,
            Backing::Azurite(_) => panic!("these worlds are on the embedded storage"),
        }
    }
}

/// The members of a result about one contact, as sent by [`contact`].
fn about(key: &str, outcome: &str, reason: &str) -> Value {
    json!({
        "outcome": outcome,
        "reason": reason,
        "table": "contacts",
        "key": { "employeeid": key },
        "messageId": format!("m-{key}"),
        "attempts": 1,
    })
}

/// Like `about`, with Dataverse's answer.
fn about_refusal(key: &str, outcome: &str, reason: &str, said: Value) -> Value {
    let mut members = about(key, outcome, reason);
    members["dataverse"] = said;
    members
}
