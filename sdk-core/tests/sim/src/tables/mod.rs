//! Live tables: real cores, the real server's tables and sessions, and a database that commits,
//! under faults of both.
//!
//! Whenever a view says that it is live its rows must be what a SELECT with its filter and
//! permission would have given after some commit, never an earlier one than before; folding what it
//! was told must give the same rows; and no change may be impossible.

mod database;
mod peer;

use crate::dice::Dice;
use crate::watch::Broken;
use database::{Cells, Database, Rows};
use peer::Peer;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tidewire_core::wire::{User, UserKind};
use tidewire_core::{Now, Time};
use tidewire_server_core::dialog::ops::Kinds;
use tidewire_server_core::store::{Done, Got, Read, Store, Write};
use tidewire_server_core::tables::{SourceError, TableConfig, TableLimits, Tables, Wanted};
use tidewire_server_core::{
    AuthError, Connections, Engine, Hub, Identity, Limiter, Revocations, ServerLimits, Timeouts, Verify,
};

const WALL: u64 = 1_795_228_800_000;
/// How many steps have faults.
const STEPS: u64 = 220;
/// How long it may take, after the faults, until all is well, in ms.
const HEAL_MS: u64 = 120_000;

/// What happened in scenarios.
#[derive(Debug, Clone, Default)]
pub struct TableFigures {
    /// Scenarios.
    pub scenarios: u64,
    /// Transactions of the database.
    pub commits: u64,
    /// Changes told to applications.
    pub changes: u64,
    /// How often each thing worth happening happened.
    pub marks: BTreeMap<String, u64>,
}

impl TableFigures {
    /// Adds another's.
    pub fn merge(&mut self, other: &TableFigures) {
        self.scenarios += other.scenarios;
        self.commits += other.commits;
        self.changes += other.changes;
        for (mark, count) in &other.marks {
            *self.marks.entry(mark.clone()).or_default() += count;
        }
    }

    pub(crate) fn mark(&mut self, mark: &str) {
        match self.marks.get_mut(mark) {
            Some(count) => *count += 1,
            None => drop(self.marks.insert(mark.to_owned(), 1)),
        }
    }

    /// What must happen in many scenarios, and did not.
    pub fn never(&self) -> Vec<&'static str> {
        MUST.iter().copied().filter(|mark| !self.marks.contains_key(*mark)).collect()
    }
}

const MUST: &[&str] = &[
    "cut",
    "crash",
    "server_crash",
    "slot_lost",
    "claim",
    "slow",
    "snapshot_fails",
    "tbl.ok:resumed",
    "tbl.ok:snapshot",
    "tbl.ok:epoch",
    "tbl.ok:trimmed",
    "tbl.ok:changed",
    "tbl.reset:truncated",
    "tbl.reset:epoch",
    "tbl.reset:access",
    "tbl.reset:missed",
    "tbl.tx:sid",
    "tbl.tx:feed",
    "tbl.tx:several",
    "tbl.page",
    "tbl.mark",
    "tbl.live",
    "tbl.seen",
    "why:commit",
    "why:moved_in",
    "why:moved_out",
    "why:resync",
    "behind again",
    "restored",
];

/// A filter, and what it says of a row.
pub(super) struct Asked {
    pub(super) filter: &'static str,
    pub(super) holds: fn(&Cells) -> bool,
}

fn number(cell: Option<&String>) -> Option<u64> {
    cell.and_then(|text| text.parse().ok())
}

fn is(cell: Option<&String>, text: &str) -> bool {
    cell.is_some_and(|cell| cell == text)
}

