//! Live tables against a model: whatever happens to clients and to the source, each client's rows
//! become those of the filtered table.

use crate::rig::dice::Dice;
use crate::rig::tables::{Source, View, resume, row, sub, tables_with, welcome};
use crate::rig::{Client, Rig};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidewire_core::tables::Value as Cell;
use tidewire_core::tables::filter::{Column, Filter};
use tidewire_core::wire::UserKind;
use tidewire_server_core::ServerLimits;
use tidewire_server_core::tables::{Commit, Seen, Snapshot, SourceRequest, TableLimits, Tables};

const FILTERS: [&str; 8] = [
    "",
    "room=eq.1",
    "room=in.(1,2)",
    "room=gt.1",
    "owner=eq.ada&room=eq.2",
    "or=(room.eq.1,owner.eq.bob)",
    "owner=not.eq.ada",
    "id=lt.5&owner=like.*a*",
];

/// A client that follows one filter, as a client core would.
struct Follower {
    filter: &'static str,
    org: u64,
    client: Option<Client>,
    view: View,
}

impl Follower {
    fn connect(&mut self, rig: &Rig) {
        let mut client = welcome(rig, &format!("ada|0|org={}", self.org));
        let frame = match self.view.cursor.clone() {
            Some(cursor) if self.view.complete => resume(self.filter, &cursor),
            _ => sub(self.filter),
        };
        // Frames of the connection before can't come any more.
        self.view.feed = None;
        client.send(rig, &frame);
        self.client = Some(client);
    }

    fn subscribe(&mut self, rig: &Rig) {
        if let Some(client) = &mut self.client {
            (self.view.feed, self.view.reset) = (None, None);
            client.send(rig, &sub(self.filter));
        }
    }

    /// Takes a few frames; after each that ends a transaction the rows are those of some moment of
    /// the table.
    fn read(&mut self, rig: &Rig, most: usize, moments: &Moments) {
        let Some(client) = &mut self.client else { return };
        for _ in 0..most {
            let Some(frame) = client.try_next() else { break };
            if frame["t"] == "tbl.err" {
                assert_eq!(frame["retryable"], true, "{frame}");
                client.send(rig, &sub(self.filter));
                continue;
            }
            self.view.take("s", &frame);
            if let Some(cursor) = frame["cursor"].as_str() {
                let position = cursor.split('.').nth(1).unwrap().parse().unwrap();
                let expected =
                    moments.rows(cursor.split('.').next().unwrap(), position, self.filter, self.org);
                assert_eq!(self.view.rows, expected, "after {frame}");
            }
        }
        assert!(client.close.is_none(), "{:?}", client.close);
    }

    fn next_page(&mut self, rig: &Rig) {
        if self.view.more
            && let Some(client) = &mut self.client
        {
            client.send(rig, &json!({"t": "tbl.next", "sid": "s"}));
        }
    }
}

type Table = BTreeMap<i64, tidewire_server_core::tables::Row>;

/// The table after each commit of each epoch.
#[derive(Default)]
struct Moments(BTreeMap<(String, u64), Table>);

impl Moments {
    fn rows(&self, epoch: &str, position: u64, filter: &str, org: u64) -> BTreeMap<String, Value> {
        let upto = (epoch.to_owned(), 0)..=(epoch.to_owned(), position);
        let (_, table) = self.0.range(upto).next_back().unwrap();
        select(table, filter, org)
    }
}

