//! After a commit that reported an error it is in doubt whether the events are in the log. The log
//! is read, and what it has is applied like any other commit, so that subscribers get it at once
//! and not with the next event.

use super::channel::Channel;
use super::ops::Kinds;
use super::progress::Effects;
use super::run::Answering;
use crate::store::{Found, Read, Reply, StoreError, Stored};
use std::sync::Arc;
use tidewire_core::wire::EventFrame;

/// Applies all events of the log that a channel lacks. `read` asks the store and waits for the
/// reply. Call it in order with everything else that is applied to the channel.
///
/// # Errors
///
/// The store can't be read. Subscribers notice the gap with the next event, and fill it from the
/// log.
pub fn reconcile(
    channel: &Arc<Channel>,
    kinds: &Kinds,
    answers: Option<&Arc<dyn Answering>>,
    read: impl FnMut(Read) -> Result<Reply, StoreError>,
) -> Result<(), StoreError> {
    let mut effects = Effects::default();
    let result = catch_up(channel, kinds, &mut effects, read);
    effects.carry_out(answers, channel);
    result
}

fn catch_up(
    channel: &Channel,
    kinds: &Kinds,
    effects: &mut Effects,
    mut read: impl FnMut(Read) -> Result<Reply, StoreError>,
) -> Result<(), StoreError> {
    let row = read(Read::Channel(channel.name.clone()))?.channel()?;
    // Another dialog may have its name by now.
    let Some(row) = row.filter(|row| row.id == channel.id) else { return Ok(()) };
    channel.trimmed(row.floor);
    loop {
        let from = channel.extent().head;
        if from >= row.head {
            return Ok(());
        }
        let page = read(Read::Events { channel: channel.id, from, to: row.head })?.events()?;
        let Found::Events(events) = page else { return Ok(()) };
        for (offset, frame) in events {
            let event = EventFrame::decode(&frame).map_err(|_| StoreError::Unavailable)?;
            tracing::warn!(channel = channel.id, %offset, "published late: its commit had reported an error");
            let op = kinds.read(&event.kind, &event.body);
            let stored = Stored { offset, at: event.at, frame };
            effects.add(channel.apply(&stored, &event.by, op.as_ref()));
        }
        if channel.extent().head == from {
            return Ok(());
        }
    }
}
