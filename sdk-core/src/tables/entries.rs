//! Sorted rows, found by binary search.

use super::order::{Order, Rank};
use std::cmp::Ordering;
use std::sync::Arc;

/// A row (a JSON array of cells), its key, and the values that it is sorted by.
pub(super) struct Entry {
    ranks: Vec<Rank>,
    pub(super) key: Arc<str>,
    pub(super) row: Arc<str>,
}

/// Rows sorted by an order; rows that are equal in it are sorted by their keys' texts. Finding a
/// row takes O(log n) comparisons; inserting or removing one moves the rows after it.
#[derive(Default)]
pub(super) struct Entries {
    order: Order,
    list: Vec<Entry>,
}

impl Entries {
    /// Rows with their keys, in any order.
    pub(super) fn new(order: Order, rows: impl Iterator<Item = (Arc<str>, Arc<str>)>) -> Entries {
        let list = rows.map(|(key, row)| Entry { ranks: order.ranks(&row), key, row }).collect();
        let mut entries = Entries { order, list };
        entries.sort();
        entries
    }

    fn sort(&mut self) {
        let Entries { order, list } = self;
        list.sort_unstable_by(|one, another| compare(order, one, &another.ranks, &another.key));
    }

    pub(super) fn order(&self) -> &Order {
        &self.order
    }

    pub(super) fn list(&self) -> &[Entry] {
        &self.list
    }

    /// The index of a row, or where it would be inserted.
    fn place(&self, ranks: &[Rank], key: &str) -> Result<usize, usize> {
        self.list.binary_search_by(|entry| compare(&self.order, entry, ranks, key))
    }

    /// Finds the row with this key. `like` must have the same cells in the columns of the order.
    pub(super) fn get(&self, key: &str, like: &str) -> Option<&Entry> {
        Some(&self.list[self.place(&self.order.ranks(like), key).ok()?])
    }

    /// Removes a row and returns its index.
    pub(super) fn take(&mut self, key: &str, like: &str) -> Option<usize> {
        let at = self.place(&self.order.ranks(like), key).ok()?;
        self.list.remove(at);
        Some(at)
    }

    /// Inserts a row, replacing one with the same key, and returns its index.
    pub(super) fn put(&mut self, key: Arc<str>, row: Arc<str>) -> usize {
        let ranks = self.order.ranks(&row);
        match self.place(&ranks, &key) {
            Ok(at) => {
                self.list[at].row = row;
                at
            }
            Err(at) => {
                self.list.insert(at, Entry { ranks, key, row });
                at
            }
        }
    }
}

fn compare(order: &Order, entry: &Entry, ranks: &[Rank], key: &str) -> Ordering {
    order.compare(&entry.ranks, ranks).then_with(|| (*entry.key).cmp(key))
}
