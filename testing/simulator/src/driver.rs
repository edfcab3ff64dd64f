//! The driver of a simulated client: carries out what the core wants, and shows the person what it
//! tells.

use crate::server::{CHANNELS, WALL};
use crate::world::{What, World};
use tidewire_core::{ChannelState, Event, Input, OpState, Output, TokenError};

/// Carries out everything until the core waits.
pub(crate) fn drain(world: &mut World, process: usize) {
    for _ in 0..20_000 {
        let Some(one) = &mut world.processes[process] else { return };
        let device = one.device;
        let now = world.devices[device].clock(world.now);
        let output = one.core.poll(now);
        match output {
            Output::Open { conn, transport } => {
                let links = &world.links;
                let open = links.range((process, 0)..=(process, u64::MAX)).count();
                world.watch.dials(one, open, now.mono.0);
                world.watch.mark(match transport {
                    tidewire_core::Transport::WebSocket => "transport:websocket",
                    tidewire_core::Transport::Stream => "transport:stream",
                    tidewire_core::Transport::LongPoll => "transport:long_poll",
                    tidewire_core::Transport::Poll => "transport:poll",
                });
                world.dials(process, conn, transport);
            }
            Output::Transmit { conn, message } => {
                world.watch.sends(one, &mut world.devices[device], conn.0, &message.0, now.mono.0);
                world.transmits(process, conn, &message.0);
            }
            Output::Close { conn, code } => {
                let heard = world.links.get(&(process, conn.0)).map(|link| link.heard);
                world.watch.gives_up(conn.0, code, heard, now.mono.0);
                world.drops(process, conn);
            }
            Output::FetchToken { ask, renew } => {
                let rules = crate::server::lock(&world.server.rules)[device];
                let wall_s = (WALL + world.now) / 1_000;
                let result = if world.devices[device].no_token_until > world.now {
                    Err(TokenError::unavailable(""))
                } else {
                    // A provider that keeps its token until it is asked to renew it.
                    let issued = if renew {
                        world.now
                    } else {
                        rules.refused_before.max(rules.expired_before).max(rules.granted)
                    };
                    Ok(format!("{device}.{issued}.{}", wall_s + world.script.world.token_s))
                };
                one.core.handle(now, Input::Token { ask, result });
            }
            Output::Store { store, change } => {
                world.watch.stores(one, &change);
                world.store(process, store, change);
            }
            Output::Event(event) => told(world, process, event),
            Output::Wait { until, .. } => {
                let heard = one_heard(world, process);
                let Some(one) = &mut world.processes[process] else { return };
                one.timer += 1;
                let timer = one.timer;
                world.watch.waits(one, until.map(|until| until.0), heard, now.mono.0);
                world.watch.looks(one);
                world.watch.claims(one);
                if let Some(until) = until {
                    let after = until.0.saturating_sub(now.mono.0).max(1);
                    world.after(after, What::Wakes { process, timer });
                }
                return;
            }
        }
    }
    world.watch.broken("stuck", "the client never waits".to_owned());
}

/// When the process last heard something on the connection it is online with.
fn one_heard(world: &World, process: usize) -> Option<u64> {
    let links = world.links.range((process, 0)..=(process, u64::MAX));
    links.filter(|(_, link)| link.opened).map(|(_, link)| link.heard).max()
}

fn told(world: &mut World, process: usize, event: Event) {
    let Some(one) = &mut world.processes[process] else { return };
    world.watch.trace_event(world.now, &event);
    if one.zombie {
        if let Event::Status(status) = event {
            one.state = status.state;
        }
        return;
    }
    let device = &mut world.devices[one.device];
    match event {
        Event::Status(status) => {
            one.state = status.state;
            world.watch.mark(status.state.as_str());
            if status.state == tidewire_core::State::Failed {
                // Somebody presses the button.
                let number = one.device;
                one.wants = false;
                let thinks = 500 + world.dice.below(3_000);
                world.after(thinks, What::Connects { device: number });
            }
        }
        Event::Op { id, state, .. } => op(world, process, id, state),
        Event::Channel { channel, state } if channel == CHANNELS[1] => {
            world.watch.resets(device, &world.server, &channel, &state);
            world.watch.channel(device, one, &state);
        }
        Event::Channel { channel, state } => {
            world.watch.resets(device, &world.server, &channel, &state);
            (one.live, one.changed) = (state == ChannelState::Live, true);
        }
        Event::Received(frame) => world.watch.received(device, one, &frame),
        Event::Dialog { changes, .. } => {
            one.changed = true;
            for change in changes {
                world.watch.change(one, &change);
                if !one.fold(change) {
                    world.watch.broken("rows", "a change does not fit the rows before it".to_owned());
                }
            }
            if one.rows.len() < 40 && one.rows != one.core.rows("a") {
                world.watch.broken("rows", "the changes don't make the rows".to_owned());
            }
        }
        Event::Problem { code, .. } => world.watch.mark(&format!("problem:{code}")),
        Event::Storage { code } => world.watch.mark(code.unwrap_or("storage_works")),
        Event::Signal { .. } => world.watch.mark("signal"),
        Event::Stored { id } => {
            if !device.disk.has_op(&id) && device.person.open.contains_key(&id) {
                world.watch.broken("S9", format!("{id} is said to be safe and is not on disk"));
            }
        }
        Event::User(_) => {}
    }
}

fn op(world: &mut World, process: usize, id: String, state: OpState) {
    let Some(one) = &mut world.processes[process] else { return };
    let number = one.device;
    let device = &mut world.devices[number];
    match state {
        OpState::Queued => {
            if !device.disk.has_op(&id) {
                world.watch.broken("S9", format!("{id} is said to be stored and is not"));
            }
            device.person.unsaved.retain(|draft| draft.id != id);
            device.person.stored.insert(id);
        }
        OpState::Sending => {
            if let Some(sent) = device.person.open.get_mut(&id) {
                *sent = true;
            }
        }
        OpState::Acked { offset } => {
            one.settled.insert(id.clone());
            device.person.unsaved.retain(|draft| draft.id != id);
            device.person.failed.remove(&id);
            if device.person.open.remove(&id).is_some() {
                world.watch.acked(device, &world.server, &id, offset);
            }
        }
        OpState::Failed { code, message } => {
            // What a start finds on the disk may be older than what was told: a retry may be under
            // way.
            let found = message.is_empty();
            one.settled.insert(id.clone());
            world.watch.mark(&format!("failed:{code}"));
            let sent = device.person.open.get(&id).copied().unwrap_or(true);
            world.watch.failed(device, &id, &code, sent, found);
            if device.person.failed.insert(id.clone()) {
                let thinks = 100 + world.dice.below(5_000);
                world.after(thinks, What::Decides { device: number, id });
            }
        }
        OpState::Discarded => {
            one.settled.insert(id.clone());
            device.person.unsaved.retain(|draft| draft.id != id);
            device.person.failed.remove(&id);
            device.person.open.remove(&id);
            world.watch.discarded(device, &id);
        }
    }
}
