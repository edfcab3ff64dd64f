//! A store as tasks use it.

use std::sync::Arc;
use std::sync::mpsc;
use tidewire_server_core::store::{Outcome, Read, Reply, Store, StoreError, Write};
use tokio::sync::oneshot;

/// Any [`Store`], to be waited for. Clones share it.
#[derive(Clone)]
pub(crate) struct AsyncStore(Arc<dyn Store>);

impl AsyncStore {
    pub(crate) fn new(store: Arc<dyn Store>) -> AsyncStore {
        AsyncStore(store)
    }

    /// The store itself.
    pub(crate) fn shared(&self) -> &Arc<dyn Store> {
        &self.0
    }

    /// Writes and waits for the commit.
    pub(crate) async fn write(&self, write: Write) -> Result<Outcome, StoreError> {
        self.write_then(write, |_| ()).await
    }

    /// Writes and waits for the commit; `then` is called before any later write is published.
    pub(crate) async fn write_then(
        &self,
        write: Write,
        then: impl FnOnce(&Outcome) + Send + 'static,
    ) -> Result<Outcome, StoreError> {
        let (sender, receiver) = oneshot::channel();
        self.0.write(
            write,
            Box::new(move |result| {
                if let Ok(outcome) = &result {
                    then(outcome);
                }
                // The caller may have stopped waiting.
                let _ = sender.send(result);
            }),
        );
        receiver.await.unwrap_or(Err(StoreError::Unavailable))
    }

    /// Reads committed data.
    pub(crate) async fn read(&self, read: Read) -> Result<Reply, StoreError> {
        let (sender, receiver) = oneshot::channel();
        // The caller may have stopped waiting.
        self.0.read(read, Box::new(move |reply| drop(sender.send(reply))));
        receiver.await.unwrap_or(Err(StoreError::Unavailable))
    }

    /// As [`AsyncStore::read`], but blocks. Not for threads on which the store itself reads.
    pub(crate) fn read_blocking(&self, read: Read) -> Result<Reply, StoreError> {
        let (sender, receiver) = mpsc::channel();
        self.0.read(read, Box::new(move |reply| drop(sender.send(reply))));
        receiver.recv().unwrap_or(Err(StoreError::Unavailable))
    }
}
