//! The surface for Kotlin, Swift and Python, through uniffi. It converts and forwards.
//!
//! Commands are synchronous and answer at once; everything that happens comes through [`Events::next_batch`]. Foreign code
//! runs on the dispatcher's thread or on one made for a token, never on the threads that carry sockets.

#![allow(unreachable_pub, reason = "what is public here is reached from other languages")]

mod codes;
mod error;
mod events;
mod numbers;
mod options;
mod report;
mod shown;
mod tables;

use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use tidewire_core::tables::TableError;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use self::error::TidewireError;
use self::events::{DialogState, Event, Lifecycle, Network, Row, Status, User};
use self::numbers::large;
use self::options::{ClientOptions, TokenProvider};
use self::report::Report;
use self::tables::{TableQuery, TableStatus};
use crate::dialog::Dialog;
use crate::error::{AwaitTxError, SendError};
use crate::events::ClientEvent;
use crate::table::Table;

/// Most events handed over at once.
const BATCH: usize = 256;
/// How long [`close_all_blocking`] waits.
const PATIENCE: Duration = Duration::from_secs(5);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("tidewire")
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("the system gives no threads: {error}"))
});

static CLIENTS: Mutex<Vec<Weak<Client>>> = Mutex::new(Vec::new());

/// This library's version.
#[uniffi::export]
pub fn sdk_version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// Closes every client, and waits up to 5 s until their stores are written. For Python's `atexit`:
/// a thread of this library must not call into an interpreter that is going away.
#[uniffi::export]
pub fn close_all_blocking() {
    let clients: Vec<_> = lock(&CLIENTS).drain(..).filter_map(|client| client.upgrade()).collect();
    let (ended, wait) = std::sync::mpsc::channel::<()>();
    for client in clients {
        client.close_now();
        let ended = ended.clone();
        RUNTIME.spawn(async move {
            client.client.close().await;
            drop(ended);
        });
    }
    drop(ended);
    // Ends when the last sender is gone.
    let _ = wait.recv_timeout(PATIENCE);
}

/// A client. Dropping it closes it.
#[derive(uniffi::Object)]
pub struct Client {
    client: crate::client::Client,
    /// As often as each was opened.
    dialogs: Mutex<HashMap<String, Vec<Dialog>>>,
    tables: Mutex<HashMap<i32, Table>>,
}

/// Everything that happens in a client. It does not keep the client open: it ends when that is
/// closed or dropped.
#[derive(uniffi::Object)]
pub struct Events {
    inbox: tokio::sync::Mutex<Inbox>,
}

/// A message on its way.
#[derive(uniffi::Object)]
pub struct Outgoing {
    outgoing: crate::dialog::Outgoing,
}

#[uniffi::export]
impl Outgoing {
    /// The message's id, which is its row's too.
    pub fn id(&self) -> String {
        self.outgoing.id().to_owned()
    }

    /// Waits until the end of this program can't lose it any more: it is in the store on disk, or
    /// the server has it.
    pub async fn stored(&self) -> Result<(), TidewireError> {
        Ok(self.outgoing.stored().await?)
    }

    /// Waits until the server has committed it, and returns its offset in the dialog.
    pub async fn acked(&self) -> Result<i64, TidewireError> {
        Ok(large(self.outgoing.acked().await?))
    }
}

/// The reading end of the dispatcher.
struct Inbox {
    batches: mpsc::Receiver<Vec<ClientEvent>>,
    /// What the last call did not take.
    rest: VecDeque<ClientEvent>,
}

#[uniffi::export]
impl Client {
    /// Opens the store and starts a client that is not connected yet. Without a provider,
    /// `guest_nickname` is needed.
    #[uniffi::constructor(default(provider = None))]
    pub fn new(
        options: ClientOptions,
        provider: Option<Arc<dyn TokenProvider>>,
    ) -> Result<Arc<Client>, TidewireError> {
        let client = crate::client::Client::open_on(options::convert(options, provider)?, RUNTIME.handle())?;
        let client = Arc::new(Client { client, dialogs: Mutex::default(), tables: Mutex::default() });
        let mut clients = lock(&CLIENTS);
        clients.retain(|client| client.strong_count() > 0);
        clients.push(Arc::downgrade(&client));
        Ok(client)
    }

