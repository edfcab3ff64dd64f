//! The measured figures, and how they are printed.

use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::time::Duration;

/// The figures of `--json`, for `--help`. A test compares it with what is printed.
pub(crate) const KEYS: &str = "\
FIGURES of --json; times in ms, memory in bytes, as the system counts it (VmHWM, VmRSS)
  clients, inflight, seconds, connections, text_bytes, cores
                        what it was measured with; clients and server share the cores
  group_ops_per_s       acknowledged ops of all clients, each with several in flight
  group_ops_per_commit  ops in a transaction, then
  ack_p50_ms, ack_p99_ms
                        from sending an op to its acknowledgement, then
  single_ops_per_s      acknowledged ops of the same server on the same disk, one client with one op at a time
  single_ack_p50_ms, single_ack_p99_ms
                        the same, then
  group_vs_single       the first by the second
  sqlite_ops_per_s      SQLite alone in the server's journal mode: a commit for each row, no network
  group_vs_sqlite       group_ops_per_s by that
  fsync_p50_ms          the disk alone: writing 4 KiB of a file over and having it on the disk
  acked_ops, stored_events
                        what clients were told in both loads, and the rows in the databases: they must be equal
  server_idle_rss       the most of a server that nobody used yet
  server_load_rss       the most of the one with the group load
  server_connected_rss  the most of one with idle connections, each subscribed to a dialog of its own
  rss_per_connection    what each of them added
  hostile               for each kind of hostile peers: peers, rss (how much the server grew at most), bound (the sum of
                        what the default limits let them hold) and cut (how many the server is rid of afterwards)
    silent              subscribers who never read while 64 MiB are published to them
    greedy              subscribers who ask for page after page and never read
    noisy               longest and half messages, arrays of tiny frames, floods of pings, garbage; without a pause
    half                sockets that send nothing, half a header, or half a body
  hostile_rss, hostile_bound
                        of the kind that came closest to its bound
  client_idle_rss       the most of a native client's process without a message
  client_outbox_rss     of one with a full outbox: 999 messages that wait, 4.7 MiB
  client_history_rss    of one that shows a dialog's last 1,000 events of 1,000 bytes

It fails when a row is missing or too many, when hostile peers exceed their bound, or when one is not cut off.";

/// All figures.
pub(crate) struct Figures {
    pub(crate) fsync: Rate,
    pub(crate) sqlite: Rate,
    pub(crate) single: Load,
    pub(crate) group: Load,
    pub(crate) memory: Memory,
    pub(crate) hostile: Vec<Hostile>,
    pub(crate) client: ClientMemory,
}

/// The writes of a measured time.
#[derive(Default)]
pub(crate) struct Part {
    /// How long each write took that was acknowledged within the time.
    pub(crate) waits: Vec<Duration>,
    /// The number of transactions within the time.
    pub(crate) commits: u64,
    /// The number of writes that were acknowledged, including before and after the time.
    pub(crate) acked: u64,
    pub(crate) time: Duration,
}

/// How fast writes were, and how long each took.
#[derive(Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) ops_per_s: f64,
    pub(crate) ops_per_commit: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// The writes of clients to a server.
pub(crate) struct Load {
    pub(crate) rate: Rate,
    /// The number of ops that were acknowledged, including outside of the measured time.
    pub(crate) acked: u64,
    /// The number of events in the database afterwards.
    pub(crate) stored: u64,
}

/// The server's resident memory with friendly clients, in bytes.
pub(crate) struct Memory {
    /// The peak of a server without any connection.
    pub(crate) idle: u64,
    /// The peak of the same server after the load.
    pub(crate) loaded: u64,
    /// The peak of another server with idle connections.
    pub(crate) connected: u64,
    /// What each idle connection added.
    pub(crate) each: u64,
}

/// The effect of one kind of hostile peers on the server.
pub(crate) struct Hostile {
    pub(crate) kind: &'static str,
    pub(crate) peers: u32,
    /// How much its memory grew at most, in bytes.
    pub(crate) rss: u64,
    /// How much its memory may grow, in bytes.
    pub(crate) bound: u64,
    /// How many peers it has disconnected afterwards.
    pub(crate) cut: u32,
}

/// The peak of the memory of a native client's process, in bytes.
pub(crate) struct ClientMemory {
    pub(crate) idle: u64,
    pub(crate) outbox: u64,
    pub(crate) history: u64,
}

