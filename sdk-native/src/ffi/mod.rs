//! The surface for Kotlin, Swift and Python, through uniffi. It only converts and forwards.
//!
//! Commands are synchronous and return at once; all events come through [`Events::next_batch`], and
//! those of one channel through [`Channel::next`]. Foreign code runs on a dispatcher's thread or on a
//! thread for a token request, never on the threads of the sockets.

#![allow(unreachable_pub, reason = "what is public here is reached from other languages")]

mod channel;
mod codes;
mod error;
mod events;
mod follower;
mod handoff;
mod numbers;
mod options;
mod people;
mod reads;
mod report;
mod shown;
mod tables;
mod user;
mod words;

use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use tidewire_core::tables::TableError;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use self::channel::Channel;
use self::error::TidewireError;
use self::events::{DialogState, Event, Lifecycle, Network, Row, Status};
use self::handoff::HandOffStep;
use self::numbers::{count, large, place};
use self::options::{ClientOptions, TokenProvider};
use self::people::People;
use self::reads::Reads;
use self::report::{Metrics, Report};
use self::tables::{TableQuery, TableStatus};
use self::user::User;
use crate::dialog::Dialog;
use crate::error::{AwaitTxError, OpError, SendError, SubscribeError};
use crate::events::ClientEvent;
use crate::table::Table;

/// Most events of one batch.
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

/// The thread that wakes foreign code which waits for an item or a message: that runs some of it.
static DISPATCH: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("tidewire-wake")
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
/// threads of this library must not call into an interpreter that is shutting down.
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
    // The loop ends when the last sender is dropped.
    let _ = wait.recv_timeout(PATIENCE);
}

/// A client. Dropping it closes it.
#[derive(uniffi::Object)]
pub struct Client {
    client: crate::client::Client,
    /// The open dialogs, each as often as it was opened.
    dialogs: Mutex<HashMap<String, Vec<Dialog>>>,
    tables: Mutex<HashMap<i32, Table>>,
}

/// The events of a client. They do not keep the client open: they end when it is closed or dropped.
#[derive(uniffi::Object)]
pub struct Events {
    inbox: tokio::sync::Mutex<Inbox>,
}

/// A message that was sent.
#[derive(uniffi::Object)]
pub struct Outgoing {
    outgoing: crate::dialog::Outgoing,
}

#[uniffi::export]
impl Outgoing {
    /// The message's id, which is also its row's.
    pub fn id(&self) -> String {
        self.outgoing.id().to_string()
    }

    /// Waits until the message survives the end of this program: it is in the store on disk, or the
    /// server has committed it.
    pub async fn stored(&self) -> Result<(), TidewireError> {
        let outgoing = self.outgoing.clone();
        Ok(apart(async move { outgoing.stored().await }).await?)
    }

    /// Waits until the server has committed the message, and returns its offset in the channel.
    pub async fn acked(&self) -> Result<i64, TidewireError> {
        let outgoing = self.outgoing.clone();
        Ok(large(apart(async move { outgoing.acked().await }).await?.0))
    }
}

/// The reader's end of the dispatcher.
struct Inbox {
    batches: mpsc::Receiver<Vec<ClientEvent>>,
    /// Events that the last call did not take.
    rest: VecDeque<ClientEvent>,
}

#[uniffi::export]
impl Client {
    /// Opens the store and starts a client, not yet connected. Without a token provider
    /// `guest_nickname` is required.
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

    /// The events from now on. If the first call is made before `connect`, they begin with those
    /// since the client was opened.
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

    /// Connects, and stays connected until `disconnect`. It ends a pause between attempts.
    pub fn connect(&self) {
        self.client.connect();
    }

    /// Disconnects until `connect`.
    pub fn disconnect(&self) {
        self.client.disconnect();
    }

    /// Closes the client for good, without waiting.
    pub fn close_now(&self) {
        self.client.close_now();
    }

    /// Closes the client for good, and waits until its store is written and closed. Kotlin's name
    /// for it is `closeAndWait`, because `close` is `AutoCloseable`'s there.
    pub async fn close(&self) {
        let client = self.client.clone();
        // In a task of its own, so that this future is never woken by the task that drives the
        // sockets.
        let _ = RUNTIME.spawn(async move { client.close().await }).await;
    }

    /// Opens a dialog until `close_dialog` was called as often as this. Its rows come as events,
    /// beginning with a reset. For a dialog that is open already there is no reset; use `rows`.
    pub fn open_dialog(&self, dialog: String) -> Result<(), TidewireError> {
        let handle = self.client.dialog(&dialog)?;
        lock(&self.dialogs).entry(dialog).or_default().push(handle);
        Ok(())
    }

