//! How each reason is provoked. A new reason does not compile until it is listed here.

use dataverse_sync::outcome::Reason;
use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault, Status};
use stand_ins::storage;

use super::canary_host::{CanaryHost, Trigger};
use super::{COLUMN, KEY, SAID};
use crate::waiting::eventually;

/// Dataverse's message for a duplicate key.
const DUPLICATE: &str = "A record with matching key values already exists.";

/// One record with its own key.
struct Case<'a> {
    host: &'a CanaryHost,
    trigger: Trigger,
    reason: Reason,
    key: String,
}

impl CanaryHost {
    /// Sends a record with canaries that ends with this reason.
    pub(super) async fn provoke(&self, reason: Reason, trigger: Trigger) {
        let key = format!("{KEY}-{}-{trigger:?}", reason.code());
        let case = Case { host: self, trigger, reason, key };
        match reason {
            Reason::Created => case.operate("create").await,
            Reason::Updated => case.with_row().operate("update").await,
            Reason::Upserted => case.operate("upsert").await,
            Reason::Deleted => case.with_row().operate("delete").await,
            Reason::AlreadyWritten => case.with_row().refused(1, 412, "0x80040237", DUPLICATE).operate("upsert").await,
            Reason::WrittenElsewhere => {
                let row = json!({ "employeeid": case.key, "createdon": "2099-12-31T23:59:59Z" });
                self.world().dataverse.insert("contacts", &row);
                case.refused(1, 412, "0x80040237", DUPLICATE).under("skip").await;
            }
            Reason::Superseded => case.with_row().send("version", json!(4)).await,
            Reason::AlreadyAbsent => case.operate("delete").await,
            Reason::LockBusy => case.while_another_holds_the_lock().await,
            Reason::LockLost => case.while_the_lease_is_broken().await,
            Reason::Conflict => case.refused(4, 412, "0x80040237", DUPLICATE).under("retry").await,
            Reason::ParentMissing => case.with_a_parent_that_is_not_there().await,
            Reason::Throttled => case.refused(1, 429, "0x80072322", SAID).operate("upsert").await,
            Reason::Unavailable => case.refused(1, 503, "", SAID).operate("upsert").await,
            Reason::Unauthorized => case.refused(1, 403, "0x80040220", SAID).operate("upsert").await,
            Reason::StorageUnavailable => case.while_the_storage_refuses().await,
            Reason::Internal => case.in_an_invalid_invocation().await,
            Reason::InvalidMessage => {
                case.send("columns", json!(COLUMN)).await;
                case.send("table", json!(COLUMN)).await;
            }
            Reason::NotFound => {
                case.operate("update").await;
                // This key is in a filter and not in a URL's path.
                Case { key: format!("{KEY}/2"), ..case }.operate("update").await;
            }
            Reason::Exists => case.with_row().operate("create").await,
            Reason::KeyCollision => case.beside_a_row_with_its_address().await,
            Reason::DuplicateDetected => case.refused(1, 412, "0x80040333", SAID).operate("upsert").await,
            Reason::InvalidData => case.refused(1, 400, "0x81234567", SAID).operate("upsert").await,
            Reason::TooLarge => case.refused(1, 413, "", SAID).operate("upsert").await,
        }
    }
}

impl Case<'_> {
    fn record(&self) -> Value {
        let columns = json!({ "firstname": COLUMN });
        json!({ "table": "contacts", "key": { "employeeid": self.key }, "columns": columns, "messageId": "m-1" })
    }

    /// The record with one field set.
    async fn send(&self, field: &str, value: Value) {
        let mut record = self.record();
        record[field] = value;
        self.host.send(self.trigger, &record, self.reason).await;
    }

    async fn operate(&self, operation: &str) {
        self.send("operation", json!(operation)).await;
    }

    async fn under(&self, policy: &str) {
        self.send("onConflict", json!(policy)).await;
    }

    fn with_row(self) -> Self {
        let row = json!({ "employeeid": self.key, "firstname": COLUMN, "new_sourceversion": 5 });
        self.host.world().dataverse.insert("contacts", &row);
        self
    }

    fn refused(self, times: u32, status: u16, code: &str, text: &str) -> Self {
        let effect = Effect::Status(Status::new(status, code, text));
        self.inject(effect, times);
        self
    }

    fn inject(&self, effect: Effect, times: u32) {
        self.host.world().dataverse.fault(Fault::new(effect).method("PATCH").key(&self.key).times(times));
    }

    /// An ambiguous write leaves its lease held.
    async fn while_another_holds_the_lock(self) {
        self.inject(Effect::DropBefore, 2);
        self.host.send(Trigger::Http, &self.record(), Reason::Unavailable).await;
        self.host.recovers().await;
        self.operate("upsert").await;
    }

    async fn while_the_lease_is_broken(self) {
        self.inject(Effect::Hang, 1);
        let storage = self.host.storage();
        // Break the leases left by earlier records.
        storage.break_leases(None);
        let broken = eventually("a lease to break", async || (storage.break_leases(None) > 0).then_some(()));
        tokio::join!(self.operate("upsert"), broken);
    }

    async fn with_a_parent_that_is_not_there(self) {
        let bind = "/accounts(accountnumber='missing')";
        self.send("columns", json!({ "firstname": COLUMN, "parentcustomerid_account@odata.bind": bind })).await;
    }

    async fn while_the_storage_refuses(self) {
        let refused = storage::Effect::Status { code: 403, error_code: "AuthorizationFailure", retry_after: None };
        self.host.storage().fault(storage::Fault::until_cleared(storage::Op::AnyBlob, refused));
        self.operate("upsert").await;
        self.host.storage().clear_faults();
    }

    /// `internal` needs a defect, and none is known; an invalid invocation request is reported with the same reason.
    async fn in_an_invalid_invocation(self) {
        let record = self.record();
        for data in [json!({ "item": record }), json!(COLUMN), json!([self.key])] {
            self.host.invoke(&self.host.host, &data, &record, self.reason).await;
        }
    }

    async fn beside_a_row_with_its_address(self) {
        let address = format!("{COLUMN}-{:?}@example.com", self.trigger);
        let other = json!({ "employeeid": format!("other-{:?}", self.trigger), "emailaddress1": address });
        self.host.world().dataverse.insert("contacts", &other);
        self.send("columns", json!({ "emailaddress1": address })).await;
    }
}
