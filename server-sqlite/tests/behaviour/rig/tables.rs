//! A source of changes in memory, and a client's view of a subscription.

use super::{Client, Rig};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::tables::Type;
use tidewire_core::wire::UserKind;
use tidewire_server_core::Budget;
use tidewire_server_core::tables::{
    Cell, Change, Column, Commit, Row, Schema, Seen, Snapshot, SourceError, SourceRequest, TableConfig,
    TableLimits, Tables,
};

pub fn schema(columns: &[(&str, &str)]) -> Schema {
    let column = |(name, declared): &(&str, &str)| Column {
        name: (*name).to_owned(),
        declared: (*declared).to_owned(),
        kind: Type::named(declared),
        tracked: true,
    };
    Schema { columns: columns.iter().map(column).collect(), key: vec![0] }
}

/// `id, room, owner, body`.
pub fn tasks() -> Schema {
    let mut schema = schema(&[("id", "bigint"), ("room", "bigint"), ("owner", "text"), ("body", "text")]);
    schema.columns[3].tracked = false;
    schema
}

pub fn config(access: &[(UserKind, &str)]) -> TableConfig {
    let access = access.iter().map(|(kind, text)| (*kind, (*text).to_owned())).collect();
    TableConfig { name: "tasks".to_owned(), schema: tasks(), access }
}

pub fn tables_with(access: &[(UserKind, &str)], limits: TableLimits) -> Arc<Tables> {
    let tables = Arc::new(Tables::new(vec![config(access)], limits, Arc::new(|_| ())).unwrap());
    tables.restart("e1", 0, &[]);
    tables
}

pub fn tables() -> Arc<Tables> {
    tables_with(&[(UserKind::User, "*")], TableLimits::default())
}

pub fn rig(tables: &Arc<Tables>) -> Rig {
    Rig::with(|engine| {
        engine.tables = Some(tables.clone());
        engine.limits.table_subs = Budget { ops: 1, per_ms: 1, burst: 100_000 };
    })
}

pub fn row(id: i64, room: i64, owner: &str, body: &str) -> Row {
    let text = |text: String| Cell::Text(text.into());
    [text(id.to_string()), text(room.to_string()), text(owner.to_owned()), text(body.to_owned())].into()
}

/// The table `tasks`, and what was told of it.
pub struct Source {
    pub tables: Arc<Tables>,
    pub rows: BTreeMap<i64, Row>,
    pub position: u64,
    changes: Vec<Change>,
}

fn id_of(row: &Row) -> i64 {
    let Cell::Text(id) = &row[0] else { panic!("a key") };
    id.parse().unwrap()
}

impl Source {
    pub fn new(tables: &Arc<Tables>) -> Source {
        Source { tables: tables.clone(), rows: BTreeMap::new(), position: 0, changes: Vec::new() }
    }

    /// Writes a row in the transaction under way.
    pub fn put(&mut self, row: Row) -> &mut Source {
        let old = self.rows.insert(id_of(&row), row.clone());
        self.changes.push(Change::Row { table: 0, old, new: Some(row) });
        self
    }

    /// Gives the row with key `id` other values, also another key.
    pub fn replace(&mut self, id: i64, row: Row) -> &mut Source {
        let old = self.rows.remove(&id);
        self.rows.insert(id_of(&row), row.clone());
        self.changes.push(Change::Row { table: 0, old, new: Some(row) });
        self
    }

    pub fn delete(&mut self, id: i64) -> &mut Source {
        let old = self.rows.remove(&id);
        self.changes.push(Change::Row { table: 0, old, new: None });
        self
    }

    pub fn push(&mut self, change: Change) -> &mut Source {
        self.changes.push(change);
        self
    }

    pub fn next_commit(&mut self) -> Commit {
        self.position += 10;
        Commit {
            position: self.position,
            xid: Some(self.position / 10),
            tx: format!("x{}", self.position),
            at: 1_000 + self.position,
            changes: std::mem::take(&mut self.changes),
            places: Vec::new(),
        }
    }

    pub fn commit(&mut self) {
        let commit = self.next_commit();
        self.tables.publish(commit);
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot { rows: self.rows.values().cloned().collect(), seen: Seen::UpTo(self.position) }
    }

