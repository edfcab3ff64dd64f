//! A view's sorted rows, and the changes of the part that is shown.

use super::entries::Entries;
use super::order::Order;
use super::rows::{Moved, Rows};
use crate::list::Change;
use crate::wire::{RowOp, TableShape};
use std::sync::Arc;

/// With more changes at once than this, and more than a quarter of the rows, the list is given as a
/// whole.
const FEW: usize = 64;

/// Sorted rows, of which the first `limit` are shown.
pub(super) struct Sorted {
    entries: Entries,
    limit: usize,
}

impl Sorted {
    pub(super) fn new(order: Order, limit: Option<usize>, rows: &Rows) -> Sorted {
        let mut entries = Entries::new(order);
        for entry in rows.iter() {
            entries.put(Arc::clone(&entry.key), Arc::clone(&entry.row));
        }
        Sorted { entries, limit: limit.unwrap_or(usize::MAX) }
    }

    /// Whether the rows are in this order.
    pub(super) fn is_by(&self, order: &Order) -> bool {
        self.entries.order() == order
    }

    /// The rows that are shown, and those beyond the limit, as objects.
    pub(super) fn objects(&self, shape: &TableShape) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let all = self.entries.iter();
        let mut shown: Vec<Arc<str>> = all.map(|entry| shape.object(&entry.row)).collect();
        let beyond = shown.split_off(self.limit.min(shown.len()));
        (shown, beyond)
    }

    /// Applies the changes of one step, and returns the changes of the rows that are shown. Each
    /// change comes with the row after it as an object. The subscription's own rows can't be used
    /// here: they are those after all steps that came together.
    pub(super) fn apply<'a>(
        &mut self,
        shape: &TableShape,
        changes: impl ExactSizeIterator<Item = (&'a Moved, Option<&'a Arc<str>>)>,
    ) -> Vec<Change<Arc<str>>> {
        let few = changes.len() <= FEW.max(self.entries.len() / 4);
        let mut shown = Vec::new();
        for (moved, object) in changes {
            let from = moved.old.as_ref().and_then(|old| self.entries.take(&moved.key, old));
            let put = |new: &Arc<str>| self.entries.put(Arc::clone(&moved.key), Arc::clone(new));
            let to = moved.new.as_ref().map(put);
            if few {
                self.push_shown(shape, moved.op, from, to.zip(object), &mut shown);
            }
        }
        if few { shown } else { vec![Change::Reset(self.objects(shape).0)] }
    }

    /// Adds the changes of the shown rows when a row moved. If a row leaves the shown part, the
    /// first one beyond the limit enters it; if one enters, the last one leaves it.
    fn push_shown(
        &self,
        shape: &TableShape,
        op: RowOp,
        from: Option<usize>,
        to: Option<(usize, &Arc<str>)>,
        shown: &mut Vec<Change<Arc<str>>>,
    ) {
        let limit = self.limit;
        let to = to.map(|(index, object)| (index, Arc::clone(object)));
        match (from.filter(|from| *from < limit), to.filter(|(to, _)| *to < limit)) {
            (Some(from), Some((to, row))) => {
                if from != to {
                    shown.push(Change::Move { from, to });
                }
                shown.push(Change::Update { index: to, row });
            }
            (Some(index), None) => {
                shown.push(Change::Remove { index });
                if let Some(entry) = self.entries.nth(limit - 1) {
                    shown.push(Change::Insert { index: limit - 1, row: shape.object(&entry.row) });
                }
            }
            (None, Some((index, row))) => {
                // The number of rows before this one was inserted.
                let before = self.entries.len() - usize::from(op == RowOp::Insert);
                if before >= limit {
                    shown.push(Change::Remove { index: limit - 1 });
                }
                shown.push(Change::Insert { index, row });
            }
            (None, None) => {}
        }
    }
}
