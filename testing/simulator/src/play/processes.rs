//! Clients' processes: starting and ending them, and giving them commands.

use crate::client::Process;
use crate::play::{driver, network};
use crate::script::CHANNELS;
use crate::world::{LinkId, Task, World};
use tidewire_core::{Client, Config, Input, Now, PeopleStatus, Transport};

/// Starts a process on a device that has none, with what its disk holds.
pub(crate) fn boot(world: &mut World, device: usize) {
    if world.devices[device].process.is_some() {
        return;
    }
    let asleep_until = world.devices[device].asleep_until;
    if asleep_until > world.now {
        return world.at(asleep_until, Task::Boot { device });
    }
    let now = world.devices[device].clock(world.now);
    let setup = &world.script.world;
    let config = Config {
        transports: transports(setup.fallbacks, world.script.seed, device),
        batch_ms: setup.batch_ms,
        ..Config::default()
    };
    let core = Client::new(config, world.dice.seed(), now, world.devices[device].disk.restored());
    let number = world.processes.len();
    let mut process = Process::new(device, core);
    world.devices[device].process = Some(number);
    world.watch.boots(&world.devices[device], &mut process);
    process.begin(now);
    world.processes.push(Some(process));
    world.owners.push(device);
    driver::drain(world, number);
}

/// The transports of a client. For some no WebSocket gets through, and for some even less.
fn transports(fallbacks: bool, seed: u64, device: usize) -> Vec<Transport> {
    let lost = if fallbacks { (seed % 4) as usize * (device % 2) } else { 0 };
    let most = if fallbacks { Transport::ALL.len() } else { 1 };
    Transport::ALL[lost..most].to_vec()
}

/// A process ends, and its sockets with it.
pub(super) fn kill(world: &mut World, process: usize) {
    let Some(one) = world.processes[process].take() else { return };
    let device = &mut world.devices[one.device];
    world.watch.crashed(device);
    if device.process == Some(process) {
        device.process = None;
        device.unsynced.clear();
    }
    let links: Vec<LinkId> = world.links_of(process).map(|(link, _)| *link).collect();
    for link in links {
        network::hang_up(world, link);
    }
    world.exchanges.retain(|(owner, _), _| *owner != process);
}

/// Does something in the application of a device, if its process is running and awake.
pub(crate) fn command(world: &mut World, device: usize, act: impl FnOnce(&mut Process, Now)) {
    let now = world.devices[device].clock(world.now);
    if let Some(process) = world.devices[device].process
        && world.asleep(process).is_none()
        && let Some(one) = &mut world.processes[process]
    {
        act(one, now);
        driver::drain(world, process);
    }
}

/// The system reports something to the core of a device.
pub(crate) fn report(world: &mut World, device: usize, input: Input<'_>) {
    command(world, device, |one, now| one.core.handle(now, input));
}

/// The application asks for a connection.
pub(crate) fn connect(world: &mut World, device: usize) {
    command(world, device, |one, now| {
        one.wants = true;
        one.core.connect(now);
    });
}

/// Opens the first channel's rows once more. False if no process is running and awake, or its core
/// refuses.
pub(super) fn open_dialog(world: &mut World, device: usize) -> bool {
    let mut opened = false;
    command(world, device, |one, now| {
        opened = one.open(now);
    });
    opened
}

/// Closes one holder of the first channel's rows, if there is one.
pub(super) fn close_dialog(world: &mut World, device: usize) {
    command(world, device, |one, now| {
        one.core.close_dialog(now, "a");
        one.holders = one.holders.saturating_sub(1);
        // The other holders keep the subscription and the rows.
        if one.holders == 0 {
            one.live = false;
            one.rows.clear();
            one.looks_back.clear();
            one.people.clear();
            one.people_status = PeopleStatus::Syncing;
            (one.holds, one.unsure) = (None, false);
        }
    });
}

/// Subscribes to the second channel.
pub(super) fn subscribe(world: &mut World, device: usize) {
    command(world, device, |one, now| {
        let _ = one.core.subscribe(now, CHANNELS[1]);
    });
}