pub(super) const FILTERS: &[Asked] = &[
    Asked { filter: "", holds: |_| true },
    Asked { filter: "owner = ada", holds: |row| is(row[1].as_ref(), "ada") },
    Asked {
        filter: "state=in.(open,held)",
        holds: |row| is(row[2].as_ref(), "open") || is(row[2].as_ref(), "held"),
    },
    Asked { filter: "n>5", holds: |row| number(row[3].as_ref()).is_some_and(|n| n > 5) },
    Asked {
        filter: "n<8&state!=closed",
        holds: |row| {
            number(row[3].as_ref()).is_some_and(|n| n < 8)
                && row[2].as_ref().is_some_and(|state| state != "closed")
        },
    },
    Asked {
        filter: "or=(owner.is.null,n.gte.9)",
        holds: |row| row[1].is_none() || number(row[3].as_ref()).is_some_and(|n| n >= 9),
    },
    Asked { filter: "id = 3", holds: |row| is(row[0].as_ref(), "3") },
    Asked {
        filter: "state=not.is.null&owner=eq.bob",
        holds: |row| row[2].is_some() && is(row[1].as_ref(), "bob"),
    },
];

/// Who may see what: users the rows of the owner that their token names, and those that are open;
/// operators all.
const ACCESS: &str = r#"or=(owner.eq."{claim:org}",state.eq.open)"#;

fn may_see(claim: &str, row: &Cells) -> bool {
    claim == "*" || is(row[1].as_ref(), claim) || is(row[2].as_ref(), "open")
}

/// What a SELECT gives.
pub(super) fn select<'a>(rows: &'a Rows, asked: &Asked, claim: &str) -> Vec<&'a Cells> {
    rows.values().filter(|row| (asked.holds)(row) && may_see(claim, row)).collect()
}

/// A token is `user|claim`.
struct Tokens;

impl Verify for Tokens {
    fn verify(&self, token: &str, now: Now) -> Result<Identity, AuthError> {
        let (id, claim) = token.split_once('|').unwrap_or((token, "*"));
        let kind = if claim == "*" { UserKind::Operator } else { UserKind::User };
        Ok(Identity {
            user: User { id: id.to_owned(), name: id.to_owned(), kind },
            dialogs: HashSet::new(),
            claims: BTreeMap::from([("org".to_owned(), vec![claim.to_owned()])]),
            issued_s: Some(now.wall / 1000),
            expires_s: now.wall / 1000 + 864_000,
        })
    }
}

/// Nobody writes into dialogs here.
struct NoLog;

impl Store for NoLog {
    fn write(&self, _: Write, _: Done) {}
    fn read(&self, _: Read, _: Got) {}
}

