//! Updates of a view of a table on their way to its reader.

use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;

use tidewire_core::tables::TableUpdate;
use tokio::sync::{Notify, oneshot};

use crate::error::AwaitTxError;

/// Most updates that wait for a reader.
const CAPACITY: usize = 1_024;
/// Most bytes of rows that wait for a reader.
const CAPACITY_BYTES: usize = 4 * 1024 * 1024;

/// What settles a wait for a transaction.
pub(crate) type Seen = Result<(), AwaitTxError>;

/// The hub's side of a view.
pub(crate) struct TableView {
    updates: Arc<TableQueue>,
    waits: Vec<(String, oneshot::Sender<Seen>)>,
}

impl TableView {
    pub(crate) fn new() -> TableView {
        TableView { updates: Arc::new(TableQueue::default()), waits: Vec::new() }
    }

    pub(crate) fn queue(&self) -> Arc<TableQueue> {
        Arc::clone(&self.updates)
    }

    pub(crate) fn wait(&mut self, tx: &str) -> oneshot::Receiver<Seen> {
        let (seen, waits) = oneshot::channel();
        self.waits.push((tx.to_owned(), seen));
        waits
    }

    pub(crate) fn tell(&mut self, update: &TableUpdate) {
        if let TableUpdate::Seen { tx, code } = update {
            for (_, seen) in self.waits.extract_if(.., |(other, _)| other == tx) {
                let result = match code {
                    Some(code) => Err(AwaitTxError::NotSeen { code: code.clone() }),
                    None => Ok(()),
                };
                // Nobody may be waiting for it any more.
                let _ = seen.send(result);
            }
        }
        self.updates.push(update.clone());
    }

    pub(crate) fn end(self) {
        self.updates.lock().ended = true;
        self.updates.ready.notify_one();
    }
}

/// Updates that wait for their reader.
#[derive(Default)]
pub(crate) struct TableQueue {
    state: Mutex<Waiting>,
    ready: Notify,
}

#[derive(Default)]
struct Waiting {
    updates: VecDeque<TableUpdate>,
    bytes: usize,
    ended: bool,
}

impl TableQueue {
    fn push(&self, update: TableUpdate) {
        let mut waiting = self.lock();
        waiting.bytes += weight(&update);
        waiting.updates.push_back(update);
        if waiting.updates.len() > CAPACITY || waiting.bytes > CAPACITY_BYTES {
            waiting.fold();
        }
        drop(waiting);
        self.ready.notify_one();
    }

    pub(crate) async fn next(&self) -> Option<TableUpdate> {
        loop {
            {
                let mut waiting = self.lock();
                if let Some(update) = waiting.updates.pop_front() {
                    waiting.bytes = waiting.bytes.saturating_sub(weight(&update));
                    return Some(update);
                }
                if waiting.ended {
                    return None;
                }
            }
            // A notification between the look and this line is kept for it.
            self.ready.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock()
    }
}

impl Waiting {
    /// Replaces everything by the present: the rows are to be looked at, and the newest state.
    fn fold(&mut self) {
        let state = self.updates.drain(..).rfind(|update| matches!(update, TableUpdate::State(_)));
        self.updates.push_back(TableUpdate::Rows);
        self.updates.extend(state);
        self.bytes = self.updates.iter().map(weight).sum();
    }
}

/// About how many bytes an update holds.
pub(crate) fn weight(update: &TableUpdate) -> usize {
    let length = |row: &Option<String>| row.as_ref().map_or(0, String::len);
    64 + match update {
        TableUpdate::Changes { changes, .. } => {
            changes.iter().map(|change| 64 + length(&change.new) + length(&change.old)).sum()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::tables::TableState;

    #[tokio::test]
    async fn a_slow_reader_is_told_to_look_at_the_rows() {
        let queue = TableQueue::default();
        queue.push(TableUpdate::State(TableState::Loading));
        queue.push(TableUpdate::State(TableState::Live));
        for n in 0..CAPACITY {
            queue.push(TableUpdate::Changes { changes: Vec::new(), tx: Some(n.to_string()), at: None });
        }
        queue.push(TableUpdate::State(TableState::Stale));
        assert_eq!(queue.next().await, Some(TableUpdate::Rows));
        assert_eq!(queue.next().await, Some(TableUpdate::State(TableState::Live)));
        assert!(matches!(queue.next().await, Some(TableUpdate::Changes { .. })));
        assert_eq!(queue.next().await, Some(TableUpdate::State(TableState::Stale)));
    }
}
