//! The driver of a client: carries out its core's outputs, and feeds it inputs.

use crate::play::{application, network, sessions};
use crate::script::{DiskFault, WALL_MS};
use crate::world::{ExchangeId, Link, LinkId, Reply, Task, World};
use std::collections::BTreeMap;
use tidewire_core::{
    ConnId, Input, Output, RequestId, ResponsePart, StoreChange, StoreError, StoreId, TokenError, Transport,
};

/// More outputs than this without a wait are a loop.
const OUTPUTS: u32 = 20_000;

/// Carries out outputs until the core waits.
pub(super) fn drain(world: &mut World, process: usize) {
    for _ in 0..OUTPUTS {
        let Some(one) = &mut world.processes[process] else { return };
        let device = one.device;
        let now = world.devices[device].clock(world.now);
        let output = one.core.poll(now);
        match output {
            Output::Open { conn } => {
                world.watch.dials(one, sockets(&world.links, process), now.mono.0);
                world.watch.mark("transport:websocket");
                network::dial(world, process, conn);
            }
            Output::Request(request) => {
                let (conn, path) = (request.conn.0, request.path);
                if path == "/v1/http" {
                    world.watch.dials(one, sockets(&world.links, process), now.mono.0);
                } else if let Some(message) = &request.body {
                    world.watch.sends(one, &mut world.devices[device], conn, message, now.mono.0);
                } else if let Some(link) = world.links.get_mut(&(process, conn)) {
                    link.opened = true;
                }
                world.watch.mark(match path {
                    "/v1/http/down?mode=stream" => "transport:stream",
                    "/v1/http/down?mode=poll&wait=25000" => "transport:long_poll",
                    "/v1/http/down?mode=poll&wait=0" => "transport:poll",
                    _ => "request",
                });
                network::request(world, process, &request);
            }
            Output::Abort { request } => network::give_up(world, process, request),
            Output::Transmit { conn, message } => {
                world.watch.sends(one, &mut world.devices[device], conn.0, &message.0, now.mono.0);
                network::send_up(world, process, conn, &message.0);
            }
            Output::Close { conn, code } => {
                let heard = world.links.get(&(process, conn.0)).map(|link| link.heard);
                world.watch.gives_up(conn.0, code, heard, now.mono.0);
                network::drop_link(world, process, conn);
            }
            Output::FetchToken { ask, renew } => {
                let result = token(world, device, renew);
                let Some(one) = &mut world.processes[process] else { return };
                one.core.handle(now, Input::Token { ask, result });
            }
            Output::Store { store, change } => {
                world.watch.stores(one, &change);
                keep(world, process, store, change);
            }
            Output::Event(event) => application::notify(world, process, event),
            Output::Wait { until, .. } => {
                let heard = last_heard(world, process);
                let Some(one) = &mut world.processes[process] else { return };
                one.timer += 1;
                let timer = one.timer;
                world.watch.waits(one, until.map(|until| until.0), heard, now.mono.0);
                world.watch.looks(one);
                world.watch.claims(one);
                if let Some(until) = until {
                    let after = until.0.saturating_sub(now.mono.0).max(1);
                    world.after(after, Task::Wake { process, timer });
                }
                return;
            }
        }
    }
    world.watch.broken("stuck", "the client never waits".to_owned());
}

/// The result of the application's token provider: the oldest good token, unless it is asked to
/// renew it.
fn token(world: &World, device: usize, renew: bool) -> Result<String, TokenError> {
    if world.devices[device].no_token_until > world.now {
        return Err(TokenError::unavailable(""));
    }
    let rules = world.server.rules()[device];
    let oldest_good = rules.refused_before.max(rules.expired_before).max(rules.granted);
    let issued = if renew { world.now } else { oldest_good };
    let expires_s = (WALL_MS + world.now) / 1_000 + world.script.world.token_s;
    Ok(format!("{device}.{issued}.{expires_s}"))
}

/// How many WebSockets a process has open.
fn sockets(links: &BTreeMap<LinkId, Link>, process: usize) -> usize {
    let of_process = links.range((process, 0)..=(process, u64::MAX));
    of_process.filter(|(_, link)| link.transport == Transport::WebSocket).count()
}

/// When the process last received something on an open connection.
fn last_heard(world: &World, process: usize) -> Option<u64> {
    world.links_of(process).filter(|(_, link)| link.opened).map(|(_, link)| link.heard).max()
}

/// Gives a core an input, and carries out its outputs.
pub(super) fn feed(world: &mut World, process: usize, input: Input<'_>) {
    if let Some(one) = &mut world.processes[process] {
        let now = world.devices[one.device].clock(world.now);
        one.core.handle(now, input);
        drain(world, process);
    }
    if let Some(one) = &mut world.processes[process] {
        one.told_gone.clear();
    }
}

/// A client's timer fires.
pub(super) fn wake(world: &mut World, process: usize, timer: u64) {
    if world.processes[process].as_ref().is_some_and(|one| one.timer == timer) {
        match world.asleep(process) {
            Some(later) => world.at(later, Task::Wake { process, timer }),
            None => drain(world, process),
        }
    }
}

// The disk.

/// Starts to write a change, which takes a while.
fn keep(world: &mut World, process: usize, store: StoreId, change: StoreChange) {
    let Some(one) = &world.processes[process] else { return };
    let device = one.device;
    if one.zombie {
        // A tab that is no longer the leader can't use the store.
        return feed(world, process, Input::Stored { store, result: Err(StoreError::Unavailable) });
    }
    world.devices[device].unsynced.push_back((store, change));
    let slow =
        matches!(world.devices[device].disk_fault, Some((DiskFault::Slow, until)) if until > world.now);
    let takes = world.dice.below(if slow { 5_000 } else { world.script.world.disk_ms });
    world.after(takes, Task::Stored { device, process });
}

