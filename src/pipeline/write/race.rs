//! After a 412 for a key that is taken: a lost race, the same data by another instance, or another row in the way.

use std::ops::ControlFlow::{self, Break, Continue};

use tracing::Instrument as _;

use super::{Tries, Writer, read_failed};
use crate::classify::{AfterRace, Found, create_refused, race, race_again};
use crate::dataverse::Error;
use crate::dataverse::verify::{Look, look};
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
            let found = match self.look().await {
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

    /// Looks at the row by our key after a 412.
    pub(super) async fn look(&self) -> Result<Found, End> {
        let span = trace::verify();
        let found = self.look_by_policy().instrument(span.clone()).await;
        let result = match &found {
            Ok(Found::Same) => "same",
            Ok(Found::Other) => "other",
            Ok(Found::Nothing) => "nothing",
            Err(_) => "unknown",
        };
        trace::found(&span, result);
        found
    }

    async fn look_by_policy(&self) -> Result<Found, End> {
        let creates = self.record.operation == Operation::Create;
        if !creates && self.policy == OnConflict::Retry {
            return Ok(Found::Other);
        }
        if !creates && self.policy == OnConflict::Skip {
            return Ok(if self.is_present().await? { Found::Other } else { Found::Nothing });
        }
        match look(self.store, self.record).await {
            Ok(Look::Nothing) => Ok(Found::Nothing),
            Ok(Look::Same) => Ok(Found::Same),
            Ok(Look::Differs | Look::Unknown) => Ok(Found::Other),
            Err(error) => Err(read_failed(error)),
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