/// What `SELECT` says.
fn select(table: &Table, filter: &str, org: u64) -> BTreeMap<String, Value> {
    let schema = crate::rig::tables::tasks();
    let columns: Vec<Column<'_>> =
        schema.columns.iter().map(|column| Column { name: &column.name, kind: column.kind }).collect();
    let predicate = (!filter.is_empty()).then(|| Filter::parse(filter).unwrap().bind(&columns).unwrap());
    let permission = Filter::parse(&format!("room=lte.{org}")).unwrap().bind(&columns).unwrap();
    let mut rows = BTreeMap::new();
    for (id, row) in table {
        let texts = row.iter().map(|cell| match cell {
            tidewire_server_core::tables::Cell::Text(text) => text.to_string(),
            other => panic!("{other:?}"),
        });
        let texts: Vec<String> = texts.collect();
        let values: Vec<Cell> = texts
            .iter()
            .zip(&schema.columns)
            .map(|(text, column)| Cell::parse(text, column.kind).unwrap())
            .collect();
        if permission.holds(&values) && predicate.as_ref().is_none_or(|predicate| predicate.holds(&values)) {
            rows.insert(json!([id.to_string()]).to_string(), json!(texts));
        }
    }
    rows
}

/// The source, whose stream is behind what it has committed, and whose snapshots see some of what
/// is not told yet.
struct World {
    dice: Dice,
    source: Source,
    tables: Arc<Tables>,
    moments: Moments,
    epoch: u64,
    unpublished: Vec<Commit>,
    answers: Vec<SourceRequest>,
    counter: u64,
}

impl World {
    fn write(&mut self) {
        for _ in 0..=self.dice.roll(3) {
            self.counter += 1;
            let id = i64::try_from(self.dice.roll(12)).unwrap();
            let room = i64::try_from(self.dice.roll(4)).unwrap();
            let owner = *self.dice.one(&["ada", "bob"]);
            let body =
                format!("{}{}", self.counter, "x".repeat(usize::try_from(self.dice.roll(600)).unwrap()));
            let there = self.source.rows.contains_key(&id);
            match self.dice.roll(4) {
                0 if there => {
                    self.source.delete(id);
                }
                1 if there && !self.source.rows.contains_key(&(id + 20)) => {
                    self.source.replace(id, row(id + 20, room, owner, &body));
                }
                2 if self.source.rows.contains_key(&(id + 20)) => {
                    self.source.delete(id + 20);
                }
                _ => {
                    self.source.put(row(id, room, owner, &body));
                }
            }
        }
        let commit = self.source.next_commit();
        self.remember();
        self.unpublished.push(commit);
    }

    fn remember(&mut self) {
        let moment = (format!("e{}", self.epoch), self.source.position);
        self.moments.0.insert(moment, self.source.rows.clone());
    }

    fn publish(&mut self) {
        if !self.unpublished.is_empty() {
            let commit = self.unpublished.remove(0);
            self.tables.publish(commit);
        }
    }

    /// Takes a snapshot of now, in which the stream may be behind, or which sees commits out of
    /// order.
    fn answer(&mut self) {
        self.answers.extend(self.tables.take_requests());
        if self.answers.is_empty() {
            return;
        }
        let SourceRequest::Snapshot(wanted) = self.answers.remove(0) else { panic!("nobody waits") };
        let numbers: BTreeSet<u64> = self.unpublished.iter().filter_map(|commit| commit.xid).collect();
        let next = self.source.position / 10 + 1;
        let mut rows = self.source.rows.clone();
        let mut seen = Seen::UpTo(self.source.position);
        if self.dice.roll(2) == 0 {
            // The newest commit alone is not visible yet, although the log has it.
            let running: Vec<u64> = match (self.dice.roll(2), numbers.last()) {
                (0, Some(last)) => vec![*last],
                _ => Vec::new(),
            };
            if !running.is_empty() {
                let epoch = format!("e{}", self.epoch);
                let before = (epoch.clone(), 0)..(epoch, self.source.position);
                rows = self.moments.0.range(before).next_back().unwrap().1.clone();
            }
            seen = Seen::Transactions {
                xmin: running.first().copied().unwrap_or(next),
                xmax: next,
                running,
                until: self.source.position + 1,
            };
        }
        let rows = rows.into_values().filter(|row| wanted.keeps(row)).collect();
        self.tables.finish_snapshot(wanted.id, Ok(Snapshot { rows, seen }));
    }