    /// Answers what was asked.
    pub fn answer(&self) {
        for wanted in self.tables.take_requests() {
            match wanted {
                SourceRequest::Snapshot(wanted) => {
                    let mut snapshot = self.snapshot();
                    snapshot.rows.retain(|row| wanted.keeps(row));
                    self.tables.finish_snapshot(wanted.id, Ok(snapshot));
                }
                SourceRequest::Locate { id, tx } => {
                    let position = tx.strip_prefix('x').and_then(|position| position.parse().ok());
                    self.tables.finish_locate(id, position.ok_or(SourceError::UnknownTx));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// What a client makes of the frames of one subscription; it checks all that the protocol promises.
#[derive(Debug, Default, Clone)]
pub struct View {
    pub rows: BTreeMap<String, Value>,
    pub cursor: Option<String>,
    pub feed: Option<String>,
    /// Whether all pages have come.
    pub complete: bool,
    pub more: bool,
    pub reset: Option<String>,
    pub transactions: usize,
    last: u64,
    key: Vec<usize>,
    building: bool,
}

impl View {
    fn key_of(&self, row: &Value) -> String {
        let key: Vec<&Value> = self.key.iter().map(|at| &row[*at]).collect();
        json!(key).to_string()
    }

    fn insert_page(&mut self, frame: &Value) {
        for row in frame["rows"].as_array().unwrap() {
            let twice = self.rows.insert(self.key_of(row), row.clone());
            assert_eq!(twice, None, "a row twice in a snapshot");
        }
        self.more = frame["more"] == true;
        if !self.more {
            (self.building, self.complete) = (false, true);
        }
    }

    fn link(&mut self, frame: &Value) {
        assert_eq!(frame["prev"], self.last, "a hole before {frame}, in {self:?}");
        let pos = frame["pos"].as_u64().unwrap();
        assert!(pos > self.last, "{frame} does not ascend from {}", self.last);
        self.last = pos;
        if let Some(cursor) = frame["cursor"].as_str() {
            assert!(cursor.len() <= 256);
            self.cursor = Some(cursor.to_owned());
        }
    }

    /// Takes a frame if it is for this subscription.
    pub fn take(&mut self, sid: &str, frame: &Value) {
        let mine =
            frame["sid"] == sid || self.feed.is_some() && frame["feed"].as_str() == self.feed.as_deref();
        if !mine {
            return;
        }
        match frame["t"].as_str().unwrap() {
            "tbl.ok" => {
                let resumed = frame["mode"] == "resumed";
                let before = std::mem::take(self);
                self.last = frame["pos"].as_u64().unwrap();
                self.key = serde_json::from_value(frame["key"].clone()).unwrap();
                if resumed {
                    (self.rows, self.complete, self.cursor) = (before.rows, true, before.cursor);
                    assert_eq!(frame["cursor"].as_str(), self.cursor.as_deref());
                } else {
                    self.building = true;
                    self.insert_page(frame);
                }
            }
            "tbl.page" => {
                assert!(self.building && self.more);
                self.insert_page(frame);
            }
            "tbl.live" => {
                assert!(self.complete);
                self.link(frame);
                self.feed = Some(frame["feed"].as_str().unwrap().to_owned());
            }
            "tbl.mark" => self.link(frame),
            "tbl.tx" => {
                assert!(self.complete);
                self.link(frame);
                for tx in frame["txs"].as_array().unwrap() {
                    self.transactions += 1;
                    tx[2].as_array().unwrap().iter().for_each(|change| self.change(change));
                }
            }
            "tbl.reset" => self.reset = Some(frame["reason"].as_str().unwrap().to_owned()),
            "tbl.seen" => {}
            other => panic!("{other}: {frame}"),
        }
    }

    fn change(&mut self, change: &Value) {
        assert_eq!(change.get("key").is_some(), change["op"] == "delete", "{change}");
        let key = change.get("row").map_or_else(|| change["key"].to_string(), |row| self.key_of(row));
        match change["op"].as_str().unwrap() {
            "insert" => {
                let there = self.rows.insert(key, change["row"].clone());
                assert_eq!(there, None, "an insert of a row that is there: {change}");
                assert!(change.get("same").is_none());
            }
            "update" => {
                let old = self.rows.get(&key).unwrap_or_else(|| panic!("an update of nothing: {change}"));
                let mut row = change["row"].clone();
                for at in change["same"].as_array().into_iter().flatten() {
                    let at = usize::try_from(at.as_u64().unwrap()).unwrap();
                    row[at] = old[at].clone();
                }
                self.rows.insert(key, row);
            }
            "delete" => {
                assert!(change.get("row").is_none(), "a delete has its key and nothing else: {change}");
                assert!(self.rows.remove(&key).is_some(), "a delete of nothing: {change}");
            }
            other => panic!("{other}"),
        }
    }
}

/// A client that is welcome.
pub fn welcome(rig: &Rig, token: &str) -> Client {
    let mut client = rig.connect();
    client.send(rig, &super::hello(token, &json!([])));
    client.next("welcome");
    client
}

pub fn sub(filter: &str) -> Value {
    json!({"t": "tbl.sub", "sid": "s", "table": "tasks", "filter": filter})
}

pub fn resume(filter: &str, cursor: &str) -> Value {
    json!({"t": "tbl.sub", "sid": "s", "table": "tasks", "filter": filter, "cursor": cursor})
}
