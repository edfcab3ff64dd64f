//! All live tables of a client: the opened views, and the subscriptions that serve them.

use super::query::{TableError, TableQuery};
use super::subscription::{Outcome, Step, Subscription, kept_at};
use super::update::{TableEvent, TableRows, TableStatus, TableUpdate};
use super::view::{View, changes_of};
use crate::part::{Effect, Part};
use crate::rng::Rng;
use crate::time::{Now, Time};
use crate::wire::json;
use crate::wire::{DecodeError, TableAddress, TableFrame, TableRequest, TableShape};

/// Most subscriptions of a client.
const MAX_TABLES: usize = 100;
/// Most transactions that may be waited for at once.
const MAX_WAITS: usize = 100;
/// Longest delay between a change of rows and its write to the store, in ms.
const KEEP_MS: u64 = 2_000;
/// How many stored records a start takes over: the newest.
const MAX_KEPT: usize = 100;
/// How long a stored record is valid, in ms: 30 days after the table was last followed.
const KEPT_MS: u64 = 30 * 24 * 3_600_000;

/// The live tables of a client: the opened views, and the subscriptions that serve them.
pub struct Tables {
    views: Vec<View>,
    subscriptions: Vec<Subscription>,
    /// Stored records by name, until their tables are opened.
    kept: Vec<(String, String)>,
    last: u32,
    online: bool,
    /// Longest record that is stored, in bytes.
    kept_bytes: usize,
    out: Vec<Effect<TableEvent>>,
}

impl Tables {
    pub(crate) fn new(kept_bytes: usize) -> Tables {
        Tables {
            views: Vec::new(),
            subscriptions: Vec::new(),
            kept: Vec::new(),
            last: 0,
            online: false,
            kept_bytes,
            out: Vec::new(),
        }
    }
}

impl Part for Tables {
    type Event = TableEvent;

    /// Takes over records from the store. Old ones are deleted.
    fn restore(&mut self, kept: Vec<(String, String)>, now: Now) {
        let mut dated: Vec<(u64, String, String)> = Vec::new();
        for (name, record) in kept {
            let at = kept_at(&record);
            if now.wall.saturating_sub(at) <= KEPT_MS {
                dated.push((at, name, record));
            } else {
                self.out.push(keep(name, None));
            }
        }
        // The oldest are deleted first.
        while dated.len() > MAX_KEPT {
            let oldest = (0..dated.len()).min_by_key(|at| dated[*at].0).unwrap_or(0);
            self.out.push(keep(dated.swap_remove(oldest).1, None));
        }
        for (_, name, record) in dated {
            self.kept.push((name, record));
        }
    }

    fn connected(&mut self) {
        self.online = true;
        for subscription in &mut self.subscriptions {
            subscription.connected();
        }
    }

    fn disconnected(&mut self) {
        self.online = false;
        for subscription in &mut self.subscriptions {
            subscription.disconnected();
        }
        self.emit_statuses();
    }

    fn forget_user(&mut self) {
        for (name, _) in std::mem::take(&mut self.kept) {
            self.out.push(keep(name, None));
        }
        for subscription in &mut self.subscriptions {
            subscription.forget();
            self.out.push(keep(subscription.question.name(), None));
        }
        for at in 0..self.subscriptions.len() {
            self.fill_views(at);
        }
        self.emit_statuses();
    }

    fn frame(&mut self, now: Time, rng: &mut Rng, text: &str) -> Result<(), DecodeError> {
        let frame = TableFrame::decode(text)?;
        if let TableFrame::Seen { sid, tx, code } = &frame {
            self.seen(sid, tx, code.as_deref());
            return Ok(());
        }
        let Some(to) = frame.address() else { return Ok(()) };
        // All subscriptions that the server resets together start again after the same delay.
        let spread_ms =
            if let TableFrame::Reset { spread_ms, .. } = &frame { rng.up_to(*spread_ms) } else { 0 };
        let is_meant = |subscription: &Subscription| match &to {
            TableAddress::Sid(sid) => subscription.sid == *sid,
            TableAddress::Feed(feed) => subscription.follows(feed),
        };
        for at in 0..self.subscriptions.len() {
            let subscription = &mut self.subscriptions[at];
            if !is_meant(subscription) {
                continue;
            }
            let outcome = match &frame {
                TableFrame::Ok(ok) => subscription.ok(now, rng, ok),
                TableFrame::Page { page, .. } => subscription.page(now, rng, page),
                TableFrame::Tx(tx) => subscription.tx(now, rng, tx),
                TableFrame::Mark { link, .. } => subscription.mark(now, link),
                TableFrame::Live { feed, link, .. } => subscription.live(now, feed, link),
                TableFrame::Reset { .. } => subscription.reset(now, spread_ms),
                TableFrame::Err { problem, at, retryable, .. } => {
                    subscription.refuse(now, problem, *at, *retryable, rng)
                }
                TableFrame::Seen { .. } | TableFrame::Unknown => Outcome::Nothing,
            };
            self.follow(now, at, outcome);
        }
        self.fail_waits();
        self.emit_statuses();
        Ok(())
    }

