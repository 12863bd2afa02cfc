//! Reconstructs the leases from the storage's lease history.
//!
//! A blob's name contains a hash of the key; the handlers' log lines map hashes to keys.

use std::collections::HashMap;
use std::time::Duration;

use super::super::evidence::Lease;
use super::Notes;
use stand_ins::storage::{LeaseEvent, Op};

/// The duration of the handlers' leases.
const LIFE: Duration = Duration::from_secs(15);

/// The leases so far.
#[derive(Default)]
struct Reconstruction<'a> {
    leases: Vec<Lease>,
    /// The index of the last lease of each blob.
    last: HashMap<&'a str, usize>,
}

/// Every granted lease; `hashes` maps hash prefixes to keys.
pub(super) fn read(events: &[LeaseEvent], hashes: &HashMap<String, String>, notes: &Notes) -> Vec<Lease> {
    let names: HashMap<&str, &str> =
        notes.members.iter().map(|member| (member.caller.as_str(), member.name.as_str())).collect();
    let mut keys: HashMap<&str, String> = HashMap::new();
    let mut taken: HashMap<&str, Vec<Duration>> = HashMap::new();
    for (at, blob) in &notes.taken {
        taken.entry(blob).or_default().push(notes.clock.at(*at));
    }
    let mut leases_so_far = Reconstruction::default();
    for event in events {
        let blob = event.blob.as_str();
        let key = keys.entry(blob).or_insert_with(|| key(blob, hashes));
        let host = names.get(event.caller.as_str()).copied().unwrap_or_default();
        leases_so_far.next(event, host, key, notes.clock.at(event.at));
        if let (Some(place), Some(taken)) = (leases_so_far.last.get(blob), taken.get(blob)) {
            take(&mut leases_so_far.leases[*place], taken);
        }
    }
    leases_so_far.leases
}

/// The key that a blob locks; the blob's name if the key is unknown.
fn key(blob: &str, hashes: &HashMap<String, String>) -> String {
    let hash = blob.rsplit('-').next().unwrap_or_default();
    let found = hashes.iter().find(|(prefix, _)| hash.starts_with(prefix.as_str()));
    found.map_or(blob, |(_, key)| key).to_owned()
}

impl<'a> Reconstruction<'a> {
    fn next(&mut self, event: &'a LeaseEvent, host: &str, key: &str, at: Duration) {
        let Some(id) = event.lease.map(|id| id.to_string()) else { return };
        let last = self.last.get(event.blob.as_str()).copied();
        // An acquire whose response was lost is repeated with the same id.
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

/// Records the first end by a fault after the last acquire or renewal: a lease that was expired early and renewed continues.
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

        /// The leases of this history; faults ended the blob's lease at these seconds.
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
    fn renewals_extend_a_lease_and_its_release_ends_it() {
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
    fn a_lease_that_is_not_released_is_lost_when_it_expires() {
        let history = History::new(Instant::now()).then(1, Op::Acquire, 1, 201).then(16, Op::Acquire, 2, 201);
        let leases = history.read(&[]);
        assert_eq!(leases.iter().map(Lease::lost).collect::<Vec<_>>(), [Some(second(16)), Some(second(31))]);
    }

    #[test]
    fn a_lease_that_a_fault_ends_is_lost_unless_it_is_renewed_afterwards() {
        let taken = |history: History| history.read(&[3])[0].lost();
        let start = Instant::now();
        assert_eq!(taken(History::new(start).then(1, Op::Acquire, 1, 201).then(6, Op::Renew, 1, 409)), Some(second(3)));
        assert_eq!(
            taken(History::new(start).then(1, Op::Acquire, 1, 201).then(6, Op::Renew, 1, 200)),
            Some(second(21))
        );
    }

    #[test]
    fn an_acquire_that_is_repeated_after_a_lost_response_is_one_lease() {
        let history = History::new(Instant::now()).then(1, Op::Acquire, 1, 201).then(2, Op::Acquire, 1, 201);
        let leases = history.read(&[]);
        assert_eq!((leases.len(), leases[0].until), (1, Duration::from_secs(17)));
    }
}
