//! `$batch`: up to 1,000 requests in one, executed one after the other, each as if it had come alone.
//!
//! The service's limits count it as one request, and its execution time in full. A part has its own method, address, headers and
//! body; only the token is the batch's. Without `Prefer: odata.continue-on-error` it ends at the first error, whose status is then
//! the batch's. Change sets are not supported. Invariant: either no part is executed, or all up to the end of the batch. See
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/execute-batch-operations-using-web-api>.

mod answer;
mod parse;

use axum::http::{Method, StatusCode};

use self::answer::Answers;
use super::World;
use super::call::Call;
use super::errors::Error;
use super::faults::Effect;
use super::journal::Entry;
use super::path;
use super::routes::{self, End};

/// The name of the resource.
pub(super) const RESOURCE: &str = "$batch";

const CONTINUE: &str = "odata.continue-on-error";

/// One request of a batch.
#[derive(Debug)]
struct Part {
    content_id: Option<String>,
    call: Call,
}

/// Whether this is a batch, and not a part of one: a batch within a batch is an unknown resource.
pub(super) fn is_batch(call: &Call) -> bool {
    call.batch.is_none() && call.method == Method::POST && path::glimpse(&call.path).0 == RESOURCE
}

/// Executes a batch, under the effect of a fault; replaces its entry in `entries` with those of the parts.
pub(super) async fn execute(
    world: &World,
    call: &Call,
    user: &str,
    entries: &mut Vec<Entry>,
    effect: Option<&Effect>,
) -> Result<End, Error> {
    call.below_root()?;
    let id = entries.first().expect("a write begins with one entry").request_id.clone();
    let parts = parse::parts(call, &id)?;
    let continues = call.prefers(CONTINUE) && effect != Some(&Effect::StopAtError);
    entries.clear();
    let (mut answers, mut status) = (Answers::default(), StatusCode::OK);
    for Part { content_id, call } in parts {
        // Boxed, because a part takes the same way as the batch.
        let (end, written) = Box::pin(routes::handle_part(world, &call, user)).await;
        let is_heard = !answers.are_cut();
        entries.extend(written.into_iter().map(|entry| Entry { status: entry.status.filter(|_| is_heard), ..entry }));
        let response = match end {
            End::Silence | End::Cut => return Ok(end),
            End::NoStatus => {
                answers.add_empty();
                continue;
            }
            End::CutMidway(response) => {
                answers.cut_midway(content_id.as_deref(), response).await;
                continue;
            }
            End::Answer(response) => response,
        };
        let part_status = response.status();
        answers.add(content_id.as_deref(), response).await;
        if part_status.as_u16() >= 400 && !continues {
            status = part_status;
            break;
        }
    }
    if effect == Some(&Effect::WrongOrder) {
        answers.reverse();
    }
    Ok(End::Answer(answers.into_response(status)))
}
