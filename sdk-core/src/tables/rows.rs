//! The rows of a subscription as the client has them.

use super::entries::{Entries, Entry};
use crate::wire::json;
use crate::wire::{DecodeError, RowOp, TableChange, TableShape};
use std::sync::Arc;

/// Keys are compared as texts, so this order compares no cells.
const NO_CELLS: &str = "";

/// A change of one row; the texts are JSON arrays of cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) op: RowOp,
    pub(crate) key: Arc<str>,
    pub(crate) new: Option<Arc<str>>,
    pub(crate) old: Option<Arc<str>>,
    /// See [`TableChange::moved`].
    pub(crate) moved: bool,
}

/// A change does not fit the client's rows, so the client missed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Misfit;

impl From<DecodeError> for Misfit {
    fn from(_: DecodeError) -> Misfit {
        Misfit
    }
}

/// Rows by their keys.
#[derive(Default)]
pub(crate) struct Rows {
    by_key: Entries,
    bytes: usize,
}

impl Rows {
    /// Reads the rows of a snapshot.
    pub(crate) fn read(shape: &TableShape, rows: Vec<String>) -> Result<Rows, Misfit> {
        let (count, mut read) = (rows.len(), Rows::default());
        for row in rows {
            let key = shape.key_of(&json::elements(&row)?).ok_or(Misfit)?;
            read.bytes += key.len() + row.len();
            read.by_key.put(key.into(), row.into());
        }
        // A key that comes twice replaces a row.
        if read.by_key.len() == count { Ok(read) } else { Err(Misfit) }
    }

    /// All rows, in the order of their keys' texts.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.by_key.iter()
    }

    /// Length of all texts.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn get(&self, key: &str) -> Option<&Arc<str>> {
        self.by_key.get(key, NO_CELLS).map(|entry| &entry.row)
    }

    fn put(&mut self, key: &Arc<str>, row: &Arc<str>) {
        let before = self.get(key).map_or(0, |row| key.len() + row.len());
        self.bytes = self.bytes + key.len() + row.len() - before;
        self.by_key.put(Arc::clone(key), Arc::clone(row));
    }

    fn take(&mut self, key: &str) {
        if let Some(row) = self.get(key) {
            self.bytes -= key.len() + row.len();
            self.by_key.take(key, NO_CELLS);
        }
    }

    /// Applies the changes of a transaction, all or none.
    pub(crate) fn apply<'a>(
        &mut self,
        shape: &TableShape,
        changes: impl Iterator<Item = &'a TableChange>,
    ) -> Result<Vec<Moved>, Misfit> {
        let mut done = Vec::new();
        for change in changes {
            match self.apply_one(shape, change) {
                Ok(one) => done.push(one),
                Err(misfit) => {
                    for Moved { key, old, .. } in done.into_iter().rev() {
                        self.take(&key);
                        if let Some(old) = old {
                            self.put(&key, &old);
                        }
                    }
                    return Err(misfit);
                }
            }
        }
        Ok(done)
    }

    fn apply_one(&mut self, shape: &TableShape, change: &TableChange) -> Result<Moved, Misfit> {
        let TableChange { op, cells: text, same, moved } = change;
        let (op, moved) = (*op, *moved);
        let cells = json::elements(text)?;
        let key = match op {
            RowOp::Delete => json::array(cells.into_iter()),
            RowOp::Insert | RowOp::Update => shape.key_of(&cells).ok_or(Misfit)?,
        };
        let key: Arc<str> = key.into();
        let old = self.get(&key).cloned();
        // Inserting a row that exists, or changing one that does not, means that something was
        // missed.
        if old.is_some() != (op != RowOp::Insert) {
            return Err(Misfit);
        }
        let new = match op {
            RowOp::Delete => None,
            RowOp::Insert | RowOp::Update => Some(merged(shape, text, same, old.as_deref())?.into()),
        };
        match &new {
            Some(row) => self.put(&key, row),
            None => self.take(&key),
        }
        Ok(Moved { op, key, new, old, moved })
    }

    /// The changes from other rows to these: deletes first, then inserts and updates.
    pub(crate) fn changes_since(
        &self,
        shape: &TableShape,
        others: &Rows,
        other_shape: &TableShape,
    ) -> Vec<Moved> {
        let comparable = shape.key_names() == other_shape.key_names();
        let there = |rows: &Rows, key: &Arc<str>| comparable.then(|| rows.get(key).cloned()).flatten();
        let mut changes = Vec::new();
        for Entry { key, row: old, .. } in others.iter() {
            if there(self, key).is_none() {
                let (key, old) = (Arc::clone(key), Some(Arc::clone(old)));
                changes.push(Moved { op: RowOp::Delete, key, new: None, old, moved: false });
            }
        }
        let reshaped = shape != other_shape;
        for Entry { key, row: new, .. } in self.iter() {
            let old = there(others, key);
            let op = if old.is_some() { RowOp::Update } else { RowOp::Insert };
            if reshaped || old.as_ref() != Some(new) {
                let (key, new) = (Arc::clone(key), Some(Arc::clone(new)));
                changes.push(Moved { op, key, new, old, moved: false });
            }
        }
        changes
    }
}

/// The new row, in which cells that the database left out are taken from the old row.
fn merged(shape: &TableShape, row: &str, same: &[usize], old: Option<&str>) -> Result<String, Misfit> {
    if same.is_empty() {
        return Ok(row.to_owned());
    }
    let (mut cells, before) = (json::elements(row)?, json::elements(old.ok_or(Misfit)?)?);
    for at in same {
        match (cells.get_mut(*at), before.get(*at)) {
            (Some(cell), Some(before)) if *at < shape.columns.len() && !shape.key.contains(at) => {
                *cell = before
            }
            _ => return Err(Misfit),
        }
    }
    Ok(json::array(cells.into_iter()))
}