struct World {
    pub(super) now: u64,
    pub(super) dice: Dice,
    pub(super) figures: TableFigures,
    database: Database,
    pub(super) engine: Arc<Engine>,
    limits: TableLimits,
    epoch: u64,
    /// How many commits the source has delivered.
    delivered: usize,
    /// Snapshots under way, and when they are answered.
    asked: Vec<(u64, Wanted)>,
    pub(super) faults: bool,
    /// For so many steps nothing happens.
    quiet: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let database = Database::new(dice.once_in(2));
        let limits = TableLimits {
            log_commits: dice.log_uniform(3, 400) as usize,
            log_ms: dice.log_uniform(2_000, 900_000),
            frame_bytes: 16_384,
            page_rows: 1 + dice.below(6) as usize,
            spread_ms: 1_000,
            at_once: [TableLimits::default().at_once, 0, 200][(seed % 3) as usize],
            ..TableLimits::default()
        };
        let engine = engine(&limits);
        let world = World {
            now: 1,
            dice,
            figures: TableFigures::default(),
            database,
            engine,
            limits,
            epoch: 1,
            delivered: 0,
            asked: Vec::new(),
            faults: true,
            quiet: 0,
        };
        world.tables().restart("e1", 0, &[]);
        world
    }

    pub(super) fn tables(&self) -> &Arc<Tables> {
        self.engine.tables.as_ref().unwrap_or_else(|| unreachable!("made with tables"))
    }

    pub(super) fn clock(&self) -> Now {
        Now { mono: Time(self.now), wall: WALL + self.now }
    }

    /// The source delivers commits and answers what it was asked.
    fn source(&mut self) {
        let most = if self.faults { self.dice.below(4) as usize } else { usize::MAX };
        let until = self.database.log.len().min(self.delivered.saturating_add(most));
        for at in self.delivered..until {
            self.tables().publish(self.database.log[at].commit.clone());
        }
        self.delivered = until;
        if until == self.database.log.len() && self.dice.once_in(3) {
            // What comes later has a greater position.
            self.tables().advance(self.database.position());
        }
        while self.tables().catch_up() {}
        for wanted in self.tables().take_wanted() {
            let delay = if self.faults { self.dice.below(400) } else { 5 };
            self.asked.push((self.now + delay, wanted));
        }
        let (due, later) = std::mem::take(&mut self.asked).into_iter().partition(|(at, _)| *at <= self.now);
        self.asked = later;
        for (_, wanted) in due {
            match wanted {
                Wanted::Snapshot(wanted) => {
                    let answer = if self.faults && self.dice.once_in(8) {
                        self.figures.mark("snapshot_fails");
                        Err(SourceError::Unavailable)
                    } else {
                        let mut snapshot = self.database.snapshot(self.now);
                        snapshot.rows.retain(|row| wanted.keeps(row));
                        Ok(snapshot)
                    };
                    self.tables().answered(wanted.id, answer);
                }
                Wanted::Locate { id, tx } => {
                    let found = self.database.log.iter().find(|logged| logged.commit.tx == tx);
                    let answer = found.map(|logged| logged.commit.position).ok_or(SourceError::UnknownTx);
                    self.tables().located(id, answer);
                }
                _ => {}
            }
        }
        self.tables().tick(Time(self.now));
    }

    /// The server's process dies and starts; the source keeps what tables said they need.
    fn crash(&mut self, peers: &mut [Peer]) {
        self.figures.mark("server_crash");
        let oldest = self.tables().oldest();
        peers.iter_mut().for_each(|peer| peer.cut(self.clock()));
        self.engine = engine(&self.limits);
        self.asked.clear();
        self.tables().restart(&format!("e{}", self.epoch), oldest, &self.database.unseen(self.now));
        self.delivered = self.database.log.partition_point(|logged| logged.commit.position <= oldest);
    }

    /// What the source kept is gone: it begins where the database is.
    fn lose_slot(&mut self) {
        self.figures.mark("slot_lost");
        self.epoch += 1;
        self.tables().restart(
            &format!("e{}", self.epoch),
            self.database.position(),
            &self.database.unseen(self.now),
        );
        self.delivered = self.database.log.len();
    }
}

fn engine(limits: &TableLimits) -> Arc<Engine> {
    let config = TableConfig {
        name: "rules".to_owned(),
        schema: Database::schema(),
        access: vec![(UserKind::User, ACCESS.to_owned()), (UserKind::Operator, "*".to_owned())],
    };
    let tables = Tables::new(vec![config], limits.clone(), Arc::new(|_| ()))
        .unwrap_or_else(|error| unreachable!("the table is right: {error}"));
    let limits = ServerLimits { queue_bytes: 65_536, queue_messages: 40, ..ServerLimits::default() };
    Arc::new(Engine {
        limits,
        timeouts: Timeouts::default(),
        handshakes: None,
        epoch: "log".to_owned(),
        auth: Arc::new(Tokens),
        store: Arc::new(NoLog),
        kinds: Kinds::standard(),
        hub: Arc::new(Hub::new(HashSet::new())),
        limiter: Limiter::default(),
        connections: Connections::new(100, 100, None, Box::new(|| ())),
        revocations: Revocations::default(),
        answers: None,
        tables: Some(Arc::new(tables)),
    })
}

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
        // Nobody does anything, and everybody is still to be told so.
        world.quiet -= 1;
        world.now += 700;
    } else if world.faults {
        world.quiet = if world.dice.once_in(60) { 20 } else { 0 };
        for _ in 0..world.dice.below(3) {
            let now = world.now;
            world.database.write(now, &mut world.dice);
        }
        if world.dice.once_in(90) {
            world.crash(peers);
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

/// The faults end: every view must be live with the rows that the database has, and then nothing
/// may be left.
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
