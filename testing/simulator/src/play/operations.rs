//! The server's process: starting, stopping, draining, and sending clients away.

use crate::world::{LinkId, Task, World};
use tidewire_core::wire::ServerFrame;

/// The process starts, with the last backup if it is to be restored.
pub(crate) fn start(world: &mut World, restore: bool) -> rusqlite::Result<()> {
    world.generation += 1;
    world.committing = false;
    if restore && world.server.restore(world.now)? {
        world.watch.restored();
    }
    world.watch.server_starts(world.now);
    world.server.start(world.now)
}

/// What clients see of the end of the server's process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Their sockets are reset.
    Reset,
    /// Nothing: their sockets stay open, and silent.
    Silent,
}

/// The process ends, and starts again after `ms`.
pub(super) fn stop(world: &mut World, ms: u64, ending: Ending, restore: bool) {
    if !world.server.is_up() {
        return;
    }
    world.server.crash();
    world.watch.server_starts(world.now);
    world.generation += 1;
    world.committing = false;
    world.connections.clear();
    let links: Vec<LinkId> = world.links.keys().copied().collect();
    for id in links {
        if ending == Ending::Reset {
            let takes = world.dice.below(100);
            world.after(takes, Task::CloseAtClient { link: id, code: 1006 });
        } else if let Some(link) = world.links.get_mut(&id) {
            link.up.lost = true;
            link.down.lost = true;
        }
    }
    world.after(ms, Task::StartServer { generation: world.generation, restore });
}

/// The server drains, and is then down for `ms`.
pub(super) fn drain(world: &mut World, ms: u64) {
    if !world.server.is_up() {
        return;
    }
    world.server.drain();
    send_away(world, "restart", 500, 5_000);
    world.after(700, Task::StopServer { generation: world.generation, ms });
}

/// The server sends its clients to another node, which here is the same server.
pub(super) fn rebalance(world: &mut World, spread_ms: u64) {
    send_away(world, "rebalance", spread_ms + 5_000, spread_ms);
}

fn send_away(world: &mut World, reason: &str, after_ms: u64, spread_ms: u64) {
    let Some(engine) = world.server.engine() else { return };
    engine.connections.tell_all(&ServerFrame::Goaway { reason: reason.to_owned(), after_ms, spread_ms });
    let links = world.connections.keys().copied().collect();
    world.after(after_ms, Task::CloseAll { links });
}

/// The server closes the connections that were open at a `goaway`.
pub(super) fn close_all(world: &World, links: &[LinkId]) {
    for connection in links.iter().filter_map(|link| world.connections.get(link)) {
        connection.session.outgoing().close(4000, "goaway");
    }
}
