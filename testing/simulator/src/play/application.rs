//! What an application does when its core notifies it, and what its user does next.

use crate::script::CHANNELS;
use crate::watch::device_of;
use crate::world::{Task, World};
use tidewire_core::wire::{HERE, Person, codes};
use tidewire_core::{Change, ChannelState, Event, OpState, PeopleStatus, State};

/// A core notifies its application.
pub(super) fn notify(world: &mut World, process: usize, event: Event) {
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
            if status.state == State::Failed {
                // The user presses the button to connect again.
                let number = one.device;
                one.wants = false;
                let thinks = 500 + world.dice.below(3_000);
                world.after(thinks, Task::Connect { device: number });
            }
        }
        Event::Op { id, state, .. } => op(world, process, id.into(), state),
        Event::Channel { channel, state } if channel == CHANNELS[1] => {
            world.watch.resets(device, &world.server, &channel, &state);
            world.watch.channel(one, &state);
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
        Event::Older { before, events, joined, more, .. } => {
            one.looks_back.remove(&before.0);
            world.watch.older(one, &world.server, before.0, &events, more);
            world.watch.mark(if joined { "older" } else { "older:none" });
        }
        Event::People { changes, status, .. } => people(world, process, changes, status),
        Event::Problem { code, .. } => {
            // A message of its was damaged, and a lease in it is not said again.
            one.unsure |= code == codes::BAD_FRAME;
            world.watch.mark(&format!("problem:{code}"));
        }
        Event::Storage { code } => world.watch.mark(code.unwrap_or("storage_works")),
        Event::Signal { .. } => world.watch.mark("signal"),
        Event::Stored { id } => {
            if !device.disk.has_op(&id) && device.person.open.contains_key(id.as_str()) {
                world.watch.broken("S9", format!("{id} is said to be safe and is not on disk"));
            }
        }
        Event::Reads { .. } => world.watch.mark("reads"),
        Event::User(_) => {}
    }
}

/// Who is in the first channel changed.
fn people(world: &mut World, process: usize, changes: Vec<Change<Person>>, status: PeopleStatus) {
    let Some(one) = &mut world.processes[process] else { return };
    for change in changes {
        if let Change::Remove { index } = &change
            && let Some(person) = one.people.get(*index)
            && person.lease(HERE).is_some()
            && !one.told_gone.contains(&device_of(&person.user.id))
        {
            world.watch.drops(world.now, (process, one.told_by), &person.user.id);
        }
        if !change.apply(&mut one.people, |_, _| ()) {
            world.watch.broken("people", "a change does not fit the list before it".to_owned());
        }
    }
    one.people_status = status.clone();
    if one.core.people(CHANNELS[0]).is_some_and(|(all, now, _)| (&all, &now) != (&one.people, &status)) {
        world.watch.broken("people", "the changes don't make the list".to_owned());
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
            if device.person.open.remove(&id).is_some() || world.watch.is_acked_anew(&id) {
                world.watch.acked(device, &world.server, &id, offset.0);
            }
        }
        OpState::Failed { code, message } => {
            // A failure that a start finds on disk may be older than what was reported: a retry may
            // be under way.
            let found = message.is_empty();
            one.settled.insert(id.clone());
            world.watch.mark(&format!("failed:{code}"));
            let sent = device.person.open.get(&id).copied().unwrap_or(true);
            world.watch.failed(device, &id, &code, sent, found);
            if device.person.failed.insert(id.clone()) {
                let thinks = 100 + world.dice.below(5_000);
                world.after(thinks, Task::Decide { device: number, id });
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
