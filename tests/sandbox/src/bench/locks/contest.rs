//! Holders, waits and requests of a lock, from the storage's lease history.
//!
//! Pure. The storage knows the exact times of grants, refusals and releases. Each caller is assumed to be saturated, so it waits
//! whenever it does not hold the lease, also between two requests.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use stand_ins::storage::{LeaseEvent, Op};

/// The time from the grant of a lease to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeaseInterval {
    /// The host and port of the store that the holder calls.
    pub(super) caller: String,
    /// The lease's id.
    pub(super) lease: Option<Uuid>,
    /// When it was granted.
    pub(super) begun: Instant,
    /// When it was renewed.
    pub(super) renewed: Vec<Instant>,
    /// When it was released; `None`: still held, or expired.
    pub(super) released: Option<Instant>,
}

/// A wait from the first refusal, or from the caller's own release, to the grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wait {
    /// The waiting caller.
    pub(super) caller: String,
    /// The first refusal, or the release.
    pub(super) begun: Instant,
    /// The grant, or the end of the history.
    pub(super) ended: Instant,
    /// The number of requests, including the grant.
    pub(super) asked: u32,
}

/// The history of one lock.
#[derive(Debug, Clone, Default)]
pub(super) struct Contest {
    /// In the order of the grants.
    pub(super) intervals: Vec<LeaseInterval>,
    /// In the order of their ends.
    pub(super) waits: Vec<Wait>,
    /// For each release while another caller waits: the time until that caller was granted the lease, even if other
    /// callers got it first, or until the end of the history.
    pub(super) handovers: Vec<Duration>,
}

/// A wait that has not ended.
struct Waiting {
    wait: Wait,
    /// The releases during the wait.
    freed: Vec<Instant>,
}

/// The history so far.
#[derive(Default)]
struct Reading {
    contest: Contest,
    waiting: BTreeMap<String, Waiting>,
}

impl Reading {
    fn granted(&mut self, event: &LeaseEvent) {
        if let Some(mut over) = self.waiting.remove(&event.caller) {
            over.wait.asked += 1;
            self.contest.end(over, event.at);
        }
        // An acquire whose response was lost is repeated with the same id: that is one lease interval.
        if self.contest.holding(event.lease).is_some() {
            return;
        }
        let (caller, lease) = (event.caller.clone(), event.lease);
        self.contest.intervals.push(LeaseInterval {
            caller,
            lease,
            begun: event.at,
            renewed: Vec::new(),
            released: None,
        });
    }

    fn refused(&mut self, event: &LeaseEvent) {
        self.waits_for_lease(event).wait.asked += 1;
    }

    /// The wait of the event's caller; starts it if necessary.
    fn waits_for_lease(&mut self, event: &LeaseEvent) -> &mut Waiting {
        self.waiting.entry(event.caller.clone()).or_insert_with(|| Waiting {
            wait: Wait { caller: event.caller.clone(), begun: event.at, ended: event.at, asked: 0 },
            freed: Vec::new(),
        })
    }

    fn renewed(&mut self, event: &LeaseEvent) {
        if let Some(interval) = self.contest.holding(event.lease) {
            interval.renewed.push(event.at);
        }
    }

    fn released(&mut self, event: &LeaseEvent) {
        if let Some(interval) = self.contest.holding(event.lease) {
            interval.released = Some(event.at);
        }
        for other in self.waiting.values_mut().filter(|other| other.wait.caller != event.caller) {
            other.freed.push(event.at);
        }
        self.waits_for_lease(event);
    }

    fn close(mut self, until: Instant) -> Contest {
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            self.contest.end(waiting, until);
        }
        self.contest
    }
}

impl Contest {
    /// Reads the events of one blob up to `until`.
    pub(super) fn read(events: &[LeaseEvent], blob: &str, until: Instant) -> Self {
        let mut reading = Reading::default();
        for event in events.iter().filter(|event| event.blob == blob && event.at <= until) {
            match (event.op, event.status) {
                (Op::Acquire, Some(201)) => reading.granted(event),
                (Op::Acquire, Some(409)) => reading.refused(event),
                (Op::Renew, Some(200)) => reading.renewed(event),
                (Op::Release, Some(200)) => reading.released(event),
                _ => {}
            }
        }
        reading.close(until)
    }

    fn end(&mut self, waiting: Waiting, at: Instant) {
        self.handovers.extend(waiting.freed.iter().map(|freed| at - *freed));
        self.waits.push(Wait { ended: at, ..waiting.wait });
    }

    /// The last lease interval, if it has this id and was not released.
    fn holding(&mut self, lease: Option<Uuid>) -> Option<&mut LeaseInterval> {
        self.intervals.last_mut().filter(|interval| interval.lease == lease && interval.released.is_none())
    }

    /// How many lease intervals this caller had.
    pub(super) fn intervals_of(&self, caller: &str) -> usize {
        self.intervals.iter().filter(|interval| interval.caller == caller).count()
    }

    /// Requests of this caller per second of waiting; 0 if it never waited.
    pub(super) fn asked_per_second(&self, caller: &str) -> f64 {
        let waits = || self.waits.iter().filter(|wait| wait.caller == caller);
        let waited: Duration = waits().map(|wait| wait.ended - wait.begun).sum();
        let asked: u32 = waits().map(|wait| wait.asked).sum();
        if asked == 0 { 0.0 } else { f64::from(asked) / waited.as_secs_f64() }
    }

    /// The total time that this caller waited.
    pub(super) fn waited(&self, caller: &str) -> Duration {
        self.waits.iter().filter(|wait| wait.caller == caller).map(|wait| wait.ended - wait.begun).sum()
    }
}

