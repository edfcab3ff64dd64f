//! The client: owns the modules and calls them in order. It has no policy of its own.

mod channels;
mod drafts;
mod frames;
mod part;
mod people;
mod reads;
mod requests;
mod sending;
mod signals;
mod store;
mod tables;

use crate::chat::Timeline;
use crate::config::Config;
use crate::delivery::{Channel, EntryState, Limiter, Outbox, Signals};
use crate::event::{ChannelState, Event, OpState, Row, RowState, Status};
use crate::io::{Input, Lifecycle, Output, Restored, RestoredChannel, StoreId};
use crate::journal::{Journal, Report};
use crate::link::{Connection, Requests};
use crate::metrics::{Meter, Metrics};
use crate::part::Part;
use crate::rng::{Rng, Uuids};
use crate::time::{Now, Time};
use crate::wire::{ChannelName, Handler, Limits, OpId, RunId, User, codes};
use std::collections::VecDeque;

/// The message limit until a server says otherwise.
const MESSAGE_BYTES: u64 = 65_536;
/// If the wall clock ran ahead of the monotonic one by more than this, the machine slept, in ms.
const SLEEP_MS: u64 = 5_000;

/// The client: a state machine that a driver feeds with [`Input`]s and drains of [`Output`]s. See
/// the crate's documentation for the loop.
///
/// Methods come in three families. *Commands* may be called in any number and order and never fail
/// because there is no connection; their outcome comes as an [`Event`] that carries the id.
/// *Driver* methods are [`Client::handle`] and [`Client::poll`]. *Getters* change nothing.
///
/// The monotonic clock handed in must not go back; if it does, the latest reading counts.
///
/// `T` is what it has besides channels and dialogs: nothing, or live tables
/// ([`crate::tables::Tables`]).
pub struct Client<T: Part = ()> {
    config: Config,
    rng: Rng,
    uuids: Uuids,
    link: Connection,
    requests: Requests,
    outbox: Outbox,
    signals: Signals,
    limiter: Limiter,
    limits: Option<Limits>,
    channels: Vec<Channel>,
    cached: Vec<RestoredChannel>,
    part: T,
    me: Option<User>,
    /// Names this installation in `hello`.
    installation: String,
    /// Names this run of the client in `hello`, so that the server closes its older connections at
    /// once.
    run: String,
    /// The channels in the `hello` of a connection that is to take over.
    asked: Vec<ChannelName>,
    /// When the last ops were sent.
    sent_at: Option<Time>,
    out: VecDeque<Output<T::Event>>,
    /// Events that are emitted after the changes of the rows.
    after_rows: Vec<Event<T::Event>>,
    /// The connection that delivery runs on.
    session: Option<crate::io::ConnId>,
    /// Writes of ops to the store under way.
    puts: Vec<(StoreId, OpId)>,
    /// Removals from the store under way, with the op that they remove.
    removals: Vec<(StoreId, Option<OpId>)>,
    /// Settled ops that the store could not forget.
    undeleted: Vec<OpId>,
    /// For which version of the outbox, and whether online, the rows show what they wait for. None
    /// if new rows don't show it yet.
    shown_waits: Option<(u64, bool)>,
    last_store: u64,
    storage: Option<&'static str>,
    shown: Option<(Status, Option<Time>)>,
    last: Now,
    waiting_until: Option<Time>,
    journal: Journal,
    meter: Meter,
    /// Read positions for channels that are not open, which the server does not have yet.
    kept_marks: Vec<reads::KeptMark>,
    /// The profile does not have the positions that are to be kept.
    marks_changed: bool,
}

/// The parts of the client that the link's transitions need.
macro_rules! context {
    ($client:ident, $now:expr) => {
        &mut $crate::link::Context {
            now: $now,
            rng: &mut $client.rng,
            out: &mut $client.out,
            requests: &mut $client.requests,
        }
    };
}
use context;

impl Client {
    /// A client that is not connected, with what the store held. The seed must be 32 random bytes,
    /// new for each client.
    pub fn new(config: Config, seed: [u8; 32], now: Now, restored: Restored) -> Client {
        Client::with_part((), config, seed, now, restored)
    }
}

