//! Live tables: real cores, the real server's tables and sessions, and a database that commits,
//! under faults of both.
//!
//! Whenever a view is reported as live, its rows must be what a SELECT with its filter and
//! permission would have given after some commit, never an earlier one than before. Applying its
//! updates must give the same rows, and every change must fit the rows before it.

mod database;
mod engine;
mod figures;
mod filters;
mod peer;
mod world;

pub use figures::TableFigures;

use crate::watch::Broken;
use peer::Peer;
use world::World;

/// Steps with faults.
const STEPS: u64 = 220;
/// Time limit for recovery after the faults, in ms.
const HEAL_MS: u64 = 120_000;

/// Plays the scenario of a seed.
pub fn play(seed: u64) -> (TableFigures, Option<Broken>) {
    let mut world = World::new(seed);
    let mut peers: Vec<Peer> =
        (0..=world.dice.below(3)).map(|number| Peer::start(&mut world, number)).collect();
    let broken = (|| {
        for _ in 0..STEPS {
            step(&mut world, &mut peers)?;
        }
        heal(&mut world, &mut peers)
    })();
    let mut figures = world.figures;
    figures.scenarios = 1;
    figures.commits = world.database.log.len() as u64;
    (figures, broken.err())
}

fn step(world: &mut World, peers: &mut [Peer]) -> Result<(), Broken> {
    world.now += 1 + world.dice.log_uniform(1, 600);
    if world.faults && world.quiet > 0 {
        // A quiet time, after which feeds must send marks.
        world.quiet -= 1;
        world.now += 700;
    } else if world.faults {
        world.quiet = if world.dice.once_in(60) { 20 } else { 0 };
        for _ in 0..world.dice.below(3) {
            let now = world.now;
            world.database.write(now, &mut world.dice);
        }
        if world.dice.once_in(90) {
            crash(world, peers);
        }
        if world.dice.once_in(120) {
            world.lose_slot();
        }
        for peer in peers.iter_mut() {
            peer.fault(world);
        }
    }
    world.source();
    for peer in peers {
        peer.step(world)?;
    }
    Ok(())
}

/// Ends the faults: every view must become live with the database's rows, and then nothing may be
/// left in the server.
fn heal(world: &mut World, peers: &mut [Peer]) -> Result<(), Broken> {
    world.faults = false;
    peers.iter_mut().for_each(|peer| peer.heal(world));
    let end = world.now + HEAL_MS;
    while !peers.iter().all(|peer| peer.is_well(world)) {
        if world.now > end {
            let peer = peers.iter().find(|peer| !peer.is_well(world));
            let how = peer.map_or_else(String::new, |peer| peer.describe(world));
            return Err(Broken { at: world.now, what: "stuck".to_owned(), how });
        }
        step(world, peers)?;
    }
    for peer in peers.iter_mut() {
        peer.leave(world);
    }
    for _ in 0..20 {
        step(world, peers)?;
    }
    let counts = world.tables().counts();
    if (counts.subscriptions, counts.groups, counts.pending, counts.waits, counts.snapshot_bytes)
        != (0, 0, 0, 0, 0)
    {
        return Err(Broken { at: world.now, what: "leftovers".to_owned(), how: format!("{counts:?}") });
    }
    Ok(())
}

/// The server's process crashes and restarts. The source keeps what the tables said they need.
fn crash(world: &mut World, peers: &mut [Peer]) {
    world.figures.mark("server_crash");
    let oldest = world.tables().oldest();
    peers.iter_mut().for_each(|peer| peer.cut(world.clock()));
    world.restart(oldest);
}
