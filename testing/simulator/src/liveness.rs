//! Checks after the faults have ended: clients come online, ops are settled, everybody sees all
//! events, and connections then stay up.

use crate::script::{CHANNELS, WALL_MS};
use crate::server::Logged;
use crate::watch::device_of;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::wire::{HERE, Handler, Person, TYPING, counts_as_unread};
use tidewire_core::{Offset, PeopleStatus, Row, RowState, State};
use tidewire_history::Event as Told;

/// How long an event may take to a client without faults, in ms.
const ON_ITS_WAY_MS: u64 = 10_000;

/// All clients are online (L1).
pub(crate) fn everybody_is_online(world: &mut World) {
    if world.script.world.handshakes > 0 {
        // The server may ask clients to wait longer.
        return;
    }
    for device in 0..world.devices.len() {
        let process = world.process_of(device);
        let state = process.map(|one| one.state);
        // A client that has dialled as often as it may in a minute has to wait, which protects the
        // server.
        let spent = process.is_some_and(|one| one.dials.len() >= 12);
        if state != Some(State::Online) && !spent {
            let cause = process.and_then(|one| {
                one.core.explain().entries.last().map(|entry| format!("{} {}", entry.what, entry.about))
            });
            let how = format!("u{device} is {state:?} too long after the faults ended ({cause:?})");
            world.watch.broken("L1", how);
        }
    }
}

/// All ops are settled, and all clients see everything that is in the log.
pub(crate) fn everything_is_settled(world: &mut World) -> rusqlite::Result<()> {
    let epoch = world.server.epoch();
    for channel in CHANNELS {
        let (floor, events) = world.server.log(channel)?;
        world.watch.record(Told::Trimmed { ch: channel.into(), epoch: epoch.as_str().into(), to: floor });
        for event in &events {
            let told = Told::Log {
                ch: channel.into(),
                epoch: epoch.as_str().into(),
                offset: event.offset,
                id: event.id.as_str().into(),
            };
            world.watch.record(told);
        }
        one_end_each(world, &events);
        if channel == CHANNELS[0] {
            no_holes(world, &epoch, &events);
        }
    }
    if world.script.world.answers
        && let Some(channel) = world.server.unanswered().first()
    {
        world.watch.broken("L8", format!("a message in {channel} got no answer"));
    }
    if let Some(run) = world.server.overdue(world.now).first() {
        world.watch.broken("S19", format!("answer {run} goes on for ever"));
    }
    // A dead connection stays registered for a while, so there must be seats to spare.
    let crowded = world.script.world.seats <= world.devices.len();
    for device in 0..world.devices.len() {
        let name = world.devices[device].name();
        let Some(process) = world.devices[device].process else { continue };
        let Some(one) = &world.processes[process] else { continue };
        let waiting = one.core.explain().counters.waiting;
        let open = world.devices[device].person.open.len();
        if world.script.world.handshakes > 0 && one.state != State::Online {
            // As in L1: the server may ask it to wait longer.
            continue;
        }
        if waiting > 0 {
            world.watch.broken("L2", format!("{name} still has {waiting} ops to send"));
            continue;
        }
        if open > 0 && world.devices[device].person.failed.is_empty() {
            world.watch.broken("L5", format!("nothing was said about {open} ops of {name}"));
        }
        world.watch.record(Told::Drained { client: name.as_str().into() });
        if crowded {
            // This client may have no seat.
            continue;
        }
        let Some(one) = &world.processes[process] else { continue };
        if one.begun && one.answered.as_ref().is_none_or(|(told, _)| *told == epoch) && one.epoch == epoch {
            world.watch.record(Told::CaughtUp { observer: name.as_str().into(), ch: CHANNELS[1].into() });
        }
        if let Some(before) = one.looks_back.first() {
            world.watch.broken("L9", format!("{name} never got an answer about what is before {before}"));
        }
        sees_all(world, process, &name)?;
        sees_everybody(world, process, &name);
        reads_are_known(world, process, &name)?;
        handler_is_known(world, process, &name)?;
    }
    let report = world.watch.history.finish();
    if let Some(first) = report.examples.first() {
        world.watch.broken(&format!("{:?}", first.kind).to_lowercase(), first.what.clone());
    }
    Ok(())
}

/// No dialog that was reported as live lacked a row that the log has.
fn no_holes(world: &mut World, epoch: &str, events: &[Logged]) {
    let rows = events.iter().filter(|event| matches!(event.kind.as_str(), "message" | "answer.start"));
    for event in rows {
        if let Some((device, at)) = world.watch.holes.get(&(epoch.to_owned(), event.offset)) {
            let how = format!("at {at} u{device} called its rows live without the one at {}", event.offset);
            return world.watch.broken("S5", how);
        }
    }
}

