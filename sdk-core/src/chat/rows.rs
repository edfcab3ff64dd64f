//! A dialog's rows in order, with look-up by id or offset, and the changes to emit.

use crate::event::{Row, RowState};
use crate::ids::Ids;
use crate::list::Change;
use crate::wire::Offset;

/// How many rows are kept; the oldest committed ones are removed first.
pub(super) const MAX_ROWS: usize = 2_000;
/// The offset of a row that is not committed, so that it follows all committed ones.
const UNCOMMITTED: Offset = Offset(u64::MAX);

/// A dialog's rows. Finding a row by its id or offset takes O(log n) comparisons. Offsets rise from
/// row to row, with one exception: after a change of the log, rows acknowledged in the new log
/// follow rows of the old one until those are removed.
#[derive(Default)]
pub(super) struct Rows {
    #[expect(clippy::vec_box, reason = "a row that comes or goes moves what stands behind it: pointers")]
    list: Vec<Box<Placed>>,
    /// The ids of the rows with their offsets, possibly with ids of rows that were removed.
    ids: Ids,
    /// How many answers are under way.
    streaming: usize,
    /// How many rows were added because somebody asked for older ones: so many more are kept.
    older: usize,
    /// Changes that are not emitted yet.
    changes: Vec<Change<Row>>,
}

/// A row, and the offset of the last event that changed it.
struct Placed {
    row: Row,
    last: Offset,
}

