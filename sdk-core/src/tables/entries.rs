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

/// Most entries of a chunk: adding or removing one moves those behind it in its chunk.
const CHUNK: usize = 512;

/// Rows in an order; rows that are equal in it are in the order of their keys' texts. A row is found
/// with O(log n) comparisons. The rows are kept in chunks, so that a change moves few of them.
#[derive(Default)]
pub(super) struct Entries {
    order: Order,
    /// None is empty.
    chunks: Vec<Vec<Entry>>,
}

/// The place of an entry: its chunk, and where it is in that.
type Place = (usize, usize);

impl Entries {
    /// Without rows yet.
    pub(super) fn new(order: Order) -> Entries {
        Entries { order, chunks: Vec::new() }
    }

    pub(super) fn order(&self) -> &Order {
        &self.order
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.chunks.iter().flatten()
    }

    pub(super) fn len(&self) -> usize {
        self.index((self.chunks.len(), 0))
    }

    /// The entry at this index.
    pub(super) fn nth(&self, mut index: usize) -> Option<&Entry> {
        for chunk in &self.chunks {
            match chunk.get(index) {
                Some(entry) => return Some(entry),
                None => index -= chunk.len(),
            }
        }
        None
    }

    fn index(&self, (chunk, at): Place) -> usize {
        self.chunks.iter().take(chunk).map(Vec::len).sum::<usize>() + at
    }

    /// Where a row is, or where it would be.
    fn place(&self, ranks: &[Rank], key: &str) -> Result<Place, Place> {
        let compare = |entry: &Entry| compare(&self.order, entry, ranks, key);
        let begins_before = |chunk: &Vec<Entry>| chunk.first().is_some_and(|first| compare(first).is_le());
        let at = self.chunks.partition_point(begins_before).saturating_sub(1);
        let Some(chunk) = self.chunks.get(at) else { return Err((0, 0)) };
        chunk.binary_search_by(compare).map(|place| (at, place)).map_err(|place| (at, place))
    }

    /// The row with this key. `like` must have the row's cells in the columns of the order.
    pub(super) fn get(&self, key: &str, like: &str) -> Option<&Entry> {
        let (chunk, at) = self.place(&self.order.ranks(like), key).ok()?;
        Some(&self.chunks[chunk][at])
    }

    /// Removes a row and returns its former index.
    pub(super) fn take(&mut self, key: &str, like: &str) -> Option<usize> {
        let place = self.place(&self.order.ranks(like), key).ok()?;
        let index = self.index(place);
        self.chunks[place.0].remove(place.1);
        if self.chunks[place.0].is_empty() {
            self.chunks.remove(place.0);
        }
        Some(index)
    }

    /// Inserts a row, or replaces the one that is equal to it, and returns its index.
    pub(super) fn put(&mut self, key: Arc<str>, row: Arc<str>) -> usize {
        let ranks = self.order.ranks(&row);
        let place = self.place(&ranks, &key);
        let (Ok(found) | Err(found)) = place;
        let index = self.index(found);
        if place.is_ok() {
            self.chunks[found.0][found.1].row = row;
            return index;
        }
        if self.chunks.is_empty() {
            self.chunks.push(Vec::new());
        }
        let chunk = &mut self.chunks[found.0];
        chunk.insert(found.1, Entry { ranks, key, row });
        if chunk.len() > CHUNK {
            let second = chunk.split_off(CHUNK / 2);
            self.chunks.insert(found.0 + 1, second);
        }
        index
    }
}

fn compare(order: &Order, entry: &Entry, ranks: &[Rank], key: &str) -> Ordering {
    order.compare(&entry.ranks, ranks).then_with(|| (*entry.key).cmp(key))
}
