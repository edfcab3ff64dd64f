//! A session of the store, as all connections that use it share it.

use crate::lock::Mutex;
use crate::store::SessionRow;
use std::sync::Arc;

/// A session in use.
pub struct Held {
    id: String,
    state: Mutex<State>,
}

enum State {
    /// It was not read yet.
    Unread,
    There(Arc<SessionRow>),
    /// It does not exist.
    Gone,
}

impl Held {
    pub(super) fn new(id: String) -> Held {
        Held { id, state: Mutex::new(State::Unread) }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// What the session is now; `None` if it does not exist.
    pub(crate) fn row(&self) -> Option<Arc<SessionRow>> {
        match &*self.state.lock() {
            State::There(row) => Some(row.clone()),
            State::Unread | State::Gone => None,
        }
    }

    pub(super) fn is_unread(&self) -> bool {
        matches!(*self.state.lock(), State::Unread)
    }

    /// It was written.
    pub(super) fn put(&self, row: SessionRow) {
        *self.state.lock() = State::There(Arc::new(row));
    }

    /// It was deleted; returns what it was.
    pub(super) fn end(&self) -> Option<Arc<SessionRow>> {
        match std::mem::replace(&mut *self.state.lock(), State::Gone) {
            State::There(row) => Some(row),
            State::Unread | State::Gone => None,
        }
    }

    /// What was read. A change since the read began counts more.
    pub(super) fn loaded(&self, found: Option<SessionRow>) {
        let mut state = self.state.lock();
        if matches!(*state, State::Unread) {
            *state = found.map_or(State::Gone, |row| State::There(Arc::new(row)));
        }
    }
}

impl std::fmt::Debug for Held {
    // The id may be a credential.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Held")
    }
}
