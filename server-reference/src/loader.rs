//! Loads channels from the database when somebody asks for one.

use crate::stores::AsyncStore;
use std::sync::Arc;
use tidewire_server_core::store::{Read, Reply, StoreError};
use tidewire_server_core::{Channel, Hub};

/// Brings channels into the hub.
pub(crate) struct Loader {
    store: AsyncStore,
    hub: Arc<Hub>,
    /// One load at a time, so that none misses what is published meanwhile.
    loading: tokio::sync::Mutex<()>,
}

impl Loader {
    pub(crate) fn new(store: AsyncStore, hub: Arc<Hub>) -> Loader {
        Loader { store, hub, loading: tokio::sync::Mutex::default() }
    }

    /// The channel, if there is one.
    pub(crate) async fn channel(&self, name: &str) -> Result<Option<Arc<Channel>>, StoreError> {
        if let Some(channel) = self.hub.loaded(name) {
            return Ok(Some(channel));
        }
        let _one = self.loading.lock().await;
        if let Some(channel) = self.hub.loaded(name) {
            return Ok(Some(channel));
        }
        let row = self.store.read(Read::Channel(name.to_owned())).await.and_then(Reply::channel)?;
        Ok(row.map(|row| self.hub.add(name, row)))
    }

    /// Does something while no channel is being loaded: what was read before must not come in after
    /// it.
    pub(crate) async fn undisturbed(&self, act: impl FnOnce()) {
        let _one = self.loading.lock().await;
        act();
    }

    /// The channel if somebody uses it, after whoever is just loading one. Blocks.
    pub(crate) fn loaded_or_loading(&self, name: &str) -> Option<Arc<Channel>> {
        let _one = self.loading.blocking_lock();
        self.hub.loaded(name)
    }
}
