//! Subjects that are logged only once, such as a code or a table.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The most subjects that are remembered: they come from outside. Beyond it nothing is logged.
const MAX_SUBJECTS: usize = 256;

/// The subjects that were logged.
#[derive(Debug, Default)]
pub struct LoggedOnce<T>(Mutex<BTreeSet<T>>);

impl<T: Ord> LoggedOnce<T> {
    /// Whether the subject is to be logged now, and from then on not again.
    pub(super) fn is_first(&self, subject: T) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.len() < MAX_SUBJECTS && logged.insert(subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_logged_once_and_only_so_many_are() {
        let logged = LoggedOnce::default();
        assert!(logged.is_first(1) && !logged.is_first(1) && logged.is_first(2));
        assert_eq!((0..3 * MAX_SUBJECTS).filter(|n| logged.is_first(*n)).count(), MAX_SUBJECTS - 2);
    }
}