impl<T: Part> Client<T> {
    fn with_part(part: T, config: Config, seed: [u8; 32], now: Now, restored: Restored) -> Client<T> {
        let mut rng = Rng::new(seed);
        let mut uuids = Uuids::default();
        let mut outbox = Outbox::new(&config);
        let mut out = VecDeque::new();
        for record in &restored.ops {
            if !outbox.restore(record) {
                out.push_back(Output::Event(Event::Problem {
                    code: codes::RECORD_UNREADABLE.to_owned(),
                    message: "a message kept on this device could not be read".to_owned(),
                }));
            }
        }
        // Failed ops block their channels, so the application must hear of them in this run too.
        for entry in outbox.iter() {
            if let EntryState::Failed { code, message } = &entry.state {
                let state = OpState::Failed { code: code.clone(), message: message.clone() };
                out.push_back(Output::Event(Event::Op {
                    id: entry.id.clone(),
                    channel: entry.channel.clone(),
                    state,
                }));
            }
        }
        let profile = restored.profile.as_deref().and_then(store::read_profile);
        let (installation, me, kept_marks) =
            profile.unwrap_or_else(|| (uuids.next(now.wall, &mut rng), None, Vec::new()));
        let mut client = Client {
            link: Connection::new(&config),
            requests: Requests::default(),
            outbox,
            signals: Signals::new(),
            limiter: Limiter::new(),
            limits: None,
            channels: Vec::new(),
            cached: restored.channels,
            part,
            me,
            installation,
            run: uuids.next(now.wall, &mut rng),
            asked: Vec::new(),
            sent_at: None,
            out,
            after_rows: Vec::new(),
            session: None,
            puts: Vec::new(),
            removals: Vec::new(),
            undeleted: Vec::new(),
            shown_waits: None,
            last_store: 0,
            storage: None,
            shown: None,
            last: now,
            waiting_until: None,
            journal: Journal::default(),
            meter: Meter::new(now),
            kept_marks,
            marks_changed: false,
            config,
            rng,
            uuids,
        };
        client.part.restore(restored.tables, now);
        client.follow_part();
        client
    }

    // Commands.

    /// Connects, and keeps the client connected. While a connection is there or being made this
    /// changes nothing. It shortens a pause between attempts, and tries again after a terminal
    /// refusal. Subscriptions that the server refused temporarily are retried as soon as the server
    /// allows it.
    pub fn connect(&mut self, now: Now) {
        let now = self.clamp(now);
        self.link.connect(context!(self, now));
        for channel in &mut self.channels {
            channel.hurry();
        }
    }

    /// Disconnects until [`Client::connect`]. Waiting ops stay stored and are sent then.
    pub fn disconnect(&mut self, now: Now) {
        let now = self.clamp(now);
        self.link.disconnect(context!(self, now));
        self.follow_link();
    }

    /// Ends the client for good: it never connects again. Stored ops are sent by the next client
    /// with the same store.
    pub fn close(&mut self, now: Now) {
        let now = self.clamp(now);
        self.leave_marks(now);
        self.link.close(context!(self, now));
        self.follow_link();
    }

    /// Fetches a new token, for example after the user's rights have changed. While online it is
    /// sent to the server at once, otherwise with the next connection. A channel that was refused
    /// before must be opened again.
    pub fn renew_token(&mut self, now: Now) {
        let now = self.clamp(now);
        self.link.renew_token(context!(self, now));
    }

    /// Sends a failed op again. False if there is no such op, or if another user wrote it: ops are
    /// never sent in another user's name.
    pub fn retry(&mut self, now: Now, op: &OpId) -> bool {
        let now = self.clamp(now);
        let Some(entry) = self.outbox.get_mut(op) else { return false };
        let mine = match (&entry.user, &self.me) {
            (Some(owner), Some(me)) => *owner == me.id,
            _ => true,
        };
        if !mine || !matches!(entry.state, EntryState::Failed { .. }) {
            return false;
        }
        entry.state = EntryState::Ready { delay: None };
        entry.made_at = now.wall;
        entry.stored = false;
        let (record, channel) = (entry.record(), entry.channel.clone());
        self.put_op(op, record);
        if let Some(timeline) = self.timeline(&channel) {
            timeline.mark(op, RowState::Saving, None);
        }
        true
    }

    /// Discards an op that failed or that is certainly not at the server. False if there is no such
    /// op, or if it may be at the server already.
    pub fn discard(&mut self, now: Now, op: &OpId) -> bool {
        self.clamp(now);
        let may = |entry: &crate::delivery::Entry| {
            matches!(entry.state, EntryState::Failed { .. }) || !entry.maybe_committed
        };
        if !self.outbox.get(op).is_some_and(may) {
            return false;
        }
        self.settle_op(op, OpState::Discarded);
        true
    }

    // Getters.

    /// A dialog's rows, including changes whose [`Event::Dialog`] is not drained yet.
    pub fn rows(&self, dialog: &str) -> Vec<Row> {
        self.dialog(dialog).map_or_else(Vec::new, Timeline::rows)
    }

    /// The newest answer under way in a dialog, which [`Client::stop`] ends.
    pub fn run(&self, dialog: &str) -> Option<RunId> {
        self.dialog(dialog)?.run()
    }

    /// Who answers in a dialog; none if it is not open.
    pub fn handler(&self, dialog: &str) -> Option<&Handler> {
        self.dialog(dialog).map(Timeline::handler)
    }

