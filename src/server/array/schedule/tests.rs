use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::record::{Links, decode};

/// A record of a random array: its key, whether it is a deletion, and the keys of the rows that it names.
#[derive(Debug, Clone)]
struct Sent {
    key: usize,
    deletes: bool,
    names: Vec<usize>,
}

impl Sent {
    fn links(&self, hasher: &RandomState) -> Links {
        let operation = if self.deletes { "delete" } else { "upsert" };
        let named =
            self.names.iter().enumerate().map(|(number, key)| format!(r#""n{number}@odata.bind":"/as(k={key})""#));
        let columns = named.collect::<Vec<_>>().join(",");
        let Self { key, .. } = self;
        let message =
            format!(r#"{{"table":"as","operation":"{operation}","key":{{"k":{key}}},"columns":{{{columns}}}}}"#);
        Links::of(&decode(&message.into()).expect("a record"), hasher)
    }
}

fn schedule(sent: &[Sent]) -> Schedule {
    let hasher = RandomState::new();
    Schedule::new(Order::new(&sent.iter().map(|record| Some(record.links(&hasher))).collect::<Vec<_>>()))
}

fn upsert(key: usize, names: &[usize]) -> Sent {
    Sent { key, deletes: false, names: names.to_vec() }
}

/// Begins all that may begin.
fn begin_all(schedule: &mut Schedule) -> Vec<usize> {
    std::iter::from_fn(|| schedule.begin()).collect()
}

#[test]
fn children_begin_together_once_their_parent_has_ended() {
    let sent: Vec<_> = (0..1_000).map(|key| upsert(key, &[1_000])).chain([upsert(1_000, &[])]).collect();
    let mut schedule = schedule(&sent);
    assert_eq!(begin_all(&mut schedule), [1_000]);
    schedule.ended(1_000, true);
    assert!(begin_all(&mut schedule).into_iter().eq(0..1_000));
}

#[test]
fn where_a_parent_was_refused_or_misses_its_own_the_children_are_tried() {
    for is_missing in [true, false] {
        let mut schedule = schedule(&[upsert(1, &[2]), upsert(2, &[9])]);
        assert_eq!(begin_all(&mut schedule), [1]);
        if is_missing {
            schedule.missed(1);
        } else {
            schedule.ended(1, false);
        }
        assert_eq!(begin_all(&mut schedule), [0]);
    }
}

#[test]
fn of_a_chain_the_first_one_is_tried_again_first_and_the_others_follow_it_at_once() {
    let count = MAX_RETRIES + 10;
    let sent: Vec<_> = (0..count).map(|key| upsert(key, &[key + 1])).collect();
    let mut schedule = schedule(&sent);
    for position in (0..count).rev() {
        assert_eq!(begin_all(&mut schedule), [position]);
        schedule.missed(position);
    }
    for _ in 0..3 {
        schedule.retry();
        let begun = begin_all(&mut schedule);
        assert_eq!((begun[0], begun.len()), (count - 1, MAX_RETRIES));
        for position in begun {
            schedule.missed(position);
        }
    }
    schedule.retry();
    for position in begin_all(&mut schedule) {
        if position < count - 1 {
            schedule.missed(position);
        }
    }
    for position in (0..count).rev() {
        schedule.ended(position, true);
        let begun = begin_all(&mut schedule);
        assert!(position == 0 || begun.contains(&(position - 1)), "{position}: {begun:?}");
        for other in begun {
            if other + 1 != position {
                schedule.missed(other);
            }
        }
    }
    assert!(!schedule.has_ready() && !schedule.has_missing());
}

#[test]
fn a_parent_that_is_written_while_its_child_is_under_way_lets_the_child_be_tried_at_once() {
    let mut schedule = schedule(&[upsert(1, &[2]), upsert(2, &[9])]);
    assert_eq!(begin_all(&mut schedule), [1]);
    schedule.missed(1);
    assert_eq!(begin_all(&mut schedule), [0]);
    schedule.missed(0);
    schedule.retry();
    assert_eq!(begin_all(&mut schedule), [1, 0], "in one round");
    schedule.ended(1, true);
    schedule.missed(0);
    assert_eq!(begin_all(&mut schedule), [0], "it was refused before its parent was there");
    schedule.missed(0);
    assert!(!schedule.has_ready(), "once");
}

#[test]
fn a_chain_whose_first_one_comes_late_is_tried_link_by_link() {
    const COUNT: usize = 50;
    let sent: Vec<_> = (0..COUNT).map(|key| upsert(key, &[key + 1])).collect();
    let mut schedule = schedule(&sent);
    for position in (0..COUNT).rev() {
        assert_eq!(begin_all(&mut schedule), [position]);
        schedule.missed(position);
    }
    schedule.retry();
    assert_eq!(begin_all(&mut schedule).len(), COUNT);
    (0..COUNT - 1).for_each(|position| schedule.missed(position));
    for position in (1..COUNT).rev() {
        schedule.ended(position, true);
        assert_eq!(begin_all(&mut schedule), [position - 1]);
    }
}

#[test]
fn the_members_of_a_cycle_are_tried_again_each() {
    let mut schedule = schedule(&[upsert(1, &[2]), upsert(2, &[1])]);
    assert_eq!(begin_all(&mut schedule), [0]);
    schedule.missed(0);
    assert_eq!(begin_all(&mut schedule), [1]);
    schedule.missed(1);
    schedule.retry();
    assert_eq!(begin_all(&mut schedule), [0, 1]);
    schedule.missed(0);
    schedule.ended(1, true);
    assert_eq!(begin_all(&mut schedule), [0], "its parent is there now");
}

#[test]
fn a_record_behind_one_that_misses_its_parent_waits_for_its_end() {
    let mut schedule = schedule(&[upsert(1, &[9]), upsert(1, &[])]);
    assert_eq!(begin_all(&mut schedule), [0]);
    schedule.missed(0);
    assert!(!schedule.has_ready());
    assert_eq!((schedule.missing(), schedule.ended(0, false)), (vec![0], Some(1)));
    assert_eq!(begin_all(&mut schedule), [1]);
}

#[test]
fn a_round_has_a_limited_number_of_records_in_turns_and_success_brings_more() {
    let count = 2 * MAX_RETRIES + 50;
    let sent: Vec<_> = (0..count).map(|key| upsert(key, &[count])).collect();
    let mut schedule = schedule(&sent);
    for position in begin_all(&mut schedule) {
        schedule.missed(position);
    }
    let round = |schedule: &mut Schedule| {
        schedule.retry();
        let begun = begin_all(schedule);
        for position in &begun {
            schedule.missed(*position);
        }
        begun
    };
    assert!(round(&mut schedule).into_iter().eq(0..MAX_RETRIES));
    assert!(round(&mut schedule).into_iter().eq(MAX_RETRIES..2 * MAX_RETRIES));
    assert!(round(&mut schedule).into_iter().eq((2 * MAX_RETRIES..count).chain(0..MAX_RETRIES - 50)));
    schedule.retry();
    let begun = begin_all(&mut schedule);
    schedule.ended(begun[0], true);
    assert_eq!(begin_all(&mut schedule).len(), 2);
    schedule.ended(begun[1], false);
    assert!(!schedule.has_ready());
}

fn array() -> impl Strategy<Value = Vec<Sent>> {
    const KEYS: usize = 7;
    let names = prop::collection::vec(0..KEYS, 0..3);
    let sent = (0..KEYS, prop::bool::weighted(0.15), names);
    prop::collection::vec(sent.prop_map(|(key, deletes, names)| Sent { key, deletes, names }), 1..14)
}

/// What a record must wait for, as the rules say, with and without regard to cycles.
struct Rules<'a> {
    sent: &'a [Sent],
    /// By one edge or several.
    waits: Vec<Vec<bool>>,
}

impl<'a> Rules<'a> {
    fn of(sent: &'a [Sent]) -> Self {
        let count = sent.len();
        let mut rules = Self { sent, waits: vec![vec![false; count]; count] };
        for child in 0..count {
            for other in 0..count {
                rules.waits[child][other] = rules.is_parent(child, other) || rules.is_before(other, child);
            }
        }
        for middle in 0..count {
            for from in 0..count {
                for to in 0..count {
                    rules.waits[from][to] |= rules.waits[from][middle] && rules.waits[middle][to];
                }
            }
        }
        rules
    }

    fn is_before(&self, one: usize, other: usize) -> bool {
        one < other && self.sent[one].key == self.sent[other].key
    }

    fn is_parent(&self, child: usize, parent: usize) -> bool {
        let (sent, other) = (&self.sent[child], &self.sent[parent]);
        let is_first = |of: usize| {
            let first = self.sent.iter().position(|record| record.key == self.sent[of].key && !record.deletes);
            first == Some(of)
        };
        let of_lookup = !sent.deletes && sent.names.contains(&other.key) && is_first(parent);
        let is_next_deletion = |after: usize, key: usize| {
            let next = (after + 1..self.sent.len()).find(|at| self.sent[*at].key == key && self.sent[*at].deletes);
            next == Some(child)
        };
        let of_deletion =
            sent.deletes && !other.deletes && other.names.contains(&sent.key) && is_next_deletion(parent, sent.key);
        sent.key != other.key && (of_lookup || of_deletion)
    }

    /// Whether `parent` must have been tried before `child` begins: not if it waits for the child itself and was sent after it.
    fn must_be_tried(&self, child: usize, parent: usize) -> bool {
        self.is_parent(child, parent) && (!self.waits[parent][child] || parent < child)
    }
}

proptest! {
    /// Dataverse with some rows; what is under way ends in random order.
    #[test]
    fn every_record_ends_once_parents_first_and_each_key_in_the_order_sent(
        sent in array(),
        present in prop::collection::hash_set(0_usize..7, 0..4),
        slots in 1_usize..5,
        choices in prop::collection::vec(any::<prop::sample::Index>(), 200),
    ) {
        let (rules, mut schedule, mut rows) = (Rules::of(&sent), schedule(&sent), present);
        let (mut running, mut tried, mut ended) = (Vec::new(), HashSet::new(), BTreeMap::new());
        let (mut choices, mut was_written) = (choices.into_iter().cycle(), true);
        while ended.len() < sent.len() {
            while running.len() < slots && let Some(position) = schedule.begin() {
                for other in 0..sent.len() {
                    prop_assert!(!rules.is_before(other, position) || ended.contains_key(&other), "{} before {}", position, other);
                    prop_assert!(!rules.must_be_tried(position, other) || tried.contains(&other), "{} before {}", position, other);
                }
                prop_assert!(!running.contains(&position) && !ended.contains_key(&position));
                running.push(position);
            }
            if running.is_empty() {
                prop_assert!(schedule.has_missing(), "nothing is under way, and some have not ended");
                if std::mem::take(&mut was_written) {
                    schedule.retry();
                } else {
                    for position in schedule.missing() {
                        let is_missing = sent[position].names.iter().any(|key| !rows.contains(key));
                        prop_assert!(is_missing, "{} was given up although its parents are there", position);
                        schedule.ended(position, false);
                        ended.insert(position, false);
                    }
                    was_written = true;
                }
                continue;
            }
            let position = running.swap_remove(choices.next().expect("endless").index(running.len()));
            tried.insert(position);
            let Sent { key, deletes, names } = &sent[position];
            if *deletes {
                rows.remove(key);
            } else if names.iter().all(|name| rows.contains(name)) {
                rows.insert(*key);
            } else {
                schedule.missed(position);
                continue;
            }
            was_written = true;
            schedule.ended(position, true);
            ended.insert(position, true);
        }
        prop_assert!(!schedule.has_ready() && !schedule.has_missing());
    }
}
