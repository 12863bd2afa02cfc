//! The letters that this process keeps hidden from other readers, and until when. Pure.
//!
//! A letter that shows itself again, because its time ran out, is known and not counted twice. Of each letter only its id
//! and its ticket are kept, about 200 bytes; a hundred thousand of them are 20 MB.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

/// The right to update or delete a message that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The queue's id of the message.
    pub id: Arc<str>,
    /// The proof that it was given to us; each update replaces it.
    pub receipt: Arc<str>,
}

#[derive(Debug)]
struct Held {
    receipt: Arc<str>,
    until: Instant,
}

/// What is held.
#[derive(Debug, Default)]
pub struct Holds {
    held: HashMap<Arc<str>, Held>,
    /// In the order of their ends, because everything is hidden for the same time. An entry whose end is not that of the
    /// letter is out of date.
    ends: VecDeque<(Instant, Arc<str>)>,
}

impl Holds {
    /// Holds a letter until then, also one that is held already; says whether it is new.
    pub fn hold(&mut self, ticket: Ticket, until: Instant) -> bool {
        let Ticket { id, receipt } = ticket;
        self.ends.push_back((until, id.clone()));
        self.held.insert(id, Held { receipt, until }).is_none()
    }

    /// Lets go of a letter.
    pub fn release(&mut self, id: &str) {
        self.held.remove(id);
    }

    /// How many are held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes the tickets of all that would show themselves before `moment`. Whoever renews them holds them anew.
    pub fn ending_before(&mut self, moment: Instant) -> Vec<Ticket> {
        let mut tickets = Vec::new();
        while let Some((until, id)) = self.ends.pop_front_if(|(until, _)| *until < moment) {
            if let Some(held) = self.held.get(&id).filter(|held| held.until == until) {
                tickets.push(Ticket { id, receipt: held.receipt.clone() });
            }
        }
        tickets
    }

    /// Takes the ticket of one.
    pub fn take(&mut self, id: &Arc<str>) -> Option<Ticket> {
        self.held.remove(id).map(|held| Ticket { id: id.clone(), receipt: held.receipt })
    }

    /// Takes the tickets of all.
    pub fn take_all(&mut self) -> Vec<Ticket> {
        self.ends.clear();
        self.held.drain().map(|(id, held)| Ticket { id, receipt: held.receipt }).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ticket(id: &str, receipt: &str) -> Ticket {
        Ticket { id: id.into(), receipt: receipt.into() }
    }

    #[test]
    fn a_letter_that_shows_itself_again_is_known_and_its_newer_ticket_counts() {
        let (mut holds, now) = (Holds::default(), Instant::now());
        assert!(holds.hold(ticket("a", "1"), now));
        assert!(!holds.hold(ticket("a", "2"), now));
        assert_eq!(holds.len(), 1);
        assert_eq!(holds.take_all(), [ticket("a", "2")]);
        assert!(holds.is_empty());
    }

    #[test]
    fn what_ends_soon_is_given_once_and_in_order() {
        let (mut holds, now) = (Holds::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        for (id, end) in [("a", 10), ("b", 20), ("c", 30)] {
            holds.hold(ticket(id, "1"), at(end));
        }
        assert_eq!(holds.ending_before(at(25)), [ticket("a", "1"), ticket("b", "1")]);
        assert_eq!(holds.ending_before(at(25)), [], "they are being renewed");
        holds.hold(ticket("a", "2"), at(40));
        assert_eq!(holds.ending_before(at(35)), [ticket("c", "1")]);
        assert_eq!(holds.ending_before(at(50)), [ticket("a", "2")]);
        assert_eq!(holds.len(), 3, "what was not renewed is still to be given back");
    }

    #[test]
    fn what_was_renewed_or_released_does_not_end_at_its_old_time() {
        let (mut holds, now) = (Holds::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        holds.hold(ticket("a", "1"), at(10));
        holds.hold(ticket("b", "1"), at(10));
        holds.hold(ticket("a", "2"), at(40));
        holds.release("b");
        assert_eq!(holds.ending_before(at(20)), []);
        assert_eq!(holds.take_all(), [ticket("a", "2")]);
    }
}
