//! The network: messages travel over links, and arrive late, twice, cut in half or never.

use crate::world::{
    Arrival, Call, Exchange, ExchangeId, Link, LinkId, Reply, Task, World, exchange_id, half,
};
use tidewire_core::{ConnId, Request, RequestId, Transport};

/// A slow link with a backlog longer than this takes no more, in ms: frames stay in the server's
/// queue.
const BACKLOG_MS: u64 = 12_000;
/// How much more rarely a request or a part of a response is lost than a message is doubled.
const LOST_IN: u64 = 2;
/// Minimum pause between two polls that the server answers at once, in ms.
const POLL_MS: u64 = 3_000;

/// A client dials.
pub(super) fn dial(world: &mut World, process: usize, conn: ConnId) {
    let Some(one) = &world.processes[process] else { return };
    let device = one.device;
    let mono = world.devices[device].mono(world.now);
    let link = (process, conn.0);
    world.links.insert(link, Link::new(Transport::WebSocket, mono));
    let takes = 1 + world.dice.below(2 * world.script.world.delay_ms);
    let reachable = world.devices[device].no_network_until <= world.now;
    world
        .after(takes, if reachable { Task::Open { link } } else { Task::CloseAtClient { link, code: 1006 } });
}

/// A client sends a message.
pub(super) fn send_up(world: &mut World, process: usize, conn: ConnId, text: &str) {
    let id = (process, conn.0);
    let takes = delay(world, process, text.len());
    let twice = is_doubled(world);
    let Some(link) = world.links.get_mut(&id).filter(|link| link.held && link.opened) else {
        // A core that wakes up may send before it is notified that the socket is closed.
        return;
    };
    link.up.twice |= twice;
    let arrival = link.up.send(world.now, takes);
    arrive(world, arrival, text, |text| Task::ToServer { link: id, text });
}

/// The server sends a message.
pub(super) fn send_down(world: &mut World, id: LinkId, text: &str) {
    let takes = delay(world, id.0, text.len());
    let twice = is_doubled(world);
    let Some(link) = world.links.get_mut(&id) else { return };
    // Positions of others have no numbers by which one would be missed.
    if link.down.miss_piece && text.contains(r#""t":"piece""#) && !text.contains(r#""t":"marks""#) {
        link.down.miss_piece = false;
        return world.watch.mark("missed_piece");
    }
    link.down.twice |= twice;
    let arrival = link.down.send(world.now, takes);
    arrive(world, arrival, text, |text| Task::ToClient { link: id, text });
}

fn arrive(world: &mut World, arrival: Arrival, text: &str, task: impl Fn(String) -> Task) {
    match arrival {
        Arrival::Never => {}
        Arrival::Whole { at } => world.at(at, task(text.to_owned())),
        Arrival::Twice { at } => {
            world.at(at, task(text.to_owned()));
            world.at(at, task(text.to_owned()));
        }
        Arrival::Half { at } => world.at(at, task(half(text).to_owned())),
    }
}

/// How long a message travels, in ms.
fn delay(world: &mut World, process: usize, bytes: usize) -> u64 {
    let mut takes = 1 + world.dice.below(world.script.world.delay_ms);
    if let Some(one) = &world.processes[process] {
        let device = &world.devices[one.device];
        if let Some((delay, until)) = device.lag
            && until > world.now
        {
            takes += delay;
        }
        if let Some((bytes_per_s, until)) = device.slow
            && until > world.now
        {
            takes += bytes as u64 * 1_000 / bytes_per_s.max(1);
        }
    }
    takes
}

fn is_doubled(world: &mut World) -> bool {
    let of = world.script.world.twice_in;
    of > 0 && !world.healed && world.dice.once_in(of)
}

// Plain requests.

/// A client makes a request. It arrives once, twice (a proxy may repeat it), cut in half, or never.
pub(super) fn request(world: &mut World, process: usize, request: &Request) {
    let Some(one) = &world.processes[process] else { return };
    let device = one.device;
    let (id, link) = (exchange_id(process, request.id), (process, request.conn.0));
    if request.path == "/v1/http" {
        let mono = world.devices[device].mono(world.now);
        world.links.insert(link, Link::new(Transport::Stream, mono));
    }
    let is_up = request.body.is_some();
    if world.exchanges_of(link).iter().any(|id| world.exchanges[id].is_up == is_up) {
        world.watch.broken("S2", format!("two requests at a time {}", if is_up { "up" } else { "down" }));
    }
    world.exchanges.insert(id, Exchange::new(link, request));
    let mono = world.devices[device].mono(world.now);
    if let Some(wires) = world.links.get_mut(&link) {
        if wires.is_broken {
            world.watch.broken("S2", "a request on a connection of which another broke".to_owned());
        }
        if request.path.ends_with("wait=0")
            && wires.polled.replace(mono).is_some_and(|before| mono.saturating_sub(before) < POLL_MS)
        {
            world.watch.broken("S2", "polls without a rest".to_owned());
        }
    }
    let mut call = Call::new(request);
    let takes = delay(world, process, call.body.len());
    let (twice, lost) = (is_doubled(world), is_lost(world));
    let reachable = world.devices[device].no_network_until <= world.now;
    let Some(wires) = world.links.get_mut(&link) else { return fail(world, id, takes) };
    if wires.up.lost {
        return;
    }
    let truncate = std::mem::take(&mut wires.up.truncate);
    let twice = std::mem::take(&mut wires.up.twice) || twice;
    if !reachable || lost {
        world.watch.mark("request_lost");
        return fail(world, id, takes);
    }
    if truncate {
        call = Call { is_whole: false, ..call };
        fail(world, id, takes);
    }
    if twice && !truncate {
        let again = 1 + world.dice.below(2 * takes);
        world.after(takes + again, Task::Request { id, link, call: call.clone() });
    }
    world.after(takes, Task::Request { id, link, call });
}

