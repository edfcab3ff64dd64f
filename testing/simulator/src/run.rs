//! A whole run: faults, then their end, then what must be true in bounded time.

use crate::script::{Action, FAULTS_MS, Script};
use crate::server::{CHANNELS, lock};
use crate::watch::Broken;
use crate::world::{What, World};
use std::collections::BTreeMap;
use tidewire_core::wire::json::{Object, validate};
use tidewire_core::{Input, Lifecycle, Network, RowState, State};
use tidewire_history::Event as Told;

/// After the faults everybody is online within this (L1).
const ONLINE_MS: u64 = 40_000;
/// And has sent and seen everything within this, and what a backlog takes at its pace (L2).
const SETTLED_MS: u64 = 60_000;
/// For so long connections are watched afterwards (L3).
const CALM_MS: u64 = 300_000;

/// What a run was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The first promise that was broken.
    pub broken: Option<Broken>,
    /// The same for the same script.
    pub hash: u64,
    /// How often each kind of action struck.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often each rare thing happened.
    pub marks: BTreeMap<String, u64>,
    /// For how long clients ran, in ms.
    pub client_ms: u64,
    /// How many things happened.
    pub steps: u64,
    /// Events in the log at the end.
    pub events: u64,
    /// Ops that were acknowledged.
    pub acked: u64,
}

/// Runs a script. An error is a fault of the simulator's own database.
pub fn run(script: &Script) -> Result<Outcome, String> {
    let mut world = World::new(script).map_err(|error| error.to_string())?;
    let ended = phases(&mut world).map_err(|error| error.to_string())?;
    let report = world.watch.history.finish();
    let broken = world.watch.verdict();
    debug_assert!(ended || broken.is_some());
    Ok(Outcome {
        broken,
        hash: world.watch.hash(),
        faults: world.watch.faults.clone(),
        marks: world.watch.marks.clone(),
        client_ms: world.now * script.devices as u64,
        steps: world.steps,
        events: report.logged,
        acked: report.acked,
    })
}

/// False when something was broken on the way.
fn phases(world: &mut World) -> rusqlite::Result<bool> {
    if !world.run(FAULTS_MS)? {
        return Ok(false);
    }
    let backlog_ms = heal(world)?;
    if !world.run(FAULTS_MS + ONLINE_MS)? {
        return Ok(false);
    }
    everybody_is_online(world);
    if world.watch.is_broken() || !world.run(FAULTS_MS + SETTLED_MS + backlog_ms)? {
        return Ok(false);
    }
    everything_is_settled(world)?;
    if world.watch.is_broken() || !world.run(FAULTS_MS + SETTLED_MS + backlog_ms + CALM_MS)? {
        return Ok(false);
    }
    everybody_is_calm(world);
    Ok(!world.watch.is_broken())
}

/// Faults end. How long the backlog may take, in ms.
fn heal(world: &mut World) -> rusqlite::Result<u64> {
    world.healed = true;
    world.server.heal();
    if !world.server.is_up() {
        world.starts(false)?;
    }
    let mut backlog_ms = 0;
    for device in 0..world.devices.len() {
        world.devices[device].heal();
        lock(&world.server.rules)[device].revoked = false;
        lock(&world.server.rules)[device].barred = false;
        world.devices[device].revoked_at = None;
        world.after(2_000, What::Permits { device });
        world.devices[device].wakes(world.now);
        world.boots(device);
        world.tell(device, |()| Input::Network(Network::Online));
        world.tell(device, |()| Input::Lifecycle(Lifecycle::Resumed));
        world.tell(device, |()| Input::Lifecycle(Lifecycle::Shown));
        world.command(device, |one, now| {
            one.wants = true;
            one.core.connect(now);
            one.core.renew_token(now);
            one.holders += u32::from(one.core.open_dialog(now, "a").is_ok());
            let _ = one.core.subscribe(now, CHANNELS[1]);
        });
        // One more word from everybody shows the others what they missed.
        let last = Action::Write { on: device, channel: device % 2 };
        crate::acts::carry_out(world, &last)?;
        let failed: Vec<String> = world.devices[device].person.failed.iter().cloned().collect();
        for id in failed {
            world.after(10, What::Decides { device, id });
        }
        let waiting = world.devices[device].person.open.len() as u64 + 5;
        let per_op = if world.script.world.guests { 3_000 } else { 50 };
        // Half the pace while a backlog drains; an empty bucket first.
        backlog_ms =
            backlog_ms.max(2 * waiting * per_op + if world.script.world.guests { 60_000 } else { 2_000 });
    }
    // What crawls through a bad network when it heals is as good as lost, and a dial into nothing
    // ends as a dial does: two time-outs of 10 s and a backoff of up to 30 s would be more than L1
    // has.
    let slow: Vec<_> = world
        .links
        .iter()
        .filter(|((process, _), link)| {
            let online = world.processes[*process].as_ref().is_some_and(|one| one.state == State::Online);
            let crawls = link.up.backlog(world.now).max(link.down.backlog(world.now)) > 5_000;
            crawls || (!online && (link.up.lost || link.down.lost))
        })
        .map(|(wires, _)| *wires)
        .collect();
    for wires in slow {
        world.cut(wires);
    }
    // Connections that vanish into nothing don't come back; what is found out is that they did.
    Ok(backlog_ms)
}

