//! The queue of a view's updates for its reader.

use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;

use tidewire_core::tables::{TableRows, TableUpdate};
use tokio::sync::{Notify, oneshot};

use crate::error::AwaitTxError;

/// Most updates that may wait for a reader.
const CAPACITY: usize = 1_024;
/// Most bytes of rows that may wait for a reader.
const CAPACITY_BYTES: usize = 4 * 1024 * 1024;

/// The result of a wait for a transaction.
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

    /// Takes a batch of updates; `rows` gives the rows after them.
    pub(crate) fn push(&mut self, updates: &[&TableUpdate], rows: impl FnOnce() -> TableRows) {
        for update in updates {
            let TableUpdate::Seen { tx, code } = update else { continue };
            for (_, seen) in self.waits.extract_if(.., |(other, _)| other == tx) {
                let result = match code {
                    Some(code) => Err(AwaitTxError::NotSeen { code: code.clone() }),
                    None => Ok(()),
                };
                // Nobody may be waiting for it any more.
                let _ = seen.send(result);
            }
        }
        self.updates.push(updates, rows);
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
    fn push(&self, updates: &[&TableUpdate], rows: impl FnOnce() -> TableRows) {
        let mut waiting = self.lock();
        for update in updates {
            waiting.bytes += weight(update);
            waiting.updates.push_back((*update).clone());
        }
        if waiting.updates.len() > CAPACITY || waiting.bytes > CAPACITY_BYTES {
            waiting.fold(rows());
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
            // A notification between the check above and this line is not lost.
            self.ready.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock()
    }
}

impl Waiting {
    /// Replaces all waiting updates by all rows and the newest status.
    fn fold(&mut self, rows: TableRows) {
        let status = self.updates.drain(..).rfind(|update| matches!(update, TableUpdate::Status(_)));
        self.updates.push_back(TableUpdate::Rows(rows));
        self.updates.extend(status);
        // Updates that can't be merged any further don't count against the limit.
        self.bytes = 0;
    }
}

/// The approximate size of an update, in bytes.
pub(crate) fn weight(update: &TableUpdate) -> usize {
    let length = |row: &Option<Arc<str>>| row.as_ref().map_or(0, |row| row.len());
    64 + match update {
        TableUpdate::Rows(rows) => rows.all().map(|row| 64 + row.len()).sum(),
        TableUpdate::Changes { list, changes, .. } => {
            let rows: usize =
                changes.iter().map(|change| 64 + length(&change.new) + length(&change.old)).sum();
            64 * list.len() + rows
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::tables::TableStatus;

    #[tokio::test]
    async fn a_slow_reader_is_given_the_rows_as_they_are() {
        let queue = TableQueue::default();
        let rows = TableRows { rows: vec!["{}".into()], ..TableRows::default() };
        let push = |update| queue.push(&[&update], || rows.clone());
        push(TableUpdate::Status(TableStatus::Loading));
        push(TableUpdate::Status(TableStatus::Live));
        for n in 0..CAPACITY {
            let tx = Some(n.to_string());
            push(TableUpdate::Changes { list: Vec::new(), changes: Vec::new(), tx, at: None });
        }
        push(TableUpdate::Status(TableStatus::Stale));
        assert_eq!(queue.next().await, Some(TableUpdate::Rows(rows)));
        assert_eq!(queue.next().await, Some(TableUpdate::Status(TableStatus::Live)));
        assert!(matches!(queue.next().await, Some(TableUpdate::Changes { .. })));
        assert_eq!(queue.next().await, Some(TableUpdate::Status(TableStatus::Stale)));
    }
}
