//! Two hundred processes of servers and clients, killed with SIGKILL in the middle of their work.
//! What was acknowledged is in the log, what a client called queued gets there, nothing is there
//! twice or in another order.
//!
//! `cargo test -p tidewire --test kills -- --ignored --nocapture` prints the figures.

mod common;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::peer::Peer;
use common::server::Server;
use common::told::{Told, read_log, text_of};
use common::until;
use tempfile::TempDir;

/// In each, the server and three clients are killed.
const ROUNDS: usize = 50;
const WRITERS: [&str; 4] = ["ada", "bob", "cyd", "dan"];
/// Reads the bare channel.
const READER: &str = "eve";
/// How many messages each writer sends to show that it is back, and how many right before the kill.
const CALM: usize = 2;
const LAST: usize = 6;

struct Crowd {
    told: Arc<Told>,
    url: String,
    folder: TempDir,
    /// Name, token, number of starts, and the process.
    peers: Vec<(String, String, usize, Peer)>,
    written: usize,
}

impl Crowd {
    async fn start(server: &Server) -> Crowd {
        let mut crowd = Crowd {
            told: Arc::new(Told::default()),
            url: server.url(),
            folder: TempDir::new().expect("a folder"),
            peers: Vec::new(),
            written: 0,
        };
        for name in WRITERS.iter().chain([&READER]) {
            let token = server.token(name, 3_600).await;
            let peer = crowd.run(name, &token, 0);
            crowd.peers.push(((*name).to_owned(), token, 0, peer));
        }
        crowd
    }

    fn run(&self, name: &str, token: &str, run: usize) -> Peer {
        let store: PathBuf = self.folder.path().join(name);
        let bare: &[&str] = if name == READER { &["--bare"] } else { &[] };
        // The reader has no store: it reads the log from its end each time.
        let store = (name != READER).then_some(store.as_path());
        Peer::start(&self.told, (name, run), (&self.url, token), store, bare, &[])
    }

    fn restart(&mut self, at: usize) {
        let (name, token, run, _) = &self.peers[at];
        let (name, token, run) = (name.clone(), token.clone(), run + 1);
        let peer = self.run(&name, &token, run);
        self.peers[at] = (name, token, run, peer);
    }

    fn writers(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.peers.iter_mut().take(WRITERS.len()).map(|(_, _, _, peer)| peer)
    }

    fn write(&mut self, each: usize) {
        for _ in 0..each {
            for (at, name) in WRITERS.iter().enumerate() {
                let text = format!("{name} {}", self.written);
                self.written += 1;
                let told = Arc::clone(&self.told);
                self.peers[at].3.send(&told, &text);
            }
        }
    }

    fn acked(&mut self) -> Vec<usize> {
        self.writers().map(|peer| peer.state().acked.len()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; a suite of its own"]
async fn two_hundred_killed_processes_lose_nothing_that_was_promised() {
    let begun = Instant::now();
    let mut server = Server::with(&["--model", "off"]);
    let mut crowd = Crowd::start(&server).await;
    let (mut kills, mut under_way, mut acked_then_killed) = (0, 0, HashSet::new());
    for round in 0..ROUNDS {
        let before = crowd.acked();
        crowd.write(CALM);
        until("everybody's return", || crowd.acked().iter().zip(&before).all(|(now, before)| now > before))
            .await;
        // Half of the time they are cut off in the middle of an exchange, half of the time with a
        // full outbox.
        let offline = round % 2 == 1;
        if offline {
            server.kill();
        }
        crowd.write(LAST);
        if offline {
            until("full outboxes", || crowd.writers().all(|peer| peer.has_queued())).await;
        }
        // The end comes at a different point each time.
        tokio::time::sleep(Duration::from_micros((round * 700 % 5_300) as u64)).await;
        let told = Arc::clone(&crowd.told);
        let victims: Vec<usize> = (0..3).map(|n| (round + n) % crowd.peers.len()).collect();
        let server_first = round % 4 == 0;
        if server_first {
            server.kill();
        }
        for &victim in &victims {
            let peer = &mut crowd.peers[victim].3;
            peer.kill(&told);
            let state = peer.state();
            under_way += state.safe.difference(&state.acked).count();
            acked_then_killed.extend(state.acked);
        }
        server.kill();
        for peer in crowd.writers() {
            acked_then_killed.extend(peer.state().acked);
        }
        kills += 1 + victims.len();
        server.restart();
        victims.into_iter().for_each(|victim| crowd.restart(victim));
    }

    // What is left goes out.
    let told = Arc::clone(&crowd.told);
    until("empty outboxes", || {
        crowd.writers().all(|peer| {
            let state = peer.state();
            state.online && state.waiting == 0 && peer.unsafe_yet.iter().all(|id| state.acked.contains(id))
        })
    })
    .await;
    let log = read_log(&server.url(), &server.token("fresh", 3_600).await, text_of).await;
    let head = log.last().map_or(0, |last| last.0);
    until("everybody at the head", || crowd.peers.iter().all(|(_, _, _, peer)| peer.state().applied == head))
        .await;
    for (name, _, run, peer) in &mut crowd.peers {
        peer.kill(&told);
        told.caught_up(&format!("{name}#{run}"));
        told.drained(name);
    }
    told.log(&log);
    let report = told.finish("kills");
    println!(
        "figures: {kills} kills in {:.0} s, {under_way} messages waiting in a store when their client was killed",
        begun.elapsed().as_secs_f64()
    );
    println!("figures: acknowledged-then-killed {}, lost {}", acked_then_killed.len(), report.lost);
    println!("figures: {report}");
    assert_eq!(kills, 200);
    assert!(acked_then_killed.len() > 1_000 && under_way > 100, "too few were hit");
}
