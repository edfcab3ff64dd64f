//! Which groups a row may concern, found by the row's values instead of by asking each group.

use super::judge::{Judge, View};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::tables::Value;

/// The groups of one table.
#[derive(Default)]
pub(super) struct Index {
    /// By a column and the value that it must have.
    columns: BTreeMap<usize, BTreeMap<Key, BTreeSet<u64>>>,
    /// Those whose predicates name no such value.
    rest: BTreeSet<u64>,
}

/// A value by the evaluator's own order, so that what is equal to a filter is one place here: `1.0` and `1.00`, both zeros, `NaN`.
struct Key(Value);

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        // The values of one column all have its type, and neither null nor opaque ones are looked up.
        self.0.compare(&other.0).unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

impl Index {
    /// How many groups must be asked about every row.
    pub(super) fn unindexed(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn add(&mut self, group: u64, judge: &Judge) {
        match judge.indexable() {
            Some((column, values)) => {
                let places = self.columns.entry(column).or_default();
                for value in values {
                    places.entry(Key(value)).or_default().insert(group);
                }
            }
            None => {
                self.rest.insert(group);
            }
        }
    }

    pub(super) fn remove(&mut self, group: u64, judge: &Judge) {
        let Some((column, values)) = judge.indexable() else {
            self.rest.remove(&group);
            return;
        };
        let Some(places) = self.columns.get_mut(&column) else { return };
        for value in values {
            let key = Key(value);
            if let Some(groups) = places.get_mut(&key) {
                groups.remove(&group);
                if groups.is_empty() {
                    places.remove(&key);
                }
            }
        }
        if places.is_empty() {
            self.columns.remove(&column);
        }
    }

    /// Adds the groups that a row may belong to.
    pub(super) fn find(&self, row: &mut View<'_>, found: &mut BTreeSet<u64>) {
        found.extend(&self.rest);
        for (column, places) in &self.columns {
            match row.value(*column) {
                Some(Value::Null | Value::Opaque) => {}
                Some(value) => found.extend(places.get(&Key(value.clone())).into_iter().flatten()),
                // Not known: it may be any of them, and judging says so.
                None => found.extend(places.values().flatten()),
            }
        }
    }
}