    /// Removes a holder of a dialog; the last one closes it. Does nothing if the dialog is not
    /// open.
    pub fn close_dialog(&self, dialog: String) {
        let mut dialogs = lock(&self.dialogs);
        let handle = dialogs.get_mut(&dialog).and_then(Vec::pop);
        dialogs.retain(|_, handles| !handles.is_empty());
        drop(dialogs);
        drop(handle);
    }

    /// The state of an open dialog; none if it is not open.
    pub fn dialog_state(&self, dialog: String) -> Option<DialogState> {
        Some(self.dialog(&dialog)?.state().into())
    }

    /// Requests older rows of an open dialog, of at most `most` events (1 to 256). They come before
    /// the first row; `has_older` of the dialog's state says whether there may be any.
    pub fn load_older(&self, dialog: String, most: i64) -> Result<(), TidewireError> {
        let none = SubscribeError::Refused(tidewire_core::SubscribeError::NotOpen);
        Ok(self.dialog(&dialog).ok_or(none)?.load_older(count(most))?)
    }

    /// Opens a channel: its events, and what is published to it. `dialog:` and an id is the channel
    /// of a dialog's events. Each call gives another handle.
    pub fn channel(&self, name: String) -> Result<Arc<Channel>, TidewireError> {
        Ok(Arc::new(Channel::new(self.client.channel(&name)?)))
    }

    /// Sends a message, as soon as there is a connection. With a store it is sent even after a
    /// restart of the process.
    pub fn send_text(&self, dialog: String, text: String) -> Result<Arc<Outgoing>, TidewireError> {
        Ok(Arc::new(Outgoing { outgoing: self.client.send_text(&dialog, &text)? }))
    }

    /// Sends an ephemeral signal to the current readers of a dialog; `body` is the JSON text of an
    /// object. A newer signal of the same kind and key replaces one that still waits.
    pub fn signal(
        &self,
        dialog: String,
        kind: String,
        key: Option<String>,
        body: String,
    ) -> Result<(), TidewireError> {
        Ok(self.client.signal(&format!("dialog:{dialog}"), &kind, key.as_deref(), &body)?)
    }

    /// Follows who is in an open dialog and what they do there. Each call gives another handle.
    pub fn people(&self, dialog: String) -> Result<Arc<People>, TidewireError> {
        let none = SubscribeError::Refused(tidewire_core::SubscribeError::NotOpen);
        Ok(People::new(self.dialog(&dialog).ok_or(none)?.people()?))
    }

    /// Says that this client's user has read an open dialog up to the event at this offset, by
    /// default up to the newest one that is here. A position never goes back. The server is told at
    /// most once a second, and what it could not be told yet waits, with a store also for the next
    /// start. Fails with `bad_offset` if the event is not here yet.
    #[uniffi::method(default(offset = None))]
    pub fn mark_read(&self, dialog: String, offset: Option<i64>) -> Result<(), TidewireError> {
        Ok(self.first_handle(&dialog)?.mark_read(offset.map(place))?)
    }

    /// Follows how far an open dialog was read. Each call gives another handle.
    pub fn reads(&self, dialog: String) -> Result<Arc<Reads>, TidewireError> {
        let none = SubscribeError::Refused(tidewire_core::SubscribeError::NotOpen);
        Ok(Reads::new(self.dialog(&dialog).ok_or(none)?.reads()?))
    }

    /// Says that this client's user is writing in an open dialog, or has stopped. Call it with each
    /// change of the text: others are told at most every 3 s, and after 6 s without another call, or
    /// with the user's next message, it ends. Without a connection it does nothing.
    pub fn typing(&self, dialog: String, on: bool) -> Result<(), TidewireError> {
        Ok(self.first_handle(&dialog)?.typing(on)?)
    }

    /// Holds a lease in an open dialog: something of the application's own that the user is or does
    /// there, such as `status`, which others see. `kind` has 1 to 64 bytes and is neither `here` nor
    /// `typing`; `body` is the JSON text of an object of up to 1,024 bytes, and a newer one replaces
    /// it. It lasts until `release`, or until the dialog is closed.
    pub fn hold(&self, dialog: String, kind: String, body: String) -> Result<(), TidewireError> {
        Ok(self.first_handle(&dialog)?.hold(&kind, &body)?)
    }

    /// Gives a lease up that is held in an open dialog.
    pub fn release(&self, dialog: String, kind: String) -> Result<(), TidewireError> {
        Ok(self.first_handle(&dialog)?.release(&kind)?)
    }

    /// Sends a failed message again. False if there is no failed message with this id.
    pub fn retry(&self, id: String) -> bool {
        self.client.retry(&id)
    }

