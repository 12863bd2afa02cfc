//! After a 412 for a duplicate key: a lost race, the same data written by another instance, or a collision with another row.

use tracing::Instrument as _;

use super::{Past, Writer, read_failed};
use crate::classify::{AfterRace, create_refused, judge_check, race, race_again};
use crate::dataverse::Error;
use crate::dataverse::verify::{RowMatch, verify};
use crate::outcome::Reason;
use crate::pipeline::Settlement;
use crate::record::{OnConflict, Operation};
use crate::telemetry::trace;

/// The kind of a collision.
const OTHER_KEY: &str = "a value of this record in another unique key";

impl Writer<'_> {
    /// Two more requests distinguish a lost race from a collision.
    pub(super) async fn after_race(&self, fault: Error, past: &mut Past) -> Result<(), Settlement> {
        let creates = self.record.operation == Operation::Create;
        let after = if past.resends > 0 {
            race_again(if creates { OnConflict::Verify } else { self.policy }, past.resends)
        } else {
            let found = self.verify().await?;
            if creates {
                self.create_refused(found).await?
            } else {
                race(self.policy, found, self.is_created_later(&fault, found).await)
            }
        };
        match after {
            AfterRace::Settle(Reason::AlreadyWritten) if creates => Err(self.complete_earlier(Some(fault)).await),
            AfterRace::Settle(reason) => Err(settled_race(reason, fault)),
            AfterRace::Resend => {
                past.resends += 1;
                Ok(())
            }
        }
    }

    /// Compares the row by our key with what was sent, as far as the policy needs it.
    pub(super) async fn verify(&self) -> Result<RowMatch, Settlement> {
        let span = trace::child("verify");
        let found = self.verify_by_policy().instrument(span.clone()).await;
        let result = found.as_ref().map_or("unknown", |found| found.as_str());
        trace::ended(&span, "dataverse_sync.verify.result", result);
        found
    }

    async fn verify_by_policy(&self) -> Result<RowMatch, Settlement> {
        if self.policy == OnConflict::Retry && self.record.operation != Operation::Create {
            return Ok(RowMatch::NotProven);
        }
        let mut again = 0;
        loop {
            match verify(self.store, self.record, self.compared()).await {
                Ok(found) => return Ok(found),
                Err(fault) => self.read_refused(fault, &mut again).await?,
            }
        }
    }

    /// The outcome of a `create` whose row exists.
    pub(super) async fn create_refused(&self, found: RowMatch) -> Result<AfterRace, Settlement> {
        let is_ours = self.delivered_before && found == RowMatch::NotProven && self.is_created_by_us().await?;
        Ok(create_refused(found, self.delivered_before, is_ours))
    }

    pub(in crate::pipeline) async fn is_created_by_us(&self) -> Result<bool, Settlement> {
        let unknown = |fault| read_failed(judge_check(&fault).unwrap_or(Reason::Unavailable), fault);
        let creator = self.store.creator().await.map_err(unknown)?;
        Ok(self.read(&[]).await?.is_some_and(|row| row.is_created_by(&creator)))
    }

    /// Whether the row was created after the request that was refused had been sent. Under a lock no other instance creates it.
    async fn is_created_later(&self, fault: &Error, found: RowMatch) -> bool {
        let may_be = self.policy == OnConflict::Skip && found != RowMatch::Same && self.tombstones.is_none();
        let Some(sent_at) = fault.sent_at().filter(|_| may_be) else { return false };
        // Without an answer there is no proof.
        let row = self.read(&[]).await.ok().flatten();
        row.and_then(|row| row.created_on()).is_some_and(|created_on| created_on > sent_at)
    }
}

fn settled_race(reason: Reason, fault: Error) -> Settlement {
    match reason {
        Reason::AlreadyWritten | Reason::WrittenElsewhere => {
            Settlement { detail: None, ..Settlement::refused(reason, fault) }
        }
        Reason::KeyCollision => collision(fault),
        other => Settlement::refused(other, fault),
    }
}

/// The service's message may name the key, but never the row that has it.
pub(in crate::pipeline) fn collision(fault: Error) -> Settlement {
    let end = Settlement::refused(Reason::KeyCollision, fault);
    let said = end.detail.as_deref().unwrap_or_default();
    let text =
        format!("{said} It is not this record's own key: another row, or one in the recycle bin, has {OTHER_KEY}.");
    end.detail(text)
}
