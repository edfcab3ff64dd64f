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
                // Nobody waits any more: nobody needs to know.
                let _ = sender.send(result);
            }),
        );
        receiver.await.unwrap_or(Err(StoreError::Unavailable))
    }

    /// Reads what is committed.
    pub(crate) async fn read(&self, read: Read) -> Result<Reply, StoreError> {
        let (sender, receiver) = oneshot::channel();
        // Nobody waits any more: nobody needs to know.
        self.0.read(read, Box::new(move |reply| drop(sender.send(reply))));
        receiver.await.unwrap_or(Err(StoreError::Unavailable))
    }

    /// The same on a thread that may block, and is none of the store's readers.
    pub(crate) fn read_blocking(&self, read: Read) -> Result<Reply, StoreError> {
        let (sender, receiver) = mpsc::channel();
        self.0.read(read, Box::new(move |reply| drop(sender.send(reply))));
        receiver.recv().unwrap_or(Err(StoreError::Unavailable))
    }
}
