//! The server's end of connections over plain requests: it handles requests and sends responses.

use crate::play::{network, sessions};
use crate::world::{Call, Connection, ExchangeId, LinkId, Reader, Reply, Task, World, name_of, named};
use tidewire_server_core::requests::{Lines, Mode, POLL_BYTES, kept_ms};

/// A request reaches the server.
pub(super) fn arrive(world: &mut World, id: ExchangeId, link: LinkId, call: Call) {
    if !world.server.is_up() {
        return network::respond(world, id, [Reply::Failed]);
    }
    if call.path == "/v1/http" {
        return open(world, id, link);
    }
    let known =
        call.connection.as_deref().and_then(named).filter(|link| world.connections.contains_key(link));
    let Some(link) = known else { return refuse(world, id, 404) };
    if let Some(connection) = world.connections.get_mut(&link) {
        connection.is_alive(world.now);
    }
    match call.path.split_once('?') {
        None => up(world, id, link, call),
        Some((_, query)) => match Mode::parse(query) {
            Some(mode) => down(world, id, link, mode, call.seq),
            None => refuse(world, id, 400),
        },
    }
}

fn refuse(world: &mut World, id: ExchangeId, status: u16) {
    network::respond(world, id, [Reply::Status(status), Reply::End]);
}

fn open(world: &mut World, id: ExchangeId, link: LinkId) {
    // The second copy of a request: a server would open another connection, which no client knows.
    if world.connections.contains_key(&link) {
        return;
    }
    let Some(session) = world.server.try_accept(world.now) else { return refuse(world, id, 503) };
    world.connections.insert(link, Connection::over_requests(session));
    // It takes what is queued when its client asks.
    world.watch.server_stalls(link, true);
    sessions::arm(world, link);
    let body = format!(r#"{{"connection":"{}"}}"#, name_of(link));
    network::respond(world, id, [Reply::Status(201), Reply::Body(body.into_bytes()), Reply::End]);
}

fn up(world: &mut World, id: ExchangeId, link: LinkId, call: Call) {
    let Some(connection) = world.connections.get_mut(&link) else { return };
    if let Err(why) = connection.inbox().check(call.seq) {
        why.refuse(connection.session.outgoing());
        world.watch.mark("out_of_order");
        return refuse(world, id, 400);
    }
    // A body that breaks off is not handled, and its number stays unused.
    if !call.is_whole {
        return;
    }
    connection.inbox().take();
    sessions::hear(world, link, call.body);
    refuse(world, id, 204);
}

fn down(world: &mut World, id: ExchangeId, link: LinkId, mode: Mode, had: Option<u64>) {
    let Some(connection) = world.connections.get_mut(&link) else { return };
    if let Err(why) = connection.inbox().check_told(had) {
        why.refuse(connection.session.outgoing());
        world.watch.mark("lines_lost");
    }
    if let Some(before) = connection.read_by(Reader { id, mode }) {
        end_empty(world, &before);
    }
    match mode {
        Mode::Stream => network::respond(world, id, [Reply::Status(200)]),
        Mode::Poll { wait_ms } => world.after(wait_ms, Task::EndPoll { link, id }),
    }
}

/// Ends a poll's response without a message, or a stream's.
fn end_empty(world: &mut World, reader: &Reader) {
    if reader.mode != Mode::Stream {
        network::respond(world, reader.id, [Reply::Status(200)]);
    }
    network::respond(world, reader.id, [Reply::End]);
}

/// A poll was held for as long as its client asked for.
pub(super) fn end_poll(world: &mut World, link: LinkId, id: ExchangeId) {
    flush(world, link);
    if let Some(reader) = world.connections.get_mut(&link).and_then(|connection| connection.unread(id)) {
        end_empty(world, &reader);
    }
}

/// The server is notified that a response broke. Frames that a stream's response took from the
/// queue may be lost, so the connection ends.
pub(super) fn abandon(world: &mut World, link: LinkId, id: ExchangeId) {
    let reader = world.connections.get_mut(&link).and_then(|connection| connection.unread(id));
    if reader.is_some_and(|reader| reader.mode == Mode::Stream) {
        sessions::end(world, link);
    }
}

/// The network breaks the response under way, if there is one.
pub(super) fn cut(world: &mut World, link: LinkId) {
    if let Some(reader) = world.connections.get(&link).and_then(Connection::reader) {
        abandon(world, link, reader.id);
    }
}

/// Sends queued frames, if a response takes them.
pub(super) fn flush(world: &mut World, link: LinkId) {
    loop {
        let Some(connection) = world.connections.get_mut(&link) else { return };
        let outgoing = connection.session.outgoing().clone();
        if outgoing.is_closing() && connection.keeps() {
            world.after(kept_ms(outgoing.closing()), Task::Forget { link });
        }
        let Some(connection) = world.connections.get_mut(&link) else { return };
        let Some(reader) = connection.reader() else { break };
        let streams = reader.mode == Mode::Stream;
        if streams && network::pushes_back(world, link, reader.id) {
            break;
        }
        let lines = Lines::take(&outgoing, if streams { 1 } else { POLL_BYTES });
        if lines.bytes.is_empty() {
            break;
        }
        if let Some(connection) = world.connections.get_mut(&link) {
            connection.inbox().tells(&lines);
        }
        for line in String::from_utf8_lossy(&lines.bytes).lines() {
            sessions::checks(world, link, line);
        }
        if !streams {
            network::respond(world, reader.id, [Reply::Status(200)]);
        }
        network::respond(world, reader.id, [Reply::Body(lines.bytes)]);
        if !streams || lines.last {
            network::respond(world, reader.id, [Reply::End]);
            world.connections.get_mut(&link).and_then(|connection| connection.unread(reader.id));
        }
        if lines.last {
            if let Some(close) = outgoing.closing() {
                world.watch.mark(&format!("close:{}", close.code));
            }
            return sessions::end(world, link);
        }
    }
    if world.connections.get(&link).is_some_and(Connection::waits_for_room) {
        sessions::serve(world, link);
    }
}
