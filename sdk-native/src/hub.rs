//! Distributes the core's events: to the status, the rows of dialogs, channels, their people and read
//! positions, promises and event streams.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use tidewire_core::tables::TableRows;
use tidewire_core::wire::{DIALOG_PREFIX, Handler, OpId, RunId, User};
use tidewire_core::{OpState, Row, State, Status};
use tokio::sync::{broadcast, oneshot, watch};

use crate::channel_item::ChannelItem;
use crate::core::{Core, Event};
use crate::dialog_state::{DialogState, DialogStatus};
use crate::events::{ClientEvent, EventQueue, Look};
use crate::people_view::{LeaseHolders, PeopleView};
use crate::promise::{Promise, Promised};
use crate::reads_view::ReadsView;
use crate::table_queue::{Seen, TableQueue, TableView};
use crate::view::Views;

/// A snapshot of a dialog's rows. Cheap to clone; rows that did not change are shared with the
/// snapshot before.
pub type Rows = Arc<[Arc<Row>]>;

/// How many items of a channel may wait for a slow reader.
const CHANNEL_QUEUE: usize = 256;

/// The application's side of the events. It only wakes readers and never calls the application's
/// code.
pub(crate) struct Hub {
    pub(crate) status: watch::Sender<Status>,
    pub(crate) user: watch::Sender<Option<User>>,
    dialogs: HashMap<String, DialogView>,
    channels: HashMap<String, ChannelView>,
    pub(crate) people: Views<PeopleView>,
    pub(crate) reads: Views<ReadsView>,
    /// By the channel's name, as long as a handle holds something.
    leases: HashMap<String, LeaseHolders>,
    /// Numbers handles and watchers.
    serial: u64,
    tables: HashMap<u32, TableView>,
    promises: HashMap<OpId, Promised>,
    /// Whether the store survives the process.
    durable: bool,
    /// The events before the first reader of events, until the client connects.
    early: Option<Arc<EventQueue>>,
    streams: Vec<Weak<EventQueue>>,
    /// Dialogs whose rows changed since the last publication, and the events since.
    dirty: HashSet<String>,
    news: Vec<ClientEvent>,
    ended: bool,
}

struct DialogView {
    rows: Vec<Arc<Row>>,
    run: Option<RunId>,
    has_older: bool,
    handler: Handler,
    published: watch::Sender<Rows>,
    state: watch::Sender<DialogState>,
    handles: usize,
}

struct ChannelView {
    items: broadcast::Sender<ChannelItem>,
    handles: usize,
}

impl Hub {
    /// `durable` says whether the store survives the process.
    pub(crate) fn new(durable: bool) -> Hub {
        let idle = Status {
            state: State::Idle,
            attempt: 0,
            retry_in_ms: None,
            cause: None,
            message: None,
            waiting: 0,
        };
        Hub {
            status: watch::Sender::new(idle),
            user: watch::Sender::new(None),
            dialogs: HashMap::new(),
            channels: HashMap::new(),
            people: Views::default(),
            reads: Views::default(),
            leases: HashMap::new(),
            serial: 0,
            tables: HashMap::new(),
            promises: HashMap::new(),
            durable,
            early: Some(Arc::default()),
            streams: Vec::new(),
            dirty: HashSet::new(),
            news: Vec::new(),
            ended: false,
        }
    }

    // Readers.

    /// Adds a handle of a dialog.
    pub(crate) fn add_dialog(
        &mut self,
        dialog: &str,
    ) -> (watch::Receiver<Rows>, watch::Receiver<DialogState>) {
        let view = self.dialogs.entry(dialog.to_owned()).or_insert_with(|| DialogView {
            rows: Vec::new(),
            run: None,
            has_older: false,
            handler: Handler::Ai,
            published: watch::Sender::new(Arc::from([])),
            state: watch::Sender::new(DialogState::default()),
            handles: 0,
        });
        view.handles += 1;
        (view.published.subscribe(), view.state.subscribe())
    }

    /// Removes a handle of a dialog.
    pub(crate) fn remove_dialog(&mut self, dialog: &str) {
        if let Some(view) = self.dialogs.get_mut(dialog) {
            view.handles -= 1;
            if view.handles == 0 {
                self.dialogs.remove(dialog);
                self.end_followers(&format!("{DIALOG_PREFIX}{dialog}"));
            }
        }
    }

