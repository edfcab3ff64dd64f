//! Ten thousand clients and a server that restarts: they must not come back all at once (L4).

use crate::dice::Dice;
use crate::script::WALL_MS;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use tidewire_core::{Client, Config, ConnId, Input, Now, Output, Restored, Time};

/// How a crowd of clients came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Return {
    /// Arrivals in each second after the restart was announced; for [`after_a_crash`] in each 20
    /// ms.
    pub per_second: Vec<u64>,
    /// The bound for each: 1.5·N/W + 3·√(N/W), with N clients and a spread of W s.
    pub bound: u64,
}

impl Return {
    /// The most arrivals in any of them.
    pub fn most(&self) -> u64 {
        self.per_second.iter().copied().max().unwrap_or(0)
    }
}

/// Lets `clients` come back after a `goaway` with this spread, in ms.
pub fn come_back(clients: usize, spread_ms: u64, seed: u64) -> Return {
    let mut dice = Dice::new(seed);
    let clock = |at: u64| Now { mono: Time(at), wall: WALL_MS + at };
    let mut crowd: Vec<(Client, Option<ConnId>)> = Vec::with_capacity(clients);
    let mut wakes: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    for number in 0..clients {
        let mut client = Client::new(Config::default(), dice.seed(), clock(0), Restored::default());
        client.connect(clock(0));
        crowd.push((client, None));
        drain(&mut crowd[number], clock(0), &mut wakes, number);
        let conn = crowd[number].1.unwrap_or(ConnId(0));
        crowd[number].0.handle(clock(1), Input::Opened { conn });
        crowd[number].0.handle(clock(1), Input::Received { conn, text: WELCOME });
        drain(&mut crowd[number], clock(1), &mut wakes, number);
    }
    let announced = 20_000;
    let goaway = format!(r#"{{"t":"goaway","reason":"restart","after_ms":500,"spread_ms":{spread_ms}}}"#);
    let mut per_second = vec![0; (spread_ms / 1_000) as usize + 60];
    for (number, one) in crowd.iter_mut().enumerate() {
        let conn = one.1.unwrap_or(ConnId(0));
        one.0.handle(clock(announced), Input::Received { conn, text: &goaway });
        drain(one, clock(announced), &mut wakes, number);
        // The process ends before it accepts a connection, so clients that dialled dial again.
        one.0.handle(clock(announced + 500), Input::Closed { conn, code: 4000, cause: None });
        drain(one, clock(announced + 500), &mut wakes, number);
    }
    while let Some(Reverse((at, number))) = wakes.pop() {
        if at > announced + spread_ms + 50_000 {
            break;
        }
        if at <= announced + 500 {
            continue;
        }
        let one = &mut crowd[number];
        let before = one.1;
        drain(one, clock(at), &mut wakes, number);
        if let Some(conn) = one.1.filter(|conn| Some(*conn) != before) {
            per_second[((at - announced) / 1_000) as usize] += 1;
            one.0.handle(clock(at), Input::Opened { conn });
            one.0.handle(clock(at), Input::Received { conn, text: WELCOME });
            drain(one, clock(at), &mut wakes, number);
        }
    }
    let rate = clients as f64 * 1_000.0 / spread_ms as f64;
    Return { per_second, bound: (1.5 * rate + 3.0 * rate.sqrt()) as u64 }
}

/// Lets `clients` lose their connections at the same time, all asked to wait for `floor_ms`. After
/// that, their first dials must spread evenly over the half second of the first backoff. They are
/// counted in slices of 20 ms, and the bound is that of [`come_back`] for such a slice.
pub fn after_a_crash(clients: usize, floor_ms: u64, seed: u64) -> Return {
    let mut dice = Dice::new(seed);
    let clock = |at: u64| Now { mono: Time(at), wall: WALL_MS + at };
    let busy =
        format!(r#"{{"t":"error","code":"too_many_connections","message":"","retry_after_ms":{floor_ms}}}"#);
    let from = 20_000 + floor_ms;
    let mut per_second = vec![0; 25];
    for number in 0..clients {
        let client = Client::new(Config::default(), dice.seed(), clock(0), Restored::default());
        let (mut one, mut wakes) = ((client, None), BinaryHeap::new());
        one.0.connect(clock(0));
        drain(&mut one, clock(0), &mut wakes, number);
        let conn = one.1.unwrap_or(ConnId(0));
        one.0.handle(clock(1), Input::Opened { conn });
        one.0.handle(clock(1), Input::Received { conn, text: WELCOME });
        drain(&mut one, clock(1), &mut wakes, number);
        one.0.handle(clock(20_000), Input::Received { conn, text: &busy });
        one.0.handle(clock(20_000), Input::Closed { conn, code: 1006, cause: None });
        wakes.clear();
        drain(&mut one, clock(20_000), &mut wakes, number);
        if let Some(Reverse((at, _))) = wakes.pop() {
            per_second[(at.saturating_sub(from) / 20).min(24) as usize] += 1;
        }
    }
    let slice = clients as f64 / 25.0;
    Return { per_second, bound: (1.5 * slice + 3.0 * slice.sqrt()) as u64 }
}

const WELCOME: &str = r#"{"t":"welcome","conn":"c","user":{"id":"u","name":"u","kind":"guest"},"now":0,"ping_ms":3000000,"grace_ms":1000,"token_ttl_ms":86400000,"limits":{"message_bytes":65536,"subscriptions":100,"inflight":32,"inflight_bytes":262144,"ops":20,"per_ms":1000,"burst":40}}"#;

fn drain(
    one: &mut (Client, Option<ConnId>),
    now: Now,
    wakes: &mut BinaryHeap<Reverse<(u64, usize)>>,
    number: usize,
) {
    loop {
        match one.0.poll(now) {
            Output::Open { conn, .. } => one.1 = Some(conn),
            Output::FetchToken { ask, .. } => {
                one.0.handle(now, Input::Token { ask, result: Ok("t".to_owned()) })
            }
            Output::Store { store, .. } => one.0.handle(now, Input::Stored { store, result: Ok(()) }),
            Output::Wait { until, .. } => {
                if let Some(until) = until {
                    wakes.push(Reverse((until.0, number)));
                }
                return;
            }
            _ => {}
        }
    }
}
