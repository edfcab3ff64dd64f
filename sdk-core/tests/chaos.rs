//! Three clients and a model of the server in one virtual time, with cuts, half-open links, crashes on both sides, refusals and clock
//! jumps. What must hold is checked after every step; then the faults end and everything must arrive.

// The model is not the core: it may use what a server uses.
#![allow(clippy::disallowed_types)]

mod rig;
use rig::{Store, WALL};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use tidewire_core::*;

const CLIENTS: usize = 3;
const FAULTS_MS: u64 = 120_000;
const HEAL_MS: u64 = 200_000;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Wake { client: usize, life: u32, timer: u64 },
    Opens { client: usize, life: u32, conn: u64 },
    ToServer { client: usize, life: u32, conn: u64, text: String },
    ToClient { client: usize, life: u32, conn: u64, text: String },
    Closes { client: usize, life: u32, conn: u64, code: u16 },
    Stores { client: usize, life: u32 },
    Types { client: usize },
    Fault,
    ServerPings,
    ServerStarts,
}

struct Person {
    core: Client,
    life: u32,
    timer: u64,
    disk: Store,
    unsynced: VecDeque<(StoreId, StoreChange)>,
    conn: Option<u64>,
    /// What the server knows of the connection: subscribed and live.
    live: bool,
    half_open: bool,
    acked: HashMap<String, u64>,
    /// Ids in the order they were written, over all lives.
    written: Vec<String>,
    wall_skew: u64,
    last: Option<Status>,
}