impl LeaseInterval {
    /// When the lease ends for the service: at its release, or when it expires.
    pub(super) fn ends(&self, life: Duration) -> Instant {
        self.released.unwrap_or_else(|| self.runs_out(life))
    }

    /// When the lease expires without a release: `life` after the grant or the last renewal.
    pub(super) fn runs_out(&self, life: Duration) -> Instant {
        *self.renewed.last().unwrap_or(&self.begun) + life
    }

    /// The times between grant, renewals and so on.
    pub(super) fn intervals(&self) -> Vec<Duration> {
        let begins: Vec<Instant> = std::iter::once(self.begun).chain(self.renewed.iter().copied()).collect();
        begins.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(15);

    struct Script(Instant, Vec<LeaseEvent>);

    impl Script {
        fn new() -> Self {
            Self(Instant::now(), Vec::new())
        }

        fn at(&self, ms: u64) -> Instant {
            self.0 + Duration::from_millis(ms)
        }

        fn then(mut self, ms: u64, caller: &str, op: Op, lease: u128, status: u16) -> Self {
            let (at, lease, status) = (self.at(ms), Some(Uuid::from_u128(lease)), Some(status));
            let (container, blob) = ("locks".to_owned(), "one".to_owned());
            self.1.push(LeaseEvent { at, op, container, blob, lease, status, caller: caller.to_owned() });
            self
        }

        fn read(&self, until: u64) -> Contest {
            Contest::read(&self.1, "one", self.at(until))
        }
    }

    fn ms(durations: &[Duration]) -> Vec<u128> {
        durations.iter().map(Duration::as_millis).collect()
    }

    #[test]
    fn a_hand_over_lasts_from_the_release_to_the_others_grant() {
        let script = Script::new()
            .then(0, "a", Op::Acquire, 1, 201)
            .then(10, "b", Op::Acquire, 2, 409)
            .then(110, "b", Op::Acquire, 2, 409)
            .then(150, "a", Op::Release, 1, 200)
            .then(210, "b", Op::Acquire, 2, 201);
        let contest = script.read(300);
        assert_eq!(ms(&contest.handovers), [60]);
        assert_eq!((contest.intervals_of("a"), contest.intervals_of("b")), (1, 1));
        assert_eq!(contest.waited("b"), Duration::from_millis(200));
        assert!((contest.asked_per_second("b") - 15.0).abs() < 1e-9, "three requests in 200 ms");
        assert!(contest.asked_per_second("a").abs() < f64::EPSILON, "it never asked again");
    }

    #[test]
    fn a_caller_that_sleeps_until_its_turn_waits_from_its_own_release_on() {
        let script = Script::new()
            .then(0, "b", Op::Acquire, 1, 201)
            .then(100, "b", Op::Release, 1, 200)
            .then(110, "a", Op::Acquire, 2, 201)
            .then(500, "a", Op::Release, 2, 200)
            .then(600, "b", Op::Acquire, 3, 201);
        let contest = script.read(700);
        assert_eq!((contest.waited("b"), ms(&contest.handovers)), (Duration::from_millis(500), vec![100]));
        assert!((contest.asked_per_second("b") - 2.0).abs() < 1e-9, "one request in half a second");
    }

    #[test]
    fn a_release_that_the_waiter_misses_counts_until_its_own_grant() {
        let script = Script::new()
            .then(0, "a", Op::Acquire, 1, 201)
            .then(10, "b", Op::Acquire, 2, 409)
            .then(100, "a", Op::Release, 1, 200)
            .then(101, "a", Op::Acquire, 3, 201)
            .then(200, "a", Op::Release, 3, 200)
            .then(250, "b", Op::Acquire, 2, 201);
        assert_eq!(ms(&script.read(300).handovers), [150, 50]);
    }

    #[test]
    fn a_wait_that_never_ends_counts_up_to_the_end_of_the_history() {
        let script = Script::new()
            .then(0, "a", Op::Acquire, 1, 201)
            .then(10, "b", Op::Acquire, 2, 409)
            .then(100, "a", Op::Release, 1, 200)
            .then(900, "b", Op::Acquire, 2, 201);
        let contest = script.read(500);
        assert_eq!((ms(&contest.handovers), contest.waited("b").as_millis()), (vec![400], 490));
    }

    #[test]
    fn a_release_without_a_waiter_is_not_a_hand_over() {
        let script = Script::new().then(0, "a", Op::Acquire, 1, 201).then(100, "a", Op::Release, 1, 200).then(
            900,
            "b",
            Op::Acquire,
            2,
            201,
        );
        assert_eq!(ms(&script.read(1_000).handovers), Vec::<u128>::new());
    }

    #[test]
    fn a_repeated_acquire_with_the_same_id_is_one_tenure() {
        let script = Script::new()
            .then(0, "a", Op::Acquire, 1, 201)
            .then(5, "a", Op::Acquire, 1, 201)
            .then(9, "a", Op::Release, 1, 200)
            .then(12, "a", Op::Acquire, 2, 201);
        assert_eq!(script.read(20).intervals_of("a"), 2);
    }

    #[test]
    fn a_lease_ends_with_its_release_or_its_life_after_the_last_renewal() {
        let script = Script::new().then(0, "a", Op::Acquire, 1, 201).then(5_000, "a", Op::Renew, 1, 200).then(
            10_000,
            "a",
            Op::Renew,
            1,
            503,
        );
        let interval = &script.read(60_000).intervals[0];
        assert_eq!((interval.ends(LIFE), ms(&interval.intervals())), (script.at(20_000), vec![5_000]));
        let script = script.then(11_000, "a", Op::Release, 1, 200);
        let interval = &script.read(60_000).intervals[0];
        assert_eq!((interval.ends(LIFE), interval.runs_out(LIFE)), (script.at(11_000), script.at(20_000)));
    }
}
