//! The kinds of faults, and instances of them with random parameters.
//!
//! Plain data; `run.rs` applies it to the stand-ins. Outages have a duration, dropped connections a number of requests. The
//! documented failures of the services are listed in the stand-ins.

use std::time::Duration;

use axum::http::StatusCode;
use fastrand::Rng;

use stand_ins::dataverse::{self, BodyForm, Effect, Status};
use stand_ins::identity;
use stand_ins::storage::{self, Op};

/// A pause is longer than a lease (15 s).
const SHORTEST_PAUSE: f64 = 16.0;
const LONGEST_PAUSE: f64 = 19.0;

/// While leases are ended, writes are slow for this time and by this much; the leases end halfway.
const SLOW_WRITES: Duration = Duration::from_secs(3);
const SLOWER_WRITE: Duration = Duration::from_secs(2);

/// Duration of an outage, in seconds.
const SHORTEST_OUTAGE: f64 = 1.5;
const LONGEST_OUTAGE: f64 = 8.0;

/// A kind of fault.
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

/// The error response to every request during an outage.
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

/// All kinds; frequent ones are listed more than once.
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

/// One fault with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Injection {
    /// SIGKILL to the handler of this host; the host restarts it.
    Kill(usize),
    /// The host stops as on scale-in: SIGTERM, and the handler may finish. Another host takes its place.
    Terminate(usize),
    /// Host and handler are gone at once; another host starts after a while.
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
    /// Writes become slow, and about this percentage of the held leases is broken.
    Break(u8),
    /// Writes become slow, and about this percentage of the held leases expires, as during a pause.
    Expire(u8),
    /// This many messages in flight are delivered once more.
    Redeliver(usize),
    /// This many messages are delayed, so that others overtake them.
    Postpone(usize, Duration),
}

impl Kind {
    /// Whether it affects one host.
    pub(super) fn targets_a_host(self) -> bool {
        matches!(self, Self::Kill | Self::Terminate | Self::Gone | Self::Pause)
    }

    /// Its duration if `left` remains; faults with a minimum duration may exceed that.
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
            // Without a duration, or with a number of requests.
            _ => Duration::ZERO,
        }
    }

    /// An instance with random parameters; `slot` is the host, for faults of a host.
    pub(super) fn injection(self, rng: &mut Rng, slot: usize) -> Injection {
        match self {
            Self::Kill => Injection::Kill(slot),
            Self::Terminate => Injection::Terminate(slot),
            Self::Gone => Injection::Gone(slot),
            Self::Pause => Injection::Pause(slot),
            Self::Dataverse(kind) => of_dataverse(kind, rng),
            Self::Blobs(kind) => of_blobs(kind, rng),
            Self::Queue(kind) => of_queue(kind, rng),
            Self::Identity(kind) => of_identity(kind, rng),
            Self::Revoke => Injection::Revoke,
            Self::Break => Injection::Break(rng.u8(30..=100)),
            Self::Expire => Injection::Expire(rng.u8(30..=100)),
            Self::Redeliver => Injection::Redeliver(rng.usize(5..=20)),
            Self::Postpone => Injection::Postpone(rng.usize(10..=40), Duration::from_secs(rng.u64(3..=9))),
        }
    }
}

impl Injection {
    /// The affected host.
    #[cfg(test)]
    pub(super) fn slot(&self) -> Option<usize> {
        match self {
            Self::Kill(slot) | Self::Terminate(slot) | Self::Gone(slot) | Self::Pause(slot) => Some(*slot),
            _ => None,
        }
    }

    /// Where it occurs, and what it is.
    pub(super) fn shown(&self) -> (String, String) {
        let host = |slot: &usize| format!("instance-{}", slot + 1);
        let (place, what) = match self {
            Self::Kill(slot) => (host(slot), "SIGKILL to the handler".to_owned()),
            Self::Terminate(slot) => (host(slot), "SIGTERM: it drains, another host takes its place".to_owned()),
            Self::Gone(slot) => (host(slot), "the machine is gone, another takes its place".to_owned()),
            Self::Pause(slot) => (host(slot), "SIGSTOP: the handler is paused for longer than its leases".to_owned()),
            Self::Dataverse(what, _) => ("Dataverse".to_owned(), what.clone()),
            Self::Storage(what, _) => ("storage".to_owned(), what.clone()),
            Self::Identity(what, _) => ("identity".to_owned(), what.clone()),
            Self::Revoke => ("identity".to_owned(), "every token is revoked".to_owned()),
            Self::Break(share) => {
                ("leases".to_owned(), format!("writes are slow, and {share} % of the held leases are broken"))
            }
            Self::Expire(share) => {
                ("leases".to_owned(), format!("writes are slow, and {share} % of the held leases expire"))
            }
            Self::Redeliver(count) => {
                ("queue".to_owned(), format!("{count} messages in flight are delivered once more"))
            }
            Self::Postpone(count, by) => {
                ("queue".to_owned(), format!("{count} messages are delayed by {} s", by.as_secs()))
            }
        };
        (place, what)
    }
}

/// The fault that makes writes slow while leases are ended.
pub(super) fn slow_writes() -> dataverse::Fault {
    dataverse::Fault::new(Effect::Slow(SLOWER_WRITE)).method("PATCH").until_cleared()
}

/// The first write of each message of `Family::Silent` is never answered.
pub(super) fn silent_writes(count: usize) -> Injection {
    let times = u32::try_from(count).unwrap_or(u32::MAX);
    let fault = dataverse::Fault::new(Effect::Hang).method("PATCH").key("canary-S").times(times);
    Injection::Dataverse(format!("{count} writes are never answered"), fault)
}

fn of_dataverse(kind: OfDataverse, rng: &mut Rng) -> Injection {
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
    Injection::Dataverse(what, fault)
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

fn of_blobs(kind: OfBlobs, rng: &mut Rng) -> Injection {
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
    Injection::Storage(what, fault)
}

/// Faults of the host's queue requests. Puts are not affected: a sender that does not get a response would send a duplicate.
fn of_queue(kind: OfQueue, rng: &mut Rng) -> Injection {
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
    Injection::Storage(what, fault)
}

fn of_identity(kind: OfIdentity, rng: &mut Rng) -> Injection {
    let (what, fault) = match kind {
        OfIdentity::Failing => ("500".to_owned(), identity::Fault::Status(StatusCode::INTERNAL_SERVER_ERROR)),
        OfIdentity::Refusing => ("403".to_owned(), identity::Fault::Status(StatusCode::FORBIDDEN)),
        OfIdentity::Slow => {
            let by = Duration::from_millis(rng.u64(300..=2_000));
            (format!("slower by {} ms", by.as_millis()), identity::Fault::Slow(by))
        }
        OfIdentity::Silent => ("never answers".to_owned(), identity::Fault::Hang),
    };
    Injection::Identity(what, fault)
}