    /// Everything that happens from now on. The first call before `connect` also brings what
    /// happened since the client was opened.
    pub fn events(&self) -> Result<Arc<Events>, TidewireError> {
        let (sender, batches) = mpsc::channel(1);
        let events = self.client.events();
        std::thread::Builder::new()
            .name(String::from("tidewire-dispatch"))
            .spawn(move || RUNTIME.block_on(dispatch(events, sender)))
            .map_err(|error| TidewireError::Store {
                code: String::from("no_threads"),
                detail: error.to_string(),
            })?;
        Ok(Arc::new(Events { inbox: tokio::sync::Mutex::new(Inbox { batches, rest: VecDeque::new() }) }))
    }

    /// Connects, and stays connected until told otherwise. In a pause between attempts it tries at
    /// once.
    pub fn connect(&self) {
        self.client.connect();
    }

    /// Goes offline until `connect`.
    pub fn disconnect(&self) {
        self.client.disconnect();
    }

    /// Closes the client for good, without waiting.
    pub fn close_now(&self) {
        self.client.close_now();
    }

    /// Closes the client for good, and waits until its store is written and released. Kotlin's name
    /// for it is `closeAndWait`, because `close` is `AutoCloseable`'s there.
    pub async fn close(&self) {
        let client = self.client.clone();
        // In a task, so that this future is not woken by the one that drives the sockets.
        let _ = RUNTIME.spawn(async move { client.close().await }).await;
    }

    /// Keeps a dialog up to date until `close_dialog` was called as often as this. Its rows come as
    /// events, beginning with a reset; whoever opens one that is open already finds them by `rows`.
    pub fn open_dialog(&self, dialog: String) -> Result<(), TidewireError> {
        let handle = self.client.dialog(&dialog)?;
        lock(&self.dialogs).entry(dialog).or_default().push(handle);
        Ok(())
    }

    /// Lets go of a dialog, which closes with its last holder. Of one that is not open it does
    /// nothing.
    pub fn close_dialog(&self, dialog: String) {
        let mut dialogs = lock(&self.dialogs);
        let handle = dialogs.get_mut(&dialog).and_then(Vec::pop);
        dialogs.retain(|_, handles| !handles.is_empty());
        drop(dialogs);
        drop(handle);
    }

    /// How an open dialog stands; none of one that is not open.
    pub fn dialog_state(&self, dialog: String) -> Option<DialogState> {
        Some(self.dialog(&dialog)?.state().into())
    }

    /// Writes a message. It is sent as soon as possible, after a restart of the process too if the
    /// client has a store.
    pub fn send_text(&self, dialog: String, text: String) -> Result<Arc<Outgoing>, TidewireError> {
        Ok(Arc::new(Outgoing { outgoing: self.client.send_text(&dialog, &text)? }))
    }

    /// Tells whoever follows the dialog now something of the moment, like that somebody types;
    /// `body` is the JSON text of an object. A newer signal of the same kind and key takes the
    /// place of one that still waits.
    pub fn signal(
        &self,
        dialog: String,
        kind: String,
        key: Option<String>,
        body: String,
    ) -> Result<(), TidewireError> {
        Ok(self.client.signal(&format!("dialog:{dialog}"), &kind, key.as_deref(), &body)?)
    }

    /// Sends a failed message again; false when there is no failed message of this id.
    pub fn retry(&self, id: String) -> bool {
        self.client.retry(&id)
    }

    /// Gives a message up that waits or failed; false when there is none of this id, or when it may
    /// have reached the server.
    pub fn discard(&self, id: String) -> bool {
        self.client.discard(&id)
    }