fn everybody_is_online(world: &mut World) {
    if world.script.world.handshakes > 0 {
        // The server's own hints may ask for more patience.
        return;
    }
    for device in 0..world.devices.len() {
        let state = world.devices[device]
            .process
            .and_then(|process| world.processes[process].as_ref())
            .map(|one| one.state);
        // Whoever had all the dials of a minute waits for the next one: the server's protection
        // comes first.
        let spent = world.devices[device]
            .process
            .and_then(|process| world.processes[process].as_ref())
            .is_some_and(|one| one.dials.len() >= 12);
        if state != Some(State::Online) && !spent {
            let cause = world.devices[device]
                .process
                .and_then(|process| world.processes[process].as_ref())
                .and_then(|one| {
                    one.core.explain().entries.last().map(|entry| format!("{} {}", entry.what, entry.about))
                });
            world
                .watch
                .broken("L1", format!("u{device} is {state:?} 40 s after the faults ended ({cause:?})"));
        }
    }
}

/// Everything that was written is in the log or was settled, and everybody sees all of it.
fn everything_is_settled(world: &mut World) -> rusqlite::Result<()> {
    let epoch = world.server.epoch();
    for channel in CHANNELS {
        let (floor, events) = world.server.log(channel)?;
        push(world, Told::Trimmed { ch: channel.into(), epoch: epoch.as_str().into(), to: floor });
        for event in &events {
            let told = Told::Log {
                ch: channel.into(),
                epoch: epoch.as_str().into(),
                offset: event.offset,
                id: event.id.as_str().into(),
            };
            push(world, told);
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
    // A connection that nobody uses keeps its seat for a while, so everybody needs one to spare.
    let crowded = world.script.world.seats <= world.devices.len();
    for device in 0..world.devices.len() {
        let name = world.devices[device].name();
        let Some(process) = world.devices[device].process else { continue };
        let Some(one) = &world.processes[process] else { continue };
        let waiting = one.core.explain().counters.waiting;
        let open = world.devices[device].person.open.len();
        if waiting > 0 {
            world.watch.broken("L2", format!("{name} still has {waiting} ops to send"));
            continue;
        }
        if open > 0 && world.devices[device].person.failed.is_empty() {
            world.watch.broken("L5", format!("nothing was said about {open} ops of {name}"));
        }
        push(world, Told::Drained { client: name.as_str().into() });
        if crowded {
            // Not everybody has a place.
            continue;
        }
        let Some(one) = &world.processes[process] else { continue };
        if one.begun && one.answered.as_ref().is_none_or(|(told, _)| *told == epoch) && one.epoch == epoch {
            push(world, Told::CaughtUp { observer: name.as_str().into(), ch: CHANNELS[1].into() });
        }
        sees_all(world, process, &name)?;
    }
    let report = world.watch.history.finish();
    if let Some(first) = report.examples.first() {
        world.watch.broken(&format!("{:?}", first.kind).to_lowercase(), first.what.clone());
    }
    Ok(())
}

fn push(world: &mut World, told: Told<'_>) {
    if let Err(violation) = world.watch.history.push(told) {
        world.watch.broken(&format!("{:?}", violation.kind).to_lowercase(), violation.what);
    }
}

/// What was called live left nothing out that has a row.
fn no_holes(world: &mut World, epoch: &str, events: &[crate::server::Logged]) {
    let rows = events.iter().filter(|event| matches!(event.kind.as_str(), "message" | "answer.start"));
    for event in rows {
        if let Some((device, at)) = world.watch.holes.get(&(epoch.to_owned(), event.offset)) {
            let how = format!("at {at} u{device} called its rows live without the one at {}", event.offset);
            return world.watch.broken("S5", how);
        }
    }
}

/// Each answer that began has exactly one end.
fn one_end_each(world: &mut World, events: &[crate::server::Logged]) {
    let mut open: BTreeMap<String, u64> = BTreeMap::new();
    for event in events {
        let run = run_of(&event.body);
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
    let newest = events.iter().rfind(|event| event.kind == "answer.start").map(|event| run_of(&event.body));
    for (run, ends) in open {
        // The newest may still be under way.
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
        .map(|event| (run_of(&event.body), text_of(&event.body)))
        .collect();
    let expected: Vec<(u64, String, Option<String>)> = events
        .iter()
        .filter_map(|event| match event.kind.as_str() {
            "message" => Some((event.offset, event.id.clone(), Some(text_of(&event.body)))),
            "answer.start" => {
                let run = run_of(&event.body);
                let text = ended.get(&run).cloned();
                Some((event.offset, run, text))
            }
            _ => None,
        })
        .collect();
    // An answer whose start is out of view stands where it ended.
    let headless = |row: &&tidewire_core::Row| {
        events.iter().any(|event| {
            event.kind == "answer.end" && Some(event.offset) == row.offset && run_of(&event.body) == row.id
        })
    };
    let rows: Vec<_> = one.rows.iter().filter(|row| row.offset.is_some() && !headless(row)).collect();
    let waiting = one.rows.iter().filter(|row| row.offset.is_none() && row.state != RowState::Failed).count();
    let first = rows.first().and_then(|row| row.offset).unwrap_or(u64::MAX);
    // A row older than the log is what retention took from the server but not from the screen.
    let oldest = expected.first().map_or(u64::MAX, |(offset, ..)| *offset);
    let expected: Vec<_> = expected.into_iter().filter(|(offset, ..)| *offset >= first).collect();
    let rows: Vec<_> =
        rows.into_iter().filter(|row| row.offset.is_some_and(|offset| offset >= oldest)).collect();
    let mut wrong = None;
    if waiting > 0 {
        wrong = Some(format!("{waiting} rows of {name} wait for nothing"));
    } else if rows.len() != expected.len() || (rows.is_empty() && oldest != u64::MAX) {
        wrong =
            Some(format!("{name} shows {} rows, the log has {} from {first}", rows.len(), expected.len()));
    } else {
        for (row, (offset, id, text)) in rows.iter().zip(&expected) {
            let same = row.offset == Some(*offset)
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

fn everybody_is_calm(world: &mut World) {
    for device in 0..world.devices.len() {
        let welcomes = world.devices[device].person.welcomes_healed;
        // The first may have been made before the faults ended; a token that ends renews in-band.
        // Transports that are tried again are handovers.
        let most = if world.script.world.fallbacks { 4 } else { 3 };
        if welcomes > most
            && world.script.world.handshakes == 0
            && world.script.world.seats > world.devices.len()
        {
            world.watch.broken("L3", format!("u{device} connected {welcomes} times after the faults ended"));
        }
    }
}

/// The run that a body names.
pub(crate) fn run_of(body: &str) -> String {
    member(body, "run")
}

fn text_of(body: &str) -> String {
    member(body, "text")
}

fn member(body: &str, name: &str) -> String {
    let Ok(valid) = validate(body) else { return String::new() };
    Object::parse(valid)
        .ok()
        .and_then(|object| object.str(name).map(|text| text.into_owned()))
        .unwrap_or_default()
}