    fn tick(&mut self, Now { mono: now, wall }: Now, flush: bool) {
        for subscription in &mut self.subscriptions {
            if self.online
                && let Some(request) = subscription.ask(now)
            {
                self.out.push(send(&request));
                for (_, tx) in &subscription.waits {
                    let (sid, tx) = (subscription.sid.clone(), tx.clone());
                    self.out.push(send(&TableRequest::Wait { sid, tx }));
                }
            }
            if subscription.keep_at.is_some_and(|at| at <= now || flush) {
                subscription.keep_at = None;
                // If the rows became too long, the stored record is deleted, because it would be
                // out of date.
                let record = subscription.record(wall, self.kept_bytes);
                self.out.push(keep(subscription.question.name(), record));
            }
        }
        self.emit_statuses();
    }

    fn deadline(&self) -> Option<Time> {
        let all = self.subscriptions.iter();
        all.flat_map(|subscription| [subscription.deadline(self.online), subscription.keep_at])
            .flatten()
            .min()
    }

    fn take(&mut self) -> Vec<Effect<TableEvent>> {
        std::mem::take(&mut self.out)
    }
}

impl Tables {
    pub(crate) fn open(&mut self, query: &TableQuery) -> Result<u32, TableError> {
        let (question, order) = query.check()?;
        let place = match self.subscriptions.iter().position(|other| other.question == question) {
            Some(place) => place,
            None if self.subscriptions.len() >= MAX_TABLES => return Err(TableError::TooMany),
            None => {
                self.last += 1;
                let name = question.name();
                let kept = self.kept.iter().position(|(other, _)| *other == name);
                let kept = kept.map(|at| self.kept.remove(at).1);
                let sid = format_sid(self.last);
                self.subscriptions.push(Subscription::new(sid, question, kept.as_deref()));
                self.subscriptions.len() - 1
            }
        };
        self.last += 1;
        let subscription = &mut self.subscriptions[place];
        subscription.ask_again();
        let mut view = View {
            id: self.last,
            sid: subscription.sid.clone(),
            order,
            limit: query.limit,
            events: query.events,
            reported: None,
            sorted: None,
        };
        let rows = view.fill(subscription);
        self.views.push(view);
        if let Some(rows) = rows {
            self.out.push(emit(self.last, rows));
        }
        self.emit_statuses();
        Ok(self.last)
    }

    pub(crate) fn close(&mut self, view: u32) {
        let Some(at) = self.views.iter().position(|other| other.id == view) else { return };
        let sid = self.views.remove(at).sid;
        let shared = self.views.iter().any(|other| other.sid == sid);
        let Some(at) = self.subscriptions.iter().position(|other| other.sid == sid) else { return };
        if shared {
            self.subscriptions[at].waits.retain(|(waiting, _)| *waiting != view);
            return;
        }
        let gone = self.subscriptions.remove(at);
        if gone.is_asked() {
            self.out.push(send(&TableRequest::Unsub { sid }));
        }
        self.out.push(keep(gone.question.name(), None));
    }

    pub(crate) fn wait_for(&mut self, view: u32, tx: &str) -> Result<(), TableError> {
        let sid = self.views.iter().find(|other| other.id == view).map(|view| view.sid.clone());
        let subscription = sid.and_then(|sid| self.subscriptions.iter_mut().find(|other| other.sid == sid));
        let Some(subscription) = subscription else { return Err(TableError::Closed) };
        if subscription.waits.len() >= MAX_WAITS {
            return Err(TableError::TooMany);
        }
        subscription.waits.push((view, tx.to_owned()));
        if subscription.is_asked() {
            let (sid, tx) = (subscription.sid.clone(), tx.to_owned());
            self.out.push(send(&TableRequest::Wait { sid, tx }));
        }
        self.fail_waits();
        Ok(())
    }

    /// All rows of a view.
    pub(crate) fn rows(&self, view: u32) -> TableRows {
        let found = self.view(view);
        found.map_or_else(TableRows::default, |(view, subscription)| view.rows(subscription))
    }

    pub(crate) fn status(&self, view: u32) -> Option<TableStatus> {
        self.view(view).map(|(view, subscription)| view.status(subscription))
    }

