//! The suite of all stores, over one in memory.

use rusqlite::Connection;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidewire_server_sqlite::Inline;
use tidewire_server_sqlite::log::Outside;
use tidewire_store_suite::{Subject, store_suite};

/// A clock that goes on by a millisecond each time it is looked at.
struct Ticking(AtomicU64);

impl Outside for Ticking {
    fn now_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn digest(&self, text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn enough(&self) -> bool {
        false
    }
}

fn fresh() -> Subject {
    let connection = Connection::open_in_memory().expect("memory");
    let store = Inline::new(connection, Ticking(AtomicU64::new(1_800_000_000_000))).expect("a new database");
    Subject::new(Arc::new(store), ())
}

store_suite!(fresh);
