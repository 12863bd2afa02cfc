//! Which of several records waits for which: those of an array, or of a file.
//!
//! - The records of one key go one after the other, in the order sent.
//! - A record whose lookup names another record's row waits for that: the first record of that key that is not a deletion.
//! - A deletion waits for the records before it whose lookups name its row: behind it they would miss that row.
//!
//! Records that wait for each other are a cycle. There a record waits only for those that were sent before it, so that a cycle goes
//! in the order sent. Nothing waits for itself then, also not through others.
//!
//! Pure. Keys are compared as locks are, by a hash.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher as _;

use super::{Lookup, Operation, Record, RecordKey};

/// The order in which records begin. They are called by their positions.
#[derive(Debug)]
pub(crate) struct Order {
    /// The next record with the same key.
    next_of_key: Vec<Option<usize>>,
    /// Those that a record's lookups name, and for a deletion those whose lookups name its row.
    parents: Vec<Vec<usize>>,
    /// The same, seen from the parent.
    children: Vec<Vec<usize>>,
    /// Records with the same number are in a cycle.
    cycles: Vec<usize>,
    /// Those whose lookup names their own row, which no record before them brings.
    own_parents: Vec<usize>,
}

/// What the order depends on in one record.
#[derive(Debug)]
pub(crate) struct Links {
    /// Hashes of its key, the first with its table.
    keys: Vec<u64>,
    /// Hashes of the keys that its lookups name.
    lookups: Vec<u64>,
    deletes: bool,
}

impl Links {
    /// Of a record; `hasher` is one for all records.
    pub(crate) fn of(record: &Record, hasher: &RandomState) -> Self {
        let hash = |key: &RecordKey, table: &str| hasher.hash_one(key.lock_name("", table));
        // A lookup in a key has a primary key without its table.
        let without_table = record.key.columns().is_empty().then_some("");
        let tables = [record.table.as_str()].into_iter().chain(without_table);
        let keys = tables.map(|table| hash(&record.key, table)).collect();
        let deletes = record.operation == Operation::Delete;
        let lookups = if deletes { Vec::new() } else { record.lookups() };
        let target =
            |Lookup { target, .. }: &Lookup| Some(hash(&target.key()?, target.table.as_deref().unwrap_or_default()));
        let lookups: BTreeSet<_> = lookups.iter().filter_map(target).collect();
        Self { keys, lookups: lookups.into_iter().collect(), deletes }
    }

    /// A hash of its key, with its table.
    pub(crate) fn key(&self) -> u64 {
        self.keys[0]
    }

    /// Whether its lookups name rows.
    pub(crate) fn has_lookups(&self) -> bool {
        !self.lookups.is_empty()
    }
}

impl Order {
    /// Of these records; `None` is not a record, and waits for nothing.
    pub(crate) fn new(records: &[Option<Links>]) -> Self {
        let count = records.len();
        let mut by_key: HashMap<u64, Vec<usize>> = HashMap::new();
        for (position, links) in records.iter().enumerate() {
            for key in links.iter().flat_map(|links| &links.keys) {
                by_key.entry(*key).or_default().push(position);
            }
        }
        let key_of = |position: usize| records[position].as_ref().map(Links::key);
        let deletes = |position: usize| records[position].as_ref().is_some_and(|links| links.deletes);
        let (mut next_of_key, mut parents, mut own_parents) =
            (vec![None; count], vec![BTreeSet::new(); count], Vec::new());
        for (position, links) in records.iter().enumerate() {
            let Some(links) = links else { continue };
            let same = &by_key[&links.key()];
            next_of_key[position] = same.get(same.partition_point(|other| *other <= position)).copied();
            for named in links.lookups.iter().filter_map(|key| by_key.get(key)) {
                if named.iter().find(|other| !deletes(**other)) == Some(&position) {
                    own_parents.push(position);
                }
                // Those of its own key it waits for anyway.
                let of_others = || named.iter().copied().filter(|other| key_of(*other) != key_of(position));
                parents[position].extend(of_others().find(|other| !deletes(*other)));
                if let Some(deletion) = of_others().find(|other| *other > position && deletes(*other)) {
                    parents[deletion].insert(position);
                }
            }
        }
        let parents: Vec<Vec<usize>> = parents.into_iter().map(|parents| parents.into_iter().collect()).collect();
        let mut waits_for = parents.clone();
        for (position, next) in next_of_key.iter().enumerate() {
            if let Some(next) = next {
                waits_for[*next].push(position);
            }
        }
        let cycles = components(&waits_for);
        Self { children: reversed(&parents), next_of_key, parents, cycles, own_parents }
    }