    /// Adds a reader of a channel.
    pub(crate) fn add_channel(&mut self, channel: &str) -> broadcast::Receiver<ChannelItem> {
        let view = self
            .channels
            .entry(channel.to_owned())
            .or_insert_with(|| ChannelView { items: broadcast::Sender::new(CHANNEL_QUEUE), handles: 0 });
        view.handles += 1;
        view.items.subscribe()
    }

    /// Removes a reader of a channel.
    pub(crate) fn remove_channel(&mut self, channel: &str) {
        if let Some(view) = self.channels.get_mut(channel) {
            view.handles -= 1;
            if view.handles == 0 {
                self.channels.remove(channel);
                self.end_followers(channel);
            }
        }
    }

    /// A number that no other handle has.
    pub(crate) fn number(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// A handle holds a lease of a channel from now on.
    pub(crate) fn add_lease(&mut self, channel: &str, kind: &str, handle: u64) {
        self.leases.entry(channel.to_owned()).or_default().add(kind, handle);
    }

    /// A handle holds a lease no more. True if no other one does.
    pub(crate) fn remove_lease(&mut self, channel: &str, kind: &str, handle: u64) -> bool {
        let Some(holders) = self.leases.get_mut(channel) else { return true };
        let is_free = holders.remove(kind, handle);
        if holders.is_empty() {
            self.leases.remove(channel);
        }
        is_free
    }

    /// A handle is gone. Returns the kinds of leases that only it held.
    pub(crate) fn remove_leases(&mut self, channel: &str, handle: u64) -> Vec<String> {
        let Some(holders) = self.leases.get_mut(channel) else { return Vec::new() };
        let free = holders.remove_all(handle);
        if holders.is_empty() {
            self.leases.remove(channel);
        }
        free
    }

    /// The queue of a view's updates.
    pub(crate) fn add_table(&mut self, view: u32) -> Arc<TableQueue> {
        self.tables.entry(view).or_insert_with(TableView::new).queue()
    }

    pub(crate) fn remove_table(&mut self, view: u32) {
        if let Some(view) = self.tables.remove(&view) {
            view.end();
        }
    }

    /// Resolves once a transaction has been applied to a view.
    pub(crate) fn add_wait(&mut self, view: u32, tx: &str) -> oneshot::Receiver<Seen> {
        self.tables.entry(view).or_insert_with(TableView::new).wait(tx)
    }

    pub(crate) fn add_promise(&mut self, op: &OpId) -> Promise {
        let (promised, promise) = Promised::new();
        self.promises.insert(op.clone(), promised);
        promise
    }

    /// The client connects: stops collecting events for a first reader.
    pub(crate) fn connects(&mut self) {
        self.early = None;
    }

    pub(crate) fn add_stream(&mut self) -> Arc<EventQueue> {
        let queue = self.early.take().unwrap_or_default();
        if self.ended {
            queue.end();
        }
        self.streams.retain(|stream| stream.strong_count() > 0);
        self.streams.push(Arc::downgrade(&queue));
        queue
    }

    // Events.

    /// Takes one event of a batch.
    pub(crate) fn apply(&mut self, event: Event) {
        if let Event::Dialog { dialog, changes, run, has_older, handler } = &event
            && let Some(view) = self.dialogs.get_mut(dialog)
        {
            for change in changes {
                let fits = change.clone().map(Arc::new).apply(&mut view.rows, |row, text| {
                    Arc::make_mut(row).text.push_str(text);
                });
                debug_assert!(fits, "a change beyond the rows");
            }
            view.run.clone_from(run);
            view.has_older = *has_older;
            view.handler.clone_from(handler);
            self.dirty.insert(dialog.clone());
        }
        if let Event::Channel { channel, state } = &event
            && let Some(view) = channel.dialog().and_then(|id| self.dialogs.get(id))
        {
            view.state.send_modify(|known| known.follow(state));
        }
        match event {
            Event::People { channel, changes, status, count } => {
                self.people.take(channel, (changes, status, count));
            }
            Event::Reads { channel, state, receipts } => self.reads.take(channel, (state, receipts)),
            event => self.news.extend(ClientEvent::of(event)),
        }
    }

    /// Publishes the changes of a batch. Rows are published first, so that readers woken by other
    /// events find them up to date.
    pub(crate) fn publish(&mut self, core: &Core) {
        for dialog in self.dirty.drain() {
            if let Some(view) = self.dialogs.get(&dialog) {
                view.publish();
            }
        }
        let mut news = std::mem::take(&mut self.news);
        let people = self.people.publish(core.user()).into_iter();
        news.extend(people.map(|(channel, state)| ClientEvent::People { channel, state }));
        let reads = self.reads.publish(core.user()).into_iter();
        news.extend(reads.map(|(channel, state)| ClientEvent::Reads { channel, state }));
        if news.is_empty() {
            return;
        }
        let mut tables = HashMap::new();
        for event in &news {
            match event {
                ClientEvent::Status(status) => drop(self.status.send_replace(status.clone())),
                ClientEvent::User(user) => drop(self.user.send_replace(Some(user.clone()))),
                ClientEvent::Op { id, state, .. } => self.settle(id, state),
                ClientEvent::Stored { id } => {
                    if let Some(promise) = self.promises.get(id).filter(|_| self.durable) {
                        promise.stored();
                    }
                }
                ClientEvent::Channel { channel, state } => {
                    self.send_item(channel, ChannelItem::State(state.clone()))
                }
                ClientEvent::Table { view, update } => {
                    tables.entry(*view).or_insert_with(Vec::new).push(update);
                }
                ClientEvent::Received(frame) => {
                    self.send_item(&frame.ch, ChannelItem::Event(Arc::clone(frame)))
                }
                ClientEvent::Older { channel, before, events, more } => {
                    let (before, events, more) = (*before, Arc::clone(events), *more);
                    self.send_item(channel, ChannelItem::Older { before, events, more });
                }
                ClientEvent::Signal { signal, by } => {
                    self.send_item(
                        &signal.ch,
                        ChannelItem::Signal { signal: signal.clone(), by: by.clone() },
                    );
                }
                _ => {}
            }
        }
        for (view, updates) in tables {
            if let Some(known) = self.tables.get_mut(&view) {
                known.push(&updates, || core.table_rows(view));
            }
        }
        let now = Present { dialogs: &self.dialogs, core };
        for stream in self.streams.iter().filter_map(Weak::upgrade).chain(self.early.clone()) {
            stream.push(&news, &now);
        }
    }

    /// The client is closed: settles every promise and ends every stream.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.promises.clear();
        self.tables.drain().for_each(|(_, view)| view.end());
        self.channels.clear();
        self.people.end_all();
        self.reads.end_all();
        self.leases.clear();
        for (_, view) in self.dialogs.drain() {
            view.state.send_modify(|known| known.status = DialogStatus::Closed);
        }
        self.streams.drain(..).filter_map(|stream| stream.upgrade()).for_each(|stream| stream.end());
    }