fn fail(world: &mut World, id: ExchangeId, takes: u64) {
    world.after(takes, Task::Respond { id, part: Reply::Failed });
}

/// The server answers a request.
pub(super) fn respond<const N: usize>(world: &mut World, id: ExchangeId, parts: [Reply; N]) {
    for part in parts {
        let bytes = if let Reply::Body(bytes) = &part { bytes.len() } else { 0 };
        let (takes, lost) = (delay(world, id.0, bytes), is_lost(world));
        let Some(exchange) = world.exchanges.get_mut(&id).filter(|exchange| !exchange.is_broken) else {
            return;
        };
        let link = exchange.link;
        let Some(wires) = world.links.get_mut(&link).filter(|wires| !wires.down.lost) else { return };
        let at = exchange.down.arrival(world.now, takes);
        let half = bytes > 0 && std::mem::take(&mut wires.down.truncate);
        // A response that broke off may look complete.
        let last = if half && world.dice.once_in(2) { Reply::End } else { Reply::Failed };
        if !lost && !half {
            let part = without_piece(wires, part);
            world.at(at, Task::Respond { id, part });
            continue;
        }
        exchange.is_broken = true;
        if let Reply::Body(mut bytes) = part {
            bytes.truncate(bytes.len() / 2);
            world.at(at, Task::Respond { id, part: Reply::Body(bytes) });
        }
        world.watch.mark("response_lost");
        world.at(at, Task::Respond { id, part: last });
        return world.at(at, Task::Abandon { link, id });
    }
}

/// Leaves out the next piece of an answer, if the link is to miss one.
fn without_piece(wires: &mut Link, part: Reply) -> Reply {
    match part {
        Reply::Body(bytes) if wires.down.miss_piece => {
            let lines = bytes.split_inclusive(|byte| *byte == b'\n');
            let is_piece = |line: &&[u8]| String::from_utf8_lossy(line).contains(r#""t":"piece""#);
            let (pieces, others): (Vec<&[u8]>, Vec<&[u8]>) = lines.partition(is_piece);
            wires.down.miss_piece = pieces.is_empty();
            Reply::Body(others.concat())
        }
        part => part,
    }
}

fn is_lost(world: &mut World) -> bool {
    let of = world.script.world.twice_in * LOST_IN;
    of > 0 && !world.healed && world.dice.once_in(of)
}

/// A client aborts a request. The server is notified, unless the link loses everything.
pub(super) fn give_up(world: &mut World, process: usize, request: RequestId) {
    let id = exchange_id(process, request);
    let takes = delay(world, process, 0);
    let Some(Exchange { link, .. }) = world.exchanges.remove(&id) else { return };
    if world.links.get(&link).is_some_and(|wires| !wires.up.lost) {
        world.after(takes, Task::Abandon { link, id });
    }
}

/// Whether a response takes nothing more for now.
pub(super) fn pushes_back(world: &mut World, link: LinkId, id: ExchangeId) -> bool {
    let backlog = world.exchanges.get(&id).map_or(0, |exchange| exchange.down.backlog(world.now));
    is_full(world, link, backlog)
}

/// Whether a slow link takes nothing more for now, so that the server's queue fills.
pub(super) fn is_full(world: &mut World, id: LinkId, backlog: u64) -> bool {
    let device = world.processes[id.0].as_ref().map_or(0, |one| one.device);
    if backlog <= BACKLOG_MS || world.devices[device].slow.is_none() {
        return false;
    }
    if let Some(link) = world.links.get_mut(&id).filter(|link| link.flush_at <= world.now) {
        let later = world.now + backlog - (BACKLOG_MS - 1_000);
        link.flush_at = later;
        world.at(later, Task::Flush { link: id });
    }
    true
}

/// A client closes its connection. The server is notified, unless the link loses everything.
pub(super) fn drop_link(world: &mut World, process: usize, conn: ConnId) {
    if let Some(one) = &mut world.processes[process] {
        one.flying.remove(&conn.0);
    }
    hang_up(world, (process, conn.0));
}

/// The client's end of a link is gone.
pub(super) fn hang_up(world: &mut World, id: LinkId) {
    let takes = delay(world, id.0, 0);
    if let Some(mut link) = world.links.remove(&id)
        && !link.up.lost
    {
        let at = link.up.arrival(world.now, takes);
        world.at(at, Task::CloseAtServer { link: id });
    }
}

/// The server closes a connection.
pub(super) fn close_down(world: &mut World, id: LinkId, code: u16) {
    let takes = delay(world, id.0, 0);
    if let Some(link) = world.links.get_mut(&id)
        && !link.down.lost
    {
        let at = link.down.arrival(world.now, takes);
        world.at(at, Task::CloseAtClient { link: id, code });
    }
}

/// A connection breaks, and both ends are notified.
pub(crate) fn cut(world: &mut World, link: LinkId) {
    let takes = world.dice.below(50);
    world.after(takes, Task::CloseAtClient { link, code: 1006 });
    world.after(takes, Task::CloseAtServer { link });
}
