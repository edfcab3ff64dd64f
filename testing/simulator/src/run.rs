//! A whole run: the faults, their end, and what must be true in bounded time afterwards.

use crate::liveness::{everybody_is_calm, everybody_is_online, everything_is_settled, nobody_has_a_dialog};
use crate::play::processes::{boot, command, report};
use crate::play::tasks::run_until;
use crate::play::{acts, cut, operations};
use crate::script::{Action, CHANNELS, FAULTS_MS, Script};
use crate::watch::Broken;
use crate::world::{LinkId, Task, World};
use std::collections::BTreeMap;
use tidewire_core::{Input, Lifecycle, Network, State};

/// Time after the faults within which all clients are online, in ms, besides the time that it takes to
/// make a connection (L1): 10 s in which one that is made before may fail without having been useful,
/// and the longest pause between attempts.
const ONLINE_MS: u64 = 40_000;
/// How often the longest delay of a message fits into the making of a connection.
const TRIPS: u64 = 4;
/// Time after the faults within which all clients have sent and seen everything, in ms, besides the
/// time that the op budget needs for a backlog (L2).
const SETTLED_MS: u64 = 60_000;
/// How long connections are watched after that, in ms (L3).
const CALM_MS: u64 = 300_000;

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The first guarantee that was violated.
    pub broken: Option<Broken>,
    /// A hash of everything that happened, equal for equal scripts.
    pub hash: u64,
    /// How often each kind of action struck.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often each rare thing happened.
    pub marks: BTreeMap<String, u64>,
    /// How long clients ran, in ms.
    pub client_ms: u64,
    /// How many tasks were carried out.
    pub steps: u64,
    /// Events in the log at the end.
    pub events: u64,
    /// Ops that were acknowledged.
    pub acked: u64,
}

/// Runs a script. An error means that the simulator's own database failed.
pub fn run(script: &Script) -> Result<Outcome, String> {
    let mut world = begin(script).map_err(|error| error.to_string())?;
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

/// A world with its server and all its clients started, and the script's actions scheduled.
fn begin(script: &Script) -> rusqlite::Result<World> {
    let mut world = World::new(script)?;
    operations::start(&mut world, false)?;
    for device in 0..script.devices {
        boot(&mut world, device);
    }
    for (index, (at, _)) in script.actions.iter().enumerate() {
        world.at(*at, Task::Act { at: index });
    }
    Ok(world)
}

/// Plays all phases of a run; false if a guarantee was violated.
fn phases(world: &mut World) -> rusqlite::Result<bool> {
    if !run_until(world, FAULTS_MS)? {
        return Ok(false);
    }
    let backlog_ms = heal(world)?;
    let dial_ms = TRIPS * world.script.world.delay_ms;
    if !run_until(world, FAULTS_MS + ONLINE_MS + dial_ms)? {
        return Ok(false);
    }
    everybody_is_online(world);
    if world.watch.is_broken() || !run_until(world, FAULTS_MS + SETTLED_MS + backlog_ms)? {
        return Ok(false);
    }
    everything_is_settled(world)?;
    if world.watch.is_broken() || !run_until(world, FAULTS_MS + SETTLED_MS + backlog_ms + CALM_MS)? {
        return Ok(false);
    }
    everybody_is_calm(world);
    nobody_has_a_dialog(world)?;
    Ok(!world.watch.is_broken())
}

/// Ends the faults, and returns how long the backlog may take, in ms.
fn heal(world: &mut World) -> rusqlite::Result<u64> {
    world.healed = true;
    world.server.heal();
    if !world.server.is_up() {
        operations::start(world, false)?;
    }
    let mut backlog_ms = 0;
    for device in 0..world.devices.len() {
        world.devices[device].heal();
        world.server.rules()[device].revoked = false;
        world.server.rules()[device].barred = false;
        world.devices[device].revoked_at = None;
        world.after(2_000, Task::Permit { device });
        world.devices[device].wakes(world.now);
        boot(world, device);
        report(world, device, Input::Network(Network::Online));
        report(world, device, Input::Lifecycle(Lifecycle::Resumed));
        report(world, device, Input::Lifecycle(Lifecycle::Shown));
        command(world, device, |one, now| {
            one.wants = true;
            one.core.connect(now);
            one.core.renew_token(now);
            one.open(now);
            let _ = one.core.subscribe(now, CHANNELS[1]);
        });
        // An event from every client shows the others that they missed something.
        let last = Action::Write { on: device, channel: device % 2 };
        acts::carry_out(world, &last)?;
        let failed: Vec<String> = world.devices[device].person.failed.iter().cloned().collect();
        for id in failed {
            world.after(10, Task::Decide { device, id });
        }
        let waiting = world.devices[device].person.open.len() as u64 + 5;
        let per_op = if world.script.world.guests { 3_000 } else { 50 };
        // Allows for half the pace of the budget, and for an empty bucket at the beginning.
        backlog_ms =
            backlog_ms.max(2 * waiting * per_op + if world.script.world.guests { 60_000 } else { 2_000 });
    }
    // Links with a long backlog are cut, and those that lose everything while a client is not
    // online yet: two time-outs of 10 s and a backoff of up to 30 s would take longer than L1
    // allows.
    let slow: Vec<LinkId> = world
        .links
        .iter()
        .filter(|(id, link)| {
            let online = world.processes[id.0].as_ref().is_some_and(|one| one.state == State::Online);
            let crawls = link.up.backlog(world.now).max(link.down.backlog(world.now)) > 5_000;
            let trickles =
                |id| world.exchanges.get(id).is_some_and(|exchange| exchange.down.backlog(world.now) > 5_000);
            let crawls = crawls || world.exchanges_of(**id).iter().any(trickles);
            crawls || (!online && (link.up.lost || link.down.lost))
        })
        .map(|(link, _)| *link)
        .collect();
    for link in slow {
        cut(world, link);
    }
    // Other links that lose everything stay so: clients have to detect it.
    Ok(backlog_ms)
}
