//! Compares channels in memory with the database whenever the store is in doubt about them.

use crate::answers::Answers;
use crate::loader::Loader;
use crate::store::Store;
use std::sync::{Arc, Weak};
use tidewire_server_core::log::Doubt;
use tidewire_server_core::publish_late;

/// Does so from now on.
pub(crate) fn watch(store: &Arc<Store>, loader: &Arc<Loader>, answers: &Arc<Answers>) {
    // The store must not keep itself alive.
    let parts = (Arc::downgrade(store), Arc::downgrade(loader), Arc::downgrade(answers));
    store.on_doubt(move |doubt| {
        let upgraded = (Weak::upgrade(&parts.0), Weak::upgrade(&parts.1), Weak::upgrade(&parts.2));
        if let (Some(store), Some(loader), Some(answers)) = upgraded {
            reconcile(&store, &loader, &answers, doubt);
        }
    });
}

/// Runs on the publisher's thread, in order with everything that is published.
fn reconcile(store: &Store, loader: &Loader, answers: &Arc<Answers>, doubt: &Doubt) {
    let Some(channel) = loader.loaded_or_loading(&doubt.name) else { return };
    channel.trimmed(doubt.floor);
    let before = channel.extent().head;
    loop {
        let events = match store.readers().events_blocking(doubt.channel, channel.extent().head, doubt.head) {
            Ok(events) => events,
            Err(error) => {
                // The next event shows the gap, and clients fill it.
                tracing::error!(%error, channel = doubt.channel, "reading failed");
                break;
            }
        };
        if events.is_empty() {
            break;
        }
        if !publish_late(&channel, events) {
            return;
        }
    }
    if let Some(wanted) = doubt.wants_answer.filter(|offset| *offset > before) {
        answers.want(&channel, wanted);
    }
}
