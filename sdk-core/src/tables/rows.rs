//! The rows of a subscription as the client has them.

use crate::wire::json::{self, Writer};
use crate::wire::{DecodeError, RowOp, TableChange, TableColumn};
#[expect(
    clippy::disallowed_types,
    reason = "rows may be thousands, and pages without tables do not carry this"
)]
use std::collections::BTreeMap;
use std::sync::Arc;

/// Columns and key of a subscription's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) columns: Vec<TableColumn>,
    /// Places of the key's columns.
    pub(crate) key: Vec<usize>,
}

impl Shape {
    /// The row as an object of its columns; empty where cells are missing.
    pub(crate) fn object(&self, row: &str) -> Arc<str> {
        let cells = json::elements(row).unwrap_or_default();
        let mut writer = Writer::object();
        for (column, cell) in self.columns.iter().zip(cells) {
            writer = writer.raw(&column.name, cell);
        }
        writer.end().into()
    }

    /// The row's key as one text.
    fn key_of(&self, cells: &[&str]) -> Option<String> {
        if cells.len() != self.columns.len() {
            return None;
        }
        let key: Option<Vec<&str>> = self.key.iter().map(|at| cells.get(*at).copied()).collect();
        Some(json::array(key?.into_iter()))
    }

    /// The names of the key's columns.
    pub(crate) fn key_names(&self) -> Vec<String> {
        let columns = self.key.iter().filter_map(|at| self.columns.get(*at));
        columns.map(|column| column.name.clone()).collect()
    }
}

/// What happened to one row; the texts are arrays of cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) op: RowOp,
    pub(crate) key: Arc<str>,
    pub(crate) new: Option<Arc<str>>,
    pub(crate) old: Option<Arc<str>>,
    /// See [`TableChange::moved`].
    pub(crate) moved: bool,
}

/// What the server said does not fit what the client has: it missed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Misfit;

impl From<DecodeError> for Misfit {
    fn from(_: DecodeError) -> Misfit {
        Misfit
    }
}

/// Rows by their keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    #[expect(clippy::disallowed_types, reason = "as above")]
    by_key: BTreeMap<Arc<str>, Arc<str>>,
    bytes: usize,
}

impl Rows {
    /// The rows of a snapshot.
    pub(crate) fn read(shape: &Shape, rows: Vec<String>) -> Result<Rows, Misfit> {
        let mut all = Rows::default();
        for row in rows {
            let key = shape.key_of(&json::elements(&row)?).ok_or(Misfit)?;
            if all.put(key.into(), row.into()).is_some() {
                return Err(Misfit);
            }
        }
        Ok(all)
    }

    /// Keys and rows, in the order of the keys' texts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.by_key.iter()
    }

    /// Length of all texts.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn put(&mut self, key: Arc<str>, row: Arc<str>) -> Option<Arc<str>> {
        self.bytes += key.len() + row.len();
        let size = key.len();
        let before = self.by_key.insert(key, row);
        if let Some(before) = &before {
            self.bytes -= size + before.len();
        }
        before
    }

    fn take(&mut self, key: &str) -> Option<Arc<str>> {
        let row = self.by_key.remove(key)?;
        self.bytes -= key.len() + row.len();
        Some(row)
    }

    /// Applies a transaction's changes, all or none.
    pub(crate) fn apply(&mut self, shape: &Shape, changes: Vec<TableChange>) -> Result<Vec<Moved>, Misfit> {
        let mut done = Vec::with_capacity(changes.len());
        for change in changes {
            match self.apply_one(shape, change) {
                Ok(one) => done.push(one),
                Err(misfit) => {
                    for Moved { key, old, .. } in done.into_iter().rev() {
                        self.take(&key);
                        if let Some(old) = old {
                            self.put(key, old);
                        }
                    }
                    return Err(misfit);
                }
            }
        }
        Ok(done)
    }

    fn apply_one(&mut self, shape: &Shape, change: TableChange) -> Result<Moved, Misfit> {
        let TableChange { op, cells: text, same, moved } = change;
        let cells = json::elements(&text)?;
        let key = match op {
            RowOp::Delete => json::array(cells.into_iter()),
            RowOp::Insert | RowOp::Update => shape.key_of(&cells).ok_or(Misfit)?,
        };
        let key: Arc<str> = key.into();
        let old = self.by_key.get(&key).cloned();
        // An insert of what is there, or a change of what is not, is the change of another state.
        if old.is_some() != (op != RowOp::Insert) {
            return Err(Misfit);
        }
        let new = match op {
            RowOp::Delete => None,
            RowOp::Insert | RowOp::Update => Some(merged(shape, &text, &same, old.as_deref())?.into()),
        };
        match &new {
            Some(row) => self.put(Arc::clone(&key), Arc::clone(row)),
            None => self.take(&key),
        };
        Ok(Moved { op, key, new, old, moved })
    }

    /// What makes these rows of the others: first what goes, then what comes or differs.
    pub(crate) fn changes_since(&self, shape: &Shape, others: &Rows, other_shape: &Shape) -> Vec<Moved> {
        let comparable = shape.key_names() == other_shape.key_names();
        let there = |rows: &Rows, key: &Arc<str>| comparable.then(|| rows.by_key.get(key).cloned()).flatten();
        let mut changes = Vec::new();
        for (key, old) in &others.by_key {
            if there(self, key).is_none() {
                let (key, old) = (Arc::clone(key), Some(Arc::clone(old)));
                changes.push(Moved { op: RowOp::Delete, key, new: None, old, moved: false });
            }
        }
        let reshaped = shape != other_shape;
        for (key, new) in &self.by_key {
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

/// The row with the cells that the database did not say taken from what was there.
fn merged(shape: &Shape, row: &str, same: &[u64], old: Option<&str>) -> Result<String, Misfit> {
    if same.is_empty() {
        return Ok(row.to_owned());
    }
    let (mut cells, before) = (json::elements(row)?, json::elements(old.ok_or(Misfit)?)?);
    for at in same {
        let at = usize::try_from(*at).map_err(|_| Misfit)?;
        match (cells.get_mut(at), before.get(at)) {
            (Some(cell), Some(before)) if at < shape.columns.len() && !shape.key.contains(&at) => {
                *cell = before
            }
            _ => return Err(Misfit),
        }
    }
    Ok(json::array(cells.into_iter()))
}
