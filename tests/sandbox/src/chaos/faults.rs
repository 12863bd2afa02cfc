//! The faults of a run, drawn from the seed before it begins: which, when, where and for how long.
//!
//! Pure data; `run.rs` applies it to the hosts and the stand-ins, where the services' documented failures are listed. Every kind
//! of fault occurs once before any occurs twice, a host has one fault at a time, and all faults end before the recovery phase.

use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use axum::http::StatusCode;
use fastrand::Rng;

use super::Plan;
use super::workload::DENIED_TABLE;
use stand_ins::dataverse::{self, BodyForm, Effect, Status};
use stand_ins::identity;
use stand_ins::storage::{self, Op};

/// Minimum distance of two faults: closer together, one would hide the other.
const MIN_GAP: Duration = Duration::from_millis(200);

/// The duration of an outage, in seconds.
const OUTAGE: RangeInclusive<f64> = 1.5..=8.0;

/// The duration of a pause, in seconds: longer than a lease (15 s).
const PAUSE: RangeInclusive<f64> = 16.0..=19.0;

/// While leases are ended, writes are slow for this time and by this much; the leases end halfway.
const SLOW_WRITES: RangeInclusive<f64> = 3.0..=3.0;
pub(super) const SLOWER_WRITE: Duration = Duration::from_secs(2);

/// The duration of a fault without one.
const NONE: RangeInclusive<f64> = 0.0..=0.0;

/// An injection into the hosts or the stand-ins.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Injection {
    /// SIGKILL to the handler of this host; the host restarts it.
    Kill,
    /// The host stops as on scale-in: SIGTERM, and the handler may finish. Another host takes its place.
    Terminate,
    /// Host and handler are gone at once; another host starts after a while.
    Replace,
    /// SIGSTOP to the handler, SIGCONT at the end.
    Pause,
    Dataverse(dataverse::Fault),
    Storage(storage::Fault),
    /// A fault of the identity endpoint; tokens are revoked, so that it matters.
    Identity(identity::Fault),
    RevokeTokens,
    /// Writes become slow, and about this percentage of the held leases is broken.
    BreakLeases(u8),
    /// Writes become slow, and about this percentage of the held leases expires, as during a pause.
    ExpireLeases(u8),
    /// This many messages in flight are delivered once more.
    Redeliver(usize),
    /// This many messages are delayed, so that others overtake them.
    Postpone(usize, Duration),
}

/// One fault of the schedule.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    /// From the beginning of the run.
    pub(super) at: Duration,
    /// Zero for a fault without a duration, or with a number of requests.
    pub(super) lasts: Duration,
    /// The host that it affects, if it affects one.
    pub(super) host: Option<usize>,
    pub(super) injection: Injection,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.map(|host| format!("instance-{}: ", host + 1)).unwrap_or_default();
        write!(f, "{:>6.1} s  {host}{}", self.at.as_secs_f64(), self.what)?;
        if self.lasts.is_zero() { Ok(()) } else { write!(f, ", {:.1} s", self.lasts.as_secs_f64()) }
    }
}