    /// Discards a message that waits or has failed. False if there is none with this id, or if it
    /// may have reached the server.
    pub fn discard(&self, id: String) -> bool {
        self.client.discard(&id)
    }

    /// Stops the newest answer under way in an open dialog. Fails with `run_not_found` if there is
    /// none.
    pub fn stop(&self, dialog: String) -> Result<(), TidewireError> {
        let none = SendError::Refused(tidewire_core::SendError::RunNotFound);
        self.dialog(&dialog).ok_or(none)?.stop()?;
        Ok(())
    }

    /// Takes a step of a hand-off in an open dialog: asks for an operator, takes the dialog, gives it on
    /// or back, or closes it. `DialogState.handler` says who answers. Returns the op's id; a step that the
    /// dialog's state does not allow comes back as a failed op with the code `handoff_conflict`.
    pub fn hand_off(&self, dialog: String, step: HandOffStep) -> Result<String, TidewireError> {
        let none = SendError::Refused(tidewire_core::SendError::NotOpen);
        let outgoing = self.dialog(&dialog).ok_or(none)?.hand_off(&step.into())?;
        Ok(outgoing.id().to_string())
    }

    /// The current rows of an open dialog.
    pub fn rows(&self, dialog: String) -> Vec<Row> {
        let rows = self.dialog(&dialog).map(|dialog| dialog.rows());
        rows.iter().flat_map(|rows| rows.iter()).map(|row| Row::from((**row).clone())).collect()
    }

    /// Opens a view of a table and returns its number. Its updates come as events.
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

    /// A view's status; none if the view is closed.
    pub fn table_status(&self, view: i32) -> Option<TableStatus> {
        lock(&self.tables).get(&view).map(|table| table.status().into())
    }

    /// Requests an event for when a transaction of the database has been applied to a view. `tx` is
    /// the transaction's id in the database.
    pub fn await_tx(&self, view: i32, tx: String) -> Result<(), TidewireError> {
        match lock(&self.tables).get(&view) {
            Some(table) => Ok(table.ask_for_tx(&tx)?),
            None => Err(AwaitTxError::Refused(TableError::Closed).into()),
        }
    }

    /// The current state of the connection.
    pub fn status(&self) -> Status {
        self.client.status().into()
    }

    /// Recent entries and the counters.
    pub fn explain(&self) -> Report {
        self.client.explain().into()
    }

    /// How much the client has done so far: connections, messages, the time until an answer.
    pub fn metrics(&self) -> Metrics {
        self.client.metrics().into()
    }

    /// The user that the server identified this client as; none until then.
    pub fn user(&self) -> Option<User> {
        self.client.user().map(User::from)
    }

    /// Passes on a hint of the system about the network.
    pub fn network(&self, network: Network) {
        self.client.network(network.into());
    }

    /// Passes on that the app goes to the background or comes back.
    pub fn lifecycle(&self, lifecycle: Lifecycle) {
        self.client.lifecycle(lifecycle.into());
    }
}

#[uniffi::export]
impl Events {
    /// Waits for events and returns up to `max` of them, in order. Empty once the client is closed
    /// and all were taken. One reader at a time. A cancelled call loses no events.
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
    /// The handle that is closed last, so that what it holds lasts as long as the dialog is open.
    fn first_handle(&self, dialog: &str) -> Result<Dialog, SendError> {
        let none = SendError::Refused(tidewire_core::SendError::NotOpen);
        lock(&self.dialogs).get(dialog).and_then(|handles| handles.first()).cloned().ok_or(none)
    }

    fn dialog(&self, dialog: &str) -> Option<Dialog> {
        lock(&self.dialogs).get(dialog)?.last().cloned()
    }
}

/// Passes events to the reader on request. Events that it does not take wait, up to a limit, in
/// [`Events`]. Runs on a thread of its own, because waking a foreign reader runs foreign code.
async fn dispatch(mut events: crate::events::Events, reader: mpsc::Sender<Vec<ClientEvent>>) {
    loop {
        // Waits for the reader's request first, so that a slow reader gets the newest state.
        let Ok(place) = reader.reserve().await else { return };
        let batch = events.next_batch(BATCH).await;
        if batch.is_empty() {
            return;
        }
        place.send(batch);
    }
}

/// Waits on the dispatcher's thread, because the task that drives the sockets settles messages.
async fn apart<T: Send + 'static>(
    wait: impl Future<Output = Result<T, OpError>> + Send + 'static,
) -> Result<T, OpError> {
    DISPATCH.spawn(wait).await.unwrap_or(Err(OpError::Closed))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
