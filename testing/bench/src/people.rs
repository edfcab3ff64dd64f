//! `cargo xtask bench people`: what it costs to tell who is in a channel. The server's sessions run
//! in this thread on a clock of its own, without sockets.

// The other benches use more of it.
#[path = "tables/world.rs"]
#[allow(dead_code)]
mod world;

use clap::Parser;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::Arc;
use tidewire_core::wire::{ChannelName, Handler, Offset};
use tidewire_core::{Now, Time};
use tidewire_server_core::dialog::ops::Kinds;
use tidewire_server_core::rules::{Pattern, Rule, Rules, Who};
use tidewire_server_core::store::{Account, ChannelRow};
use tidewire_server_core::{
    Channel, Connections, Engine, Hub, Limiter, ServerLimits, Session, Timeouts, access::Access,
};
use world::{Anybody, NOW, NoLog};

/// An error that ends the bench, and is only printed.
type Failure = Box<dyn std::error::Error + Send + Sync>;

const ROOM: &str = "room";
/// How often the server tells what changed, in ms.
const TICK_MS: u64 = 100;
/// How long people come, and how long they are there, in ms.
const COME_MS: u64 = 10_000;
const STAY_MS: u64 = 30_000;

/// What it costs to tell who is in a channel: a crowd, which is counted, and a team, which is listed.
#[derive(Parser)]
#[command(override_usage = "cargo xtask bench people [OPTIONS]", after_help = KEYS)]
struct Args {
    /// How many people a crowd has, all of whom watch
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(201..=50_000))]
    crowd: u32,
    /// How many people a team has, all of whom watch
    #[arg(long, value_name = "N", default_value_t = 150, value_parser = clap::value_parser!(u32).range(2..=179))]
    team: u32,
    /// Print the figures as one JSON object
    #[arg(long)]
    json: bool,
}

const KEYS: &str = "\
FIGURES of --json, of `crowd` and `team`
  people             how many
  come_frames, come_bytes
                     what each was told on average while all came, evenly within 10 s
  stay_frames, stay_bytes
                     what each was told in each of 30 s on average. In each second 1 of 100 leaves and another one comes,
                     1 of 100 loses the connection and comes back after 5 s, and 1 of 50 begins to write
  come_cpu_us        time of the processor for each who came
  stay_cpu_ms        time of the processor for each second";

struct Figures {
    people: usize,
    come: Part,
    stay: Part,
}

#[derive(Clone, Copy)]
struct Part {
    frames: u64,
    bytes: u64,
    cpu_ns: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let both = measure(args.crowd as usize).and_then(|crowd| Ok((crowd, measure(args.team as usize)?)));
    let (crowd, team) = match both {
        Ok(both) => both,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    if args.json {
        println!("{}", json!({"crowd": crowd.to_json(), "team": team.to_json()}));
    } else {
        print!("{}{}", crowd.text("crowd"), team.text("team"));
    }
    ExitCode::SUCCESS
}

impl Figures {
    fn to_json(&self) -> serde_json::Value {
        let each = |count: u64| count as f64 / self.people as f64;
        let seconds = STAY_MS as f64 / 1e3;
        json!({
            "people": self.people,
            "come_frames": each(self.come.frames),
            "come_bytes": each(self.come.bytes),
            "stay_frames": each(self.stay.frames) / seconds,
            "stay_bytes": each(self.stay.bytes) / seconds,
            "come_cpu_us": each(self.come.cpu_ns) / 1e3,
            "stay_cpu_ms": self.stay.cpu_ns as f64 / 1e6 / seconds,
        })
    }

