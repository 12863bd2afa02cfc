//! The kinds of trouble there are, and one instance of each with its numbers drawn.
//!
//! Data: it says what a stand-in is told, and nothing here tells it. Outages last for a time, broken connections and the like
//! strike a number of requests. What the services are known to do is in the stand-ins' own documentation.

use std::time::Duration;

use axum::http::StatusCode;
use fastrand::Rng;

use crate::dataverse::{self, BodyForm, Effect, Status};
use crate::identity;
use crate::storage::{self, Op};

/// A paused handler sleeps past its leases: they live 15 s.
const SHORTEST_PAUSE: f64 = 16.0;
const LONGEST_PAUSE: f64 = 19.0;

/// So long are writes slow, and so much, when leases end under them: in the middle of it.
const SLOW_WRITES: Duration = Duration::from_secs(3);
const SLOWER_WRITE: Duration = Duration::from_secs(2);

/// Outages, in seconds.
const SHORTEST_OUTAGE: f64 = 1.5;
const LONGEST_OUTAGE: f64 = 8.0;

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Kill,
    Terminate,
    Gone,
    Pause,
    Dataverse(OfDataverse),
    Blobs(OfBlobs),
    Queue(OfQueue),
    Identity(OfIdentity),
    Revoke,
    Break,
    Expire,
    Redeliver,
    Postpone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OfDataverse {
    Refused(Refusal),
    Deadlock,
    Gateway,
    Slow,
    Silent,
    DropBefore,
    DropAfter,
}

