//! A client's live tables, with a server that sends what the input says. The client never panics,
//! and applying its updates gives the rows that it has.

use crate::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::tables::{TableEvent, TableQuery, TableStatus, TableUpdate, Tables};
use tidewire_core::wire::RowOp;
use tidewire_core::{Client, Config, ConnId, Event, Input, Now, Output, Restored, StoreChange, Time};

/// Maximum number of steps of a run, so that long inputs stay fast.
const STEPS: usize = 600;

/// Runs one client.
pub(crate) fn tables(data: &[u8]) {
    tables_reach(data);
}

/// Runs one client, and returns how far it came: live, changed, compared.
pub fn tables_reach(data: &[u8]) -> [bool; 3] {
    let now = Now { mono: Time(1_000), wall: 1_795_228_800_000 };
    let mut life = Life {
        client: Client::with_tables(Config::default(), [7; 32], now, Restored::default()),
        now,
        conn: None,
        views: Vec::new(),
        kept: BTreeMap::new(),
        sid: String::new(),
        pos: 0,
        reached: [false; 3],
    };
    life.client.connect(now);
    life.open("");
    life.drain();
    let mut bytes = Bytes(data);
    for _ in 0..STEPS {
        if bytes.is_empty() {
            break;
        }
        life.step(&mut bytes);
        life.drain();
        life.check();
    }
    life.reached
}

struct Life {
    client: Client<Tables>,
    now: Now,
    conn: Option<ConnId>,
    views: Vec<View>,
    kept: BTreeMap<String, String>,
    /// The last subscription, and the place of its last frame.
    sid: String,
    pos: u64,
    reached: [bool; 3],
}

struct View {
    id: u32,
    folded: BTreeMap<String, Value>,
    list: Vec<Arc<str>>,
}

impl Life {
    fn open(&mut self, filter: &str) {
        let limit = (self.views.len() % 2 == 1).then_some(2);
        let query = TableQuery { table: "t".into(), filter: filter.into(), limit, ..TableQuery::default() };
        if let Ok(id) = self.client.open_table(self.now, &query) {
            self.views.push(View { id, folded: BTreeMap::new(), list: Vec::new() });
        }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.below(64) {
            0 => self.cut(),
            1 => {
                self.now.mono = self.now.mono.after(1 << bytes.below(18));
                self.now.wall += 1;
            }
            2 if self.views.len() < 4 => self.open(["", "a=eq.1"][bytes.below(2)]),
            3 if self.views.len() > 1 => {
                let view = self.views.remove(bytes.below(self.views.len()));
                self.client.close_table(self.now, view.id);
            }
            4 => drop(self.views.first().map(|view| self.client.await_tx(self.now, view.id, "x"))),
            5 => {
                let text = String::from_utf8_lossy(bytes.some()).into_owned();
                self.receive(&text);
            }
            6 => self.restart(),
            _ => {
                let frames: Vec<Value> = (0..1 + bytes.below(6)).map(|_| self.frame(bytes)).collect();
                self.receive(&Value::Array(frames).to_string());
            }
        }
    }

    /// Mostly a frame that a server could send next.
    fn frame(&mut self, bytes: &mut Bytes<'_>) -> Value {
        let mut frame = match bytes.below(12) {
            0 => json!({"t":"tbl.ok","mode":(["snapshot", "resumed"][usize::from(bytes.below(4) == 0)]),
                "columns":[{"name":"k","type":"integer"},{"name":"v","type":(["text", "numeric"][bytes.below(2)])}],
                "key":[bytes.below(32) / 31],"rows":rows(bytes),"more":bytes.below(4) == 0}),
            1 => json!({"t":"tbl.page","rows":rows(bytes),"more":bytes.below(4) == 0}),
            2 | 3 => json!({"t":"tbl.live","feed":"f"}),
            4 => json!({"t":"tbl.mark"}),
            5 => json!({"t":"tbl.seen","tx":"x"}),
            6 if bytes.below(4) == 0 => json!({"t":"tbl.err","message":"","retryable":bytes.below(2) == 0,
                "code":(["forbidden", "not_subscribed", "table_unavailable"][bytes.below(3)])}),
            6 => json!({"t":"tbl.reset","reason":"r","spread_ms":bytes.byte()}),
            _ => {
                let txs: Vec<Value> = (0..1 + bytes.below(2)).map(|_| transaction(bytes)).collect();
                json!({"t":"tbl.tx","txs":txs})
            }
        };
        if bytes.below(2) == 0 && matches!(frame["t"].as_str(), Some("tbl.tx" | "tbl.mark")) {
            frame["feed"] = "f".into();
        } else {
            frame["sid"] = self.sid.as_str().into();
        }
        if bytes.below(16) > 0 {
            frame["prev"] = self.pos.into();
            self.pos += 1;
        } else {
            self.pos = bytes.byte().into();
        }
        frame["pos"] = self.pos.into();
        if bytes.below(4) > 0 {
            frame["cursor"] = format!("c{}", self.pos).into();
        }
        frame
    }

