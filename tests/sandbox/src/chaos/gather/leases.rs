//! The leases as the store granted, prolonged and ended them, read from its history.
//!
//! A blob's name holds a hash of the key; whose hash it is, the handlers' own lines say.

use std::collections::HashMap;
use std::time::Duration;

use super::super::evidence::Lease;
use super::Notes;
use crate::storage::{LeaseEvent, Op};

/// How long a lease of the handlers lives.
const LIFE: Duration = Duration::from_secs(15);

/// A history that is being read.
#[derive(Default)]
struct Reading<'a> {
    leases: Vec<Lease>,
    /// The place of the last lease of each blob.
    last: HashMap<&'a str, usize>,
}

/// Every lease that was granted; `hashes` gives the key behind the beginning of a hash.
pub(super) fn read(events: &[LeaseEvent], hashes: &HashMap<String, String>, notes: &Notes) -> Vec<Lease> {
    let names: HashMap<&str, &str> =
        notes.members.iter().map(|member| (member.caller.as_str(), member.name.as_str())).collect();
    let mut keys: HashMap<&str, String> = HashMap::new();
    let mut taken: HashMap<&str, Vec<Duration>> = HashMap::new();
    for (at, blob) in &notes.taken {
        taken.entry(blob).or_default().push(notes.clock.at(*at));
    }
    let mut reading = Reading::default();
    for event in events {
        let blob = event.blob.as_str();
        let key = keys.entry(blob).or_insert_with(|| key(blob, hashes));
        let host = names.get(event.caller.as_str()).copied().unwrap_or_default();
        reading.next(event, host, key, notes.clock.at(event.at));
        if let (Some(place), Some(taken)) = (reading.last.get(blob), taken.get(blob)) {
            take(&mut reading.leases[*place], taken);
        }
    }
    reading.leases
}

/// The key that a blob locks; its own name where nobody told.
fn key(blob: &str, hashes: &HashMap<String, String>) -> String {
    let hash = blob.rsplit('-').next().unwrap_or_default();
    let told = hashes.iter().find(|(beginning, _)| hash.starts_with(beginning.as_str()));
    told.map_or(blob, |(_, key)| key).to_owned()
}

impl<'a> Reading<'a> {
    fn next(&mut self, event: &'a LeaseEvent, host: &str, key: &str, at: Duration) {
        let Some(id) = event.lease.map(|id| id.to_string()) else { return };
        let last = self.last.get(event.blob.as_str()).copied();
        // An acquire whose answer was lost is repeated with the same id.
        let same = last.filter(|place| self.leases[*place].id == id);
        match (event.op, event.status, same) {
            (Op::Acquire, Some(201), None) => {
                self.last.insert(&event.blob, self.leases.len());
                let (host, key, until) = (host.to_owned(), key.to_owned(), at + LIFE);
                self.leases.push(Lease { host, key, id, granted: at, until, released: None, taken: None });
            }
            (Op::Acquire, Some(201), Some(place)) | (Op::Renew, Some(200), Some(place)) => {
                self.leases[place].until = at + LIFE;
            }
            (Op::Release, Some(200), Some(place)) => self.leases[place].released = Some(at),
            _ => {}
        }
    }
}

/// Notes the first end by the storm after the last sign of life: a lease that ran out early and was renewed lives on.
fn take(lease: &mut Lease, taken: &[Duration]) {
    let alive_since = lease.until.saturating_sub(LIFE);
    let over = lease.released.unwrap_or(lease.until);
    lease.taken = taken.iter().copied().find(|at| (alive_since..over).contains(at));
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;
    use uuid::Uuid;

    use super::super::Clock;
    use super::*;

    const BLOB: &str = "contacts-0123456789abcdef";

    struct History {
        start: Instant,
        events: Vec<LeaseEvent>,
    }

    impl History {
        fn new(start: Instant) -> Self {
            Self { start, events: Vec::new() }
        }

        fn then(mut self, second: u64, op: Op, lease: u128, status: u16) -> Self {
            self.events.push(LeaseEvent {
                at: self.start + Duration::from_secs(second),
                op,
                container: "sync-locks".to_owned(),
                blob: BLOB.to_owned(),
                lease: Some(Uuid::from_u128(lease)),
                status: Some(status),
                caller: "127.0.0.1:1".to_owned(),
            });
            self
        }

        /// Reads it; the storm ended the blob's lease at these seconds.
        fn read(self, taken: &[u64]) -> Vec<Lease> {
            let clock = Clock { instant: self.start, ..Clock::start() };
            let taken =
                taken.iter().map(|second| (self.start + Duration::from_secs(*second), BLOB.to_owned())).collect();
            let notes = Notes { clock, sent: HashMap::new(), taken, given: HashMap::new(), members: Vec::new() };
            read(&self.events, &HashMap::from([("0123456789ab".to_owned(), "K".to_owned())]), &notes)
        }
    }

    fn second(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn a_lease_lives_on_by_renewals_and_ends_by_its_release() {
        let history = History::new(Instant::now()).then(1, Op::Acquire, 1, 201).then(6, Op::Renew, 1, 200);
        let leases = history.then(7, Op::Acquire, 2, 409).then(9, Op::Release, 1, 200).read(&[]);
        assert_eq!(leases.len(), 1);
        assert_eq!(
            (leases[0].key.as_str(), leases[0].granted, leases[0].until),
            ("K", Duration::from_secs(1), Duration::from_secs(21))
        );
        assert_eq!((leases[0].released, leases[0].lost()), (Some(second(9)), None));
    }

    #[test]
    fn a_lease_that_is_not_given_back_is_lost_when_it_runs_out() {
        let history = History::new(Instant::now()).then(1, Op::Acquire, 1, 201).then(16, Op::Acquire, 2, 201);
        let leases = history.read(&[]);
        assert_eq!(leases.iter().map(Lease::lost).collect::<Vec<_>>(), [Some(second(16)), Some(second(31))]);
    }

    #[test]
    fn a_lease_that_the_storm_ends_is_lost_unless_it_is_renewed_after_that() {
        let taken = |history: History| history.read(&[3])[0].lost();
        let start = Instant::now();
        assert_eq!(taken(History::new(start).then(1, Op::Acquire, 1, 201).then(6, Op::Renew, 1, 409)), Some(second(3)));
        assert_eq!(
            taken(History::new(start).then(1, Op::Acquire, 1, 201).then(6, Op::Renew, 1, 200)),
            Some(second(21))
        );
    }

    #[test]
    fn an_acquire_that_is_repeated_after_a_lost_answer_is_one_lease() {
        let history = History::new(Instant::now()).then(1, Op::Acquire, 1, 201).then(2, Op::Acquire, 1, 201);
        let leases = history.read(&[]);
        assert_eq!((leases.len(), leases[0].until), (1, Duration::from_secs(17)));
    }
}