/// One fault of every kind with random parameters, the frequent kinds twice: duration, description, injection.
fn every_kind(rng: &mut Rng) -> Vec<(RangeInclusive<f64>, String, Injection)> {
    use Injection::{
        BreakLeases, ExpireLeases, Identity, Kill, Pause, Postpone, Redeliver, Replace, RevokeTokens, Terminate,
    };
    use storage::Effect as OnStorage;
    let slow = Duration::from_millis(rng.u64(300..=2_400));
    let limit = "Number of requests exceeded the limit of 6000 over time window of 300 seconds.";
    let throttled = Status { retry_after: Some(rng.u32(1..=4)), ..Status::new(429, "0x80072322", limit) };
    let gateway = Status { form: BodyForm::Html, ..Status::new(502, "", "Bad gateway") };
    // Puts are not affected: a sender that does not get a response would send a duplicate.
    let queue = [Op::GetMessages, Op::UpdateMessage, Op::DeleteMessage][rng.usize(..3)];
    let mut faults = Vec::new();
    for _ in 0..2 {
        let (broken, again) = (rng.u8(30..=100), rng.usize(5..=20));
        faults.extend([
            (NONE, "SIGKILL to the handler".to_owned(), Kill),
            (1.0..=5.0, "the machine is gone, another takes its place".to_owned(), Replace),
            (
                SLOW_WRITES,
                format!("leases: writes are slow, and {broken} % of the held leases are broken"),
                BreakLeases(broken),
            ),
            (NONE, format!("queue: {again} messages in flight are delivered once more"), Redeliver(again)),
        ]);
    }
    let (expired, count, delay) = (rng.u8(30..=100), rng.usize(10..=40), rng.u64(3..=9));
    faults.extend([
        (NONE, "SIGTERM: it drains, another host takes its place".to_owned(), Terminate),
        (PAUSE, "SIGSTOP: the handler is paused for longer than its leases".to_owned(), Pause),
        (
            SLOW_WRITES,
            format!("leases: writes are slow, and {expired} % of the held leases expire"),
            ExpireLeases(expired),
        ),
        (
            NONE,
            format!("queue: {count} messages are delayed by {delay} s"),
            Postpone(count, Duration::from_secs(delay)),
        ),
        (NONE, "identity: every token is revoked".to_owned(), RevokeTokens),
        (OUTAGE, "identity: 500".to_owned(), Identity(identity::Fault::Status(StatusCode::INTERNAL_SERVER_ERROR))),
        (OUTAGE, "identity: 403".to_owned(), Identity(identity::Fault::Status(StatusCode::FORBIDDEN))),
        (OUTAGE, "identity: slow answers".to_owned(), Identity(identity::Fault::Slow(slow))),
        (OUTAGE, "identity: no answers".to_owned(), Identity(identity::Fault::Hang)),
    ]);
    // The services' faults last for a while, or apply to a number of requests.
    for (what, requests, effect) in [
        ("503", None, Effect::Status(Status::new(503, "0x8004a001", "The server is busy."))),
        ("429 with Retry-After", None, Effect::Status(throttled)),
        ("401", None, Effect::Status(Status::new(401, "", "Not now."))),
        ("403", None, missing_privilege("prvCreateContact")),
        ("slow answers", None, Effect::Slow(slow)),
        ("lost deadlock", Some(3..=10), Effect::Deadlock),
        ("502 of a gateway", Some(3..=10), Effect::Status(gateway)),
        ("read without an answer", Some(3..=3), Effect::Hang),
        ("connection broken before the work is done", Some(4..=15), Effect::DropBefore),
        ("connection broken after the commit", Some(4..=15), Effect::DropAfterCommit),
    ] {
        let times = requests.map(|requests| rng.u32(requests));
        let method = (effect == Effect::Hang).then(|| "GET".to_owned());
        let fault = dataverse::Fault { method, times, ..dataverse::Fault::new(effect) };
        faults.push(of_service("Dataverse", what, times, Injection::Dataverse(fault)));
    }
    for (op, what, requests, effect) in [
        (Op::AnyBlob, "503", None, status(503, "ServerBusy")),
        (Op::AnyBlob, "403", None, status(403, "AuthorizationFailure")),
        (Op::AnyBlob, "slow answers", None, OnStorage::Slow(slow / 3)),
        (Op::AnyBlob, "500", Some(5..=15), status(500, "InternalError")),
        (Op::AnyBlob, "request without an answer", Some(5..=15), OnStorage::Hang(Duration::from_secs(8))),
        (Op::AnyBlob, "connection broken before the work is done", Some(5..=15), OnStorage::DropBefore),
        (Op::AnyBlob, "connection broken after the work is done", Some(5..=15), OnStorage::DropAfter),
        (queue, "503", None, status(503, "ServerBusy")),
        (queue, "connection broken before the work is done", Some(3..=8), OnStorage::DropBefore),
        (queue, "connection broken after the work is done", Some(3..=8), OnStorage::DropAfter),
    ] {
        let times = requests.map(|requests| rng.u32(requests));
        let fault = match times {
            Some(times) => storage::Fault::times(times, op, effect),
            None => storage::Fault::until_cleared(op, effect),
        };
        let target = if op == Op::AnyBlob { "blobs".to_owned() } else { format!("queue, {op:?}") };
        faults.push(of_service(&target, what, times, Injection::Storage(fault)));
    }
    faults
}

fn missing_privilege(name: &str) -> Effect {
    Effect::Status(Status::new(403, "0x80040220", &format!("Principal user is missing {name} privilege.")))
}

fn of_service(
    target: &str,
    what: &str,
    times: Option<u32>,
    fault: Injection,
) -> (RangeInclusive<f64>, String, Injection) {
    match times {
        Some(times) => (NONE, format!("{target}: {times} × {what}"), fault),
        None => (OUTAGE, format!("{target}: {what}"), fault),
    }
}