    /// Asks the server to end the newest answer under way in an open dialog. The code is
    /// `run_not_found` if there is none.
    pub fn stop(&self, dialog: String) -> Result<(), TidewireError> {
        let none = SendError::Refused(tidewire_core::SendError::RunNotFound);
        self.dialog(&dialog).ok_or(none)?.stop()?;
        Ok(())
    }

    /// The rows of an open dialog as they are.
    pub fn rows(&self, dialog: String) -> Vec<Row> {
        let rows = self.dialog(&dialog).map(|dialog| dialog.rows());
        rows.iter().flat_map(|rows| rows.iter()).map(|row| Row::from((**row).clone())).collect()
    }

    /// Opens a view of a table and returns its number. What happens comes as events.
    pub fn open_table(&self, query: TableQuery) -> Result<i32, TidewireError> {
        let table = self.client.table(&query.into())?;
        let view = table.view();
        lock(&self.tables).insert(view, table);
        Ok(view)
    }

    /// Closes a view.
    pub fn close_table(&self, view: i32) {
        let table = lock(&self.tables).remove(&view);
        drop(table);
    }

    /// A view's rows as the JSON texts of objects, in its order and up to its limit.
    pub fn table_rows(&self, view: i32) -> Vec<String> {
        lock(&self.tables).get(&view).map_or_else(Vec::new, |table| tables::texts(&table.rows()))
    }

    /// How far a view's rows can be trusted; none if it is closed.
    pub fn table_status(&self, view: i32) -> Option<TableStatus> {
        lock(&self.tables).get(&view).map(|table| table.status().into())
    }

    /// Asks to be told, by an event, once a transaction of the database has been applied to a view.
    /// `tx` is what the database calls it.
    pub fn await_tx(&self, view: i32, tx: String) -> Result<(), TidewireError> {
        match lock(&self.tables).get(&view) {
            Some(table) => Ok(table.ask_for_tx(&tx)?),
            None => Err(AwaitTxError::Refused(TableError::Closed).into()),
        }
    }

    /// The connection as it is.
    pub fn status(&self) -> Status {
        self.client.status().into()
    }

    /// What happened lately, and the counters.
    pub fn explain(&self) -> Report {
        self.client.explain().into()
    }

    /// Who this client is, once a server has said it.
    pub fn user(&self) -> Option<User> {
        self.client.user().map(User::from)
    }

    /// Tells what the system says about the network.
    pub fn network(&self, network: Network) {
        self.client.network(network.into());
    }

    /// Tells that the app goes to the background or comes back.
    pub fn lifecycle(&self, lifecycle: Lifecycle) {
        self.client.lifecycle(lifecycle.into());
    }
}

#[uniffi::export]
impl Events {
    /// Waits for events and takes up to `max` of them, in their order; empty once the client is
    /// closed and all were taken. One reader at a time. A call that is cancelled loses nothing.
    pub async fn next_batch(&self, max: i32) -> Vec<Event> {
        let mut inbox = self.inbox.lock().await;
        if inbox.rest.is_empty() {
            match inbox.batches.recv().await {
                Some(batch) => inbox.rest.extend(batch),
                None => return Vec::new(),
            }
        }
        let count = inbox.rest.len().min(usize::try_from(max).unwrap_or(1).max(1));
        inbox.rest.drain(..count).map(Event::from).collect()
    }
}

impl Client {
    fn dialog(&self, dialog: &str) -> Option<Dialog> {
        lock(&self.dialogs).get(dialog)?.last().cloned()
    }
}

/// Hands events over as they are asked for; what the reader does not take piles up, bounded, in [`Events`]. Runs on a
/// thread of its own, because waking a foreign reader runs foreign code.
async fn dispatch(mut events: crate::events::Events, reader: mpsc::Sender<Vec<ClientEvent>>) {
    loop {
        // First the reader's wish, so that a slow one finds the newest state.
        let Ok(place) = reader.reserve().await else { return };
        let batch = events.next_batch(BATCH).await;
        if batch.is_empty() {
            return;
        }
        place.send(batch);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
