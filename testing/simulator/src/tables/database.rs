//! A database as its source presents it: commits in order, and snapshots. As a PostgreSQL database
//! it logs commits before snapshots show them.

use crate::dice::Dice;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidewire_core::tables::Type;
use tidewire_server_core::tables::{Cell, Change, Column, Commit, Row, Schema, Seen, Snapshot};

/// Keys of rows are below this.
const KEYS: u64 = 12;
/// Longest time from logging a commit to its visibility, in ms.
const UNSEEN_MS: u64 = 40;
/// One of this many commits waits for a standby, and is visible later by at most the second number,
/// in ms.
const WAITS_IN: u64 = 50;
const WAITS_MS: u64 = 2_000;

/// A row's cells: id, owner, state, n, body.
pub(super) type Cells = [Option<String>; 5];
/// All rows, by their keys.
pub(super) type Rows = BTreeMap<u64, Cells>;

pub(super) struct Database {
    /// Whether it acts as PostgreSQL; otherwise as SQLite.
    postgres: bool,
    /// All rows after each commit, beginning with the empty table.
    pub(super) history: Vec<Rows>,
    pub(super) log: Vec<Logged>,
    position: u64,
}

pub(super) struct Logged {
    pub(super) commit: Commit,
    /// The rows that it changed, with their new cells.
    written: Vec<(u64, Option<Cells>)>,
    truncated: bool,
    /// When it becomes visible to snapshots.
    visible_at: u64,
}

impl Database {
    pub(super) fn new(postgres: bool) -> Database {
        Database { postgres, history: vec![Rows::new()], log: Vec::new(), position: 0 }
    }

