//! Changes of an ordered list of rows, the same for dialogs and live tables.

/// One change of a list of rows, of a dialog or of a table. Indexes count from 0 in the list as the
/// changes before left it.
#[derive(Clone, PartialEq, Eq)]
pub enum Change<R> {
    /// The list is now this.
    Reset(Vec<R>),
    /// A row was inserted at `index`.
    Insert {
        /// The index.
        index: usize,
        /// The row.
        row: R,
    },
    /// The row at `index` is now this.
    Update {
        /// The index.
        index: usize,
        /// The row.
        row: R,
    },
    /// Text was added to the end of the row at `index`; only dialogs have such rows.
    Append {
        /// The index.
        index: usize,
        /// The added text.
        text: String,
    },
    /// The row at `from` was removed, then inserted at `to`.
    Move {
        /// The old index.
        from: usize,
        /// The new index, in the list without the row.
        to: usize,
    },
    /// The row at `index` was removed.
    Remove {
        /// The index.
        index: usize,
    },
}

/// Shows indexes, but no rows.
impl<R> std::fmt::Debug for Change<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Change::Reset(rows) => f.debug_tuple("Reset").field(&rows.len()).finish(),
            Change::Insert { index, .. } => f.debug_tuple("Insert").field(index).finish(),
            Change::Update { index, .. } => f.debug_tuple("Update").field(index).finish(),
            Change::Append { index, text } => {
                f.debug_tuple("Append").field(index).field(&text.len()).finish()
            }
            Change::Move { from, to } => f.debug_tuple("Move").field(from).field(to).finish(),
            Change::Remove { index } => f.debug_tuple("Remove").field(index).finish(),
        }
    }
}

impl<R> Change<R> {
    /// Applies the change to a list; `append` adds a text to the end of a row. If an index is
    /// beyond the list, nothing is done and this returns false: then an earlier change was left
    /// out.
    pub fn apply(self, rows: &mut Vec<R>, append: impl FnOnce(&mut R, &str)) -> bool {
        let length = rows.len();
        match self {
            Change::Reset(all) => *rows = all,
            Change::Insert { index, row } if index <= length => rows.insert(index, row),
            Change::Update { index, row } if index < length => rows[index] = row,
            Change::Append { index, text } if index < length => append(&mut rows[index], &text),
            Change::Move { from, to } if from < length && to < length => {
                let row = rows.remove(from);
                rows.insert(to, row);
            }
            Change::Remove { index } if index < length => drop(rows.remove(index)),
            _ => return false,
        }
        true
    }

    /// The same change with rows of another type.
    pub fn map<S>(self, mut row_of: impl FnMut(R) -> S) -> Change<S> {
        match self {
            Change::Reset(rows) => Change::Reset(rows.into_iter().map(row_of).collect()),
            Change::Insert { index, row } => Change::Insert { index, row: row_of(row) },
            Change::Update { index, row } => Change::Update { index, row: row_of(row) },
            Change::Append { index, text } => Change::Append { index, text },
            Change::Move { from, to } => Change::Move { from, to },
            Change::Remove { index } => Change::Remove { index },
        }
    }
}
