//! A client with views of the table: its core, its connection, its disk, and an application that
//! follows its updates.

use crate::tables::database::Cells;
use crate::tables::filters::{Asked, FILTERS, select};
use crate::tables::world::World;
use crate::watch::Broken;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tidewire_core::tables::{TableEvent, TableQuery, TableRows, TableStatus, TableUpdate, Tables, Why};
use tidewire_core::wire::RowOp;
use tidewire_core::{Client, Config, ConnId, Event, Input, Now, Output, Restored, StoreChange, Time};
use tidewire_server_core::{Flow, Peer as From, Session, ToWrite};

const OWNERS: [&str; 4] = ["ada", "bob", "eve", "*"];
/// Longest time for which a client reads nothing, in ms.
const SLOW_MS: u64 = 20_000;
/// How long after a new token a view may still show what the previous token allowed, in ms. The
/// server's answer may wait behind unread messages.
const CLAIM_MS: u64 = SLOW_MS + 5_000;

pub(super) struct Peer {
    number: u64,
    core: Client<Tables>,
    kept: BTreeMap<String, String>,
    profile: Option<String>,
    link: Option<Link>,
    /// When the core asked to be polled next. Nothing may happen earlier on its own.
    wakes: Option<Time>,
    views: Vec<View>,
    /// The claim of the newest token, and those of earlier tokens with their ends.
    claim: &'static str,
    former: Vec<(&'static str, u64)>,
    /// The client reads nothing until then.
    slow_until: u64,
}

struct Link {
    conn: ConnId,
    session: Option<Session>,
    opens_at: u64,
    up: VecDeque<(u64, String)>,
    down: VecDeque<(u64, String)>,
    /// Subscriptions that were live on it.
    live: Vec<String>,
}

struct View {
    id: u32,
    asked: &'static Asked,
    /// The rows according to the updates.
    folded: BTreeMap<String, Value>,
    /// The shown rows according to the list's changes.
    list: Vec<Arc<str>>,
    status: TableStatus,
    /// The index of the commit whose rows it shows.
    at: usize,
    /// Indexes of the transactions that it waits for.
    waits: Vec<usize>,
}

impl Peer {
    pub(super) fn start(world: &mut World, number: u64) -> Peer {
        let claim = OWNERS[world.dice.below(4) as usize];
        let seed = world.dice.seed();
        let core = Client::with_tables(Config::default(), seed, world.clock(), Restored::default());
        let mut peer = Peer {
            number,
            core,
            kept: BTreeMap::new(),
            profile: None,
            link: None,
            wakes: Some(Time(0)),
            views: Vec::new(),
            claim,
            former: Vec::new(),
            slow_until: 0,
        };
        peer.core.connect(world.clock());
        for _ in 0..=world.dice.below(3) {
            peer.open(world);
        }
        peer
    }

    fn open(&mut self, world: &mut World) {
        let asked = &FILTERS[world.dice.below(FILTERS.len() as u64) as usize];
        self.open_asked(world, asked, 0);
    }

    fn open_asked(&mut self, world: &mut World, asked: &'static Asked, at: usize) {
        // Views of the same subscription have different limits; all are ordered by key.
        let limit = [None, Some(0), Some(2), Some(5)][world.dice.below(4) as usize];
        let (table, filter) = ("rules".to_owned(), asked.filter.to_owned());
        let query = TableQuery { table, filter, limit, ..TableQuery::default() };
        self.touch();
        if let Ok(id) = self.core.open_table(world.clock(), &query) {
            self.views.push(View {
                id,
                asked,
                folded: BTreeMap::new(),
                list: Vec::new(),
                status: TableStatus::Loading,
                at,
                waits: Vec::new(),
            });
        }
    }

    /// Injects a random fault or action of the application.
    pub(super) fn fault(&mut self, world: &mut World) {
        if world.dice.once_in(25) {
            world.figures.mark("cut");
            self.cut(world.clock());
        }
        if world.dice.once_in(80) {
            self.crash(world);
        }
        if world.dice.once_in(40) {
            world.figures.mark("slow");
            self.slow_until = world.now + world.dice.log_uniform(200, SLOW_MS);
        }
        if world.dice.once_in(70) {
            world.figures.mark("claim");
            let claim = OWNERS[world.dice.below(4) as usize];
            // Whether a user is an operator depends on the user, not on a claim.
            if (claim == "*") == (self.claim == "*") && claim != self.claim {
                self.former.push((self.claim, world.now));
                self.claim = claim;
                self.core.renew_token(world.clock());
                self.touch();
            }
        }
        if world.dice.once_in(60) && self.views.len() < 5 {
            self.open(world);
        }
        if world.dice.once_in(60) && self.views.len() > 1 {
            let gone = self.views.remove(world.dice.below(self.views.len() as u64) as usize);
            self.core.close_table(world.clock(), gone.id);
            self.touch();
        }
        let newest = world.database.log.len();
        if world.dice.once_in(15) && newest > 0 && !self.views.is_empty() {
            let at = world.dice.below(self.views.len() as u64) as usize;
            let view = &mut self.views[at];
            if self.core.await_tx(world.clock(), view.id, &format!("x{newest}")).is_ok() {
                view.waits.push(newest);
            }
            self.touch();
        }
    }

