//! The network: what is sent goes onto a link, and arrives later, twice, in half or never.

use crate::world::{Arrival, Link, LinkId, Task, World, half};
use tidewire_core::{ConnId, Transport};

/// A client dials.
pub(super) fn dial(world: &mut World, process: usize, conn: ConnId, transport: Transport) {
    let Some(one) = &world.processes[process] else { return };
    let device = one.device;
    let mono = world.devices[device].mono(world.now);
    let link = (process, conn.0);
    world.links.insert(link, Link::new(transport, mono));
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
        // A core that slept sends when it wakes up, and hears afterwards that the socket is gone:
        // what it sent goes nowhere.
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
    if link.down.miss_piece && text.contains(r#""t":"piece""#) {
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

/// How long a message is on its way.
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

/// A client drops its connection: the server hears of it, if anything still gets there.
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

/// A connection breaks, and both ends hear of it.
pub(crate) fn cut(world: &mut World, link: LinkId) {
    let takes = world.dice.below(50);
    world.after(takes, Task::CloseAtClient { link, code: 1006 });
    world.after(takes, Task::CloseAtServer { link });
}