    /// Ends the watchers and the leases of a channel that is no longer open: the core has dropped
    /// them with it.
    fn end_followers(&mut self, channel: &str) {
        let dialog = channel.strip_prefix(DIALOG_PREFIX);
        if !self.channels.contains_key(channel) && !dialog.is_some_and(|id| self.dialogs.contains_key(id)) {
            self.people.end(channel);
            self.reads.end(channel);
            self.leases.remove(channel);
        }
    }

    fn settle(&mut self, op: &str, state: &OpState) {
        if self.promises.get(op).is_some_and(|promise| promise.follow(state)) {
            self.promises.remove(op);
        }
    }

    fn send_item(&self, channel: &str, item: ChannelItem) {
        if let Some(view) = self.channels.get(channel) {
            // An error means that there is no reader.
            let _ = view.items.send(item);
        }
    }
}

impl DialogView {
    fn publish(&self) {
        self.published.send_replace(self.rows.clone().into());
        let (run, has_older) = (&self.run, self.has_older);
        self.state.send_if_modified(|known| {
            let another_run = std::mem::replace(&mut known.run, run.clone()) != *run;
            let another_handler = known.handler != self.handler;
            if another_handler {
                known.handler.clone_from(&self.handler);
            }
            std::mem::replace(&mut known.has_older, has_older) != has_older || another_run || another_handler
        });
    }
}

/// The rows after a batch of events.
struct Present<'a> {
    dialogs: &'a HashMap<String, DialogView>,
    core: &'a Core,
}

impl Look for Present<'_> {
    fn rows(&self, dialog: &str) -> Option<Vec<Row>> {
        Some(self.dialogs.get(dialog)?.rows.iter().map(|row| Row::clone(row)).collect())
    }

    fn table(&self, view: u32) -> TableRows {
        self.core.table_rows(view)
    }
}