/// What every request is answered with for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Busy,
    Throttled,
    Unauthorized,
    Forbidden,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OfBlobs {
    Busy,
    Failing,
    Forbidden,
    Slow,
    Silent,
    DropBefore,
    DropAfter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OfQueue {
    Busy,
    DropBefore,
    DropAfter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OfIdentity {
    Failing,
    Refusing,
    Slow,
    Silent,
}

/// All of them; what happens to machines more than once.
pub(super) const KINDS: [Kind; 37] = [
    Kind::Kill,
    Kind::Kill,
    Kind::Terminate,
    Kind::Gone,
    Kind::Gone,
    Kind::Pause,
    Kind::Dataverse(OfDataverse::Refused(Refusal::Busy)),
    Kind::Dataverse(OfDataverse::Refused(Refusal::Throttled)),
    Kind::Dataverse(OfDataverse::Refused(Refusal::Unauthorized)),
    Kind::Dataverse(OfDataverse::Refused(Refusal::Forbidden)),
    Kind::Dataverse(OfDataverse::Deadlock),
    Kind::Dataverse(OfDataverse::Gateway),
    Kind::Dataverse(OfDataverse::Slow),
    Kind::Dataverse(OfDataverse::Silent),
    Kind::Dataverse(OfDataverse::DropBefore),
    Kind::Dataverse(OfDataverse::DropAfter),
    Kind::Blobs(OfBlobs::Busy),
    Kind::Blobs(OfBlobs::Failing),
    Kind::Blobs(OfBlobs::Forbidden),
    Kind::Blobs(OfBlobs::Slow),
    Kind::Blobs(OfBlobs::Silent),
    Kind::Blobs(OfBlobs::DropBefore),
    Kind::Blobs(OfBlobs::DropAfter),
    Kind::Queue(OfQueue::Busy),
    Kind::Queue(OfQueue::DropBefore),
    Kind::Queue(OfQueue::DropAfter),
    Kind::Identity(OfIdentity::Failing),
    Kind::Identity(OfIdentity::Refusing),
    Kind::Identity(OfIdentity::Slow),
    Kind::Identity(OfIdentity::Silent),
    Kind::Revoke,
    Kind::Break,
    Kind::Break,
    Kind::Expire,
    Kind::Redeliver,
    Kind::Redeliver,
    Kind::Postpone,
];

/// One thing that goes wrong, with everything that is needed to do it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Trouble {
    /// SIGKILL to the handler of this host; the host starts it again.
    Kill(usize),
    /// The host stops as on scale-in: SIGTERM, and the handler may finish. Another host takes its place.
    Terminate(usize),
    /// Host and handler are gone at once; another host comes after a while.
    Gone(usize),
    /// SIGSTOP to the handler, SIGCONT at the end.
    Pause(usize),
    /// A fault of Dataverse.
    Dataverse(String, dataverse::Fault),
    /// A fault of the storage.
    Storage(String, storage::Fault),
    /// A fault of the identity endpoint; tokens are revoked, so that it matters.
    Identity(String, identity::Fault),
    /// Every token is revoked.
    Revoke,
    /// Writes become slow, and about this share of the leases, in percent, is broken under their holders.
    Break(u8),
    /// The same, and the share runs out, as under a holder who was paused.
    Expire(u8),
    /// So many messages that are being worked on are delivered once more.
    Redeliver(usize),
    /// So many messages come later by this time, and others overtake them.
    Postpone(usize, Duration),
}

impl Kind {
    /// Whether it strikes one host.
    pub(super) fn strikes_a_host(self) -> bool {
        matches!(self, Self::Kill | Self::Terminate | Self::Gone | Self::Pause)
    }

    /// How long it lasts where `left` is left; more than that for what needs more.
    pub(super) fn lasts(self, rng: &mut Rng, left: Duration) -> Duration {
        let between =
            |rng: &mut Rng, least: f64, most: f64| Duration::from_secs_f64(least + rng.f64() * (most - least));
        match self {
            Self::Pause => between(rng, SHORTEST_PAUSE, LONGEST_PAUSE),
            Self::Gone => between(rng, 1.0, 5.0),
            Self::Break | Self::Expire => SLOW_WRITES,
            Self::Dataverse(OfDataverse::Refused(_) | OfDataverse::Slow)
            | Self::Blobs(OfBlobs::Busy | OfBlobs::Forbidden | OfBlobs::Slow)
            | Self::Queue(OfQueue::Busy)
            | Self::Identity(_) => between(rng, SHORTEST_OUTAGE, LONGEST_OUTAGE).min(left),
            // Over at once, or it strikes a number of requests.
            _ => Duration::ZERO,
        }
    }

    /// One instance; `slot` is the host that is struck, where one is.
    pub(super) fn trouble(self, rng: &mut Rng, slot: usize) -> Trouble {
        match self {
            Self::Kill => Trouble::Kill(slot),
            Self::Terminate => Trouble::Terminate(slot),
            Self::Gone => Trouble::Gone(slot),
            Self::Pause => Trouble::Pause(slot),
            Self::Dataverse(kind) => of_dataverse(kind, rng),
            Self::Blobs(kind) => of_blobs(kind, rng),
            Self::Queue(kind) => of_queue(kind, rng),
            Self::Identity(kind) => of_identity(kind, rng),
            Self::Revoke => Trouble::Revoke,
            Self::Break => Trouble::Break(rng.u8(30..=100)),
            Self::Expire => Trouble::Expire(rng.u8(30..=100)),
            Self::Redeliver => Trouble::Redeliver(rng.usize(5..=20)),
            Self::Postpone => Trouble::Postpone(rng.usize(10..=40), Duration::from_secs(rng.u64(3..=9))),
        }
    }
}

impl Trouble {
    /// The host that is struck.
    #[cfg(test)]
    pub(super) fn slot(&self) -> Option<usize> {
        match self {
            Self::Kill(slot) | Self::Terminate(slot) | Self::Gone(slot) | Self::Pause(slot) => Some(*slot),
            _ => None,
        }
    }

    /// Where, and what.
    pub(super) fn shown(&self) -> (String, String) {
        let host = |slot: &usize| format!("instance-{}", slot + 1);
        let (place, what) = match self {
            Self::Kill(slot) => (host(slot), "SIGKILL to the handler".to_owned()),
            Self::Terminate(slot) => (host(slot), "SIGTERM: it drains, another host takes its place".to_owned()),
            Self::Gone(slot) => (host(slot), "the machine is gone, another comes".to_owned()),
            Self::Pause(slot) => (host(slot), "SIGSTOP: the handler sleeps past its leases".to_owned()),
            Self::Dataverse(what, _) => ("Dataverse".to_owned(), what.clone()),
            Self::Storage(what, _) => ("storage".to_owned(), what.clone()),
            Self::Identity(what, _) => ("identity".to_owned(), what.clone()),
            Self::Revoke => ("identity".to_owned(), "every token is revoked".to_owned()),
            Self::Break(share) => {
                ("leases".to_owned(), format!("writes are slow, and {share} % of the leases are broken under them"))
            }
            Self::Expire(share) => {
                ("leases".to_owned(), format!("writes are slow, and {share} % of the leases run out under them"))
            }
            Self::Redeliver(count) => {
                ("queue".to_owned(), format!("{count} messages under way are delivered once more"))
            }
            Self::Postpone(count, by) => {
                ("queue".to_owned(), format!("{count} messages come {} s later", by.as_secs()))
            }
        };
        (place, what)
    }
}

/// What makes writes slow while leases end under them.
pub(super) fn slow_writes() -> dataverse::Fault {
    dataverse::Fault::new(Effect::Slow(SLOWER_WRITE)).method("PATCH").until_cleared()
}

/// The first write of each message of that family is never answered.
pub(super) fn silent_writes(count: usize) -> Trouble {
    let times = u32::try_from(count).unwrap_or(u32::MAX);
    let fault = dataverse::Fault::new(Effect::Hang).method("PATCH").key("canary-S").times(times);
    Trouble::Dataverse(format!("{count} writes are never answered"), fault)
}

fn of_dataverse(kind: OfDataverse, rng: &mut Rng) -> Trouble {
    let (what, fault) = match kind {
        OfDataverse::Refused(refusal) => {
            let (what, status) = refused(refusal, rng);
            (what, dataverse::Fault::new(Effect::Status(status)).until_cleared())
        }
        OfDataverse::Deadlock => {
            let times = rng.u32(5..=25);
            (format!("{times} requests lose a deadlock"), dataverse::Fault::new(Effect::Deadlock).times(times))
        }
        OfDataverse::Gateway => {
            let times = rng.u32(3..=10);
            let page = Status { form: BodyForm::Html, ..Status::new(502, "", "Bad gateway") };
            (
                format!("{times} requests end at a gateway: 502"),
                dataverse::Fault::new(Effect::Status(page)).times(times),
            )
        }
        OfDataverse::Slow => {
            let by = Duration::from_millis(rng.u64(200..=2_500));
            (format!("slower by {} ms", by.as_millis()), dataverse::Fault::new(Effect::Slow(by)).until_cleared())
        }
        OfDataverse::Silent => {
            let fault = dataverse::Fault::new(Effect::Hang).method("GET").times(3);
            ("3 reads are never answered".to_owned(), fault)
        }
        OfDataverse::DropBefore => dropped(rng, Effect::DropBefore, "before the work is done"),
        OfDataverse::DropAfter => dropped(rng, Effect::DropAfterCommit, "after the commit"),
    };
    Trouble::Dataverse(what, fault)
}

fn refused(refusal: Refusal, rng: &mut Rng) -> (String, Status) {
    match refusal {
        Refusal::Busy => ("503".to_owned(), Status::new(503, "0x8004a001", "The server is busy.")),
        Refusal::Throttled => {
            let wait = rng.u32(1..=4);
            let text = "Number of requests exceeded the limit of 6000 over time window of 300 seconds.";
            let throttled = Status { retry_after: Some(wait), ..Status::new(429, "0x80072322", text) };
            (format!("429, Retry-After: {wait}"), throttled)
        }
        Refusal::Unauthorized => ("401".to_owned(), Status::new(401, "", "Not now.")),
        Refusal::Forbidden => {
            let text = "Principal user is missing prvCreateContact privilege.";
            ("403".to_owned(), Status::new(403, "0x80040220", text))
        }
    }
}

fn dropped(rng: &mut Rng, effect: Effect, when: &str) -> (String, dataverse::Fault) {
    let times = rng.u32(4..=15);
    (format!("{times} connections break {when}"), dataverse::Fault::new(effect).times(times))
}

fn of_blobs(kind: OfBlobs, rng: &mut Rng) -> Trouble {
    let refusal = |code, error_code| storage::Effect::Status { code, error_code, retry_after: None };
    let times = rng.u32(5..=15);
    let (what, fault) = match kind {
        OfBlobs::Busy => {
            ("blobs: 503".to_owned(), storage::Fault::until_cleared(Op::AnyBlob, refusal(503, "ServerBusy")))
        }
        OfBlobs::Failing => {
            (format!("blobs: {times} × 500"), storage::Fault::times(times, Op::AnyBlob, refusal(500, "InternalError")))
        }
        OfBlobs::Forbidden => {
            let effect = refusal(403, "AuthorizationFailure");
            ("blobs: 403".to_owned(), storage::Fault::until_cleared(Op::AnyBlob, effect))
        }
        OfBlobs::Slow => {
            let by = Duration::from_millis(rng.u64(100..=900));
            let effect = storage::Effect::Slow(by);
            (format!("blobs: slower by {} ms", by.as_millis()), storage::Fault::until_cleared(Op::AnyBlob, effect))
        }
        OfBlobs::Silent => {
            let effect = storage::Effect::Hang(Duration::from_secs(8));
            (format!("blobs: {times} requests are never answered"), storage::Fault::times(times, Op::AnyBlob, effect))
        }
        OfBlobs::DropBefore => {
            let what = format!("blobs: {times} connections break before the work is done");
            (what, storage::Fault::times(times, Op::AnyBlob, storage::Effect::DropBefore))
        }
        OfBlobs::DropAfter => {
            let what = format!("blobs: {times} connections break after the work is done");
            (what, storage::Fault::times(times, Op::AnyBlob, storage::Effect::DropAfter))
        }
    };
    Trouble::Storage(what, fault)
}

/// What the host asks of its queue. Senders are spared: a message whose put is not answered would be one more message.
fn of_queue(kind: OfQueue, rng: &mut Rng) -> Trouble {
    let (op, name) = match rng.usize(..3) {
        0 => (Op::GetMessages, "fetching"),
        1 => (Op::UpdateMessage, "hiding"),
        _ => (Op::DeleteMessage, "deleting"),
    };
    let times = rng.u32(3..=8);
    let (what, fault) = match kind {
        OfQueue::Busy => {
            let busy = storage::Effect::Status { code: 503, error_code: "ServerBusy", retry_after: None };
            (format!("queue: {name} is answered 503"), storage::Fault::until_cleared(op, busy))
        }
        OfQueue::DropBefore => {
            let what = format!("queue: {times} × {name} breaks before the work is done");
            (what, storage::Fault::times(times, op, storage::Effect::DropBefore))
        }
        OfQueue::DropAfter => {
            let what = format!("queue: {times} × {name} breaks after the work is done");
            (what, storage::Fault::times(times, op, storage::Effect::DropAfter))
        }
    };
    Trouble::Storage(what, fault)
}

fn of_identity(kind: OfIdentity, rng: &mut Rng) -> Trouble {
    let (what, fault) = match kind {
        OfIdentity::Failing => ("500".to_owned(), identity::Fault::Status(StatusCode::INTERNAL_SERVER_ERROR)),
        OfIdentity::Refusing => ("403".to_owned(), identity::Fault::Status(StatusCode::FORBIDDEN)),
        OfIdentity::Slow => {
            let by = Duration::from_millis(rng.u64(300..=2_000));
            (format!("slower by {} ms", by.as_millis()), identity::Fault::Slow(by))
        }
        OfIdentity::Silent => ("never answers".to_owned(), identity::Fault::Hang),
    };
    Trouble::Identity(what, fault)
}