    /// Whether [`Client::load_older`] may find rows of a dialog before the first one.
    pub fn has_older(&self, dialog: &str) -> bool {
        self.dialog(dialog).is_some_and(Timeline::has_older)
    }

    /// The user that the server last identified this client as, possibly in an earlier run.
    pub fn user(&self) -> Option<&User> {
        self.me.as_ref()
    }

    /// Recent entries and the counters.
    pub fn explain(&self) -> Report {
        self.journal.report(self.outbox.waiting() as u64)
    }

    /// How much the client has done so far.
    pub fn metrics(&self, now: Now) -> Metrics {
        let now = Now { mono: now.mono.max(self.last.mono), ..now };
        self.meter.read(now, self.journal.counters.reconnects, self.outbox.waiting() as u64)
    }

    // Driver.

    /// Handles an input.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        let now = self.clamp(now);
        match input {
            // A connection that consists of requests has no socket, so this input is stale.
            Input::Opened { conn } | Input::Received { conn, .. } | Input::Closed { conn, .. }
                if self.requests.carries(conn) => {}
            Input::Opened { conn } => self.opened(now, conn),
            Input::Received { conn, text } => self.received(now, conn, text),
            Input::Closed { conn, code, cause } => self.closed(now, conn, code, cause),
            Input::Response { request, part } => self.response(now, request, part),
            Input::Token { ask, result } => self.link.token(context!(self, now), ask, result),
            Input::Stored { store, result } => self.stored(store, result),
            Input::Network(hint) => self.link.network(context!(self, now), hint),
            Input::Lifecycle(life) => {
                self.link.lifecycle(context!(self, now), life);
                if matches!(life, Lifecycle::Hidden | Lifecycle::Frozen) {
                    self.flush_part(now);
                    self.persist_runs(now, true);
                    self.keep_marks(now, true);
                }
            }
        }
        self.follow_link();
    }

    /// The next output. Call it until it returns [`Output::Wait`].
    pub fn poll(&mut self, now: Now) -> Output<T::Event> {
        if let Some(output) = self.next_output() {
            return output;
        }
        let now = self.clamp(now);
        self.advance(now);
        if let Some(output) = self.next_output().or_else(|| self.next_request(now)) {
            return output;
        }
        let (until, why) = match self.deadline(now) {
            // All that is due was just done, so a deadline that is not in the future would make the
            // driver spin.
            Some((at, why)) => (Some(at.max(now.mono.after(1))), why),
            None => (None, "nothing"),
        };
        self.waiting_until = until;
        Output::Wait { until, why }
    }

    // Parts of the driver.

    fn clamp(&mut self, now: Now) -> Now {
        let mono = now.mono.max(self.last.mono);
        let asleep =
            now.wall.saturating_sub(self.last.wall) > mono.since(self.last.mono).saturating_add(SLEEP_MS);
        let late = self.waiting_until.is_some_and(|at| Connection::is_late(at, mono));
        let now = Now { mono, wall: now.wall };
        let before = std::mem::replace(&mut self.last, now);
        if asleep || late {
            let slept = now.wall.saturating_sub(before.wall).max(mono.since(before.mono));
            self.journal.note(now.wall, "asleep", "", slept);
            self.waiting_until = None;
            self.link.woke(context!(self, now));
        }
        now
    }

    /// As [`Client::clamp`], for a command that means that the user does something.
    fn acts(&mut self, now: Now) -> Now {
        let now = self.clamp(now);
        self.link.acted(now.mono);
        now
    }

    /// Fires timers that are due, sends what may be sent, and emits what changed.
    fn advance(&mut self, now: Now) {
        self.overdue(now);
        // What is to be sent makes a connection, even if it was on its way when the server closed.
        if self.link.is_resting() && self.outbox.waiting() > 0 {
            self.link.acted(now.mono);
        }
        self.link.tick(context!(self, now));
        self.follow_link();
        self.expire(now);
        if let Some(conn) = self.ready() {
            self.pump(now, conn);
            self.follow_link();
        }
        self.tick_part(now);
        self.persist_runs(now, false);
        self.keep_marks(now, false);
        self.show_waits(now);
        self.emit_changes(now);
    }

    fn deadline(&mut self, now: Now) -> Option<(Time, &'static str)> {
        let mut earliest = self.link.deadline();
        let mut consider = |at: Option<Time>, why| {
            if let Some(at) = at
                && earliest.is_none_or(|(other, _)| at < other)
            {
                earliest = Some((at, why));
            }
        };
        consider(self.requests.deadline(), "request");
        consider(self.outbox.session_deadline(), "expiry");
        consider(self.part.deadline(), "tables");
        for channel in &self.channels {
            consider(channel.persistence.deadline(), "store");
            consider(channel.people.deadline(), "people");
            consider(channel.reading.keep_at(), "store");
        }
        if self.ready().is_some() {
            for channel in &self.channels {
                consider(channel.deadline(), "subscription");
                let people = [channel.people.ask_at(), channel.reading.deadline()];
                consider(people.into_iter().flatten().min().filter(|_| channel.is_live()), "people");
            }
            consider(self.sending_deadline(now), "outbox");
        }
        earliest
    }

    /// Makes the welcomed connection the one that delivery uses. If the old one was lost, channels
    /// and ops return to their state without a connection.
    fn follow_link(&mut self) {
        let online = self.link.online();
        if self.session == online || self.link.is_taken_over() {
            return;
        }
        if self.session.is_some() {
            self.outbox.disconnected();
            self.not_live(|_| true);
            for channel in &mut self.channels {
                channel.disconnected();
                channel.people.disconnected();
                channel.leases.disconnected();
                channel.reading.disconnected();
                if let Some(timeline) = &mut channel.timeline {
                    for entry in self.outbox.iter().filter(|entry| entry.channel == channel.name) {
                        timeline.mark(&entry.id, row_state(entry), row_code(entry));
                    }
                }
                let state = ChannelState::Syncing;
                self.out.push_back(Output::Event(Event::Channel { channel: channel.name.clone(), state }));
            }
            self.part_disconnected();
            self.persist_runs(self.last, true);
        }
        self.session = online;
    }

    /// Emits what changed since the last call: rows of dialogs and the status.
    fn emit_changes(&mut self, now: Now) {
        for channel in &mut self.channels {
            if let Some(timeline) = &mut channel.timeline
                && let Some(changes) = timeline.take_changes()
            {
                let dialog = channel.name.dialog().unwrap_or(&channel.name).to_owned();
                let (run, has_older) = (timeline.run(), timeline.has_older());
                let handler = timeline.handler().clone();
                self.out.push_back(Output::Event(Event::Dialog { dialog, changes, run, has_older, handler }));
            }
        }
        for event in std::mem::take(&mut self.after_rows) {
            self.emit(event);
        }
        self.emit_people(now);
        self.emit_reads();
        let retry_at = self.link.retry_at();
        let cause = self.link.cause();
        let status = Status {
            state: self.link.state(),
            attempt: self.link.attempt(),
            retry_in_ms: None,
            cause: cause.map(|cause| cause.code.clone()),
            message: cause.map(|cause| cause.message.clone()).filter(|message| !message.is_empty()),
            waiting: self.outbox.durable_waiting() as u32,
        };
        let shown = (status, retry_at);
        if self.shown.as_ref() != Some(&shown) {
            let mut status = shown.0.clone();
            status.retry_in_ms = retry_at.map(|at| at.since(now.mono));
            if self.shown.as_ref().is_none_or(|(before, _)| before.state != status.state) {
                let mut about = String::from(status.state.as_str());
                if let Some(cause) = &status.cause {
                    about.push(' ');
                    about.push_str(cause);
                }
                self.journal.note(now.wall, "state", &about, 1);
            }
            self.shown = Some(shown);
            self.emit(Event::Status(status));
        }
    }

    fn emit(&mut self, event: Event<T::Event>) {
        self.out.push_back(Output::Event(event));
    }

    fn emit_op(&mut self, id: OpId, channel: ChannelName, state: OpState) {
        self.emit(Event::Op { id, channel, state });
    }

    /// What is live has its rows, so that is emitted after them. Any other state comes at once, before
    /// rows that it is true of.
    fn emit_channel(&mut self, name: &ChannelName, state: ChannelState) {
        let event = Event::Channel { channel: name.clone(), state };
        if let Event::Channel { state: ChannelState::Live, .. } = event {
            return self.after_rows.push(event);
        }
        self.not_live(|channel| channel == name);
        self.emit(event);
    }

    /// Channels that are not live any more, and of which nobody was told that they are.
    fn not_live(&mut self, which: impl Fn(&ChannelName) -> bool) {
        self.after_rows.retain(|event| match event {
            Event::Channel { channel, .. } => !which(channel),
            _ => true,
        });
    }
}

/// The state of an op's row.
fn row_state(entry: &crate::delivery::Entry) -> RowState {
    match (&entry.state, entry.stored) {
        (EntryState::Failed { .. }, _) => RowState::Failed,
        (EntryState::Sent { .. }, _) => RowState::Sending,
        (EntryState::Ready { .. }, true) => RowState::Queued,
        (EntryState::Ready { .. }, false) => RowState::Saving,
    }
}

fn row_code(entry: &crate::delivery::Entry) -> Option<&str> {
    match &entry.state {
        EntryState::Failed { code, .. } => Some(code),
        EntryState::Sent { .. } | EntryState::Ready { .. } => None,
    }
}
