//! The actions of a script: what people do, and faults.

use crate::play::operations::Ending;
use crate::play::processes::{boot, close_dialog, command, kill, open_dialog, report};
use crate::play::{driver, network, operations};
use crate::script::{Action, CHANNELS, DiskFault, Way};
use crate::world::{Task, Wire, World};
use tidewire_core::wire::{Handler, Step};
use tidewire_core::{Draft, Input, Lane, Lifecycle, Network, RowState, Transport};

/// Carries out one action.
pub(crate) fn carry_out(world: &mut World, action: &Action) -> rusqlite::Result<()> {
    world.watch.counts(world.now, action);
    let now = world.now;
    match *action {
        Action::Write { on, channel } => write(world, on, CHANNELS[channel % 2], Lane::Durable),
        Action::Nudge { on } => write(world, on, CHANNELS[0], Lane::Session),
        Action::Signal { on } => command(world, on, |one, now| {
            let _ = one.core.signal(now, CHANNELS[0], "typing", None, "{}");
        }),
        Action::Stop { on } => stop(world, on),
        Action::Hand { on, what } => hand(world, on, what),
        Action::Type { on, ends } => command(world, on, |one, now| {
            let _ = one.core.typing(now, CHANNELS[0], !ends);
        }),
        Action::Hold { on, number } => command(world, on, |one, now| {
            let body = number.map(|number| format!("{{\"n\":{number}}}"));
            if one.core.set_lease(now, CHANNELS[0], "status", body.as_deref()).is_ok() {
                (one.holds, one.unsure) = (number, false);
            }
        }),
        Action::Read { on, back } => command(world, on, |one, now| {
            let newest = one.rows.iter().filter_map(|row| row.offset).max().unwrap_or_default();
            let _ = one.core.mark_read(now, CHANNELS[0], Some(newest.minus(back)));
        }),
        Action::Cut { on } => {
            if let Some(link) = world.link_of(on) {
                network::cut(world, link);
            }
        }
        Action::HalfOpen { on, way } => on_wires(world, on, way, |wire| wire.lost = true),
        Action::Twice { on, way } => on_wires(world, on, way, |wire| wire.twice = true),
        Action::Truncate { on, way } => on_wires(world, on, way, |wire| wire.truncate = true),
        Action::MissPiece { on } => on_wires(world, on, Way::Down, |wire| wire.miss_piece = true),
        Action::Slow { on, ms, bytes_per_s } => world.devices[on].slow = Some((bytes_per_s, now + ms)),
        Action::Lag { on, ms, delay_ms } => world.devices[on].lag = Some((delay_ms, now + ms)),
        Action::BlockSockets { on, ms } => {
            world.devices[on].blocked_until = now + ms;
            if let Some(link) = world.link_of(on)
                && world.links[&link].transport == Transport::WebSocket
            {
                network::cut(world, link);
            }
        }
        Action::NoNetwork { on, ms, hinted } => {
            world.devices[on].no_network_until = now + ms;
            on_wires(world, on, Way::Both, |wire| wire.lost = true);
            if hinted {
                report(world, on, Input::Network(Network::Offline));
            }
            // Reported even without the first hint: a client that believes to be offline would wait
            // for a minute.
            world.after(ms, Task::Online { device: on });
        }
        Action::OtherNetwork { on } => {
            on_wires(world, on, Way::Both, |wire| wire.lost = true);
            report(world, on, Input::Network(Network::Changed));
        }
        Action::ServerCrash { ms } => operations::stop(world, ms, Ending::Reset, false),
        Action::PowerLoss { ms } => operations::stop(world, ms, Ending::Silent, false),
        Action::Restore { ms } => operations::stop(world, ms, Ending::Reset, true),
        Action::Drain { ms } => operations::drain(world, ms),
        Action::Goaway { spread_ms } => operations::rebalance(world, spread_ms),
        Action::ServerDisk { ms, disk } => world.server.break_disk(disk, now + ms),
        Action::Backup => world.server.take_backup()?,
        Action::Trim { keep } => world.server.trim(keep)?,
        Action::Crash { on, ms } => {
            if let Some(process) = world.devices[on].process {
                world.devices[on].wakes(now);
                world.watch.crashes(&mut world.devices[on]);
                kill(world, process);
                world.after(ms, Task::Boot { device: on });
            }
        }
        Action::ClientDisk { on, ms, disk } => {
            world.devices[on].disk_fault = Some((disk, now + ms));
            world.devices[on].unreliable |= disk != DiskFault::Slow;
        }
        Action::Clock { on, ms, back } => {
            let by = i64::try_from(ms).unwrap_or(i64::MAX);
            let device = &mut world.devices[on];
            device.wall_ahead = if back {
                device.wall_ahead.saturating_sub(by)
            } else {
                device.wall_ahead.saturating_add(by)
            };
        }
        Action::Suspend { on, ms, asleep_ms } => {
            let device = &mut world.devices[on];
            if device.asleep_until <= now && device.process.is_some() {
                device.asleep_until = now + ms;
                device.stands_still = true;
                device.slept += ms;
                device.wall_ahead = device.wall_ahead.saturating_add(i64::try_from(asleep_ms).unwrap_or(0));
                world.after(ms, Task::Resume { device: on });
            }
        }
        Action::Freeze { on, ms } => {
            if world.devices[on].asleep_until <= now {
                report(world, on, Input::Lifecycle(Lifecycle::Frozen));
                world.devices[on].asleep_until = now + ms;
                world.devices[on].stands_still = false;
                world.after(ms, Task::Resume { device: on });
            }
        }
        Action::Hide { on, ms } => {
            report(world, on, Input::Lifecycle(Lifecycle::Hidden));
            world.after(ms, Task::Show { device: on });
        }
        Action::Expire { on } => world.server.rules()[on].expired_before = now,
        Action::Rekey { on } => world.server.rules()[on].refused_before = now,
        Action::NoToken { on, ms } => world.devices[on].no_token_until = now + ms,
        // An operator sees every dialog of the account.
        Action::Revoke { on, .. } if is_operator(world, on) => {}
        Action::Revoke { on, ms } => {
            world.server.rules()[on].revoked = true;
            world.devices[on].revoked_at = world.server.is_up().then_some(now);
            world.server.revoke(on, now);
            // Tokens count in seconds, so one of the second of the revocation would be revoked too.
            world.after(ms.max(1_500), Task::Permit { device: on });
        }
        Action::Handover { on, ms } => handover(world, on, ms),
        Action::Close { on, ms } => {
            command(world, on, |one, now| {
                one.wants = false;
                one.core.disconnect(now);
            });
            world.after(ms, Task::Connect { device: on });
        }
        Action::Leave { on, ms } => {
            close_dialog(world, on);
            world.after(ms, Task::OpenDialog { device: on });
        }
        Action::LookBack { on, most } => command(world, on, |one, now| {
            if let Ok(before) = one.core.load_older(now, CHANNELS[0], None, most) {
                one.looks_back.insert(before.0);
            }
        }),
        Action::SecondScreen { on, ms } => {
            let process = world.devices[on].process;
            if open_dialog(world, on) {
                world.after(ms, Task::CloseDialog { device: on, process });
            }
        }
    }
    Ok(())
}