    pub(super) fn cut(&mut self, now: Now) {
        if let Some(link) = self.link.take() {
            self.core.handle(now, Input::Closed { conn: link.conn, code: 1006, cause: None });
            self.touch();
        }
    }

    /// The process crashes, and starts with what its disk has.
    fn crash(&mut self, world: &mut World) {
        world.figures.mark("crash");
        self.link = None;
        let restored = Restored {
            profile: self.profile.clone(),
            tables: self.kept.clone().into_iter().collect(),
            ..Restored::default()
        };
        if !restored.tables.is_empty() {
            world.figures.mark("restored");
        }
        self.core = Client::with_tables(Config::default(), world.dice.seed(), world.clock(), restored);
        self.core.connect(world.clock());
        self.touch();
        for view in std::mem::take(&mut self.views) {
            // The disk may be older than what was shown.
            self.open_asked(world, view.asked, 0);
        }
    }

    pub(super) fn heal(&mut self, world: &mut World) {
        self.slow_until = 0;
        self.core.connect(world.clock());
        self.touch();
    }

    /// The application closes everything.
    pub(super) fn leave(&mut self, world: &mut World) {
        for view in std::mem::take(&mut self.views) {
            self.core.close_table(world.clock(), view.id);
        }
        self.touch();
    }

    pub(super) fn step(&mut self, world: &mut World) -> Result<(), Broken> {
        self.drain_if_due(world)?;
        self.travel(world)?;
        self.drain_if_due(world)
    }

    /// Called after each input to the core.
    fn touch(&mut self) {
        self.wakes = Some(Time(0));
    }

    fn drain_if_due(&mut self, world: &mut World) -> Result<(), Broken> {
        match self.wakes {
            Some(at) if at.0 <= world.now => self.drain(world),
            _ => Ok(()),
        }
    }

    /// Delivers messages that are on their way, and lets the session write.
    fn travel(&mut self, world: &mut World) -> Result<(), Broken> {
        let now = world.clock();
        let Some(link) = &mut self.link else { return Ok(()) };
        if link.session.is_none() {
            if link.opens_at > world.now {
                return Ok(());
            }
            let peer =
                From { origin_allowed: true, address: IpAddr::V4(Ipv4Addr::LOCALHOST), is_request: false };
            let (session, _) = Session::open(&world.engine, peer, Arc::new(|_| ()), now);
            link.session = Some(session);
            self.core.handle(now, Input::Opened { conn: link.conn });
            self.touch();
            return Ok(());
        }
        let Some(session) = &mut link.session else { return Ok(()) };
        let mut ended = false;
        while link.up.front().is_some_and(|(at, _)| *at <= world.now) {
            let Some((_, text)) = link.up.pop_front() else { break };
            session.heard(now.mono);
            if session.message(now, &text) == Flow::End {
                ended = true;
            }
        }
        if session.deadline(now) <= now.mono {
            session.tick(now);
        }
        // While the client does not read, its messages stay in the server's queue.
        let mut closed = None;
        while self.slow_until <= world.now && closed.is_none() {
            match session.outgoing().take() {
                Some(ToWrite::Write(text)) => {
                    let delay = if world.faults { world.dice.below(60) } else { 1 };
                    let last = link.down.back().map_or(0, |(at, _)| *at);
                    link.down.push_back(((world.now + delay).max(last), text.as_str().to_owned()));
                }
                Some(ToWrite::Close(close)) => closed = Some(close.code),
                None => break,
            }
        }
        let conn = link.conn;
        let mut arrived = Vec::new();
        while link.down.front().is_some_and(|(at, _)| *at <= world.now || closed.is_some()) {
            arrived.extend(link.down.pop_front().map(|(_, text)| text));
        }
        for text in &arrived {
            note(world, link, text);
        }
        for text in arrived {
            self.core.handle(now, Input::Received { conn, text: &text });
            self.drain(world)?;
        }
        if let Some(code) = closed {
            world.figures.mark(&format!("close:{code}"));
            self.link = None;
            self.core.handle(now, Input::Closed { conn, code, cause: None });
            self.touch();
        } else if ended && self.slow_until <= world.now {
            self.cut(now);
        }
        Ok(())
    }

