//! The store, which survives a crash: the outbox, cached events with their cursors, rows of tables,
//! and the profile.
//!
//! A [`Sqlite`] belongs to one thread, which carries out the core's changes in their order and
//! reports each one once it is on disk. Changes that wait meanwhile share one transaction, so a
//! slow disk costs latency, not throughput.

mod sqlite;

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use tidewire_core::{StoreChange, StoreError, StoreId};
use tokio::sync::mpsc::UnboundedSender;

pub use sqlite::Sqlite;

/// Most changes in one transaction.
const BATCH: usize = 256;

/// Where a client stores its data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Storage {
    /// In memory: waiting messages are lost when the process ends.
    Memory,
    /// In a folder for this client only. It is created if it is missing, readable by its owner
    /// only. One client at a time can use it.
    Folder(PathBuf),
}

/// The result of one change. The receiver limits how many changes are under way.
pub(crate) type Stored = (StoreId, usize, Result<(), StoreError>);

/// The queue to a store's thread. Dropping it ends the thread after everything queued is on disk;
/// its reports end when the file is closed.
pub(crate) struct StoreQueue {
    changes: mpsc::Sender<(StoreId, StoreChange)>,
    /// Disconnected when the thread has ended.
    ended: mpsc::Receiver<()>,
}

impl StoreQueue {
    pub(crate) fn start(store: Sqlite, reports: UnboundedSender<Stored>) -> std::io::Result<StoreQueue> {
        let (changes, queue) = mpsc::channel();
        let (ends, ended) = mpsc::channel();
        std::thread::Builder::new().name(String::from("tidewire-store")).spawn(move || {
            let _ends = ends;
            run(store, &queue, &reports);
        })?;
        Ok(StoreQueue { changes, ended })
    }

    /// Ends the queue and waits until everything in it is on disk and the file is closed, but no
    /// longer than `patience`.
    pub(crate) fn finish(self, patience: Duration) {
        let StoreQueue { changes, ended } = self;
        drop(changes);
        // Nothing is ever sent on this channel: an error means that the thread has ended or that
        // `patience` is over.
        let _ = ended.recv_timeout(patience);
    }

    /// Queues a change and returns its weight in bytes.
    pub(crate) fn put(&self, id: StoreId, change: StoreChange) -> usize {
        let bytes = weight(&change);
        // The thread ends only after this sender is dropped, so this can't fail.
        let _ = self.changes.send((id, change));
        bytes
    }
}

fn run(mut store: Sqlite, queue: &mpsc::Receiver<(StoreId, StoreChange)>, reports: &UnboundedSender<Stored>) {
    while let Ok(first) = queue.recv() {
        let (ids, changes): (Vec<_>, Vec<_>) =
            std::iter::once(first).chain(queue.try_iter().take(BATCH - 1)).unzip();
        for ((id, change), result) in ids.into_iter().zip(&changes).zip(store.apply(&changes)) {
            if let Err(error) = result {
                tracing::warn!(code = error.code(), "the store could not carry out a change");
            }
            let _ = reports.send((id, weight(change), result));
        }
    }
}

fn weight(change: &StoreChange) -> usize {
    64 + match change {
        StoreChange::PutOp { record, .. }
        | StoreChange::PutTable { record, .. }
        | StoreChange::PutProfile { record } => record.0.len(),
        StoreChange::PutEvents { events, runs, .. } => {
            runs.0.len() + events.iter().map(|(_, event)| event.0.len() + 16).sum::<usize>()
        }
        StoreChange::DeleteOp { .. } | StoreChange::ClearChannel { .. } | StoreChange::ClearTable { .. } => 0,
    }
}
