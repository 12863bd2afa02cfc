//! Service codes that the table does not know, each told from its later appearances.
//!
//! Such a code is a gap in [`crate::classify`]. One line in the log is enough to know of it; a line per message would bury the
//! rest. The memory is small and bounded: beyond it nothing is new any more.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// A service that makes up more codes than this is not described by listing them.
const MOST_CODES: usize = 256;

/// The codes that were seen.
#[derive(Debug, Default)]
pub struct FirstSeen {
    codes: Mutex<BTreeSet<u32>>,
}

impl FirstSeen {
    /// Whether `code` is seen for the first time, as far as the memory goes.
    pub(super) fn is_new(&self, code: u32) -> bool {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.len() < MOST_CODES && codes.insert(code)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_code_is_new_once() {
        let seen = FirstSeen::default();
        assert!([7, 8, 7, 8, 9].map(|code| seen.is_new(code)) == [true, true, false, false, true]);
    }

    #[test]
    fn a_code_is_new_to_one_of_many_who_see_it_together() {
        let seen = FirstSeen::default();
        let told = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| seen.is_new(7))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|new| *new).count()
        });
        assert_eq!(told, 1);
    }

    #[test]
    fn the_memory_is_bounded_and_then_nothing_is_new() {
        let seen = FirstSeen::default();
        let told = (0..10_000).filter(|code| seen.is_new(*code)).count();
        assert_eq!((told, seen.codes.lock().expect("nobody panicked").len()), (MOST_CODES, MOST_CODES));
        assert!(!seen.is_new(u32::MAX));
    }
}