    fn drain(&mut self, world: &mut World) -> Result<(), Broken> {
        let now = world.clock();
        let mut touched = false;
        loop {
            match self.core.poll(now) {
                Output::Open { conn, .. } => {
                    let opens_at = world.now + world.dice.below(20);
                    let (up, down) = (VecDeque::new(), VecDeque::new());
                    self.link = Some(Link { conn, session: None, opens_at, up, down, live: Vec::new() });
                }
                Output::Transmit { conn, message } => {
                    if let Some(link) = self.link.as_mut().filter(|link| link.conn == conn) {
                        let delay = if world.faults { world.dice.below(60) } else { 1 };
                        let last = link.up.back().map_or(0, |(at, _)| *at);
                        link.up.push_back(((world.now + delay).max(last), message.0));
                    }
                }
                Output::Close { conn, .. } => {
                    if self.link.as_ref().is_some_and(|link| link.conn == conn) {
                        self.link = None;
                    }
                }
                Output::FetchToken { ask, .. } => {
                    let token = format!("user{}|{}", self.number, self.claim);
                    self.core.handle(now, Input::Token { ask, result: Ok(token) });
                }
                Output::Store { store, change } => {
                    self.keep(change);
                    self.core.handle(now, Input::Stored { store, result: Ok(()) });
                }
                Output::Event(Event::Part(TableEvent { view, update })) => {
                    touched = true;
                    self.told(world, view, update)?;
                }
                // The table's clients use WebSockets only.
                Output::Request(_) | Output::Abort { .. } | Output::Event(_) => {}
                Output::Wait { until, .. } => {
                    self.wakes = until;
                    break;
                }
            }
        }
        if touched { self.check(world) } else { Ok(()) }
    }

    fn keep(&mut self, change: StoreChange) {
        match change {
            StoreChange::PutTable { name, record } => drop(self.kept.insert(name, record.0)),
            StoreChange::ClearTable { name } => drop(self.kept.remove(&name)),
            StoreChange::PutProfile { record } => self.profile = Some(record.0),
            _ => {}
        }
    }

    /// The application applies an update.
    fn told(&mut self, world: &mut World, view: u32, update: TableUpdate) -> Result<(), Broken> {
        let Some(view) = self.views.iter_mut().find(|other| other.id == view) else { return Ok(()) };
        let wrong = |how: String| Broken { at: world.now, what: "impossible change".to_owned(), how };
        match update {
            TableUpdate::Status(status) => {
                if let TableStatus::Failed { code, .. } = &status {
                    world.figures.mark(&format!("failed:{code}"));
                }
                view.status = status;
            }
            TableUpdate::Rows(TableRows { rows, beyond, .. }) => {
                view.folded = rows.iter().chain(&beyond).map(|row| read(row)).collect();
                view.list = rows;
            }
            TableUpdate::Changes { list, changes, .. } => {
                for change in list {
                    let how = format!("{change:?} of {} rows", view.list.len());
                    if !change.apply(&mut view.list, |_, _| ()) {
                        return Err(wrong(how));
                    }
                }
                for change in changes {
                    world.figures.changes += 1;
                    world.figures.mark(&format!("why:{}", change.why.as_str()));
                    let (old, new) = (change.old.as_deref().map(read), change.new.as_deref().map(read));
                    let fits = match (change.event, &old, &new) {
                        (RowOp::Insert, None, Some((key, _))) => !view.folded.contains_key(key),
                        (RowOp::Update, Some((key, old)), Some((new, _))) => {
                            key == new && view.folded.get(key) == Some(old)
                        }
                        (RowOp::Delete, Some((key, old)), None) => view.folded.get(key) == Some(old),
                        _ => false,
                    };
                    let moves = matches!(change.why, Why::MovedIn | Why::MovedOut);
                    if !fits || moves && change.event == RowOp::Update {
                        return Err(wrong(format!(
                            "{:?} {old:?} {new:?} of {:?}",
                            change.event, view.folded
                        )));
                    }
                    if let Some((key, _)) = old {
                        view.folded.remove(&key);
                    }
                    view.folded.extend(new);
                }
            }
            TableUpdate::Seen { tx, code } => {
                world.figures.mark(&format!("seen:{}", code.as_deref().unwrap_or("yes")));
                let number = tx.strip_prefix('x').and_then(|number| number.parse().ok()).unwrap_or(0);
                view.waits.retain(|wait| *wait != number);
                if code.is_none() {
                    // From here on the view must contain this commit.
                    view.at = view.at.max(number);
                }
            }
        }
        Ok(())
    }

