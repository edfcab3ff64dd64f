//! The suite of all stores, over one on disk with its threads.

use super::{Flush, Sqlite};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use tidewire_server_core::store::{Store, Write};
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
        Arc::new(Sqlite::open(&folder.path().join("log.db"), None, Flush::default()).unwrap())
    };
    let place = Place { store: store.clone(), _runtime: runtime, _folder: folder };
    Subject::new(store, place)
}

store_suite!(fresh);

const PATIENCE: Duration = Duration::from_secs(20);

/// A store that commits once in an hour, or three writes at once.
fn lazy(folder: &tempfile::TempDir) -> Sqlite {
    let flush = Flush { every: Duration::from_secs(3_600), writes: 3 };
    Sqlite::open(&folder.path().join("log.db"), None, flush).unwrap()
}

/// Writes something; the receiver hears of its commit.
fn write(store: &Sqlite) -> Receiver<bool> {
    let (done, committed) = channel();
    store.write(
        Write::Probe,
        Box::new(move |result| {
            let _ = done.send(result.is_ok());
        }),
    );
    committed
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap()
}

#[test]
fn the_first_write_is_committed_at_once_and_later_ones_together_once_enough_wait() {
    let (runtime, folder) = (runtime(), tempfile::tempdir().unwrap());
    let _entered = runtime.enter();
    let store = lazy(&folder);
    assert!(write(&store).recv_timeout(PATIENCE).unwrap());
    let (second, third) = (write(&store), write(&store));
    // Nothing must be committed before the hour is over.
    assert_eq!(second.recv_timeout(Duration::from_millis(200)), Err(RecvTimeoutError::Timeout));
    assert_eq!(store.waiting(), 2);
    let fourth = write(&store);
    for committed in [second, third, fourth] {
        assert!(committed.recv_timeout(PATIENCE).unwrap());
    }
    let of_size =
        |most| store.metrics().writes.cumulated().find(|(bound, _)| *bound == Some(most)).unwrap().1;
    assert_eq!((of_size(1), of_size(2), of_size(5)), (1, 1, 2), "one commit of one write, one of three");
    store.close();
}

#[test]
fn what_waits_is_committed_when_the_server_stops() {
    let (runtime, folder) = (runtime(), tempfile::tempdir().unwrap());
    let _entered = runtime.enter();
    let store = lazy(&folder);
    assert!(write(&store).recv_timeout(PATIENCE).unwrap());
    let waits = write(&store);
    store.close();
    assert!(waits.recv_timeout(PATIENCE).unwrap());
}
