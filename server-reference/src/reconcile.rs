//! Compares channels in memory with the log after a commit was in doubt.

use crate::loader::Loader;
use crate::stores::{AsyncStore, Sqlite};
use std::sync::{Arc, Weak};
use tidewire_server_core::Engine;
use tidewire_server_core::reconcile;

/// Starts to watch for such commits.
pub(crate) fn watch(database: &Sqlite, store: &AsyncStore, loader: &Arc<Loader>, engine: &Arc<Engine>) {
    // Weak references, because the store must not keep itself alive.
    let parts = (Arc::downgrade(store.shared()), Arc::downgrade(loader), Arc::downgrade(engine));
    database.on_doubt(move |name| {
        let upgraded = (Weak::upgrade(&parts.0), Weak::upgrade(&parts.1), Weak::upgrade(&parts.2));
        let (Some(store), Some(loader), Some(engine)) = upgraded else { return };
        let Some(channel) = loader.loaded_or_loading(name) else { return };
        let store = AsyncStore::new(store);
        let read = |read| store.read_blocking(read);
        if let Err(error) = reconcile(&channel, &engine.kinds, engine.answers.as_ref(), read) {
            tracing::error!(%error, channel = channel.id, "reading failed");
        }
    });
}