impl Part {
    /// Adds the writes of another measured time.
    pub(crate) fn add(&mut self, mut other: Part) {
        self.waits.append(&mut other.waits);
        self.commits += other.commits;
        self.acked += other.acked;
        self.time += other.time;
    }

    pub(crate) fn rate(mut self) -> Rate {
        self.waits.sort_unstable();
        let waits = &self.waits;
        let at = |part: usize| {
            let wait = waits.get((waits.len() * part / 100).min(waits.len().saturating_sub(1)));
            wait.copied().unwrap_or_default().as_secs_f64() * 1_000.0
        };
        let ops = waits.len() as f64;
        Rate {
            ops_per_s: ops / self.time.as_secs_f64(),
            ops_per_commit: ops / self.commits.max(1) as f64,
            p50_ms: at(50),
            p99_ms: at(99),
        }
    }
}

impl Load {
    /// The load of these writes, with the number of events that are stored.
    pub(crate) fn of(part: Part, stored: u64) -> Load {
        Load { acked: part.acked, rate: part.rate(), stored }
    }
}

impl Hostile {
    fn share(&self) -> f64 {
        self.rss as f64 / self.bound as f64
    }
}

impl Figures {
    /// Descriptions of all faults; empty if there are none.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, Load { acked, stored, .. }) in [("single", &self.single), ("group", &self.group)] {
            if acked != stored {
                faults.push(format!("{name}: {acked} ops were acknowledged, but {stored} events are stored"));
            }
        }
        for Hostile { kind, peers, rss, bound, cut } in &self.hostile {
            if rss > bound {
                faults.push(format!("{kind} peers made the server grow by {rss} bytes, more than {bound}"));
            }
            if cut < peers {
                faults.push(format!("{} of {peers} {kind} peers were not cut off", peers - cut));
            }
        }
        faults
    }

    /// The kind of hostile peers that came closest to its bound.
    fn closest(&self) -> Option<&Hostile> {
        self.hostile.iter().max_by(|a, b| a.share().total_cmp(&b.share()))
    }

    /// The figures as one JSON object, which includes the settings.
    pub(crate) fn in_json(&self, settings: Value) -> Value {
        let Figures { fsync, sqlite, single, group, memory, client, .. } = self;
        let mut hostile = Map::new();
        for Hostile { kind, peers, rss, bound, cut } in &self.hostile {
            hostile
                .insert((*kind).to_owned(), json!({"peers": peers, "rss": rss, "bound": bound, "cut": cut}));
        }
        let figures = json!({
            "group_ops_per_s": round(group.rate.ops_per_s),
            "group_ops_per_commit": round(group.rate.ops_per_commit),
            "ack_p50_ms": round(group.rate.p50_ms),
            "ack_p99_ms": round(group.rate.p99_ms),
            "single_ops_per_s": round(single.rate.ops_per_s),
            "single_ack_p50_ms": round(single.rate.p50_ms),
            "single_ack_p99_ms": round(single.rate.p99_ms),
            "group_vs_single": round(group.rate.ops_per_s / single.rate.ops_per_s),
            "sqlite_ops_per_s": round(sqlite.ops_per_s),
            "group_vs_sqlite": round(group.rate.ops_per_s / sqlite.ops_per_s),
            "fsync_p50_ms": round(fsync.p50_ms),
            "acked_ops": single.acked + group.acked,
            "stored_events": single.stored + group.stored,
            "server_idle_rss": memory.idle,
            "server_load_rss": memory.loaded,
            "server_connected_rss": memory.connected,
            "rss_per_connection": memory.each,
            "hostile": hostile,
            "hostile_rss": self.closest().map(|hostile| hostile.rss),
            "hostile_bound": self.closest().map(|hostile| hostile.bound),
            "client_idle_rss": client.idle,
            "client_outbox_rss": client.outbox,
            "client_history_rss": client.history,
        });
        match (settings, figures) {
            (Value::Object(mut all), Value::Object(mut more)) => {
                all.append(&mut more);
                Value::Object(all)
            }
            (_, figures) => figures,
        }
    }

    /// The figures as tables. `many` names the load of many clients, `connections` is the number of
    /// idle connections.
    pub(crate) fn in_text(&self, many: &str, connections: u32) -> String {
        let Figures { fsync, sqlite, single, group, memory, client, .. } = self;
        let mut text =
            format!("\n{:<38}{:>10}{:>12}{:>10}{:>10}\n", "", "ops/s", "ops/commit", "p50 ms", "p99 ms");
        for (name, rate) in [
            ("the disk: 4 KiB and a sync", fsync),
            ("SQLite alone, a commit each row", sqlite),
            ("server, one write at a time", &single.rate),
            (many, &group.rate),
        ] {
            let Rate { ops_per_s, ops_per_commit, p50_ms, p99_ms } = rate;
            // Writing to a string can't fail.
            let _ = writeln!(
                text,
                "{name:<38}{ops_per_s:>10.0}{ops_per_commit:>12.1}{p50_ms:>10.2}{p99_ms:>10.2}"
            );
        }
        let _ = writeln!(
            text,
            "group commit: {:.1} times one write at a time, {:.1} times SQLite alone\n\
             acknowledged {} ops, stored {} events\n\n\
             the server's memory at its highest: {} idle, {} under load, {} with {connections} idle connections, {} bytes each\n\n\
             {:<38}{:>10}{:>12}{:>10}{:>10}",
            group.rate.ops_per_s / single.rate.ops_per_s,
            group.rate.ops_per_s / sqlite.ops_per_s,
            single.acked + group.acked,
            single.stored + group.stored,
            mib(memory.idle),
            mib(memory.loaded),
            mib(memory.connected),
            memory.each,
            "hostile peers",
            "how many",
            "grown by",
            "bound",
            "cut off",
        );
        for Hostile { kind, peers, rss, bound, cut } in &self.hostile {
            let _ = writeln!(text, "{kind:<38}{peers:>10}{:>12}{:>10}{cut:>10}", mib(*rss), mib(*bound));
        }
        let _ = writeln!(
            text,
            "\na native client's process at its highest: {} idle, {} with a full outbox, {} with 1,000 events shown",
            mib(client.idle),
            mib(client.outbox),
            mib(client.history),
        );
        text
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Rounds to three decimal places.
fn round(figure: f64) -> f64 {
    (figure * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let rate = Rate { ops_per_s: 1.0, ops_per_commit: 1.0, p50_ms: 1.0, p99_ms: 1.0 };
        let load = || Load { rate, acked: 3, stored: 3 };
        Figures {
            fsync: rate,
            sqlite: rate,
            single: load(),
            group: load(),
            memory: Memory { idle: 1, loaded: 2, connected: 3, each: 4 },
            hostile: vec![
                Hostile { kind: "silent", peers: 2, rss: 50, bound: 100, cut: 2 },
                Hostile { kind: "half", peers: 2, rss: 60, bound: 200, cut: 2 },
            ],
            client: ClientMemory { idle: 1, outbox: 2, history: 3 },
        }
    }

    #[test]
    fn a_rate_is_of_what_was_acknowledged() {
        let part = |waits: std::ops::RangeInclusive<u64>| Part {
            waits: waits.rev().map(Duration::from_millis).collect(),
            commits: 10,
            acked: 60,
            time: Duration::from_secs(1),
        };
        let mut both = part(51..=100);
        both.add(part(1..=50));
        assert_eq!(both.acked, 120);
        let rate = both.rate();
        assert_eq!((rate.ops_per_s, rate.ops_per_commit), (50.0, 5.0));
        assert_eq!((rate.p50_ms, rate.p99_ms), (51.0, 100.0));
    }

    #[test]
    fn nothing_is_a_rate_of_nothing() {
        let rate = Part { time: Duration::from_secs(1), ..Part::default() }.rate();
        assert_eq!((rate.ops_per_s, rate.ops_per_commit, rate.p99_ms), (0.0, 0.0, 0.0));
    }

    #[test]
    fn every_figure_is_explained() {
        let json = figures().in_json(json!({"clients": 1}));
        let words: Vec<&str> = KEYS.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        for key in json.as_object().unwrap().keys() {
            assert!(words.contains(&key.as_str()), "{key}");
        }
        assert_eq!(
            (&json["clients"], &json["hostile_rss"], &json["hostile_bound"]),
            (&json!(1), &json!(50), &json!(100))
        );
    }

    #[test]
    fn a_lost_row_a_broken_bound_and_a_peer_that_stays_are_faults() {
        assert!(figures().faults().is_empty());
        let mut figures = figures();
        figures.group.stored = 2;
        figures.hostile[0].rss = 101;
        figures.hostile[1].cut = 1;
        let faults = figures.faults();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(
            faults[0].starts_with("group: 3 ops")
                && faults[1].contains("silent")
                && faults[2].contains("half")
        );
    }
}