/// Each answer that began has exactly one end.
fn one_end_each(world: &mut World, events: &[Logged]) {
    let mut open: BTreeMap<String, u64> = BTreeMap::new();
    for event in events {
        let run = event.run();
        match event.kind.as_str() {
            "answer.start" => drop(open.insert(run, 0)),
            "answer.end" => {
                if let Some(ends) = open.get_mut(&run) {
                    *ends += 1;
                }
            }
            _ => {}
        }
    }
    let newest = events.iter().rfind(|event| event.kind == "answer.start").map(|event| event.run());
    for (run, ends) in open {
        // The newest answer may still be under way.
        if ends != 1 && Some(&run) != newest.as_ref() {
            world.watch.broken("S19", format!("answer {run} has {ends} ends"));
        }
    }
}

/// The rows on the screen are the end of the log, each once, in order, with its text.
fn sees_all(world: &mut World, process: usize, name: &str) -> rusqlite::Result<()> {
    let (_, events) = world.server.log(CHANNELS[0])?;
    let Some(one) = &world.processes[process] else { return Ok(()) };
    let ended: BTreeMap<String, String> = events
        .iter()
        .filter(|event| event.kind == "answer.end")
        .map(|event| (event.run(), event.text()))
        .collect();
    let expected: Vec<(u64, String, Option<String>)> = events
        .iter()
        .filter_map(|event| match event.kind.as_str() {
            "message" => Some((event.offset, event.id.clone(), Some(event.text()))),
            "answer.start" => {
                let run = event.run();
                let text = ended.get(&run).cloned();
                Some((event.offset, run, text))
            }
            _ => None,
        })
        .collect();
    // An answer whose start is not in view has the offset of its end.
    let headless = |row: &&Row| {
        events.iter().any(|event| {
            event.kind == "answer.end"
                && row.offset.is_some_and(|offset| offset == event.offset)
                && event.run() == row.id
        })
    };
    let rows: Vec<_> = one.rows.iter().filter(|row| row.offset.is_some() && !headless(row)).collect();
    let waiting = one.rows.iter().filter(|row| row.offset.is_none() && row.state != RowState::Failed).count();
    let first = rows.first().and_then(|row| row.offset).map_or(u64::MAX, |offset| offset.0);
    // Retention removes events from the log, but not their rows from the screen.
    let oldest = expected.first().map_or(u64::MAX, |(offset, ..)| *offset);
    let expected: Vec<_> = expected.into_iter().filter(|(offset, ..)| *offset >= first).collect();
    let rows: Vec<_> =
        rows.into_iter().filter(|row| row.offset.is_some_and(|offset| offset.0 >= oldest)).collect();
    let mut wrong = None;
    if !one.core.has_older("a")
        && first != u64::MAX
        && first > oldest
        && rows.first().is_some_and(|row| !headless(row))
    {
        wrong = Some(format!("{name} says that nothing is older than {first}, the log begins at {oldest}"));
    } else if waiting > 0 {
        wrong = Some(format!("{waiting} rows of {name} wait for nothing"));
    } else if rows.len() != expected.len() || (rows.is_empty() && oldest != u64::MAX) {
        wrong =
            Some(format!("{name} shows {} rows, the log has {} from {first}", rows.len(), expected.len()));
    } else {
        for (row, (offset, id, text)) in rows.iter().zip(&expected) {
            let same = row.offset == Some(Offset(*offset))
                && row.id == *id
                && text.as_ref().is_none_or(|text| *text == row.text);
            if !same {
                wrong = Some(format!(
                    "{name} shows {} at {:?}, the log has {id} at {offset}",
                    row.id, row.offset
                ));
                break;
            }
        }
    }
    if let Some(wrong) = wrong {
        world.watch.broken("S3", wrong);
    }
    Ok(())
}

/// The list of people has everybody who shows the dialog, and what they hold (P1, P4).
fn sees_everybody(world: &mut World, process: usize, name: &str) {
    let Some(one) = &world.processes[process] else { return };
    if one.holders == 0 || one.state != State::Online {
        return;
    }
    let mut expected = BTreeMap::new();
    for device in &world.devices {
        let Some(other) = device.process.and_then(|process| world.processes[process].as_ref()) else {
            continue;
        };
        if other.state != State::Online && !other.dials.is_empty() {
            // Nobody knows when its last connection was lost.
            return;
        }
        if other.holders > 0 {
            let body = other.holds.map(|number| format!("{{\"n\":{number}}}"));
            expected.insert(device.number, (true, false, body));
        }
    }
    let state = |person: &Person| {
        let body = person.lease("status").map(|lease| lease.body.clone());
        let state = (person.lease(HERE).is_some(), person.lease(TYPING).is_some(), body);
        (device_of(&person.user.id), state)
    };
    let mut shown: BTreeMap<_, _> = one.people.iter().map(state).collect();
    let unsure = world.devices.iter().filter(|device| {
        device.process.and_then(|process| world.processes[process].as_ref()).is_some_and(|one| one.unsure)
    });
    for device in unsure {
        for list in [&mut shown, &mut expected] {
            if let Some((_, _, body)) = list.get_mut(&device.number) {
                *body = None;
            }
        }
    }
    if one.people_status != PeopleStatus::Live || shown != expected {
        let how = format!("{name} shows {shown:?} ({:?}), there are {expected:?}", one.people_status);
        world.watch.broken("P1", how);
    }
}