    /// Emits a view's rows and status again.
    pub(crate) fn emit_again(&mut self, id: u32) {
        let Some((view, subscription)) = self.view(id) else { return };
        let (status, rows) = (view.status(subscription), view.rows(subscription));
        self.out.push(emit(id, TableUpdate::Rows(rows)));
        self.out.push(emit(id, TableUpdate::Status(status)));
    }

    fn view(&self, id: u32) -> Option<(&View, &Subscription)> {
        let view = self.views.iter().find(|other| other.id == id)?;
        Some((view, self.subscriptions.iter().find(|other| other.sid == view.sid)?))
    }

    /// Carries out the consequences of a frame's outcome.
    fn follow(&mut self, now: Time, at: usize, outcome: Outcome) {
        let subscription = &mut self.subscriptions[at];
        match outcome {
            Outcome::Nothing => return,
            Outcome::More => {
                self.out.push(send(&TableRequest::Next { sid: subscription.sid.clone() }));
                return;
            }
            Outcome::Reset | Outcome::Repair => {
                let (about, missed) = (subscription.question.table.clone(), outcome == Outcome::Repair);
                self.out.push(Effect::Again { about, missed });
                return;
            }
            Outcome::Refused => {
                self.out.push(keep(subscription.question.name(), None));
                self.fill_views(at);
                return;
            }
            Outcome::Live => {}
            Outcome::First => self.fill_views(at),
            Outcome::Changed(before, steps) => {
                for step in steps {
                    self.step(at, &before, &step);
                }
            }
        }
        self.subscriptions[at].keep_at.get_or_insert(now.after(KEEP_MS));
    }

    /// Fills the views of a subscription with all of its rows.
    fn fill_views(&mut self, at: usize) {
        let subscription = &self.subscriptions[at];
        for view in self.views.iter_mut().filter(|view| view.sid == subscription.sid) {
            if let Some(rows) = view.fill(subscription) {
                self.out.push(emit(view.id, rows));
            }
        }
    }

    fn step(&mut self, at: usize, before: &TableShape, step: &Step) {
        let subscription = &self.subscriptions[at];
        let Some(known) = subscription.known() else { return };
        let changes = changes_of(&known.0, before, step);
        for view in self.views.iter_mut().filter(|view| view.sid == subscription.sid) {
            // With other columns the view's order may have to be set up again, or be invalid.
            let update = if known.0 == *before || view.fits(&known.0) {
                view.step(&known.0, step, &changes)
            } else {
                view.fill(subscription)
            };
            if let Some(update) = update {
                self.out.push(emit(view.id, update));
            }
        }
    }

    fn seen(&mut self, sid: &str, tx: &str, code: Option<&str>) {
        let Some(subscription) = self.subscriptions.iter_mut().find(|other| other.sid == sid) else { return };
        let (seen, waits) =
            std::mem::take(&mut subscription.waits).into_iter().partition(|(_, other)| other == tx);
        subscription.waits = waits;
        self.emit_seen(seen, code);
    }

    /// Fails the waits for transactions of refused subscriptions.
    fn fail_waits(&mut self) {
        for place in 0..self.subscriptions.len() {
            let subscription = &mut self.subscriptions[place];
            let Some(code) = subscription.failure().map(|(code, ..)| code.to_owned()) else { continue };
            let waits = std::mem::take(&mut subscription.waits);
            self.emit_seen(waits, Some(&code));
        }
    }

    fn emit_seen(&mut self, waits: Vec<(u32, String)>, code: Option<&str>) {
        for (view, tx) in waits {
            let code = code.map(str::to_owned);
            self.out.push(emit(view, TableUpdate::Seen { tx, code }));
        }
    }

    fn emit_statuses(&mut self) {
        for view in &mut self.views {
            let Some(subscription) = self.subscriptions.iter().find(|other| other.sid == view.sid) else {
                continue;
            };
            let status = view.status(subscription);
            if view.reported.as_ref() != Some(&status) {
                view.reported = Some(status.clone());
                self.out.push(emit(view.id, TableUpdate::Status(status)));
            }
        }
    }
}

fn send(request: &TableRequest) -> Effect<TableEvent> {
    Effect::Send(request.encode())
}

fn emit(view: u32, update: TableUpdate) -> Effect<TableEvent> {
    Effect::Emit(TableEvent { view, update })
}

fn keep(name: String, record: Option<String>) -> Effect<TableEvent> {
    Effect::Keep { name, record }
}

fn format_sid(number: u32) -> String {
    let mut sid = String::from("t");
    json::push_integer(&mut sid, number.into());
    sid
}