    fn text(&self, name: &str) -> String {
        let of = |key: &str| self.to_json()[key].as_f64().unwrap_or_default();
        format!(
            "{name} of {}: come {:.1} frames, {:.0} bytes, {:.0} us each; stay {:.2} frames, {:.0} bytes a second each, {:.1} ms a second\n",
            self.people,
            of("come_frames"),
            of("come_bytes"),
            of("come_cpu_us"),
            of("stay_frames"),
            of("stay_bytes"),
            of("stay_cpu_ms"),
        )
    }
}

struct Room {
    engine: Arc<Engine>,
    /// Keeps it in memory.
    _channel: Arc<Channel>,
    now: Now,
    sessions: VecDeque<Session>,
    part: Part,
    users: usize,
}

impl Room {
    fn new(people: usize) -> Result<Room, Failure> {
        let name = ChannelName::parse(ROOM).ok_or("the channel has no name")?;
        let rule = Rule { people: true, ..Rule::new(Pattern::exactly(&name), vec![Who::Everyone]) };
        let hub = Arc::new(Hub::new(Rules::new([], vec![rule])?));
        let row = ChannelRow {
            id: 1,
            head: Offset::ZERO,
            floor: Offset::ZERO,
            owner: None,
            account: Account::Own,
            handler: Handler::Ai,
        };
        let channel = hub.add(&name, row);
        let engine = Arc::new(Engine {
            limits: ServerLimits { connections_per_dialog: 2 * people, ..ServerLimits::default() },
            timeouts: Timeouts::default(),
            handshakes: None,
            epoch: "log".into(),
            auth: Arc::new(Anybody),
            store: Arc::new(NoLog),
            kinds: Kinds::standard(),
            hub,
            limiter: Limiter::default(),
            connections: Connections::new(2 * people, 10, None, Box::new(|| ())),
            access: Access::default(),
            answers: None,
            tables: None,
            metrics: Arc::default(),
        });
        // It started long ago.
        engine.tick(NOW.mono);
        let now = Now { mono: NOW.mono.after(60_000), wall: NOW.wall + 60_000 };
        let part = Part { frames: 0, bytes: 0, cpu_ns: 0 };
        Ok(Room { engine, _channel: channel, now, sessions: VecDeque::new(), part, users: 0 })
    }

    fn enter(&mut self, user: usize) {
        let mut session = world::session(&self.engine, &format!("user-{user}"));
        for frame in [json!({"t": "sub", "ch": ROOM, "tail": 0}), json!({"t": "watch", "ch": ROOM})] {
            session.message(self.now, &frame.to_string());
        }
        self.sessions.push_back(session);
    }

    fn come(&mut self) {
        self.users += 1;
        self.enter(self.users);
    }

    /// The server tells what is due, and everybody takes it.
    fn tick(&mut self, begun_ns: u64) {
        self.now = Now { mono: self.now.mono.after(TICK_MS), wall: self.now.wall + TICK_MS };
        self.engine.tick(self.now.mono);
        for session in &self.sessions {
            for message in world::written(session) {
                self.part.frames += message.matches("\"t\":\"people\"").count() as u64;
                self.part.bytes += message.len() as u64;
            }
        }
        self.part.cpu_ns += cpu_ns() - begun_ns;
    }

    fn take(&mut self) -> Part {
        std::mem::replace(&mut self.part, Part { frames: 0, bytes: 0, cpu_ns: 0 })
    }
}

fn measure(people: usize) -> Result<Figures, Failure> {
    let mut room = Room::new(people)?;
    let ticks = COME_MS / TICK_MS;
    for tick in 0..ticks {
        let begun = cpu_ns();
        let wanted = people * (tick as usize + 1) / ticks as usize;
        while room.users < wanted {
            room.come();
        }
        room.tick(begun);
    }
    let come = room.take();
    // So many of each hundred people and second are due at a tick.
    let due = |tick: u64, of_hundred: usize| {
        let until = |tick: u64| people as u64 * of_hundred as u64 * tick * TICK_MS / 100_000;
        (until(tick + 1) - until(tick)) as usize
    };
    let mut lost: VecDeque<(Time, usize)> = VecDeque::new();
    for tick in 0..STAY_MS / TICK_MS {
        let begun = cpu_ns();
        for _ in 0..due(tick, 1) {
            if let Some(mut session) = room.sessions.pop_front() {
                session.message(room.now, r#"{"t":"bye"}"#);
            }
            room.come();
        }
        for _ in 0..due(tick, 1) {
            // Whoever came last.
            if let Some(mut session) = room.sessions.pop_back() {
                session.end();
                lost.push_back((room.now.mono.after(5_000), room.users));
            }
        }
        let back = lost.iter().take_while(|(at, _)| *at <= room.now.mono).count();
        lost.drain(..back).for_each(|(_, user)| room.enter(user));
        let half = room.sessions.len() / 2;
        for nth in 0..due(tick, 2) {
            let at = (half + nth * 7 + tick as usize * 13) % room.sessions.len();
            let typing = json!({"t": "lease", "ch": ROOM, "kind": "typing", "body": {}, "for_ms": 6_000});
            room.sessions[at].message(room.now, &typing.to_string());
        }
        room.tick(begun);
    }
    Ok(Figures { people, come, stay: room.take() })
}

/// The processor's time of this process.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or_default()
}
