//! Processes that are killed in the middle of their work: nothing acknowledged is lost, nothing is
//! there twice.

mod common;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::build::build;
use common::server::Server;
use common::{eager, rows_where, until};
use tempfile::TempDir;
use tidewire::token::from_fn;
use tidewire::{
    ChannelItem, ChannelState, Client, ClientOptions, Config, Dialog, Row, RowState, Rows, Storage,
};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

const KILLS: usize = 10;
/// How many messages each sender writes to show that it is back, and how many right before the
/// kill.
const CALM: usize = 2;
const LAST: usize = 6;

/// Returns soon, and no attempt of the twelve a minute is wasted on a server that is still
/// starting.
fn steady() -> Config {
    Config { backoff_base_ms: 500, backoff_cap_ms: 1_000, tail: 1_000, ..eager() }
}

async fn user(server: &Server, name: &str, storage: Storage) -> Client {
    let token = server.token(name, 3_600).await;
    let provider = from_fn(move |_| {
        let token = token.clone();
        async move { Ok(token) }
    });
    let options = ClientOptions::new(server.url(), provider).storage(storage).config(steady());
    let client = Client::open(options).await.expect("opens");
    client.connect();
    client
}

/// One sender: writes whenever it may, and notes what it wrote and what was acknowledged.
#[derive(Default)]
struct Ledger {
    /// (id, text) in the order of writing.
    written: Mutex<Vec<(String, String)>>,
    /// Offset by id.
    acked: Mutex<HashMap<String, u64>>,
    /// How many were acknowledged.
    count: AtomicUsize,
}

fn write_on(
    name: &'static str,
    dialog: Dialog,
    permits: Arc<Semaphore>,
    ledger: Arc<Ledger>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok(permit) = permits.acquire().await {
            permit.forget();
            let sent = {
                let mut written = ledger.written.lock().expect("unpoisoned");
                let text = format!("{name} {}", written.len());
                let sent = dialog.send(&text).expect("taken");
                written.push((sent.id().to_string(), text));
                sent
            };
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move {
                let id = sent.id().to_string();
                let offset = sent.acked().await.expect("nothing is refused");
                assert_eq!(ledger.acked.lock().expect("unpoisoned").insert(id, offset.0), None);
                ledger.count.fetch_add(1, Ordering::SeqCst);
            });
            tokio::task::yield_now().await;
        }
    })
}

/// What the log must be, from what the senders know.
fn expected(ledgers: &[Arc<Ledger>]) -> Vec<(u64, String, String)> {
    let mut log = Vec::new();
    for ledger in ledgers {
        let (written, acked) =
            (ledger.written.lock().expect("unpoisoned"), ledger.acked.lock().expect("unpoisoned"));
        let offsets: Vec<u64> = written.iter().map(|(id, _)| acked[id]).collect();
        assert!(offsets.is_sorted_by(|a, b| a < b), "a sender's messages keep their order");
        log.extend(
            written.iter().zip(offsets).map(|((id, text), offset)| (offset, id.clone(), text.clone())),
        );
    }
    log.sort();
    log
}

