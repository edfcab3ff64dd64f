//! Carries out a script's actions.

use crate::script::{Action, Way};
use crate::server::{CHANNELS, lock};
use crate::world::{What, World};
use tidewire_core::{Draft, Input, Lane, Lifecycle, Network};

/// Carries one out.
pub(crate) fn carry_out(world: &mut World, action: &Action) -> rusqlite::Result<()> {
    world.watch.counts(world.now, action);
    let now = world.now;
    match *action {
        Action::Write { on, channel } => write(world, on, CHANNELS[channel % 2], Lane::Durable),
        Action::Nudge { on } => write(world, on, CHANNELS[0], Lane::Session),
        Action::Signal { on } => world.command(on, |one, now| {
            let _ = one.core.signal(now, CHANNELS[0], "typing", None, "{}");
        }),
        Action::Stop { on } => stop(world, on),
        Action::Cut { on } => {
            if let Some(wires) = world.link_of(on) {
                world.cut(wires);
            }
        }
        Action::HalfOpen { on, way } => wires(world, on, way, |wire| wire.lost = true),
        Action::Twice { on, way } => wires(world, on, way, |wire| wire.twice = true),
        Action::Truncate { on, way } => wires(world, on, way, |wire| wire.truncate = true),
        Action::MissPiece { on } => wires(world, on, Way::Down, |wire| wire.miss_piece = true),
        Action::Slow { on, ms, bytes_per_s } => world.devices[on].slow = Some((bytes_per_s, now + ms)),
        Action::Lag { on, ms, delay_ms } => world.devices[on].lag = Some((delay_ms, now + ms)),
        Action::BlockSockets { on, ms } => {
            world.devices[on].blocked_until = now + ms;
            if let Some(wires) = world.link_of(on).filter(|wires| {
                world
                    .links
                    .get(wires)
                    .is_some_and(|link| link.transport == tidewire_core::Transport::WebSocket)
            }) {
                world.cut(wires);
            }
        }
        Action::NoNetwork { on, ms, hinted } => {
            world.devices[on].no_network_until = now + ms;
            wires(world, on, Way::Both, |wire| wire.lost = true);
            if hinted {
                world.tell(on, |()| Input::Network(Network::Offline));
            }
            // Without the hint about the end a client that believes the first one would wait for a
            // minute.
            world.after(ms, What::HasNetwork { device: on });
        }
        Action::OtherNetwork { on } => {
            wires(world, on, Way::Both, |wire| wire.lost = true);
            world.tell(on, |()| Input::Network(Network::Changed));
        }
        Action::ServerCrash { ms } => world.stops(ms, true, false),
        Action::PowerLoss { ms } => world.stops(ms, false, false),
        Action::Restore { ms } => world.stops(ms, true, true),
        Action::Drain { ms } => drain(world, ms),
        Action::Goaway { spread_ms } => goaway(world, spread_ms),
        Action::ServerDisk { ms, disk } => world.server.break_disk(disk, now + ms),
        Action::Backup => world.server.take_backup()?,
        Action::Trim { keep } => world.server.trim(keep)?,
        Action::Crash { on, ms } => {
            if let Some(process) = world.devices[on].process {
                world.devices[on].wakes(now);
                world.watch.crashes(&mut world.devices[on]);
                world.dies(process);
                world.after(ms, What::Boots { device: on });
            }
        }
        Action::ClientDisk { on, ms, disk } => {
            world.devices[on].disk_fault = Some((disk, now + ms));
            world.devices[on].unreliable |= disk != crate::script::Disk::Slow;
        }
        Action::Clock { on, ms, back } => {
            let by = i64::try_from(ms).unwrap_or(i64::MAX);
            let device = &mut world.devices[on];
            device.wall_ahead = if back {
                device.wall_ahead.saturating_sub(by)
            } else {
                device.wall_ahead.saturating_add(by)
            };
            world.watch.jumps(&mut world.processes, device);
        }
        Action::Suspend { on, ms, asleep_ms } => {
            let device = &mut world.devices[on];
            if device.asleep_until <= now && device.process.is_some() {
                device.asleep_until = now + ms;
                device.stands_still = true;
                device.slept += ms;
                device.wall_ahead = device.wall_ahead.saturating_add(i64::try_from(asleep_ms).unwrap_or(0));
                world.watch.jumps(&mut world.processes, &world.devices[on]);
                world.after(ms, What::Resumes { device: on });
            }
        }
        Action::Freeze { on, ms } => {
            if world.devices[on].asleep_until <= now {
                world.tell(on, |()| Input::Lifecycle(Lifecycle::Frozen));
                world.devices[on].asleep_until = now + ms;
                world.devices[on].stands_still = false;
                world.after(ms, What::Resumes { device: on });
            }
        }
        Action::Hide { on, ms } => {
            world.tell(on, |()| Input::Lifecycle(Lifecycle::Hidden));
            world.after(ms, What::Shows { device: on });
        }
        Action::Expire { on } => lock(&world.server.rules)[on].expired_before = now,
        Action::Rekey { on } => lock(&world.server.rules)[on].refused_before = now,
        Action::NoToken { on, ms } => world.devices[on].no_token_until = now + ms,
        Action::Revoke { on, ms } => {
            lock(&world.server.rules)[on].revoked = true;
            world.devices[on].revoked_at = world.server.is_up().then_some(now);
            world.server.revoke(on, now);
            // A token of the very second is no newer.
            world.after(ms.max(1_500), What::Permits { device: on });
        }
        Action::Handover { on, ms } => handover(world, on, ms),
        Action::Close { on, ms } => {
            world.command(on, |one, now| {
                one.wants = false;
                one.core.close(now);
            });
            world.after(ms, What::Connects { device: on });
        }
        Action::Leave { on, ms } => {
            world.close_dialog(on);
            world.after(ms, What::OpensDialog { device: on });
        }
        Action::SecondScreen { on, ms } => {
            let process = world.devices[on].process;
            if world.open_dialog(on) {
                world.after(ms, What::ClosesDialog { device: on, process });
            }
        }
    }
    Ok(())
}

