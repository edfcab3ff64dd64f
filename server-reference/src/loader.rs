//! Loads channels from the database on demand.

use crate::stores::AsyncStore;
use std::sync::Arc;
use tidewire_core::wire::ChannelName;
use tidewire_server_core::store::{Account, CreateDialog, Read, Reply, StoreError, Write};
use tidewire_server_core::{Channel, Hub};

/// Loads channels into the hub.
pub(crate) struct Loader {
    store: AsyncStore,
    hub: Arc<Hub>,
    /// One load at a time, so that a load misses nothing that is published meanwhile.
    loading: tokio::sync::Mutex<()>,
}

impl Loader {
    pub(crate) fn new(store: AsyncStore, hub: Arc<Hub>) -> Loader {
        Loader { store, hub, loading: tokio::sync::Mutex::default() }
    }

    /// The channel, loaded if necessary; `None` if it does not exist.
    pub(crate) async fn channel(&self, name: &ChannelName) -> Result<Option<Arc<Channel>>, StoreError> {
        if let Some(channel) = self.hub.loaded(name) {
            return Ok(Some(channel));
        }
        let _one = self.loading.lock().await;
        if let Some(channel) = self.hub.loaded(name) {
            return Ok(Some(channel));
        }
        let row = self.store.read(Read::Channel(name.clone())).await.and_then(Reply::channel)?;
        Ok(row.map(|row| self.hub.add(name, row)))
    }

    /// The channel, which is created in this account and without an owner if it does not exist.
    pub(crate) async fn open(
        &self,
        name: &ChannelName,
        account: Account,
    ) -> Result<Option<Arc<Channel>>, StoreError> {
        let channel = CreateDialog { name: name.clone(), owner: None, account };
        self.store.write(Write::CreateDialog(channel)).await?;
        self.channel(name).await
    }

    /// Calls `act` while no channel is being loaded, so that nothing read earlier enters the hub
    /// afterwards.
    pub(crate) async fn undisturbed(&self, act: impl FnOnce()) {
        let _one = self.loading.lock().await;
        act();
    }

    /// The channel, if it is in the hub. Waits for a load that is under way. Blocks.
    pub(crate) fn loaded_or_loading(&self, name: &str) -> Option<Arc<Channel>> {
        let _one = self.loading.blocking_lock();
        self.hub.loaded(name)
    }
}
