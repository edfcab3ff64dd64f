//! A view's rows in their order, and what changes in what is shown of them.

use super::order::{Order, Rank};
use super::rows::{Moved, Rows, Shape};
use crate::list::Change;
use crate::wire::RowOp;
use std::cmp::Ordering;
use std::sync::Arc;

/// With more changes at once than this, and than a quarter of the rows, the rows are sorted anew.
const FEW: usize = 64;

/// Rows in their order, of which the first so many are shown.
pub(super) struct Sorted {
    order: Order,
    limit: usize,
    entries: Vec<Entry>,
}

struct Entry {
    ranks: Vec<Rank>,
    key: Arc<str>,
    /// An array of cells.
    row: Arc<str>,
}

impl Sorted {
    pub(super) fn new(order: Order, limit: Option<usize>, rows: &Rows) -> Sorted {
        let mut sorted = Sorted { order, limit: limit.unwrap_or(usize::MAX), entries: Vec::new() };
        sorted.fill(rows);
        sorted
    }

    fn fill(&mut self, rows: &Rows) {
        let order = &self.order;
        self.entries = rows
            .iter()
            .map(|(key, row)| Entry { ranks: order.ranks(row), key: Arc::clone(key), row: Arc::clone(row) })
            .collect();
        self.entries.sort_unstable_by(|one, another| order.entries(one, another));
    }

    /// Whether the rows are in this order.
    pub(super) fn is_by(&self, order: &Order) -> bool {
        self.order == *order
    }

    /// The rows that are shown, and those beyond the limit, as objects.
    pub(super) fn objects(&self, shape: &Shape) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let mut shown: Vec<Arc<str>> = self.entries.iter().map(|entry| shape.object(&entry.row)).collect();
        let beyond = shown.split_off(self.limit.min(shown.len()));
        (shown, beyond)
    }

    /// Takes changes of rows, all of which `rows` have already, and says what changed of what is
    /// shown. `objects` are the rows after each change.
    pub(super) fn apply<'a>(
        &mut self,
        shape: &Shape,
        rows: &Rows,
        changes: impl ExactSizeIterator<Item = (&'a Moved, Option<&'a Arc<str>>)>,
    ) -> Vec<Change<Arc<str>>> {
        if changes.len() > FEW.max(self.entries.len() / 4) {
            self.fill(rows);
            return vec![Change::Reset(self.objects(shape).0)];
        }
        let mut told = Vec::new();
        for (moved, object) in changes {
            let from = moved.old.as_ref().and_then(|old| self.take(&moved.key, old));
            let to = moved.new.as_ref().map(|new| self.put(&moved.key, new));
            self.tell(shape, moved.op, from, to.zip(object), &mut told);
        }
        told
    }

    /// Takes a row out, and says from where.
    fn take(&mut self, key: &Arc<str>, row: &Arc<str>) -> Option<usize> {
        let at = self.place(&self.order.ranks(row), key).ok()?;
        self.entries.remove(at);
        Some(at)
    }

    /// Puts a row in, and says where.
    fn put(&mut self, key: &Arc<str>, row: &Arc<str>) -> usize {
        let ranks = self.order.ranks(row);
        let at = self.place(&ranks, key).unwrap_or_else(|at| at);
        self.entries.insert(at, Entry { ranks, key: Arc::clone(key), row: Arc::clone(row) });
        at
    }

    fn place(&self, ranks: &[Rank], key: &str) -> Result<usize, usize> {
        let compare =
            |entry: &Entry| self.order.compare(&entry.ranks, ranks).then_with(|| (*entry.key).cmp(key));
        self.entries.binary_search_by(compare)
    }

    /// What a row that went from one place to another changed of what is shown: a row beyond the
    /// limit comes into sight for one that leaves, and one leaves for one that comes.
    fn tell(
        &self,
        shape: &Shape,
        op: RowOp,
        from: Option<usize>,
        to: Option<(usize, &Arc<str>)>,
        told: &mut Vec<Change<Arc<str>>>,
    ) {
        let limit = self.limit;
        let to = to.map(|(index, object)| (index, Arc::clone(object)));
        match (from.filter(|from| *from < limit), to.filter(|(to, _)| *to < limit)) {
            (Some(from), Some((to, row))) => {
                if from != to {
                    told.push(Change::Move { from, to });
                }
                told.push(Change::Update { index: to, row });
            }
            (Some(index), None) => {
                told.push(Change::Remove { index });
                if let Some(entry) = self.entries.get(limit - 1) {
                    told.push(Change::Insert { index: limit - 1, row: shape.object(&entry.row) });
                }
            }
            (None, Some((index, row))) => {
                // What was shown before this row came in.
                let before = self.entries.len() - usize::from(op == RowOp::Insert);
                if before >= limit {
                    told.push(Change::Remove { index: limit - 1 });
                }
                told.push(Change::Insert { index, row });
            }
            (None, None) => {}
        }
    }
}

impl Order {
    fn entries(&self, one: &Entry, another: &Entry) -> Ordering {
        self.compare(&one.ranks, &another.ranks).then_with(|| one.key.cmp(&another.key))
    }
}