fn seen(rows: &Rows) -> Vec<(u64, String, String)> {
    let entry = |row: &Arc<Row>| {
        assert_eq!(row.state, RowState::Sent, "{row:?}");
        (row.offset.expect("committed").0, row.id.clone(), row.text.clone())
    };
    rows.iter().map(entry).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_in_the_middle_again_and_again_loses_and_doubles_nothing() {
    let folder = TempDir::new().expect("a folder");
    let mut server = Server::with(&["--model", "off"]);

    let names = ["ada", "bob", "cyd"];
    let (mut clients, mut dialogs, mut ledgers, mut writers) = (vec![], vec![], vec![], vec![]);
    let permits: Vec<_> = names.iter().map(|_| Arc::new(Semaphore::new(0))).collect();
    for (name, permits) in names.into_iter().zip(&permits) {
        let client = user(&server, name, Storage::Folder(folder.path().join(name))).await;
        let (dialog, ledger) = (client.dialog("demo").expect("opened"), Arc::new(Ledger::default()));
        writers.push(write_on(name, dialog.clone(), Arc::clone(permits), Arc::clone(&ledger)));
        clients.push(client);
        dialogs.push(dialog);
        ledgers.push(ledger);
    }
    // A reader of the bare channel, for which every event counts: no gap, no repetition, no reset.
    let reader = user(&server, "reader", Storage::Memory).await;
    let mut log = reader.channel("dialog:demo").expect("opened");
    let read = Arc::new(Mutex::new(Vec::new()));
    let reading = Arc::clone(&read);
    let reading = tokio::spawn(async move {
        while let Some(item) = log.next().await {
            match item {
                ChannelItem::Event(event) => {
                    let mut read = reading.lock().expect("unpoisoned");
                    assert_eq!(event.offset, read.len() as u64 + 1, "dense");
                    read.push((event.offset.0, event.id.to_string()));
                }
                ChannelItem::State(ChannelState::Syncing | ChannelState::Live) => {}
                item => panic!("{item:?}"),
            }
        }
    });

    let acked = || ledgers.iter().map(|ledger| ledger.count.load(Ordering::SeqCst)).collect::<Vec<_>>();
    let mut under_way = 0;
    for kill in 0..KILLS {
        let before = acked();
        permits.iter().for_each(|permits| permits.add_permits(CALM));
        until("everybody's return", || acked().iter().zip(&before).all(|(now, before)| *now > *before)).await;
        // Everybody writes, and the end comes at a different point each time, with messages just
        // sent.
        let before: usize = acked().iter().sum();
        while acked().iter().sum::<usize>() <= before + kill % LAST {
            permits.iter().for_each(|permits| permits.add_permits(1));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        permits.iter().for_each(|permits| permits.add_permits(LAST));
        // On a busy machine all of them may be acknowledged before this looks.
        while clients.iter().all(|client| client.status().waiting == 0) {
            permits.iter().for_each(|permits| permits.add_permits(1));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.kill();
        under_way += usize::from(clients.iter().any(|client| client.status().waiting > 0));
        server.restart();
    }
    let written =
        || ledgers.iter().map(|ledger| ledger.written.lock().expect("unpoisoned").len()).sum::<usize>();
    until("everything to be written", || permits.iter().all(|permits| permits.available_permits() == 0))
        .await;
    until("every acknowledgement", || acked().iter().sum::<usize>() == written()).await;
    let total = written();
    assert!(under_way >= 8, "only {under_way} of {KILLS} kills hit messages under way");

    let expected = expected(&ledgers);
    assert_eq!(expected.len(), total);
    assert_eq!(expected.last().map(|last| last.0), Some(total as u64), "nothing else is in the log");
    for (name, dialog) in names.iter().zip(&dialogs) {
        let rows = rows_where(dialog, "the whole log", |rows| {
            rows.len() == total && rows.iter().all(|row| row.state == RowState::Sent)
        })
        .await;
        assert_eq!(seen(&rows), expected, "what {name} sees");
    }
    let fresh = user(&server, "fresh", Storage::Memory).await;
    let dialog = fresh.dialog("demo").expect("opened");
    assert_eq!(seen(&rows_where(&dialog, "the whole log", |rows| rows.len() == total).await), expected);
    until("the reader", || read.lock().expect("unpoisoned").len() == total).await;
    let ids: Vec<_> = expected.iter().map(|(offset, id, _)| (*offset, id.clone())).collect();
    assert_eq!(*read.lock().expect("unpoisoned"), ids);
    assert!(!reading.is_finished(), "the reader found nothing wrong");
    let reports: Vec<_> = clients.iter().map(|client| client.explain().counters).collect();
    assert!(reports.iter().all(|counters| counters.lost == 0 && counters.reconnects >= 1), "{reports:?}");
    let resent: u64 = reports.iter().map(|counters| counters.resent).sum();
    println!(
        "{KILLS} kills, {under_way} with messages under way, {total} messages, {resent} sent again, 5 observers agree"
    );
    writers.iter().for_each(JoinHandle::abort);
}

/// The desktop chat in its own process, to be killed.
struct Desktop {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Desktop {
    fn start(program: &Path, server: &Server, store: &Path) -> Desktop {
        let mut child = Command::new(program)
            .args(["--plain", "--server", &server.url(), "--name", "Ada", "--store"])
            .arg(store)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the chat starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Desktop { child, lines, seen: Vec::new() }
    }

    fn write(&mut self, text: &str) {
        writeln!(self.child.stdin.as_mut().expect("piped"), "{text}").expect("written");
    }

    async fn says(&mut self, wanted: &str) {
        until(wanted, || {
            self.seen.extend(self.lines.try_iter());
            self.seen.iter().any(|line| line == wanted)
        })
        .await;
    }

    fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }
}

#[tokio::test]
async fn a_client_killed_with_messages_waiting_sends_them_after_its_restart_once_and_in_order() {
    let program = build(&["--bin", "tidewire-desktop"]).join("tidewire-desktop");
    let mut server = Server::with(&["--model", "off"]);
    let folder = TempDir::new().expect("a folder");
    let store = folder.path().join("store");

    let mut chat = Desktop::start(&program, &server, &store);
    chat.write("0");
    chat.says("✓ Ada: 0").await;
    // A second process is told, and does no harm.
    let second = Command::new(&program)
        .args(["--plain", "--server", &server.url(), "--store"])
        .arg(&store)
        .stdin(Stdio::null())
        .output()
        .expect("runs");
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("in another window"), "{second:?}");

    server.kill();
    for n in 1..=5 {
        chat.write(&n.to_string());
    }
    chat.says("… Ada: 5").await;
    chat.kill();
    let mut chat = Desktop::start(&program, &server, &store);
    chat.says("… Ada: 5").await;
    chat.write("6");
    chat.write("7");
    chat.says("… Ada: 7").await;
    chat.kill();

    server.restart();
    let mut chat = Desktop::start(&program, &server, &store);
    chat.says("✓ Ada: 7").await;
    chat.kill();
    let bob = Client::open(ClientOptions::guest(server.url(), "Bob")).await.expect("opens");
    bob.connect();
    let dialog = bob.dialog("demo").expect("opened");
    let rows = rows_where(&dialog, "all of them", |rows| rows.len() >= 8).await;
    let texts: Vec<_> = rows.iter().map(|row| row.text.as_str()).collect();
    assert_eq!(texts, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    let authors: HashSet<_> = rows.iter().map(|row| row.by.id.as_str()).collect();
    assert_eq!(authors.len(), 1, "the same guest came back each time");
}