    fn restart(&mut self) {
        self.epoch += 1;
        self.unpublished.clear();
        self.source.position += 10;
        self.remember();
        self.tables.restart(&format!("e{}", self.epoch), self.source.position, &[]);
    }
}

fn scenario(seed: u64) -> (usize, usize) {
    // What is done at once, and what is left to the driver.
    let at_once = [TableLimits::default().at_once, 0, 30, 100][usize::try_from(seed % 4).unwrap()];
    let limits = TableLimits { log_commits: 30, frame_bytes: 4_000, at_once, ..TableLimits::default() };
    let tables = tables_with(&[(UserKind::User, "room=lte.{claim:org}")], limits);
    let queue = ServerLimits { queue_bytes: 10_000, ..ServerLimits::default() };
    let mut rig = Rig::with(|engine| {
        (engine.tables, engine.limits) = (Some(tables.clone()), queue);
        engine.connections = tidewire_server_core::Connections::new(100, 100, None, Box::new(|| ()));
    });
    let mut dice = Dice(seed);
    let mut followers: Vec<Follower> = (0..6)
        .map(|_| Follower {
            filter: dice.one::<&'static str>(&FILTERS),
            org: 3,
            client: None,
            view: View::default(),
        })
        .collect();
    let mut world = World {
        dice,
        source: Source::new(&tables),
        tables: tables.clone(),
        moments: Moments::default(),
        epoch: 1,
        unpublished: Vec::new(),
        answers: Vec::new(),
        counter: 0,
    };
    world.remember();
    let mut resets = 0;
    for step in 0..400 {
        let who = usize::try_from(world.dice.roll(6)).unwrap();
        match world.dice.roll(20) {
            0..=5 => world.write(),
            6..=10 => world.publish(),
            11 | 12 => world.answer(),
            13 => {
                rig.pass(3_000);
                tables.tick(rig.now.mono);
            }
            14 if step % 5 == 0 => followers[who].client = None,
            15 if step % 40 == 0 => world.restart(),
            16 if step % 4 == 0 => {
                let org = 1 + world.dice.roll(3);
                let follower = &mut followers[who];
                follower.org = org;
                if let Some(client) = &mut follower.client {
                    client.send(&rig, &json!({"t": "auth", "token": format!("ada|0|org={org}")}));
                    // What was sent to the other claims is not looked at.
                    while client.try_next().is_some() {}
                    follower.view = View::default();
                    follower.subscribe(&rig);
                }
            }
            17 => followers[who].next_page(&rig),
            18 => drop(tables.catch_up()),
            _ => {
                let most = usize::try_from(world.dice.roll(6)).unwrap();
                followers[who].read(&rig, most, &world.moments);
                if followers[who].client.is_none() {
                    followers[who].connect(&rig);
                }
            }
        }
        for follower in &mut followers {
            if follower.view.reset.is_some() {
                resets += 1;
                follower.subscribe(&rig);
            }
        }
    }
    // Calm: all is told, read and answered.
    for _ in 0..200 {
        world.publish();
        world.answer();
        while tables.catch_up() {}
        world.tables.advance(if world.unpublished.is_empty() { world.source.position + 1 } else { 0 });
        for follower in &mut followers {
            follower.read(&rig, 1_000, &world.moments);
            if follower.client.is_none() {
                follower.connect(&rig);
            }
            if follower.view.reset.is_some() {
                follower.subscribe(&rig);
            }
            follower.next_page(&rig);
        }
    }
    let mut transactions = 0;
    for follower in &followers {
        let expected = select(&world.source.rows, follower.filter, follower.org);
        assert_eq!(follower.view.rows, expected, "seed {seed}, filter `{}`", follower.filter);
        assert!(follower.view.feed.is_some() && follower.view.complete, "seed {seed}: not live");
        transactions += follower.view.transactions;
    }
    drop(followers);
    let counts = tables.counts();
    assert_eq!((counts.subscriptions, counts.groups, counts.pending), (0, 0, 0));
    assert_eq!((counts.unindexed, counts.waits, counts.snapshot_bytes), (0, 0, 0));
    (resets, transactions)
}

