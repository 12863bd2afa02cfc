//! The receipts of the messages that this process hides from other readers, and until when. Pure.
//!
//! A message that reappears because its time ran out is recognised and not counted twice. Only its id and receipt are kept, about
//! 200 bytes; a hundred thousand of them are 20 MB.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

/// Permits to update or delete a message that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) message_id: Arc<str>,
    /// Each update replaces it.
    pub(super) pop_receipt: Arc<str>,
}

#[derive(Debug)]
struct Hidden {
    pop_receipt: Arc<str>,
    until: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Receipts {
    hidden: HashMap<Arc<str>, Hidden>,
    /// In the order of their ends, because every message is hidden for the same time. An entry whose end is not that of the
    /// message is out of date.
    ends: VecDeque<(Instant, Arc<str>)>,
}

impl Receipts {
    /// Keeps a receipt, or replaces the one of that message; returns whether the message is new.
    pub(super) fn insert(&mut self, receipt: Receipt, until: Instant) -> bool {
        let Receipt { message_id, pop_receipt } = receipt;
        self.ends.push_back((until, message_id.clone()));
        self.hidden.insert(message_id, Hidden { pop_receipt, until }).is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.hidden.len()
    }

    /// The receipts of all messages that would reappear before `moment`, each once: the caller renews and inserts them again.
    pub(super) fn ending_before(&mut self, moment: Instant) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        while let Some((until, message_id)) = self.ends.pop_front_if(|(until, _)| *until < moment) {
            if let Some(hidden) = self.hidden.get(&message_id).filter(|hidden| hidden.until == until) {
                receipts.push(Receipt { message_id, pop_receipt: hidden.pop_receipt.clone() });
            }
        }
        receipts
    }

    pub(super) fn remove(&mut self, message_id: &Arc<str>) -> Option<Receipt> {
        let Hidden { pop_receipt, .. } = self.hidden.remove(message_id)?;
        Some(Receipt { message_id: message_id.clone(), pop_receipt })
    }

    pub(super) fn take_all(&mut self) -> Vec<Receipt> {
        self.ends.clear();
        self.hidden
            .drain()
            .map(|(message_id, Hidden { pop_receipt, .. })| Receipt { message_id, pop_receipt })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn receipt(message_id: &str, pop_receipt: &str) -> Receipt {
        Receipt { message_id: message_id.into(), pop_receipt: pop_receipt.into() }
    }

    #[test]
    fn a_message_that_reappears_is_known_and_its_newer_receipt_counts() {
        let (mut receipts, now) = (Receipts::default(), Instant::now());
        assert!(receipts.insert(receipt("a", "1"), now));
        assert!(!receipts.insert(receipt("a", "2"), now));
        assert_eq!(receipts.len(), 1);
        assert_eq!(receipts.take_all(), [receipt("a", "2")]);
        assert_eq!(receipts.len(), 0);
    }

    #[test]
    fn receipts_that_end_soon_are_given_once_and_in_order() {
        let (mut receipts, now) = (Receipts::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        for (id, end) in [("a", 10), ("b", 20), ("c", 30)] {
            receipts.insert(receipt(id, "1"), at(end));
        }
        assert_eq!(receipts.ending_before(at(25)), [receipt("a", "1"), receipt("b", "1")]);
        assert_eq!(receipts.ending_before(at(25)), [], "they are being renewed");
        receipts.insert(receipt("a", "2"), at(40));
        assert_eq!(receipts.ending_before(at(35)), [receipt("c", "1")]);
        assert_eq!(receipts.ending_before(at(50)), [receipt("a", "2")]);
        assert_eq!(receipts.len(), 3, "those that were not renewed are still to be given back");
    }

    #[test]
    fn a_renewed_or_removed_receipt_does_not_end_at_its_old_time() {
        let (mut receipts, now) = (Receipts::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        receipts.insert(receipt("a", "1"), at(10));
        receipts.insert(receipt("b", "1"), at(10));
        receipts.insert(receipt("a", "2"), at(40));
        receipts.remove(&"b".into());
        assert_eq!(receipts.ending_before(at(20)), []);
        assert_eq!(receipts.take_all(), [receipt("a", "2")]);
    }
}