impl Rows {
    pub(super) fn all(&self) -> Vec<Row> {
        self.list.iter().map(|placed| placed.row.clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn get(&self, index: usize) -> &Row {
        &self.list[index].row
    }

    /// Whether any row is committed.
    pub(super) fn has_committed(&self) -> bool {
        self.list.iter().any(|placed| placed.row.offset.is_some())
    }

    /// The answers under way, the oldest first.
    pub(super) fn streaming(&self) -> impl DoubleEndedIterator<Item = &Row> {
        let rows = if self.streaming > 0 { self.list.as_slice() } else { &[] };
        rows.iter().map(|placed| &placed.row).filter(|row| is_streaming(row))
    }

    /// Takes the changes since the last call.
    pub(super) fn take_changes(&mut self) -> Vec<Change<Row>> {
        std::mem::take(&mut self.changes)
    }

    /// Replaces the pending changes by a reset with all rows.
    pub(super) fn announce(&mut self) {
        self.changes.clear();
        self.changes.push(Change::Reset(self.all()));
    }

    /// Removes all committed rows.
    pub(super) fn reset(&mut self) {
        self.list.retain(|placed| placed.row.offset.is_none());
        self.streaming = 0;
        self.older = 0;
        self.ids.clear();
        self.list.iter().for_each(|placed| self.ids.set(&placed.row.id, UNCOMMITTED));
        self.announce();
    }

    pub(super) fn find(&self, id: &str) -> Option<usize> {
        let at = self.position(self.ids.get(id)?);
        let is = |index: &usize| self.list.get(*index).is_some_and(|placed| placed.row.id == id);
        // Ops are acknowledged in their order, so the row is the first of its log. Rows before it
        // belong to an older log.
        (at..self.list.len()).find(is).or_else(|| (0..at).find(is))
    }

    /// The index of the row with this id, if it is there and not committed.
    pub(super) fn find_uncommitted(&self, id: &str) -> Option<usize> {
        self.find(id).filter(|index| self.get(*index).offset.is_none())
    }

    /// Whether the row is committed at a later offset than this one.
    pub(super) fn is_later(&self, index: usize, offset: Offset) -> bool {
        self.get(index).offset.is_some_and(|later| later > offset)
    }

    /// The index for a row with this offset: after all rows with a lower one.
    pub(super) fn position(&self, offset: Offset) -> usize {
        self.list.partition_point(|placed| offset_of(&placed.row) < offset)
    }

    /// The index of the first row that is not committed.
    pub(super) fn uncommitted(&self) -> usize {
        self.position(UNCOMMITTED)
    }

    /// Inserts a row by its offset, or at the end if it has none.
    pub(super) fn place(&mut self, row: Row) {
        let index = row.offset.map_or(self.list.len(), |offset| self.position(offset));
        self.insert(index, row);
    }

    /// A row that waits to be sent, as it is once its op is committed.
    pub(super) fn committed(&self, index: usize, offset: Offset) -> Row {
        let mut row = self.get(index).clone();
        row.offset = Some(offset);
        row.state = RowState::Sent;
        row.code = None;
        row.retry_at = None;
        row
    }

    /// Replaces a row and moves it before the one that is at `target` now.
    pub(super) fn relocate(&mut self, index: usize, target: usize, row: Row) {
        // Removing the row first moves the rows after it down by one.
        let target = if target > index { target - 1 } else { target };
        if target == index {
            self.update(index, row);
        } else {
            let moved = self.list.remove(index);
            self.list.insert(target, moved);
            self.changes.push(Change::Move { from: index, to: target });
            self.update(target, row);
        }
    }

    fn insert(&mut self, index: usize, row: Row) {
        self.ids.set(&row.id, offset_of(&row));
        self.streaming += usize::from(is_streaming(&row));
        let last = row.offset.unwrap_or_default();
        self.list.insert(index, Box::new(Placed { row: row.clone(), last }));
        self.changes.push(Change::Insert { index, row });
    }

    pub(super) fn update(&mut self, index: usize, row: Row) {
        let placed = &mut self.list[index];
        if placed.row != row {
            self.ids.set(&row.id, offset_of(&row));
            self.streaming += usize::from(is_streaming(&row));
            self.streaming -= usize::from(is_streaming(&placed.row));
            placed.last = placed.last.max(row.offset.unwrap_or_default());
            placed.row = row.clone();
            self.changes.push(Change::Update { index, row });
        }
    }

    /// Replaces a row because of the event with this offset.
    pub(super) fn update_by(&mut self, index: usize, row: Row, event: Offset) {
        self.list[index].last = event;
        self.update(index, row);
    }

    /// Removes a row and its id.
    pub(super) fn forget(&mut self, index: usize) {
        let id = std::mem::take(&mut self.list[index].row.id);
        self.ids.remove(&id);
        self.remove(index);
    }

    fn remove(&mut self, index: usize) {
        self.streaming -= usize::from(is_streaming(&self.list.remove(index).row));
        self.changes.push(Change::Remove { index });
    }

    /// Adds text to the end of a row.
    pub(super) fn append(&mut self, index: usize, added: &str) {
        self.list[index].row.text.push_str(added);
        if let Some(Change::Append { index: last, text }) = self.changes.last_mut()
            && *last == index
        {
            text.push_str(added);
        } else {
            self.changes.push(Change::Append { index, text: added.to_owned() });
        }
    }

    /// From now on this many rows more are kept.
    pub(super) fn keep_more(&mut self, rows: usize) {
        self.older += rows;
    }

    /// Removes the oldest rows beyond those that are kept. The rows that are left show exactly the
    /// events after the returned offset: a row takes those with it that begin before its last event.
    pub(super) fn trim(&mut self, since: Offset) -> Offset {
        let (most, mut since) = (MAX_ROWS + self.older, since);
        while let Some(first) = self.list.first()
            && let Some(offset) = first.row.offset
            && (self.list.len() > most || offset <= since)
        {
            since = since.max(first.last);
            self.remove(0);
            self.ids
                .forget_before(self.list.first().map_or(UNCOMMITTED, |placed| offset_of(&placed.row)), most);
        }
        since
    }
}

fn offset_of(row: &Row) -> Offset {
    row.offset.unwrap_or(UNCOMMITTED)
}

fn is_streaming(row: &Row) -> bool {
    row.state == RowState::Streaming
}