fn wires(world: &mut World, on: usize, way: Way, act: impl Fn(&mut crate::link::Wire)) {
    if let Some(link) = world.link_of(on).and_then(|wires| world.links.get_mut(&wires)) {
        link.on(way, act);
    }
}

fn write(world: &mut World, on: usize, channel: &str, lane: Lane) {
    let Some(process) = world.devices[on].process else { return };
    if world.devices[on].asleep_until > world.now {
        return;
    }
    let now = world.devices[on].clock(world.now);
    let Some(one) = &mut world.processes[process] else { return };
    let number = world.devices[on].person.written;
    let body = format!("{{\"text\":\"{on}:{number} {}\"}}", "x".repeat(number as usize % 50));
    let sent = one.core.send_in(now, lane, channel, "message", &body);
    if let Ok(id) = sent {
        let person = &mut world.devices[on].person;
        person.written += 1;
        person.open.insert(id.clone(), false);
        let draft =
            Draft { id: id.clone(), lane, channel: channel.to_owned(), kind: "message".to_owned(), body };
        if lane == Lane::Durable {
            person.unsaved.push_back(draft);
        }
        world.watch.sent(&world.devices[on], &id, channel, lane);
    } else {
        world.watch.mark("outbox_full");
    }
    world.drain(process);
}

fn stop(world: &mut World, on: usize) {
    let mut sent = None;
    world.command(on, |one, now| {
        let growing = one.rows.iter().rev().find(|row| row.state == tidewire_core::RowState::Streaming);
        if let Some(run) = growing.map(|row| row.id.clone()) {
            sent = one.core.stop(now, "a", &run).ok();
        }
    });
    if let Some(id) = sent {
        world.devices[on].person.open.insert(id.clone(), false);
        world.watch.sent(&world.devices[on], &id, CHANNELS[0], Lane::Session);
    }
}

/// The person looks at what failed and tries again, or gives it up.
pub(crate) fn decide(world: &mut World, on: usize, id: &str) {
    if !world.devices[on].person.failed.contains(id) {
        return;
    }
    let person = &mut world.devices[on].person;
    let gives_up = person.given_up.contains(id) || (!world.healed && world.dice.once_in(3));
    let name = world.devices[on].name();
    let mut retried = false;
    let mut known = false;
    if gives_up {
        world.devices[on].person.given_up.insert(id.to_owned());
    }
    world.command(on, |one, now| {
        known = true;
        retried = if gives_up { false } else { one.core.retry(now, id) };
        if gives_up {
            one.core.discard(now, id);
        }
    });
    if known {
        if retried {
            world.devices[on].person.failed.remove(id);
            world.devices[on].person.open.entry(id.to_owned()).or_insert(true);
            world.watch.retried(&name, id);
        } else if !gives_up {
            // An op of the session lane is gone already.
            world.devices[on].person.failed.remove(id);
            world.devices[on].person.open.remove(id);
        }
    } else {
        // Nobody is there to decide.
        world.after(1_000, What::Decides { device: on, id: id.to_owned() });
    }
}

/// The server drains, then is away for a while.
fn drain(world: &mut World, ms: u64) {
    let Some(engine) = world.server.engine().cloned() else { return };
    world.server.drain();
    engine.connections.tell_all(&tidewire_core::wire::ServerFrame::Goaway {
        reason: "restart".to_owned(),
        after_ms: 500,
        spread_ms: 5_000,
    });
    let seats = world.seated();
    world.after(500, What::Leaves { wires: seats });
    world.after(700, What::Stops { life: world.life, ms });
}

/// The server asks its clients to go elsewhere; here another node would take them.
fn goaway(world: &mut World, spread_ms: u64) {
    let Some(engine) = world.server.engine().cloned() else { return };
    engine.connections.tell_all(&tidewire_core::wire::ServerFrame::Goaway {
        reason: "rebalance".to_owned(),
        after_ms: spread_ms + 5_000,
        spread_ms,
    });
    let seats = world.seated();
    world.after(spread_ms + 5_000, What::Leaves { wires: seats });
}

/// Another tab takes the lead, with what the disk has; the one before goes on for a while before it
/// notices. What was written and is not known to be stored is submitted again under the same ids.
fn handover(world: &mut World, on: usize, ms: u64) {
    let Some(old) = world.devices[on].process else { return };
    if world.devices[on].asleep_until > world.now {
        return;
    }
    if let Some(one) = &mut world.processes[old] {
        one.zombie = true;
    }
    world.watch.hands_over(&mut world.devices[on]);
    world.devices[on].process = None;
    world.devices[on].unsynced.clear();
    world.after(ms, What::Dies { process: old });
    world.boots(on);
    let drafts: Vec<Draft> = world.devices[on].person.unsaved.iter().cloned().collect();
    world.command(on, |one, now| {
        for draft in &drafts {
            let _ = one.core.send_draft(now, draft);
        }
    });
}
