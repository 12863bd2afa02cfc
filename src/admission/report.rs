//! What an operator reads about the gate: one line when it closes, one when it opens, and none per message; the same as figures.
//! They belong to no invocation, whoever it was that met the trouble first.

use std::time::Duration;

use tracing::{info, warn};

use super::state::Event;
use crate::telemetry::metrics;

const PAUSE: &str = "pause";
const HOLD: &str = "hold";
const THROTTLED: &str = "throttled";

/// Writes the line; `waiting` messages stand before the gate.
pub(super) fn log(event: &Event, waiting: usize) {
    measure(event);
    match event {
        Event::Paused(delay) => warn!(
            parent: None,
            reason = THROTTLED,
            retry_after_ms = millis(*delay),
            waiting,
            "Dataverse asks for a pause: nothing is sent until it is over"
        ),
        Event::Resumed(lasted) => info!(
            parent: None,
            reason = THROTTLED,
            lasted_ms = millis(*lasted),
            waiting,
            "the pause is over: sending again, a few at first"
        ),
        Event::Held(trouble) => warn!(
            parent: None,
            reason = trouble.reason.code(),
            problem = trouble.said,
            waiting,
            "messages wait in place: one at a time is tried until one succeeds"
        ),
        Event::Released(trouble, lasted) => info!(
            parent: None,
            reason = trouble.reason.code(),
            lasted_ms = millis(*lasted),
            waiting,
            "it works again: the messages that waited go on, a few at first"
        ),
    }
}

fn measure(event: &Event) {
    match event {
        Event::Paused(_) => metrics::admission_paused(PAUSE, THROTTLED),
        Event::Resumed(lasted) => metrics::admission_resumed(PAUSE, THROTTLED, *lasted),
        Event::Held(trouble) => metrics::admission_paused(HOLD, trouble.reason.code()),
        Event::Released(trouble, lasted) => metrics::admission_resumed(HOLD, trouble.reason.code(), *lasted),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