    fn cut(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.client.handle(self.now, Input::Closed { conn, code: 1006, cause: None });
        }
    }

    fn restart(&mut self) {
        let tables = self.kept.clone().into_iter().collect();
        let restored = Restored { tables, ..Restored::default() };
        self.client = Client::with_tables(Config::default(), [8; 32], self.now, restored);
        self.client.connect(self.now);
        self.conn = None;
        self.views.clear();
        self.open("");
    }

    fn receive(&mut self, text: &str) {
        if let Some(conn) = self.conn {
            self.client.handle(self.now, Input::Received { conn, text });
        }
    }

    fn drain(&mut self) {
        for _ in 0..5_000 {
            match self.client.poll(self.now) {
                Output::Open { conn, .. } => {
                    self.client.handle(self.now, Input::Opened { conn });
                    self.conn = Some(conn);
                    let welcome = json!({"t":"welcome","conn":"c","user":{"id":"u","name":"u","kind":"user"},"now":1,"ping_ms":25000,
                        "grace_ms":10000,"token_ttl_ms":86_400_000,"limits":{"message_bytes":65536,"subscriptions":100,"inflight":32,
                        "inflight_bytes":262_144,"ops":20,"per_ms":1000,"burst":40}});
                    self.receive(&welcome.to_string());
                }
                Output::FetchToken { ask, .. } => {
                    self.client.handle(self.now, Input::Token { ask, result: Ok("a.b.c".to_owned()) });
                }
                Output::Store { store, change } => {
                    match change {
                        StoreChange::PutTable { name, record } => drop(self.kept.insert(name, record.0)),
                        StoreChange::ClearTable { name } => drop(self.kept.remove(&name)),
                        _ => {}
                    }
                    self.client.handle(self.now, Input::Stored { store, result: Ok(()) });
                }
                Output::Close { conn, .. } => {
                    if self.conn == Some(conn) {
                        self.conn = None;
                    }
                }
                Output::Event(Event::Part(TableEvent { view, update })) => self.told(view, update),
                Output::Transmit { message, .. } => {
                    let frame: Value = serde_json::from_str(&message.0).expect("frames are JSON");
                    if frame["t"] == "tbl.sub" {
                        self.sid = frame["sid"].as_str().unwrap_or_default().to_owned();
                    }
                }
                Output::Request(_) | Output::Abort { .. } => panic!("there are sockets only"),
                Output::Event(_) => {}
                Output::Wait { until, .. } => {
                    assert!(until.is_none_or(|until| until > self.now.mono), "a wait for the past");
                    return;
                }
            }
        }
        panic!("the client never waits");
    }

    fn told(&mut self, view: u32, update: TableUpdate) {
        let Some(view) = self.views.iter_mut().find(|other| other.id == view) else { return };
        match update {
            TableUpdate::Status(TableStatus::Live) => self.reached[0] = true,
            TableUpdate::Status(_) | TableUpdate::Seen { .. } => {}
            TableUpdate::Rows(rows) => {
                view.folded = rows.all().map(|row| read(row)).collect();
                view.list = rows.rows;
            }
            TableUpdate::Changes { list, changes, tx, .. } => {
                self.reached[if tx.is_some() { 1 } else { 2 }] = true;
                for change in list {
                    assert!(change.apply(&mut view.list, |_, _| ()), "a change within the list");
                }
                for change in changes {
                    let (old, new) = (change.old.as_deref().map(read), change.new.as_deref().map(read));
                    if let Some((key, old)) = &old {
                        assert_eq!(view.folded.remove(key).as_ref(), Some(old), "what it was");
                    }
                    assert_eq!(old.is_none(), change.event == RowOp::Insert);
                    assert_eq!(new.is_none(), change.event == RowOp::Delete);
                    if let Some((key, new)) = new {
                        assert_eq!(view.folded.insert(key, new), None, "one row of a key");
                    }
                }
            }
        }
    }

    fn check(&mut self) {
        for view in &mut self.views {
            let has = self.client.table_rows(view.id);
            let rows: BTreeMap<String, Value> = has.all().map(|row| read(row)).collect();
            assert_eq!(view.folded, rows, "what was told makes the rows");
            assert_eq!(view.list, has.rows, "and the list that is shown");
        }
    }
}

fn rows(bytes: &mut Bytes<'_>) -> Value {
    (0..bytes.below(4)).map(|key| row(bytes, key)).collect()
}

fn row(bytes: &mut Bytes<'_>, key: usize) -> Value {
    let value = [json!("1"), json!("0.5"), Value::Null, json!({"a": [1]})][bytes.below(4)].clone();
    match bytes.below(32) {
        0 => json!([key]),
        _ => json!([key, value]),
    }
}

fn transaction(bytes: &mut Bytes<'_>) -> Value {
    let changes: Vec<Value> = (0..bytes.below(3)).map(|_| change(bytes)).collect();
    json!(["x", 1, changes])
}

fn change(bytes: &mut Bytes<'_>) -> Value {
    let key = bytes.below(4);
    let row = row(bytes, key);
    let mut change = match bytes.below(3) {
        0 => json!({"op":"insert","row":row}),
        1 => json!({"op":"update","row":row}),
        _ => json!({"op":"delete","key":[row[0].clone()]}),
    };
    match bytes.below(12) {
        0 => change["same"] = json!([bytes.below(3)]),
        1 => change["moved"] = true.into(),
        2 => change["key"] = json!([bytes.below(4)]),
        _ => {}
    }
    change
}

fn read(row: &str) -> (String, Value) {
    let row: Value = serde_json::from_str(row).expect("rows are JSON");
    (row["k"].to_string(), row)
}