/// The oldest pending change is written, or the disk fails.
pub(super) fn stored(world: &mut World, device: usize, process: usize) {
    if world.devices[device].process != Some(process) {
        return;
    }
    if let Some(later) = world.asleep(process) {
        return world.at(later, Task::Stored { device, process });
    }
    let Some((store, change)) = world.devices[device].unsynced.pop_front() else { return };
    let broken =
        world.devices[device].disk_fault.filter(|(_, until)| *until > world.now).map(|(disk, _)| disk);
    let result = match broken {
        Some(DiskFault::Full) => Err(StoreError::Full),
        Some(DiskFault::Fails | DiskFault::Lies) => Err(StoreError::Unavailable),
        _ => Ok(()),
    };
    if result.is_ok() {
        world.watch.synced(world.processes[process].as_ref(), &change);
        world.devices[device].disk.apply(&change);
    }
    feed(world, process, Input::Stored { store, result });
}

// Connections.

/// A connection opens at both ends, or is refused.
pub(super) fn open(world: &mut World, id: LinkId) {
    if !world.links.get(&id).is_some_and(|link| link.held) {
        return;
    }
    if let Some(later) = world.asleep(id.0) {
        return world.at(later, Task::Open { link: id });
    }
    let Some(device) = world.processes[id.0].as_ref().map(|one| one.device) else { return };
    if !sessions::accept(world, id) {
        return close(world, id, 1006);
    }
    let mono = world.devices[device].mono(world.now);
    if let Some(link) = world.links.get_mut(&id) {
        (link.opened, link.heard) = (true, mono);
        if world.devices[device].blocked_until > world.now {
            let dies = world.now + 200;
            world.at(dies, Task::CloseAtClient { link: id, code: 1006 });
            world.at(dies, Task::CloseAtServer { link: id });
        }
    }
    feed(world, id.0, Input::Opened { conn: ConnId(id.1) });
}

/// A message reaches a client.
pub(super) fn receive(world: &mut World, id: LinkId, text: String) {
    let asleep = world.asleep(id.0);
    let now = world.now;
    if let Some(later) = world.links.get_mut(&id).and_then(|link| link.down.holds_back(now, asleep)) {
        return world.at(later, Task::ToClient { link: id, text });
    }
    let Some(one) = world.processes[id.0].as_mut() else { return };
    let mono = world.devices[one.device].mono(world.now);
    let Some(link) = world.links.get_mut(&id).filter(|link| link.held) else { return };
    link.heard = mono;
    world.watch.trace(world.now, "client", &text);
    world.watch.arrives(one, id.1, &text, mono, world.healed, &mut world.devices);
    feed(world, id.0, Input::Received { conn: ConnId(id.1), text: &text });
}

/// A part of a response reaches a client.
pub(super) fn answer(world: &mut World, id: ExchangeId, reply: Reply) {
    let asleep = world.asleep(id.0);
    let now = world.now;
    if let Some(later) = world.exchanges.get_mut(&id).and_then(|one| one.down.holds_back(now, asleep)) {
        return world.at(later, Task::Respond { id, part: reply });
    }
    let Some(one) = world.processes[id.0].as_mut() else { return };
    let Some(exchange) = world.exchanges.get_mut(&id) else { return };
    let (link, mono) = (exchange.link, world.devices[one.device].mono(world.now));
    if let Reply::Body(bytes) = &reply {
        for line in exchange.lines(bytes) {
            world.watch.trace(world.now, "client", &line);
            world.watch.arrives(one, link.1, &line, mono, world.healed, &mut world.devices);
            if let Some(link) = world.links.get_mut(&link) {
                link.heard = mono;
            }
        }
    }
    if matches!(reply, Reply::End | Reply::Failed)
        && let Some(exchange) = world.exchanges.remove(&id)
        && (reply == Reply::Failed || (exchange.is_cut() && !exchange.is_opening))
        && let Some(link) = world.links.get_mut(&link)
    {
        link.is_broken = true;
    }
    let part = match &reply {
        Reply::Status(status) => ResponsePart::Status(*status),
        Reply::Body(bytes) => ResponsePart::Body(bytes),
        Reply::End => ResponsePart::End,
        Reply::Failed => ResponsePart::Failed(None),
    };
    feed(world, id.0, Input::Response { request: RequestId(id.1), part });
}

/// A client is notified that its connection is closed.
pub(super) fn close(world: &mut World, id: LinkId, code: u16) {
    let asleep = world.asleep(id.0);
    let now = world.now;
    if let Some(later) = world.links.get_mut(&id).and_then(|link| link.down.holds_back(now, asleep)) {
        return world.at(later, Task::CloseAtClient { link: id, code });
    }
    let Some(link) = world.links.get_mut(&id).filter(|link| link.held) else { return };
    if link.transport != Transport::WebSocket {
        for exchange in world.exchanges_of(id) {
            answer(world, exchange, Reply::Failed);
        }
        return;
    }
    link.held = false;
    world.links.remove(&id);
    if let Some(one) = &mut world.processes[id.0] {
        one.flying.remove(&id.1);
    }
    feed(world, id.0, Input::Closed { conn: ConnId(id.1), code, cause: None });
}