fn status(code: u16, error_code: &'static str) -> storage::Effect {
    storage::Effect::Status { code, error_code, retry_after: None }
}

/// Draws the faults of a seed, in the order in which they begin.
pub(super) fn schedule(seed: u64, plan: &Plan) -> Vec<Fault> {
    // Independent of the random numbers of the messages.
    let mut rng = Rng::with_seed(seed ^ 0x5707_1234_5678_9ABC);
    let (end, mut schedule) = (plan.fault_phase(), Vec::new());
    // The first write of each message of `Kind::Silent`.
    let silent = [(Effect::Hang, "not made, not answered"), (Effect::HangAfterCommit, "made, not answered")];
    for (effect, what) in silent.into_iter().filter(|_| plan.silent() > 0) {
        let times = plan.silent() / 2;
        let fault = dataverse::Fault::new(effect).method("PATCH").key("canary-s").times(times);
        let (_, what, injection) = of_service("Dataverse, write", what, Some(times), Injection::Dataverse(fault));
        schedule.push(Fault { at: Duration::ZERO, lasts: Duration::ZERO, host: None, injection, what });
    }
    let Range { start: at, end: granted } = plan.denial();
    let what = format!("Dataverse: the privilege to write {DENIED_TABLE} is missing");
    let fault = dataverse::Fault::new(missing_privilege("prvWritenew_contractor")).method("PATCH").set(DENIED_TABLE);
    let injection = Injection::Dataverse(fault.until_cleared());
    schedule.push(Fault { at, lasts: granted.saturating_sub(at), host: None, injection, what });
    let mut idle_from = vec![Duration::ZERO; plan.instances.into()];
    let mut round = Vec::new();
    let calm = plan.calm_until();
    let gap = (end.saturating_sub(calm) / u32::try_from(every_kind(&mut rng).len()).unwrap_or(u32::MAX)).max(MIN_GAP);
    let mut at = calm + gap.mul_f64(rng.f64());
    while at < end {
        if round.is_empty() {
            round = every_kind(&mut rng);
            rng.shuffle(&mut round);
        }
        let left = end.saturating_sub(at);
        let Some((seconds, what, injection)) = round.pop() else { break };
        let (least, most) = seconds.into_inner();
        let whole = Duration::from_secs_f64(least + rng.f64() * (most - least));
        // An outage may be shorter; a pause and the end of leases may not.
        let may_be_shorter = least < *PAUSE.start() && least < *SLOW_WRITES.start();
        let lasts = if may_be_shorter { whole.min(left) } else { whole };
        let of_host =
            matches!(injection, Injection::Kill | Injection::Terminate | Injection::Replace | Injection::Pause);
        let idle: Vec<usize> = (0..idle_from.len()).filter(|host| idle_from[*host] <= at).collect();
        let host = if of_host { idle.get(rng.usize(..idle.len().max(1))).copied() } else { None };
        if lasts <= left && (host.is_some() || !of_host) {
            if let Some(host) = host {
                idle_from[host] = at + lasts.max(MIN_GAP);
            }
            schedule.push(Fault { at, lasts, host, injection, what });
        }
        at += gap.mul_f64(0.5 + rng.f64());
    }
    schedule
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_the_faults_and_ten_seeds_include_every_kind() {
        let plan = Plan::for_test();
        assert!(schedule(7, &plan) == schedule(7, &plan) && schedule(7, &plan) != schedule(8, &plan));
        let words = |what: &str| what.replace(|letter: char| letter.is_ascii_digit(), "");
        let occurred: Vec<Fault> = (0..10).flat_map(|seed| schedule(seed, &plan)).collect();
        for (_, kind, _) in every_kind(&mut Rng::with_seed(0)) {
            assert!(occurred.iter().any(|fault| words(&fault.what) == words(&kind)), "{kind}");
        }
    }

    #[test]
    fn all_faults_end_before_the_recovery_phase_and_a_host_has_one_at_a_time() {
        let plan = Plan::for_test();
        for seed in 0..200 {
            let mut busy = [Duration::ZERO; 4];
            for fault in schedule(seed, &plan) {
                assert!(fault.at + fault.lasts <= plan.fault_phase(), "{fault}");
                let busy = fault.host.map(|host| &mut busy[host]);
                assert!(busy.is_none_or(|busy| std::mem::replace(busy, fault.at + fault.lasts) <= fault.at), "{fault}");
            }
        }
    }
}