    /// How many others each record waits for.
    pub(crate) fn waits(&self) -> Vec<usize> {
        let kept = |(child, parents): (usize, &Vec<usize>)| {
            parents.iter().filter(|parent| self.waits_for(child, **parent)).count()
        };
        let mut waits: Vec<_> = self.parents.iter().enumerate().map(kept).collect();
        for next in self.next_of_key.iter().flatten() {
            waits[*next] += 1;
        }
        waits
    }

    pub(crate) fn next_of_key(&self, position: usize) -> Option<usize> {
        self.next_of_key[position]
    }

    pub(crate) fn children(&self, position: usize) -> &[usize] {
        &self.children[position]
    }

    /// The parents that a record does not wait for each other with.
    pub(crate) fn parents_outside_its_cycle(&self, position: usize) -> impl Iterator<Item = usize> {
        let outside = move |parent: &&usize| self.cycles[**parent] != self.cycles[position];
        self.parents[position].iter().filter(outside).copied()
    }

    /// How many parents each record has before it, one above the other; records of one key do not go down.
    pub(crate) fn levels(&self) -> Vec<u32> {
        let mut waits = self.waits();
        let mut levels = vec![0; waits.len()];
        let mut ready: Vec<_> = (0..waits.len()).filter(|position| waits[*position] == 0).collect();
        while let Some(position) = ready.pop() {
            let children = self.children[position].iter().filter(|child| self.waits_for(**child, position));
            let next = self.next_of_key[position].map(|next| (next, 0));
            for (behind, step) in children.map(|child| (*child, 1)).chain(next) {
                levels[behind] = levels[behind].max(levels[position] + step);
                waits[behind] -= 1;
                if waits[behind] == 0 {
                    ready.push(behind);
                }
            }
        }
        levels
    }

    /// The records that wait for each other or for themselves, in their order.
    pub(crate) fn in_cycles(&self) -> BTreeSet<usize> {
        let has_cycle =
            |child: &usize| self.parents[*child].iter().any(|parent| self.cycles[*parent] == self.cycles[*child]);
        (0..self.parents.len()).filter(has_cycle).chain(self.own_parents.iter().copied()).collect()
    }

    /// Whether a record waits for this parent.
    pub(crate) fn waits_for(&self, child: usize, parent: usize) -> bool {
        self.cycles[child] != self.cycles[parent] || parent < child
    }
}

/// The strongly connected components of a graph (Kosaraju), a number for each node. Without recursion: a chain may be as long as the
/// array.
fn components(next: &[Vec<usize>]) -> Vec<usize> {
    let (before, mut component) = (reversed(next), vec![usize::MAX; next.len()]);
    for root in post_order(next).into_iter().rev() {
        let mut reached = vec![root];
        while let Some(node) = reached.pop() {
            if component[node] == usize::MAX {
                component[node] = root;
                reached.extend(&before[node]);
            }
        }
    }
    component
}

/// The nodes of a graph, each after those that are reached from it, as far as there is no cycle.
fn post_order(next: &[Vec<usize>]) -> Vec<usize> {
    let (mut seen, mut order) = (vec![false; next.len()], Vec::with_capacity(next.len()));
    for root in 0..next.len() {
        let mut path = Vec::new();
        if !std::mem::replace(&mut seen[root], true) {
            path.push((root, next[root].iter()));
        }
        while let Some((node, edges)) = path.last_mut() {
            match edges.next() {
                Some(&to) if std::mem::replace(&mut seen[to], true) => {}
                Some(&to) => path.push((to, next[to].iter())),
                None => {
                    order.push(*node);
                    path.pop();
                }
            }
        }
    }
    order
}

fn reversed(next: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut before = vec![Vec::new(); next.len()];
    for (node, edges) in next.iter().enumerate() {
        for to in edges {
            before[*to].push(node);
        }
    }
    before
}

#[cfg(test)]
mod tests;