    /// After all events were handled: checks the views.
    fn check(&mut self, world: &World) -> Result<(), Broken> {
        for view in &mut self.views {
            let has = self.core.table_rows(view.id);
            if view.list != has.rows {
                let how =
                    format!("the changes of the list make {:?}, the rows are {:?}", view.list, has.rows);
                return Err(Broken { at: world.now, what: "list".to_owned(), how });
            }
            let rows: Vec<Value> = has.all().map(|row| read(row).1).collect();
            let mut folded: Vec<&Value> = view.folded.values().collect();
            folded.sort_by_key(|row| row["id"].as_str().and_then(|id| id.parse::<u64>().ok()));
            if !folded.iter().copied().eq(rows.iter()) {
                let how = format!("what was told makes {folded:?}, the rows are {rows:?}");
                return Err(Broken { at: world.now, what: "folding".to_owned(), how });
            }
            if view.status != TableStatus::Live {
                continue;
            }
            let is_after = |at: &usize| {
                let of = |claim| as_json(&select(&world.database.history[*at], view.asked, claim)) == rows;
                let recent = self.former.iter().filter(|(_, until)| world.now < until + CLAIM_MS);
                of(self.claim) || recent.map(|(claim, _)| *claim).any(of)
            };
            match (view.at..world.database.history.len()).find(is_after) {
                Some(at) => view.at = at,
                None => {
                    let how = format!(
                        "`{}` for {} is live with {rows:?}, which no SELECT since commit {} of {} gives; the last gives {:?}",
                        view.asked.filter,
                        self.claim,
                        view.at,
                        world.database.log.len(),
                        as_json(&select(world.database.rows(), view.asked, self.claim)),
                    );
                    return Err(Broken { at: world.now, what: "S18".to_owned(), how });
                }
            }
        }
        Ok(())
    }

    /// Whether every view is live and shows what the database has.
    pub(super) fn is_well(&self, world: &World) -> bool {
        self.views.iter().all(|view| {
            let rows: Vec<Value> = self.core.table_rows(view.id).all().map(|row| read(row).1).collect();
            let wanted = as_json(&select(world.database.rows(), view.asked, self.claim));
            view.status == TableStatus::Live && view.waits.is_empty() && rows == wanted
        })
    }

    pub(super) fn describe(&self, world: &World) -> String {
        let views = self.views.iter().map(|view| {
            let rows: Vec<Value> = self.core.table_rows(view.id).all().map(|row| read(row).1).collect();
            let wanted = as_json(&select(world.database.rows(), view.asked, self.claim));
            format!(
                "`{}` {:?} waits {:?}: {rows:?}, not {wanted:?}",
                view.asked.filter, view.status, view.waits
            )
        });
        views.collect::<Vec<_>>().join("; ")
    }
}

/// Counts what the server sent.
fn note(world: &mut World, link: &mut Link, text: &str) {
    let frames = match serde_json::from_str(text).unwrap_or_default() {
        Value::Array(frames) => frames,
        frame => vec![frame],
    };
    for frame in frames {
        let Some(t) = frame["t"].as_str().filter(|t| t.starts_with("tbl.")) else { continue };
        world.figures.mark(t);
        let sid = frame["sid"].as_str().unwrap_or_default().to_owned();
        match t {
            "tbl.ok" => {
                world.figures.mark(&format!("{t}:{}", frame["mode"].as_str().unwrap_or("?")));
                link.live.retain(|live| *live != sid);
            }
            "tbl.tx" => {
                world.figures.mark(if sid.is_empty() { "tbl.tx:feed" } else { "tbl.tx:sid" });
                if frame["txs"].as_array().is_some_and(|txs| txs.len() > 1) {
                    world.figures.mark("tbl.tx:several");
                }
                if link.live.contains(&sid) {
                    world.figures.mark("behind again");
                }
            }
            "tbl.live" => link.live.push(sid),
            _ => {}
        }
        if let Some(reason) = frame["reason"].as_str() {
            world.figures.mark(&format!("{t}:{reason}"));
        }
        if let Some(code) = frame["code"].as_str() {
            world.figures.mark(&format!("{t}:{code}"));
        }
    }
}

fn read(row: &str) -> (String, Value) {
    let row: Value = serde_json::from_str(row).unwrap_or_default();
    (row["id"].to_string(), row)
}

fn as_json(rows: &[&Cells]) -> Vec<Value> {
    let row = |row: &&Cells| json!({"id":row[0],"owner":row[1],"state":row[2],"n":row[3],"body":row[4]});
    rows.iter().map(row).collect()
}