/// How far the first channel was read is at the server, and everybody is shown it (R1 to R3).
fn reads_are_known(world: &mut World, process: usize, name: &str) -> rusqlite::Result<()> {
    let Some(one) = &world.processes[process] else { return Ok(()) };
    if one.holders == 0 || one.state != State::Online || !one.live {
        return Ok(());
    }
    let epoch = world.server.epoch();
    let Some(found) = world.server.positions(CHANNELS[0], one.device)? else { return Ok(()) };
    let own = found.own.0;
    world.watch.has_position(epoch, &world.devices[one.device], own);
    let Some((state, receipts)) = one.core.reads(CHANNELS[0]) else { return Ok(()) };
    let others: BTreeSet<(usize, u64)> =
        found.others.iter().map(|(_, one)| (device_of(&one.user.id), one.offset.0)).collect();
    let shown: BTreeSet<(usize, u64)> =
        receipts.iter().map(|one| (device_of(&one.user.id), one.offset.0)).collect();
    let (floor, events) = world.server.log(CHANNELS[0])?;
    let unread = events.iter().filter(|event| {
        event.offset > own && event.by.id != format!("u{}", one.device) && counts_as_unread(&event.kind)
    });
    let unread = unread.count() as u64;
    let how = format!(
        "{name} shows {state:?} and {shown:?}; the server has {own}, {others:?}, {unread} unread, floor {floor}"
    );
    if state.status != PeopleStatus::Live || state.position.0 != own || shown != others {
        world.watch.broken("R2", how);
    } else if floor <= own && state.unread != Some(unread) {
        world.watch.broken("R3", how);
    }
    Ok(())
}

/// Everybody knows who answers (H3).
fn handler_is_known(world: &mut World, process: usize, name: &str) -> rusqlite::Result<()> {
    let Some(one) = &world.processes[process] else { return Ok(()) };
    let (_, events) = world.server.log(CHANNELS[0])?;
    let last = events.iter().rfind(|event| event.kind == "handoff").map_or(0, |event| event.at);
    // One of the server's own steps may be on its way.
    let is_new = last + ON_ITS_WAY_MS > WALL_MS + world.now;
    let (by_log, by_row) = world.server.handlers()?;
    let shown = one.core.handler("a");
    if by_log.is_some_and(|by_log| *by_log != by_row) {
        let how = format!("the dialog's row has {by_row:?}, its events make {by_log:?}");
        world.watch.broken("H1", how);
    } else if one.live && !is_new && one.state == State::Online && shown.is_some_and(|shown| *shown != by_row)
    {
        let how = format!("{name} shows {shown:?}, the server has {by_row:?}");
        world.watch.broken("H3", how);
    }
    Ok(())
}

/// No dialog is left to an operator who is not there (H4).
pub(crate) fn nobody_has_a_dialog(world: &mut World) -> rusqlite::Result<()> {
    let (_, handler) = world.server.handlers()?;
    if let Handler::Operator { user, since } = &handler
        && device_of(&user.id) >= world.devices.len()
    {
        let for_s = (WALL_MS + world.now).saturating_sub(*since) / 1_000;
        world.watch.broken("H4", format!("{} has the dialog for {for_s} s and was never there", user.id));
    }
    Ok(())
}

/// No client connects again and again (L3).
pub(crate) fn everybody_is_calm(world: &mut World) {
    for device in 0..world.devices.len() {
        let welcomes = world.devices[device].person.welcomes_healed;
        // The first one may have been dialled before the faults ended. Tokens are renewed without a
        // new connection; trying a better transport again takes one.
        let most = if world.script.world.fallbacks { 4 } else { 3 };
        if welcomes > most
            && world.script.world.handshakes == 0
            && world.script.world.seats > world.devices.len()
        {
            world.watch.broken("L3", format!("u{device} connected {welcomes} times after the faults ended"));
        }
    }
}