fn on_wires(world: &mut World, on: usize, way: Way, act: impl Fn(&mut Wire)) {
    if let Some(link) = world.link_of(on).and_then(|link| world.links.get_mut(&link)) {
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
        person.open.insert(id.to_string(), false);
        if lane == Lane::Durable {
            person.unsaved.extend(Draft::new(&id, lane, channel, "message", &body));
        }
        world.watch.sent(&world.devices[on], &id, channel, lane);
    } else {
        world.watch.mark("outbox_full");
    }
    driver::drain(world, process);
}

fn stop(world: &mut World, on: usize) {
    let mut sent = None;
    command(world, on, |one, now| {
        let growing = one.rows.iter().rev().find(|row| row.state == RowState::Streaming);
        if let Some(run) = growing.map(|row| row.id.clone()) {
            sent = one.core.stop_run(now, "a", &run.into()).ok();
        }
    });
    if let Some(id) = sent {
        world.devices[on].person.open.insert(id.to_string(), false);
        world.watch.sent(&world.devices[on], &id, CHANNELS[0], Lane::Session);
    }
}

/// Whether the user of a device is an operator.
fn is_operator(world: &World, on: usize) -> bool {
    world.script.world.operator && on > 0 && on + 1 == world.devices.len()
}

/// Somebody takes a step of a hand-off in the first channel. What is not theirs to do is refused.
fn hand(world: &mut World, on: usize, what: u64) {
    let is_operator = is_operator(world, on);
    let mut sent = None;
    command(world, on, |one, now| {
        let holder = match one.core.handler("a") {
            Some(Handler::Operator { user, .. }) => Some(user.id.clone()),
            _ => None,
        };
        let step = match (is_operator, what) {
            (true, 0..=4) => Step::Take { from: holder.filter(|_| what < 2) },
            (true, 5) => Step::Close,
            (true, 6) => Step::Transfer { id: "nobody".to_owned(), name: "Nobody".to_owned() },
            (_, 7..=9) => Step::Release { from: None },
            _ => Step::Request,
        };
        sent = one.core.send_in(now, Lane::Session, CHANNELS[0], Step::KIND, &step.encode()).ok();
    });
    if let Some(id) = sent {
        world.devices[on].person.open.insert(id.to_string(), false);
        world.watch.sent(&world.devices[on], &id, CHANNELS[0], Lane::Session);
    }
}

/// The device may see the second channel again.
pub(super) fn permit(world: &mut World, on: usize) {
    {
        let mut rules = world.server.rules();
        (rules[on].revoked, rules[on].granted) = (false, world.now);
        rules[on].barred = false;
    }
    world.devices[on].revoked_at = None;
    command(world, on, |one, now| one.core.renew_token(now));
    world.after(1_000, Task::Subscribe { device: on });
}

/// The person looks at an op that failed, and retries or discards it.
pub(super) fn decide(world: &mut World, on: usize, id: &str) {
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
    command(world, on, |one, now| {
        known = true;
        retried = if gives_up { false } else { one.core.retry(now, &id.into()) };
        if gives_up {
            one.core.discard(now, &id.into());
        }
    });
    if known {
        if retried {
            world.devices[on].person.failed.remove(id);
            world.devices[on].person.open.entry(id.to_owned()).or_insert(true);
            world.watch.retried(&name, id);
        } else if !gives_up {
            // Ops of the session lane are not kept for a retry.
            world.devices[on].person.failed.remove(id);
            world.devices[on].person.open.remove(id);
        }
    } else {
        // No process is running and awake.
        world.after(1_000, Task::Decide { device: on, id: id.to_owned() });
    }
}

/// Another tab becomes the leader, with what the disk has. The old one runs on for `ms` before it
/// notices. Messages that are not known to be stored are submitted again under the same ids.
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
    world.after(ms, Task::Kill { process: old });
    boot(world, on);
    let drafts: Vec<Draft> = world.devices[on].person.unsaved.iter().cloned().collect();
    command(world, on, |one, now| {
        for draft in &drafts {
            let _ = one.core.send_draft(now, draft);
        }
    });
}