    pub(super) fn schema() -> Schema {
        let column = |(name, declared): (&str, &str)| Column {
            name: name.to_owned(),
            declared: declared.to_owned(),
            kind: Type::named(declared),
            tracked: name != "body",
        };
        let columns =
            [("id", "bigint"), ("owner", "text"), ("state", "text"), ("n", "bigint"), ("body", "text")];
        Schema { columns: columns.map(column).to_vec(), key: vec![0] }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn rows(&self) -> &Rows {
        &self.history[self.history.len() - 1]
    }

    /// Commits a random transaction; none if the rows that it needs are locked.
    pub(super) fn write(&mut self, now: u64, dice: &mut Dice) {
        let locked: BTreeSet<u64> = self
            .log
            .iter()
            .rev()
            .take(50)
            .filter(|logged| logged.visible_at > now)
            .flat_map(|logged| logged.written.iter().map(|(key, _)| *key))
            .collect();
        let mut rows = self.rows().clone();
        let (mut changes, mut written) = (Vec::new(), Vec::new());
        let truncated = dice.once_in(150) && locked.is_empty();
        if truncated {
            written.extend(rows.keys().map(|key| (*key, None)));
            rows.clear();
            changes.push(Change::Lost { table: 0, reason: "truncated" });
        }
        for _ in 0..=dice.below(3) {
            let key = dice.below(KEYS);
            if locked.contains(&key) {
                continue;
            }
            match rows.get(&key).cloned() {
                None => {
                    let new = some_row(key, dice);
                    changes.push(self.change(None, Some(&new), dice));
                    self.put(&mut rows, &mut written, key, Some(new));
                }
                Some(old) if dice.once_in(4) => {
                    changes.push(self.change(Some(&old), None, dice));
                    self.put(&mut rows, &mut written, key, None);
                }
                Some(old) => {
                    let mut new = some_row(key, dice);
                    let other = dice.below(KEYS);
                    let moves = dice.once_in(6) && !rows.contains_key(&other) && !locked.contains(&other);
                    if moves {
                        new[0] = Some(other.to_string());
                    }
                    if dice.once_in(2) {
                        new[4].clone_from(&old[4]);
                    }
                    changes.push(self.change(Some(&old), Some(&new), dice));
                    if moves {
                        self.put(&mut rows, &mut written, key, None);
                    }
                    self.put(&mut rows, &mut written, if moves { other } else { key }, Some(new));
                }
            }
        }
        let most = if dice.once_in(WAITS_IN) { WAITS_MS } else { UNSEEN_MS };
        let unseen = if self.postgres { dice.below(most) } else { 0 };
        self.position += 1 + dice.below(5);
        let number = self.history.len() as u64;
        let commit = Commit {
            position: self.position,
            xid: self.postgres.then_some(number),
            tx: format!("x{number}"),
            at: now,
            changes,
            places: Vec::new(),
        };
        self.history.push(rows);
        self.log.push(Logged { commit, written, truncated, visible_at: now + unseen });
    }

    fn put(&self, rows: &mut Rows, written: &mut Vec<(u64, Option<Cells>)>, key: u64, row: Option<Cells>) {
        match &row {
            Some(row) => drop(rows.insert(key, row.clone())),
            None => drop(rows.remove(&key)),
        }
        written.push((key, row));
    }

    /// A change as the source reports it. PostgreSQL leaves out old cells that are not part of the
    /// replica identity, and long values that did not change.
    fn change(&self, old: Option<&Cells>, new: Option<&Cells>, dice: &mut Dice) -> Change {
        let same = old.zip(new).is_some_and(|(old, new)| old[4] == new[4]);
        let short = self.postgres && same && dice.once_in(2);
        let cells = |row: &Cells, hidden: bool| -> Row {
            let cell = |(at, value): (usize, &Option<String>)| match value {
                _ if at == 4 && hidden => Cell::Unchanged,
                Some(text) => Cell::Text(text.as_str().into()),
                None => Cell::Null,
            };
            Arc::from(row.iter().enumerate().map(cell).collect::<Vec<_>>())
        };
        Change::Row {
            table: 0,
            old: old.map(|row| cells(row, self.postgres)),
            new: new.map(|row| cells(row, short)),
        }
    }

    /// The ids of logged transactions that a snapshot does not show yet.
    pub(super) fn unseen(&self, now: u64) -> Vec<u64> {
        let unseen = self.log.iter().filter(|logged| logged.visible_at > now);
        unseen.filter_map(|logged| logged.commit.xid).collect()
    }

    /// A snapshot of the present rows.
    pub(super) fn snapshot(&self, now: u64) -> Snapshot {
        let first_unseen = self.log.iter().position(|logged| logged.visible_at > now);
        let known = first_unseen.unwrap_or(self.log.len());
        let mut rows = self.history[known].clone();
        let (mut xmin, mut running) = (self.history.len() as u64, Vec::new());
        for (at, logged) in self.log.iter().enumerate().skip(known) {
            if logged.visible_at > now {
                let xid = at as u64 + 1;
                xmin = xmin.min(xid);
                running.push(xid);
                continue;
            }
            if logged.truncated {
                rows.clear();
            }
            for (key, row) in &logged.written {
                match row {
                    Some(row) => drop(rows.insert(*key, row.clone())),
                    None => drop(rows.remove(key)),
                }
            }
        }
        let cell = |value: &Option<String>| match value {
            Some(text) => Cell::Text(text.as_str().into()),
            None => Cell::Null,
        };
        let rows = rows.values().map(|row| Arc::from(row.iter().map(cell).collect::<Vec<_>>())).collect();
        let seen = if self.postgres {
            let xmax = self.history.len() as u64;
            Seen::Transactions { xmin, xmax, running, until: self.position + 1 }
        } else {
            Seen::UpTo(self.position)
        };
        Snapshot { rows, seen }
    }
}

fn some_row(key: u64, dice: &mut Dice) -> Cells {
    let pick = |choices: &[Option<&str>], dice: &mut Dice| {
        choices[dice.below(choices.len() as u64) as usize].map(str::to_owned)
    };
    let owner = pick(&[Some("ada"), Some("bob"), Some("eve"), None], dice);
    let state = pick(&[Some("open"), Some("held"), Some("closed"), None], dice);
    let n = if dice.once_in(6) { None } else { Some(dice.below(12).to_string()) };
    let body = Some("b".repeat(dice.below(60) as usize));
    [Some(key.to_string()), owner, state, n, body]
}
