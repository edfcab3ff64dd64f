//! The suite of all stores, over one on disk with its threads.

use super::Sqlite;
use std::sync::Arc;
use tidewire_store_suite::{Subject, store_suite};

/// What a store on disk needs: a runtime for its readers, and a folder.
struct Place {
    store: Arc<Sqlite>,
    _runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.store.close();
    }
}

fn fresh() -> Subject {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = {
        let _entered = runtime.enter();
        Arc::new(Sqlite::open(&folder.path().join("log.db"), None).unwrap())
    };
    let place = Place { store: store.clone(), _runtime: runtime, _folder: folder };
    Subject::new(store, place)
}

store_suite!(fresh);