#[test]
fn every_clients_rows_become_those_of_the_table() {
    let (mut resets, mut transactions) = (0, 0);
    let first = std::env::var("TIDEWIRE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = first.map_or(0..150, |seed| seed..seed + 1);
    for seed in seeds {
        let result = std::panic::catch_unwind(|| scenario(seed));
        let (more_resets, more) = result.unwrap_or_else(|_| panic!("seed {seed}"));
        (resets, transactions) = (resets + more_resets, transactions + more);
    }
    assert!(
        first.is_some() || resets > 50 && transactions > 500,
        "{resets} resets, {transactions} transactions"
    );
}

#[test]
fn the_index_finds_what_asking_everybody_finds() {
    let limits = TableLimits {
        subscriptions: 5_000,
        unindexed: 5_000,
        unindexed_each: 5_000,
        ..TableLimits::default()
    };
    let tables = tables_with(&[(UserKind::User, "*")], limits);
    let rig = crate::rig::tables::rig(&tables);
    let mut source = Source::new(&tables);
    let mut dice = Dice(7);
    let mut client = welcome(&rig, "ada");
    let mut filters = BTreeSet::new();
    while filters.len() < 3_000 {
        let (a, b) = (dice.roll(1_000), dice.roll(1_000));
        filters.insert(match dice.roll(7) {
            0 => format!("room=eq.{a}"),
            1 => format!("room=in.({a},{b},{})", a / 2),
            2 => format!("room=eq.{a}&id=gt.{b}"),
            3 => format!("owner=eq.u{a}"),
            4 => format!("or=(room.eq.{a},owner.eq.u{b})"),
            5 => format!("owner=in.(u{a})&room=not.eq.{b}"),
            _ => format!("room=gt.{}&room=lt.{}", a.min(b), a.min(b) + 3),
        });
    }
    let filters: Vec<String> = filters.into_iter().collect();
    let mut feeds = BTreeMap::new();
    for (at, filter) in filters.iter().enumerate() {
        let frame = json!({"t": "tbl.sub", "sid": at.to_string(), "table": "tasks", "filter": filter});
        client.send(&rig, &frame);
        source.answer();
        client.next("tbl.ok");
        let live = client.next("tbl.live");
        feeds.insert(live["feed"].as_str().unwrap().to_owned(), at);
    }
    assert_eq!(tables.counts().groups, 3_000);
    let mut told = 0;
    for _ in 0..200 {
        let (id, room) = (i64::try_from(dice.roll(50)).unwrap(), i64::try_from(dice.roll(1_000)).unwrap());
        let before = source.rows.clone();
        match dice.roll(5) {
            0 if before.contains_key(&id) => {
                source.delete(id);
            }
            _ => {
                source.put(row(id, room, &format!("u{}", dice.roll(1_000)), "x"));
            }
        }
        source.commit();
        let mut found = BTreeSet::new();
        while let Some(frame) = client.try_next() {
            assert!(found.insert(feeds[frame["feed"].as_str().unwrap()]));
        }
        let only = |table: &Table| {
            table.iter().filter(|(key, _)| **key == id).map(|(k, r)| (*k, r.clone())).collect()
        };
        let (before, after): (Table, Table) = (only(&before), only(&source.rows));
        let naive: BTreeSet<usize> = (0..filters.len())
            .filter(|at| {
                let rows = |table: &Table| !select(table, &filters[*at], 2_000).is_empty();
                rows(&before) || rows(&after)
            })
            .collect();
        assert_eq!(found, naive);
        told += found.len();
    }
    assert!(told > 200, "{told}");
}
