//! Ready-made queries for common tables.

use super::filter::{Compare, Filter, FilterError, FilterFault, Node, Term, Test};
use super::query::{RowEvents, TableError, TableQuery};

/// Tables that many applications have, by their usual names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadyTable {
    /// The messages of a session: `chat_messages` by `session_id`, ordered by `created_at`. Emits
    /// inserts.
    Messages,
    /// One session: `chat_sessions` by `id`. Emits updates.
    Session,
    /// All rules of the context: `context_rules`. Emits all changes.
    ContextRules,
    /// A user's configurations of widgets: `widget_configurations` by `user_id`. Emits all changes.
    WidgetConfigurations,
    /// A user's notifications: `notifications` by `user_id`, the newest first. Emits inserts.
    Notifications,
}

const ALL: RowEvents = RowEvents { insert: true, update: true, delete: true };
const INSERT: RowEvents = RowEvents { insert: true, update: false, delete: false };
const UPDATE: RowEvents = RowEvents { insert: false, update: true, delete: false };

impl ReadyTable {
    /// The table of this name.
    pub fn named(name: &str) -> Option<ReadyTable> {
        Some(match name {
            "messages" => ReadyTable::Messages,
            "session" => ReadyTable::Session,
            "context_rules" => ReadyTable::ContextRules,
            "widget_configurations" => ReadyTable::WidgetConfigurations,
            "notifications" => ReadyTable::Notifications,
            _ => return None,
        })
    }

    /// The query for the rows of the session or user `of`; `ContextRules` ignores it. `column`
    /// replaces the name of the column that `of` is compared with. Other parts can be changed in
    /// the returned query.
    ///
    /// ```
    /// use tidewire_core::tables::{ReadyTable, TableQuery};
    ///
    /// let notes = ReadyTable::Notifications.query("ada", None)?;
    /// assert_eq!(notes.filter, "user_id=eq.ada");
    /// let by_other_names = TableQuery { table: "notes".into(), ..ReadyTable::Notifications.query("ada", Some("owner"))? };
    /// assert_eq!(by_other_names.filter, "owner=eq.ada");
    /// # Ok::<(), tidewire_core::tables::TableError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TableError::Filter`] if `column` can't be a column's name.
    pub fn query(self, of: &str, column: Option<&str>) -> Result<TableQuery, TableError> {
        let (table, by, order, events) = match self {
            ReadyTable::Messages => ("chat_messages", Some("session_id"), "created_at", INSERT),
            ReadyTable::Session => ("chat_sessions", Some("id"), "", UPDATE),
            ReadyTable::ContextRules => ("context_rules", None, "", ALL),
            ReadyTable::WidgetConfigurations => ("widget_configurations", Some("user_id"), "", ALL),
            ReadyTable::Notifications => ("notifications", Some("user_id"), "created_at.desc", INSERT),
        };
        let filter = match by {
            Some(by) => equal(column.unwrap_or(by), of)?,
            None => String::new(),
        };
        Ok(TableQuery {
            table: table.to_owned(),
            filter,
            order: order.to_owned(),
            events,
            ..TableQuery::default()
        })
    }
}

/// The filter of rows that have this value in a column.
fn equal(column: &str, value: &str) -> Result<String, TableError> {
    let test = Test::Compare(Compare::Eq, value.to_owned());
    let term = Term { column: column.to_owned(), negated: false, test };
    let text = Filter::of(Node::Term(term)).encode();
    // A text that is not a name could change the filter's meaning.
    match Filter::parse(&text) {
        Ok(read) if matches!(read.root(), Node::Term(term) if term.column == column) => Ok(text),
        Err(error) if error.fault == FilterFault::TooLong => Err(TableError::Filter(error)),
        _ => Err(TableError::Filter(FilterError {
            fault: FilterFault::BadColumn,
            at: 0,
            expected: "expected a column's name",
        })),
    }
}
