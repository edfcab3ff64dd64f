//! What a commit left behind although it reported an error: subscribers get it at once, not only with the next event.

use crate::answers::Answers;
use crate::hub::Hub;
use crate::store::{Doubt, Store, Stored};
use std::sync::{Arc, Weak};
use tidewire_core::wire::EventFrame;
use tidewire_core::wire::json::Object;

/// Compares channels in memory with the database whenever the store is in doubt about them.
pub(crate) fn watch(store: &Arc<Store>, hub: &Arc<Hub>, answers: &Arc<Answers>) {
    // The store must not keep itself alive.
    let parts = (Arc::downgrade(store), Arc::downgrade(hub), Arc::downgrade(answers));
    store.on_doubt(move |doubt| {
        let upgraded = (Weak::upgrade(&parts.0), Weak::upgrade(&parts.1), Weak::upgrade(&parts.2));
        if let (Some(store), Some(hub), Some(answers)) = upgraded {
            reconcile(&store, &hub, &answers, doubt);
        }
    });
}

/// Runs on the publisher's thread, in order with everything that is published.
fn reconcile(store: &Store, hub: &Hub, answers: &Arc<Answers>, doubt: &Doubt) {
    let Some(channel) = hub.loaded_or_loading(&doubt.name) else { return };
    channel.trimmed(doubt.floor);
    let before = channel.extent().head;
    loop {
        let from = channel.extent().head;
        let events = match store.readers().events_blocking(doubt.channel, from, doubt.head) {
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
        for (offset, frame) in events {
            let Ok(event) = EventFrame::decode(&frame) else { return };
            tracing::warn!(
                channel = doubt.channel,
                offset,
                "published late: its commit had reported an error"
            );
            let stored = Stored { offset, at: event.at, frame };
            let run = || {
                let body = Object::parse(&event.body).ok()?;
                body.str("run").map(|run| run.into_owned())
            };
            match event.kind.as_str() {
                "answer.end" => channel.end_run(&stored, &run().unwrap_or_default()),
                "run.cancel" => {
                    channel.publish(&stored);
                    channel.stop_run(&run().unwrap_or_default());
                }
                _ => {
                    channel.publish(&stored);
                }
            }
        }
    }
    if let Some(wanted) = doubt.wants_answer.filter(|offset| *offset > before) {
        answers.want(&channel, wanted);
    }
}
