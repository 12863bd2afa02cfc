//! After a 412 for a key that is taken: a lost race, the same data by another instance, or another row in the way.

use std::ops::ControlFlow::{self, Break, Continue};

use tracing::Instrument as _;

use super::{Tries, Writer, read_failed};
use crate::classify::{AfterRace, create_refused, race, race_again};
use crate::dataverse::Error;
use crate::dataverse::verify::{RowMatch, verify};
use crate::outcome::Reason;
use crate::pipeline::End;
use crate::record::{OnConflict, Operation};
use crate::telemetry::trace;

/// What a collision is about, as far as anybody says.
const OTHER_KEY: &str = "a value of this record in another unique key";

impl Writer<'_> {
    /// A 412 for a key that is taken: two more requests tell a lost race from a collision.
    pub(super) async fn after_race(&self, fault: Error, tries: &mut Tries) -> ControlFlow<End> {
        let creates = self.record.operation == Operation::Create;
        let after = if tries.resends > 0 {
            race_again(if creates { OnConflict::Verify } else { self.policy }, tries.resends)
        } else {
            let found = match self.verify().await {
                Ok(found) => found,
                Err(end) => return Break(end),
            };
            if creates { create_refused(found, self.delivered_before) } else { race(self.policy, found) }
        };
        match after {
            AfterRace::Settle(reason) => Break(settled_race(reason, fault)),
            AfterRace::Resend => {
                tries.resends += 1;
                Continue(())
            }
        }
    }

    /// Compares the row by our key with what was sent, as far as the policy needs it.
    pub(super) async fn verify(&self) -> Result<RowMatch, End> {
        let span = trace::verify();
        let found = self.verify_by_policy().instrument(span.clone()).await;
        trace::found(&span, found.as_ref().map_or("unknown", |found| found.as_str()));
        found
    }

    async fn verify_by_policy(&self) -> Result<RowMatch, End> {
        let creates = self.record.operation == Operation::Create;
        match self.policy {
            OnConflict::Retry if !creates => Ok(RowMatch::NotProven),
            OnConflict::Skip if !creates => {
                Ok(if self.is_present().await? { RowMatch::NotProven } else { RowMatch::Missing })
            }
            _ => verify(self.store, self.record).await.map_err(read_failed),
        }
    }
}

fn settled_race(reason: Reason, fault: Error) -> End {
    match reason {
        Reason::AlreadyWritten | Reason::WrittenElsewhere => End { detail: None, ..End::refused(reason, fault) },
        Reason::KeyCollision => collision(fault),
        other => End::refused(other, fault),
    }
}

/// What the service says names the key, if at all; which row has it, it never says.
pub(in crate::pipeline) fn collision(fault: Error) -> End {
    let end = End::refused(Reason::KeyCollision, fault);
    let said = end.detail.as_deref().unwrap_or_default();
    let text =
        format!("{said} It is not this record's own key: another row, or one in the recycle bin, has {OTHER_KEY}.");
    end.detail(text)
}
