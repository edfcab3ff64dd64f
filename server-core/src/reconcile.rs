//! What a commit left behind although it reported an error: subscribers get it at once, not only with the next event.

use crate::channel::Channel;
use crate::log::Stored;
use crate::text::Text;
use std::sync::Arc;
use tidewire_core::wire::EventFrame;
use tidewire_core::wire::json::Object;

/// Publishes events that were read from the database; false when one of them can't be understood. In order with everything
/// else that is published.
pub fn publish_late(channel: &Arc<Channel>, events: Vec<(u64, Text)>) -> bool {
    for (offset, frame) in events {
        let Ok(event) = EventFrame::decode(&frame) else { return false };
        tracing::warn!(channel = channel.id, offset, "published late: its commit had reported an error");
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
    true
}
