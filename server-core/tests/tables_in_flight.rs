//! What happens while a commit is handed out: a client that is woken for it does something, before
//! others have got it.

#![allow(clippy::unwrap_used)]

mod rig;

use rig::counter::Counter;
use rig::{NOW, config, connect, count_up, engine, frames, row};
use serde_json::json;
use std::sync::{Arc, Mutex};
use tidewire_server_core::tables::{Seen, Snapshot, SourceRequest, TableLimits, Tables};
use tidewire_server_core::{Engine, Session, Wake};

/// More feeds than are handed out in one go.
const FEEDS: u64 = 600;

type Act = Box<dyn FnOnce() + Send>;

/// Tables with many feeds, each with a client, and what the first one to be woken does.
struct World {
    tables: Arc<Tables>,
    engine: Arc<Engine>,
    clients: Vec<Client>,
    act: Arc<Mutex<Option<Act>>>,
    position: u64,
}

struct Client {
    session: Session,
    counter: Counter,
}

impl Client {
    fn subscribe(engine: &Arc<Engine>, wake: Wake, filter: &str, cursor: Option<&str>) -> Client {
        let mut session = connect(engine, "ada", wake);
        let mut sub = json!({"t": "tbl.sub", "sid": "s", "table": "a", "filter": filter});
        if let Some(cursor) = cursor {
            sub["cursor"] = json!(cursor);
        }
        session.message(NOW, &sub.to_string());
        Client { session, counter: Counter::default() }
    }

    fn read(&mut self) {
        frames(&self.session).iter().for_each(|frame| self.counter.take("s", frame));
    }
}

fn filter(feed: u64) -> String {
    format!("n=gte.0&n=not.eq.{}", 9_000_000 + feed)
}

fn answer(tables: &Tables, position: u64) {
    for wanted in tables.take_requests() {
        let SourceRequest::Snapshot(wanted) = wanted else { continue };
        let (rows, seen) = (vec![row(0, position)], Seen::UpTo(position));
        tables.finish_snapshot(wanted.id, Ok(Snapshot { rows, seen }));
    }
}

impl World {
    fn new(limits: TableLimits) -> World {
        let most = usize::try_from(FEEDS).unwrap() + 100;
        let limits = TableLimits { unindexed: most, unindexed_each: most, ..limits };
        let tables = Arc::new(Tables::new(vec![config("a")], limits, Arc::new(|_| ())).unwrap());
        tables.restart("e1", 0, &[]);
        let engine = engine(&tables, 1 << 20, Box::new(|| ()));
        let act: Arc<Mutex<Option<Act>>> = Arc::default();
        let wake = || -> Wake {
            let act = act.clone();
            Arc::new(move |_| {
                let act = act.lock().unwrap().take();
                if let Some(act) = act {
                    act();
                }
            })
        };
        let clients =
            (0..FEEDS).map(|feed| Client::subscribe(&engine, wake(), &filter(feed), None)).collect();
        let mut world = World { tables, engine, clients, act, position: 0 };
        world.publish();
        answer(&world.tables, 1);
        world.read(1);
        world
    }

    fn publish(&mut self) {
        self.position += 1;
        self.tables.publish(count_up(&[0], self.position));
        while self.tables.catch_up() {}
    }

    /// All clients have counted up to there.
    fn read(&mut self, position: u64) {
        for client in &mut self.clients {
            client.read();
            assert_eq!(client.counter.at, Some(position));
        }
    }

    /// Publishes a commit; what the first one that is woken for it does is done while it is handed
    /// out.
    fn publish_during(&mut self, act: impl FnOnce() + Send + 'static) {
        *self.act.lock().unwrap() = Some(Box::new(act));
        self.publish();
        assert!(self.act.lock().unwrap().is_none(), "nobody was woken");
    }

    fn cursor(&self, feed: u64) -> String {
        self.clients[usize::try_from(feed).unwrap()].counter.cursor.clone().unwrap()
    }
}

