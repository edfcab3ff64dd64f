//! The server's end of the connections: sessions open, receive, send and close.

use crate::play::network;
use crate::server::clock;
use crate::world::{Connection, LinkId, Task, World};
use std::collections::BTreeSet;
use std::sync::Arc;
use tidewire_server_core::ToWrite;

/// How long after a revocation an event may still be sent, in ms (S17).
const REVOKED_MS: u64 = 5_000;

/// A connection reaches the server; false if the server does not accept it.
pub(super) fn accept(world: &mut World, link: LinkId) -> bool {
    let Some((session, flow)) = world.server.accept(world.now, Arc::new(|_| ())) else { return false };
    world.connections.insert(link, Connection::new(session, flow));
    arm(world, link);
    true
}

/// A message reaches the server.
pub(super) fn hear(world: &mut World, link: LinkId, text: String) {
    let device = world.device_of(link);
    let Some(connection) = world.connections.get_mut(&link) else { return };
    world.watch.server_hears(world.now, link, device, &text);
    connection.hear(world.now, text);
    serve(world, link);
}

pub(super) fn serve(world: &mut World, link: LinkId) {
    let Some(connection) = world.connections.get_mut(&link) else { return };
    connection.serve(world.now, &world.server, &mut world.watch);
    arm(world, link);
}

/// Schedules the session's timer.
pub(super) fn arm(world: &mut World, link: LinkId) {
    let armed = world.connections.get_mut(&link).and_then(|connection| connection.arm(world.now));
    if let Some((timer, at)) = armed {
        world.at(at, Task::Tick { link, timer });
    }
}

/// A session's timer fires.
pub(super) fn tick(world: &mut World, link: LinkId, timer: u64) {
    if let Some(connection) = world.connections.get_mut(&link).filter(|one| one.timer == timer) {
        connection.session.tick(clock(world.now));
        arm(world, link);
    }
}

/// The server is notified that a connection is closed.
pub(super) fn end(world: &mut World, link: LinkId) {
    if let Some(connection) = world.connections.remove(&link) {
        world.watch.server_loses(world.now, link, world.device_of(link));
        connection.end();
    }
}

/// Sends a session's queued frames, as long as its link takes them.
pub(super) fn flush(world: &mut World, id: LinkId) {
    if !world.links.contains_key(&id) {
        world.watch.server_stalls(id, true);
        // Nobody reads any more, so that the writing fails.
        if world.connections.get(&id).is_some_and(|one| one.session.outgoing().is_closing()) {
            return end(world, id);
        }
    }
    while let Some(link) = world.links.get(&id) {
        let backlog = link.down.backlog(world.now);
        if network::is_full(world, id, backlog) {
            return world.watch.server_stalls(id, true);
        }
        let Some(connection) = world.connections.get(&id) else { return };
        let Some(next) = connection.session.outgoing().take() else {
            world.watch.server_stalls(id, false);
            break;
        };
        match next {
            ToWrite::Write(text) => send(world, id, &text),
            ToWrite::Close(close) => {
                world.watch.mark(&format!("close:{}", close.code));
                end(world, id);
                return network::close_down(world, id, close.code);
            }
        }
    }
    if world.connections.get(&id).is_some_and(Connection::waits_for_room) {
        serve(world, id);
    }
}

fn send(world: &mut World, link: LinkId, text: &str) {
    checks(world, link, text);
    network::send_down(world, link, text);
}

/// Checks that the client may still see what it is sent (S17).
pub(super) fn checks(world: &mut World, link: LinkId, text: &str) {
    let (device, connected) = (world.device_of(link), world.connections.keys().copied());
    let connected: BTreeSet<usize> = connected.map(|link| world.device_of(link)).collect();
    world.watch.server_says(world.now, link, device, text, |device| connected.contains(&device));
    if let Some(one) = &world.processes[link.0]
        && let Some(at) = world.devices[one.device].revoked_at
        && world.now > at + REVOKED_MS
        && text.contains(r#""t":"event","ch":"dialog:b""#)
    {
        let how =
            format!("u{} is sent an event {} ms after it was taken from it", one.device, world.now - at);
        world.watch.broken("S17", how);
    }
}
