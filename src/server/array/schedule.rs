//! Which records of an array may begin, which wait for others of it, and which are tried again because they missed a parent.
//!
//! A record begins once those that it waits for were tried: where a parent of the array was refused, its row may be there already. One
//! that missed a parent keeps no slot and no lock, and is tried again
//! - at once when a parent of the array was written after all, also when that was while the record was under way,
//! - else in rounds of [`MAX_RETRIES`] at most, and two more for each that succeeds: so a thousand records whose parents never come cost
//!   a few hundred requests, and a thousand whose parents came late are all sent. Those with the fewest tries come first, and before
//!   those whose parent in the array has not ended. Of these none is brought forward by a success: their parent will do that.
//!
//! Pure, no clock.

use std::collections::{BTreeSet, VecDeque};
use std::mem::take;

use crate::record::Order;

/// The records of one array that are tried again in one round.
const MAX_RETRIES: usize = 100;

/// The state of the records of an array, called by their positions.
#[derive(Debug)]
pub(super) struct Schedule {
    order: Order,
    /// How many others each record still waits for.
    waits: Vec<usize>,
    ready: VecDeque<usize>,
    /// How often each was tried.
    tries: Vec<usize>,
    /// Those that missed a parent, by their tries.
    missing: BTreeSet<(usize, usize)>,
    has_ended: Vec<bool>,
    /// Those of which a parent was written after they had begun.
    has_new_parent: Vec<bool>,
}

impl Schedule {
    pub(super) fn new(order: Order) -> Self {
        let waits = order.waits();
        let ready = waits.iter().enumerate().filter(|(_, waits)| **waits == 0).map(|(position, _)| position).collect();
        let (has_ended, has_new_parent) = (vec![false; waits.len()], vec![false; waits.len()]);
        Self { tries: vec![0; waits.len()], order, waits, ready, missing: BTreeSet::new(), has_ended, has_new_parent }
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn has_missing(&self) -> bool {
        !self.missing.is_empty()
    }

    /// The next record that begins.
    pub(super) fn begin(&mut self) -> Option<usize> {
        let position = self.ready.pop_front()?;
        self.has_new_parent[position] = false;
        Some(position)
    }

    /// A record missed a parent; it is tried again, unless [`Self::ended`] is called for it.
    pub(super) fn missed(&mut self, position: usize) {
        self.tried(position);
        if take(&mut self.has_new_parent[position]) {
            self.ready.push_front(position);
        } else {
            self.missing.insert((self.tries[position], position));
        }
    }

    /// A record has ended; `is_written` if its row is there now. Returns the next record with its key.
    pub(super) fn ended(&mut self, position: usize, is_written: bool) -> Option<usize> {
        let is_retried = self.tries[position] > 0;
        self.missing.remove(&(self.tries[position], position));
        self.tried(position);
        self.has_ended[position] = true;
        if is_written {
            for child in self.order.children(position) {
                if self.missing.remove(&(self.tries[*child], *child)) {
                    self.ready.push_front(*child);
                } else {
                    self.has_new_parent[*child] = true;
                }
            }
            if is_retried {
                self.retry_some(2);
            }
        }
        let next = self.order.next_of_key(position);
        if let Some(next) = next {
            self.release(next);
        }
        next
    }

    /// Another round for those that missed a parent.
    pub(super) fn retry(&mut self) {
        let left = MAX_RETRIES - self.retry_some(MAX_RETRIES);
        let others: Vec<_> = self.missing.iter().copied().take(left).collect();
        self.try_again(&others);
    }

    /// Those that missed a parent, in the order sent.
    pub(super) fn missing(&self) -> Vec<usize> {
        let positions: BTreeSet<_> = self.missing.iter().map(|(_, position)| *position).collect();
        positions.into_iter().collect()
    }

    /// Tries so many again of those whose parents in the array have ended; returns how many there were.
    fn retry_some(&mut self, count: usize) -> usize {
        let is_free = |child| self.order.parents_outside_its_cycle(child).all(|parent| self.has_ended[parent]);
        let free = self.missing.iter().copied().filter(|(_, position)| is_free(*position));
        let free: Vec<_> = free.take(count).collect();
        self.try_again(&free)
    }

    fn try_again(&mut self, missing: &[(usize, usize)]) -> usize {
        for retried in missing {
            self.missing.remove(retried);
            self.ready.push_back(retried.1);
        }
        missing.len()
    }

    /// Those that wait for the first try of a record need not wait any more.
    fn tried(&mut self, position: usize) {
        self.tries[position] += 1;
        if self.tries[position] > 1 {
            return;
        }
        let waiting =
            self.order.children(position).iter().copied().filter(|child| self.order.waits_for(*child, position));
        for child in waiting.collect::<Vec<_>>().into_iter().rev() {
            self.release(child);
        }
    }

    /// In front, because chains take longest.
    fn release(&mut self, position: usize) {
        self.waits[position] -= 1;
        if self.waits[position] == 0 {
            self.ready.push_front(position);
        }
    }
}

#[cfg(test)]
mod tests;
