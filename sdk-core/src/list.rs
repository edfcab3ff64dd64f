//! Changes of an ordered list of rows: one vocabulary for dialogs and live tables.

/// One change of a list of rows: of a dialog's, or of a table's, whose rows are texts. Indexes
/// count from 0 in the list as the changes before left it.
#[derive(Clone, PartialEq, Eq)]
pub enum Change<R> {
    /// The list is now this.
    Reset(Vec<R>),
    /// A row was inserted before what stood at `index`.
    Insert {
        /// Where.
        index: usize,
        /// The row.
        row: R,
    },
    /// The row at `index` is now this.
    Update {
        /// Where.
        index: usize,
        /// The row.
        row: R,
    },
    /// Text was added to the end of the row at `index`; only dialogs have such rows.
    Append {
        /// Where.
        index: usize,
        /// What was added.
        text: String,
    },
    /// The row at `from` was taken out, and put before what stood at `to` then.
    Move {
        /// From where.
        from: usize,
        /// To where, in the list without the row.
        to: usize,
    },
    /// The row at `index` is gone.
    Remove {
        /// Where.
        index: usize,
    },
}

/// Says where, and of no row what.
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
    /// Makes the change in a list that is as the changes before left it; `append` adds a text to
    /// the end of a row. False, and nothing is done, where an index lies beyond the list: then
    /// a change before this one was left out.
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

    /// The same change of a list of other rows.
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