struct World {
    now: u64,
    rng: u64,
    seq: u64,
    queue: BinaryHeap<Reverse<(u64, u64, What)>>,
    people: Vec<Person>,
    up: bool,
    healing: bool,
    log: Vec<Value>,
    committed: HashMap<String, u64>,
    pub faults: HashMap<&'static str, u32>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut world = World {
            now: 0,
            rng: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            seq: 0,
            queue: BinaryHeap::new(),
            people: vec![],
            up: true,
            healing: false,
            log: vec![],
            committed: HashMap::new(),
            faults: HashMap::new(),
        };
        for client in 0..CLIENTS {
            let core = world.core(Store::default(), 0);
            world.people.push(Person {
                core,
                life: 0,
                timer: 0,
                disk: Store::default(),
                unsynced: VecDeque::new(),
                conn: None,
                live: false,
                half_open: false,
                acked: HashMap::new(),
                written: vec![],
                wall_skew: 0,
                last: None,
            });
            world.starts(client);
            let at = world.below(2_000);
            world.at(at, What::Types { client });
        }
        let first = world.below(3_000);
        world.at(first, What::Fault);
        world.at(25_000, What::ServerPings);
        world
    }

    fn below(&mut self, below: u64) -> u64 {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        (self.rng >> 11) % below
    }

    fn core(&mut self, disk: Store, skew: u64) -> Client {
        let mut seed = [0; 32];
        seed.iter_mut().for_each(|byte| *byte = self.below(256) as u8);
        let now = Now { mono: Time(self.now), wall: WALL + self.now + skew };
        Client::new(Config::default(), seed, now, disk.restored())
    }

    fn at(&mut self, delay: u64, what: What) {
        self.seq += 1;
        self.queue.push(Reverse((self.now + delay, self.seq, what)));
    }

    fn starts(&mut self, client: usize) {
        let now = self.clock(client);
        let person = &mut self.people[client];
        person.core.open_dialog(now, "demo").expect("a valid name");
        person.core.connect(now);
        self.drain(client);
    }

    fn clock(&self, client: usize) -> Now {
        Now { mono: Time(self.now), wall: WALL + self.now + self.people[client].wall_skew }
    }

    /// Carries out what a core wants.
    fn drain(&mut self, client: usize) {
        let now = self.clock(client);
        loop {
            let life = self.people[client].life;
            match self.people[client].core.poll(now) {
                Output::Open { conn, .. } => {
                    let delay = 1 + self.below(100);
                    let what = if self.up {
                        What::Opens { client, life, conn: conn.0 }
                    } else {
                        What::Closes { client, life, conn: conn.0, code: 1006 }
                    };
                    let person = &mut self.people[client];
                    (person.conn, person.live, person.half_open) = (Some(conn.0), false, false);
                    self.at(delay, what);
                }
                Output::Transmit { conn, message } => {
                    // FIFO: the same delay for all frames of a connection within a step.
                    let delay = 5 + conn.0 % 7;
                    self.at(delay, What::ToServer { client, life, conn: conn.0, text: message.0 });
                }
                Output::Close { .. } => {
                    let person = &mut self.people[client];
                    (person.conn, person.live) = (None, false);
                }
                Output::FetchToken { ask, .. } => {
                    self.people[client].core.handle(now, Input::Token { ask, result: Ok("t".into()) });
                }
                Output::Store { store, change } => {
                    self.people[client].unsynced.push_back((store, change));
                    let delay = self.below(200);
                    self.at(delay, What::Stores { client, life });
                }
                Output::Event(Event::Op { id, state: OpState::Acked { offset }, .. }) => {
                    let before = self.people[client].acked.insert(id.clone(), offset);
                    assert!(before.is_none_or(|before| before == offset));
                    assert_eq!(self.committed.get(&id), Some(&offset), "an acknowledged op is in the log");
                }
                Output::Event(Event::Status(status)) => self.people[client].last = Some(status),
                Output::Event(_) => {}
                Output::Wait { until, .. } => {
                    if let Some(until) = until {
                        let person = &mut self.people[client];
                        person.timer += 1;
                        let what = What::Wake { client, life, timer: person.timer };
                        self.at(until.0 - self.now, what);
                    }
                    return;
                }
            }
        }
    }

    fn feed(&mut self, client: usize, input: Input<'_>) {
        let now = self.clock(client);
        self.people[client].core.handle(now, input);
        self.drain(client);
    }

    fn is(&self, client: usize, life: u32, conn: u64) -> bool {
        self.people[client].life == life && self.people[client].conn == Some(conn)
    }

    fn step(&mut self) -> bool {
        let Some(Reverse((at, _, what))) = self.queue.pop() else { return false };
        self.now = at;
        match what {
            What::Wake { client, life, timer }
                if (self.people[client].life, self.people[client].timer) == (life, timer) =>
            {
                self.drain(client);
            }
            What::Opens { client, life, conn } if self.is(client, life, conn) => {
                self.feed(client, Input::Opened { conn: ConnId(conn) });
            }
            What::ToServer { client, life, conn, text }
                if self.is(client, life, conn) && self.up && !self.people[client].half_open =>
            {
                self.serve(client, conn, &text);
            }
            What::ToClient { client, life, conn, text } if self.is(client, life, conn) => {
                self.feed(client, Input::Received { conn: ConnId(conn), text: &text });
            }
            What::Closes { client, life, conn, code } if self.is(client, life, conn) => {
                let person = &mut self.people[client];
                (person.conn, person.live) = (None, false);
                self.feed(client, Input::Closed { conn: ConnId(conn), code });
            }
            What::Stores { client, life } if self.people[client].life == life => {
                if let Some((store, change)) = self.people[client].unsynced.pop_front() {
                    self.people[client].disk.apply(&change);
                    self.feed(client, Input::Stored { store, result: Ok(()) });
                }
            }
            What::Types { client } => self.types(client),
            What::Fault => self.fault(),
            What::ServerPings => {
                for client in 0..CLIENTS {
                    self.say(client, &json!({"t":"ping","n":"1"}));
                }
                self.at(25_000, What::ServerPings);
            }
            What::ServerStarts => self.up = true,
            _ => {}
        }
        self.check();
        true
    }

    fn types(&mut self, client: usize) {
        let now = self.clock(client);
        let text = format!("{client}:{}", self.people[client].written.len());
        if let Ok(id) = self.people[client].core.send_text(now, "demo", &text) {
            self.people[client].written.push(id);
            self.drain(client);
        }
        let pause = 200 + self.below(4_000);
        if self.now + pause < FAULTS_MS {
            self.at(pause, What::Types { client });
        }
    }

    // The model of the server.

    fn say(&mut self, client: usize, frame: &Value) {
        let person = &self.people[client];
        let Some(conn) = person.conn else { return };
        if !person.half_open {
            let what = What::ToClient { client, life: person.life, conn, text: frame.to_string() };
            self.at(5 + conn % 7, what);
        }
    }

    fn serve(&mut self, client: usize, conn: u64, text: &str) {
        let frames = match serde_json::from_str(text).expect("valid JSON") {
            Value::Array(frames) => frames,
            frame => vec![frame],
        };
        for frame in frames {
            match frame["t"].as_str().expect("a type") {
                "hello" => {
                    let mut welcome = rig::welcome(&format!("user{client}"));
                    welcome["conn"] = conn.to_string().into();
                    self.say(client, &welcome);
                    for sub in frame["subs"].as_array().expect("subscriptions").clone() {
                        self.subscribe(client, &sub);
                    }
                }
                "sub" => self.subscribe(client, &frame),
                "next" => {
                    let from = frame["from"].as_u64().expect("an offset");
                    self.page(client, from, json!({"t":"page"}));
                }
                "op" => self.op(client, &frame),
                "ping" => self.say(client, &json!({"t":"pong","n":frame["n"]})),
                _ => {}
            }
        }
    }

    fn subscribe(&mut self, client: usize, sub: &Value) {
        let head = self.log.len() as u64;
        let (mode, from) = match sub["offset"].as_u64() {
            Some(offset) => ("resumed", offset),
            None => ("fresh", head.saturating_sub(50)),
        };
        self.page(client, from, json!({"t":"sub_ok","epoch":"e1","mode":mode}));
    }

    fn page(&mut self, client: usize, from: u64, mut frame: Value) {
        let events: Vec<Value> = self.log.iter().skip(from as usize).take(5).cloned().collect();
        let more = from as usize + events.len() < self.log.len();
        frame["ch"] = "dialog:demo".into();
        frame["from"] = from.into();
        frame["head"] = self.log.len().into();
        frame["events"] = events.into();
        frame["more"] = more.into();
        frame["runs"] = json!([]);
        self.people[client].live = !more;
        self.say(client, &frame);
    }

    fn op(&mut self, client: usize, op: &Value) {
        let id = op["id"].as_str().expect("an id").to_owned();
        let nack = |code: &str, retry: u64| json!({"t":"nack","id":id,"code":code,"message":"","retryable":true,"retry_after_ms":retry});
        if let Some(offset) = self.committed.get(&id) {
            let ok = json!({"t":"ok","id":id,"ch":"dialog:demo","offset":offset,"at":WALL,"dup":true});
            return self.say(client, &ok);
        }
        if op["after"].as_str().is_some_and(|after| !self.committed.contains_key(after)) {
            return self.say(client, &nack("blocked", 0));
        }
        if !self.healing && self.below(10) == 0 {
            return self.say(client, &nack("rate_limited", 500));
        }
        let offset = self.log.len() as u64 + 1;
        self.committed.insert(id.clone(), offset);
        let by = rig::user(&format!("user{client}"));
        let event = json!({"t":"event","ch":"dialog:demo","offset":offset,"id":id,"kind":"message","at":WALL,"by":by,"body":op["body"]});
        self.log.push(event.clone());
        for other in 0..CLIENTS {
            // Sometimes a live event is missing or comes twice, which a real server never does.
            let copies = if self.healing { 1 } else { [0, 2, 1, 1, 1, 1, 1, 1][self.below(8) as usize] };
            for _ in 0..copies {
                if self.people[other].live {
                    self.say(other, &event);
                }
            }
        }
        self.say(client, &json!({"t":"ok","id":id,"ch":"dialog:demo","offset":offset,"at":WALL}));
    }

    // Faults.

    fn fault(&mut self) {
        let client = self.below(CLIENTS as u64) as usize;
        let (life, conn) = (self.people[client].life, self.people[client].conn.unwrap_or(0));
        let name = match self.below(8) {
            0 | 1 => {
                self.at(0, What::Closes { client, life, conn, code: 1006 });
                "cut"
            }
            2 => {
                self.people[client].half_open = true;
                "half-open"
            }
            3 => {
                for client in 0..CLIENTS {
                    let (life, conn) = (self.people[client].life, self.people[client].conn.unwrap_or(0));
                    self.at(1, What::Closes { client, life, conn, code: 1006 });
                }
                self.up = false;
                let down = self.below(10_000);
                self.at(down, What::ServerStarts);
                "server crash"
            }
            4 => {
                self.crash(client);
                "client crash"
            }
            5 => {
                self.people[client].wall_skew = self.below(2) * 10 * 365 * 24 * 3_600_000 / 1_000;
                "wall clock"
            }
            6 => {
                let life = [Lifecycle::Frozen, Lifecycle::Resumed, Lifecycle::Hidden, Lifecycle::Shown];
                let hint = life[self.below(4) as usize];
                self.feed(client, Input::Lifecycle(hint));
                "lifecycle"
            }
            _ => {
                let hint = [Network::Offline, Network::Online, Network::Changed][self.below(3) as usize];
                self.feed(client, Input::Network(hint));
                "network"
            }
        };
        *self.faults.entry(name).or_default() += 1;
        let pause = 100 + self.below(5_000);
        if self.now + pause < FAULTS_MS {
            self.at(pause, What::Fault);
        }
    }

    /// The process dies: what was not yet on disk is lost.
    fn crash(&mut self, client: usize) {
        let person = &self.people[client];
        let (disk, skew) = (person.disk.clone(), person.wall_skew);
        let kept = |id: &String| disk.ops.iter().any(|(other, _)| other == id);
        let survivors: Vec<String> = person
            .written
            .iter()
            .filter(|id| kept(id) || self.committed.contains_key(*id))
            .cloned()
            .collect();
        let core = self.core(disk, skew);
        let person = &mut self.people[client];
        person.core = core;
        person.life += 1;
        person.unsynced.clear();
        (person.conn, person.live) = (None, false);
        person.written = survivors;
        self.starts(client);
    }

    // What must hold.

    fn check(&self) {
        for person in &self.people {
            let rows = person.core.rows("demo");
            let mut last = None;
            for row in &rows {
                if let Some(offset) = row.offset {
                    assert!(last.is_none_or(|last| offset > last), "offsets rise");
                    last = Some(offset);
                    assert_eq!(
                        self.log[offset as usize - 1]["id"],
                        row.id.as_str(),
                        "everybody sees the same"
                    );
                }
            }
        }
    }

    fn heal(&mut self) {
        self.healing = true;
        self.up = true;
        for client in 0..CLIENTS {
            self.people[client].half_open = false;
            self.feed(client, Input::Lifecycle(Lifecycle::Resumed));
            self.feed(client, Input::Network(Network::Online));
            // One more event shows everybody what they missed.
            self.at(20_000, What::Types { client });
        }
    }

    fn converged(&self) {
        for (client, person) in self.people.iter().enumerate() {
            let rows = person.core.rows("demo");
            let waiting: Vec<&Row> = rows.iter().filter(|row| row.offset.is_none()).collect();
            assert!(waiting.is_empty(), "{client}: waits {waiting:?}, {:?}", person.last);
            let offsets: Vec<u64> = rows.iter().filter_map(|row| row.offset).collect();
            assert!(offsets.windows(2).all(|pair| pair[1] == pair[0] + 1), "{client}: no hole");
            assert_eq!(offsets.last().copied().unwrap_or(0), self.log.len() as u64, "{client}: at the head");
            let theirs: Vec<&str> = self
                .log
                .iter()
                .filter(|event| event["by"]["id"] == format!("user{client}"))
                .map(|event| event["id"].as_str().expect("an id"))
                .collect();
            assert_eq!(theirs, person.written, "{client}: each once, in the order it was written");
        }
    }
}

#[test]
fn whatever_happens_everything_arrives_once_and_in_order() {
    let seeds = if cfg!(target_family = "wasm") { 10 } else { 40 };
    let mut faults: HashMap<&'static str, u32> = HashMap::new();
    let mut events = 0;
    for seed in 1..=seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            while world.queue.peek().is_some_and(|Reverse((at, ..))| *at < FAULTS_MS) {
                world.step();
            }
            world.heal();
            while world.queue.peek().is_some_and(|Reverse((at, ..))| *at < HEAL_MS) {
                world.step();
            }
            world.converged();
            (world.faults, world.log.len())
        });
        let (hit, length) = outcome.unwrap_or_else(|panic| {
            println!("seed {seed}");
            std::panic::resume_unwind(panic)
        });
        events += length;
        for (name, count) in hit {
            *faults.entry(name).or_default() += count;
        }
    }
    println!("{seeds} seeds, {events} events, faults {faults:?}");
    assert_eq!(faults.len(), 7, "every fault was injected");
    assert!(events > seeds as usize * 50);
}