fn whoever_comes_gets_it_once(limits: TableLimits) {
    let mut world = World::new(limits);
    let came: Arc<Mutex<Vec<Client>>> = Arc::default();
    // Its feed was told, is yet to be told, and is not there yet; with a snapshot from before the
    // commit, and with one that has it.
    let cursors = [0, FEEDS - 1].map(|feed| (filter(feed), world.cursor(feed)));
    let (engine, tables, coming) = (world.engine.clone(), world.tables.clone(), came.clone());
    world.publish_during(move || {
        let mut coming = coming.lock().unwrap();
        let mut come = |filter: &str, cursor: Option<&str>| {
            coming.push(Client::subscribe(&engine, Arc::new(|_| ()), filter, cursor));
        };
        cursors.iter().for_each(|(filter, cursor)| come(filter, Some(cursor)));
        come("n=gte.0&n=not.eq.7000000", None);
        answer(&tables, 1);
        come("n=gte.0&n=not.eq.8000000", None);
        come(&filter(0), None);
        answer(&tables, 2);
    });
    world.clients.append(&mut came.lock().unwrap());
    // Those that came have nothing from before.
    for client in world.clients.iter_mut().rev().take(5) {
        client.counter.at = client.counter.at.or(Some(1));
    }
    world.read(2);
    for position in 3..6 {
        world.publish();
        world.read(position);
    }
    assert!(world.clients.iter().all(|client| client.counter.live == 1));
}

#[test]
fn whoever_subscribes_while_a_commit_is_handed_out_gets_it_once() {
    whoever_comes_gets_it_once(TableLimits::default());
    // By the table's driver, a slice at a time.
    whoever_comes_gets_it_once(TableLimits { at_once: 5_000, ..TableLimits::default() });
}

#[test]
fn whoever_leaves_while_a_commit_is_handed_out_gets_nothing_more_and_the_others_do() {
    let mut world = World::new(TableLimits::default());
    let gone = Arc::new(Mutex::new(world.clients.pop()));
    let leaving = gone.clone();
    world.publish_during(move || drop(leaving.lock().unwrap().take()));
    world.read(2);
    assert_eq!(world.tables.counts().subscriptions, world.clients.len());
}

/// Something ends all subscriptions while a commit is handed out, and a client comes right after
/// it.
fn all_end(ends: impl FnOnce(&Tables) + Send + 'static, position: u64) {
    let mut world = World::new(TableLimits::default());
    let came: Arc<Mutex<Option<Client>>> = Arc::default();
    let (engine, tables, coming) = (world.engine.clone(), world.tables.clone(), came.clone());
    world.publish_during(move || {
        ends(&tables);
        let client = Client::subscribe(&engine, Arc::new(|_| ()), "", None);
        answer(&tables, position);
        *coming.lock().unwrap() = Some(client);
    });
    for client in &mut world.clients {
        client.read();
        assert!(client.counter.over);
    }
    let mut client = came.lock().unwrap().take().unwrap();
    client.read();
    let cursor = client.counter.cursor.clone().unwrap();
    assert_eq!((client.counter.at, client.counter.live), (Some(position), 1));
    drop(client);
    // The commit is not in what can be read from there on.
    let mut again = Client::subscribe(&world.engine, Arc::new(|_| ()), "", Some(&cursor));
    again.counter.at = Some(position);
    again.read();
    assert_eq!((again.counter.at, again.counter.live), (Some(position), 1));
    world.position = position;
    world.publish();
    again.read();
    assert_eq!(again.counter.at, Some(position + 1));
}

#[test]
fn what_ends_all_subscriptions_while_a_commit_is_handed_out_ends_the_commit() {
    all_end(|tables| tables.restart("e2", 1, &[]), 1);
    all_end(|tables| tables.reshape(0, config("a").schema), 2);
}

#[test]
fn a_table_that_the_log_runs_past_begins_anew() {
    // Nothing is told at once, and nobody does the work.
    let limits = TableLimits { at_once: 0, log_commits: 5, ..TableLimits::default() };
    let tables = Arc::new(Tables::new(vec![config("a")], limits, Arc::new(|_| ())).unwrap());
    tables.restart("e1", 0, &[]);
    let engine = engine(&tables, 1 << 20, Box::new(|| ()));
    let mut client = Client::subscribe(&engine, Arc::new(|_| ()), "", None);
    answer(&tables, 0);
    client.read();
    assert_eq!((client.counter.at, client.counter.live), (Some(0), 1));
    (1..20).for_each(|position| tables.publish(count_up(&[0], position)));
    client.read();
    assert_eq!(client.counter.at, Some(0));
    while tables.catch_up() {}
    client.read();
    assert!(client.counter.over, "it would have missed some");
    let mut next = Client::subscribe(&engine, Arc::new(|_| ()), "", None);
    answer(&tables, 19);
    tables.publish(count_up(&[0], 20));
    while tables.catch_up() {}
    next.read();
    assert_eq!(next.counter.at, Some(20));
}
