//! Logs and metrics of admission: one line and one metric when it stops and when it resumes, and none per message.
//! The lines belong to no invocation, whichever message caused them.

use std::time::Duration;

use tracing::{info, warn};

use super::state::Event;
use crate::telemetry::metrics;

const PAUSE: &str = "pause";
const HOLD: &str = "hold";
const THROTTLED: &str = "throttled";

/// Logs and counts the event; `waiting` messages are queued.
pub(super) fn report(event: &Event, waiting: usize) {
    match event {
        Event::Paused(delay) => {
            metrics::admission_paused(PAUSE, THROTTLED);
            let retry_after_ms = millis(*delay);
            warn!(parent: None, reason = THROTTLED, retry_after_ms, waiting, "Dataverse asks for a pause; sending stops until it is over");
        }
        Event::Resumed(lasted) => {
            metrics::admission_resumed(PAUSE, THROTTLED, *lasted);
            let lasted_ms = millis(*lasted);
            info!(parent: None, reason = THROTTLED, lasted_ms, waiting, "the pause is over; resuming gradually");
        }
        Event::CircuitOpened(cause) => {
            let (reason, problem) = (cause.reason.code(), &cause.message);
            metrics::admission_paused(HOLD, reason);
            warn!(parent: None, reason, problem, waiting, "messages wait in place; one at a time is tried until one succeeds");
        }
        Event::CircuitClosed(cause, lasted) => {
            let (reason, lasted_ms) = (cause.reason.code(), millis(*lasted));
            metrics::admission_resumed(HOLD, reason, *lasted);
            info!(parent: None, reason, lasted_ms, waiting, "recovered; resuming held messages gradually");
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
