//! All live tables of a client: what was opened, and the subscriptions that serve it.

use super::query::{OrderBy, RowEvents, TableError, TableQuery, can_order, sort};
use super::rows::{Moved, Shape};
use super::subscription::{Step, Subscription, Told, kept_at};
use super::update::{RowChange, TableEvent, TableState, TableUpdate, Why};
use crate::part::{Effect, Part};
use crate::rng::Rng;
use crate::time::{Now, Time};
use crate::wire::{DecodeError, RowOp, TableAddress, TableFrame, TableRequest};
use crate::wire::{codes, json};
use std::cmp::Reverse;
use std::collections::VecDeque;

/// Most subscriptions of a client.
const MAX_TABLES: usize = 100;
/// Most transactions that may be waited for at once.
const MAX_WAITS: usize = 100;
/// How long what changed may wait until it is stored, in ms.
const KEEP_MS: u64 = 2_000;
/// Most records that a start takes over; the newest.
const MAX_KEPT: usize = 100;
/// How long a record is good, in ms: 30 days after the table was last followed.
const KEPT_MS: u64 = 30 * 24 * 3_600_000;
/// The code of a view whose order does not fit the table's columns.
const BAD_ORDER: &str = "bad_order";

/// What an application opened.
struct View {
    id: u32,
    sid: String,
    order: Vec<OrderBy>,
    limit: Option<usize>,
    events: RowEvents,
    /// The state that was told last.
    told: Option<TableState>,
}

/// The live tables of a client: what was opened, and the subscriptions that serve it.
pub struct Tables {
    views: Vec<View>,
    subscriptions: Vec<Subscription>,
    /// What the store held, by name, until it is opened.
    kept: Vec<(String, String)>,
    last: u32,
    online: bool,
    /// Longest record that is kept, in bytes.
    kept_bytes: usize,
    out: VecDeque<Effect<TableEvent>>,
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
            out: VecDeque::new(),
        }
    }
}

impl Part for Tables {
    type Event = TableEvent;

    /// What nobody opened for long is forgotten.
    fn restore(&mut self, mut kept: Vec<(String, String)>, now: Now) {
        kept.sort_by_cached_key(|(_, record)| Reverse(kept_at(record)));
        for (place, (name, record)) in kept.into_iter().enumerate() {
            if place < MAX_KEPT && now.wall.saturating_sub(kept_at(&record)) <= KEPT_MS {
                self.kept.push((name, record));
            } else {
                self.out.push_back(keep(name, None));
            }
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
        self.tell_states();
    }

    fn forget_user(&mut self) {
        for (name, _) in std::mem::take(&mut self.kept) {
            self.out.push_back(keep(name, None));
        }
        for subscription in &mut self.subscriptions {
            subscription.forget();
            self.out.push_back(keep(subscription.question.name(), None));
        }
        for view in &self.views {
            self.out.push_back(tell(view.id, TableUpdate::Rows));
        }
        self.tell_states();
    }

    fn frame(&mut self, now: Time, rng: &mut Rng, text: &str) -> Result<(), DecodeError> {
        match TableFrame::decode(text)? {
            TableFrame::Ok(ok) => {
                let sid = ok.sid.clone();
                self.each(&TableAddress::Sid(sid), |subscription| subscription.ok(now, rng, ok.clone()), now);
            }
            TableFrame::Page { sid, page } => {
                self.each(
                    &TableAddress::Sid(sid),
                    |subscription| subscription.page(now, rng, page.clone()),
                    now,
                );
            }
            TableFrame::Tx(tx) => {
                let to = tx.to.clone();
                self.each(&to, |subscription| subscription.tx(now, rng, tx.clone()), now);
            }
            TableFrame::Mark { to, link } => {
                self.each(&to, |subscription| subscription.mark(now, link.clone()), now);
            }
            TableFrame::Live { sid, feed, link } => {
                let to = TableAddress::Sid(sid);
                self.each(&to, |subscription| subscription.live(now, feed.clone(), link.clone()), now);
            }
            TableFrame::Seen { sid, tx, code } => self.seen(&sid, &tx, code.as_deref()),
            TableFrame::Reset { to, spread_ms, .. } => {
                let wait = rng.up_to(spread_ms);
                let reset = |subscription: &mut Subscription| {
                    subscription.reset(now, wait);
                    Told::Reset
                };
                self.each(&to, reset, now);
            }
            TableFrame::Err { sid, problem, at, retryable } => {
                let to = TableAddress::Sid(sid);
                let mut failed = Vec::new();
                let refuse = |subscription: &mut Subscription| {
                    if !subscription.is_asked() {
                        return Told::Nothing;
                    }
                    if problem.code == codes::NOT_SUBSCRIBED {
                        return subscription.unknown(now);
                    }
                    if retryable {
                        subscription.refused(now, problem.retry_after_ms.unwrap_or(0), rng);
                    } else {
                        subscription.fail(problem.code.clone(), problem.message.clone(), at);
                        failed.push(subscription.question.name());
                    }
                    Told::Nothing
                };
                self.each(&to, refuse, now);
                for name in failed {
                    self.out.push_back(keep(name, None));
                }
                self.fail_waits();
            }
            TableFrame::Unknown => {}
        }
        self.tell_states();
        Ok(())
    }

    fn tick(&mut self, Now { mono: now, wall }: Now, flush: bool) {
        for subscription in &mut self.subscriptions {
            if self.online
                && let Some(request) = subscription.ask(now)
            {
                self.out.push_back(send(&request));
                for (_, tx) in &subscription.waits {
                    let (sid, tx) = (subscription.sid.clone(), tx.clone());
                    self.out.push_back(send(&TableRequest::Wait { sid, tx }));
                }
            }
            if subscription.keep_at.is_some_and(|at| at <= now || flush) {
                subscription.keep_at = None;
                // One that became too long leaves nothing that would be older than it.
                let record = subscription.record(wall, self.kept_bytes);
                self.out.push_back(keep(subscription.question.name(), record));
            }
        }
        self.tell_states();
    }

    fn deadline(&self) -> Option<Time> {
        let all = self.subscriptions.iter();
        all.flat_map(|subscription| [subscription.deadline(self.online), subscription.keep_at])
            .flatten()
            .min()
    }

    fn take(&mut self) -> Option<Effect<TableEvent>> {
        self.out.pop_front()
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
        self.views.push(View {
            id: self.last,
            sid: subscription.sid.clone(),
            order,
            limit: query.limit,
            events: query.events,
            told: None,
        });
        if subscription.known().is_some() {
            self.out.push_back(tell(self.last, TableUpdate::Rows));
        }
        self.tell_states();
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
            self.out.push_back(send(&TableRequest::Unsub { sid }));
        }
        self.out.push_back(keep(gone.question.name(), None));
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
            self.out.push_back(send(&TableRequest::Wait { sid, tx }));
        }
        self.fail_waits();
        Ok(())
    }

    /// The rows as objects, in the view's order.
    pub(crate) fn rows(&self, view: u32) -> Vec<String> {
        let Some(view) = self.views.iter().find(|other| other.id == view) else { return Vec::new() };
        let subscription = self.subscriptions.iter().find(|other| other.sid == view.sid);
        let Some((shape, rows)) = subscription.and_then(Subscription::known) else { return Vec::new() };
        let mut rows: Vec<&str> = rows.iter().collect();
        if !can_order(shape, &view.order) {
            return Vec::new();
        }
        sort(shape, &view.order, &mut rows);
        rows.truncate(view.limit.unwrap_or(usize::MAX));
        rows.into_iter().map(|row| shape.object(row)).collect()
    }

    /// The names of the key's columns.
    pub(crate) fn key(&self, view: u32) -> Vec<String> {
        let view = self.views.iter().find(|other| other.id == view);
        let subscription =
            view.and_then(|view| self.subscriptions.iter().find(|other| other.sid == view.sid));
        subscription.and_then(Subscription::known).map_or_else(Vec::new, |(shape, _)| shape.key_names())
    }

    pub(crate) fn state(&self, view: u32) -> Option<TableState> {
        self.views.iter().find(|other| other.id == view).map(|view| self.state_of(view))
    }

    /// Lets the subscriptions that a frame is for take it, and does what follows of it.
    fn each(&mut self, to: &TableAddress, mut act: impl FnMut(&mut Subscription) -> Told, now: Time) {
        for place in 0..self.subscriptions.len() {
            let subscription = &mut self.subscriptions[place];
            let meant = match to {
                TableAddress::Sid(sid) => subscription.sid == *sid,
                TableAddress::Feed(feed) => subscription.follows(feed),
            };
            if !meant {
                continue;
            }
            let told = act(subscription);
            if !matches!(told, Told::Nothing | Told::More | Told::Reset | Told::Repair) {
                subscription.keep_at.get_or_insert(now.after(KEEP_MS));
            }
            let sid = subscription.sid.clone();
            match told {
                Told::Nothing | Told::Live => {}
                Told::More => self.out.push_back(send(&TableRequest::Next { sid })),
                Told::Reset | Told::Repair => {
                    let (about, missed) = (subscription.question.table.clone(), told == Told::Repair);
                    self.out.push_back(Effect::Again { about, missed });
                }
                Told::First => {
                    for view in self.views.iter().filter(|view| view.sid == sid) {
                        self.out.push_back(tell(view.id, TableUpdate::Rows));
                    }
                }
                Told::Changed(before, steps) => {
                    steps.into_iter().for_each(|step| self.tell_changes(place, &before, &step));
                }
            }
        }
    }

    fn tell_changes(&mut self, place: usize, before: &Shape, step: &Step) {
        let subscription = &self.subscriptions[place];
        let Some((shape, _)) = subscription.known() else { return };
        for view in self.views.iter().filter(|view| view.sid == subscription.sid) {
            let wanted = |change: &&Moved| match change.op {
                RowOp::Insert => view.events.insert,
                RowOp::Update => view.events.update,
                RowOp::Delete => view.events.delete,
            };
            let changes: Vec<RowChange> = step
                .changes
                .iter()
                .filter(wanted)
                .map(|change| RowChange {
                    event: change.op,
                    new: change.new.as_deref().map(|row| shape.object(row)),
                    old: change.old.as_deref().map(|row| before.object(row)),
                    why: match (&step.tx, change.moved, change.op) {
                        (None, ..) => Why::Resync,
                        (_, true, RowOp::Delete) => Why::MovedOut,
                        (_, true, _) => Why::MovedIn,
                        _ => Why::Commit,
                    },
                })
                .collect();
            if !changes.is_empty() {
                let (tx, at) = step.tx.clone().unzip();
                self.out.push_back(tell(view.id, TableUpdate::Changes { changes, tx, at }));
            }
        }
    }

    fn seen(&mut self, sid: &str, tx: &str, code: Option<&str>) {
        let Some(subscription) = self.subscriptions.iter_mut().find(|other| other.sid == sid) else { return };
        let (seen, waits) =
            std::mem::take(&mut subscription.waits).into_iter().partition(|(_, other)| other == tx);
        subscription.waits = waits;
        self.tell_seen(seen, code);
    }

    /// Nothing will come of a refused subscription.
    fn fail_waits(&mut self) {
        for place in 0..self.subscriptions.len() {
            let subscription = &mut self.subscriptions[place];
            let Some(code) = subscription.failure().map(|(code, ..)| code.to_owned()) else { continue };
            let waits = std::mem::take(&mut subscription.waits);
            self.tell_seen(waits, Some(&code));
        }
    }

    fn tell_seen(&mut self, waits: Vec<(u32, String)>, code: Option<&str>) {
        for (view, tx) in waits {
            let code = code.map(str::to_owned);
            self.out.push_back(tell(view, TableUpdate::Seen { tx, code }));
        }
    }

    fn state_of(&self, view: &View) -> TableState {
        let subscription = self.subscriptions.iter().find(|other| other.sid == view.sid);
        let Some(subscription) = subscription else { return TableState::Loading };
        if let Some((code, message, at)) = subscription.failure() {
            return TableState::Failed { code: code.to_owned(), message: message.to_owned(), at };
        }
        match subscription.known() {
            Some((shape, _)) if !can_order(shape, &view.order) => TableState::Failed {
                code: BAD_ORDER.to_owned(),
                message: "the order names a column that is not there or can't be ordered".to_owned(),
                at: None,
            },
            Some(_) if subscription.is_live() => TableState::Live,
            Some(_) => TableState::Stale,
            None => TableState::Loading,
        }
    }

    fn tell_states(&mut self) {
        for place in 0..self.views.len() {
            let state = self.state_of(&self.views[place]);
            let view = &mut self.views[place];
            if view.told.as_ref() != Some(&state) {
                view.told = Some(state.clone());
                self.out.push_back(tell(view.id, TableUpdate::State(state)));
            }
        }
    }
}

fn send(request: &TableRequest) -> Effect<TableEvent> {
    Effect::Send(request.encode())
}

fn tell(view: u32, update: TableUpdate) -> Effect<TableEvent> {
    Effect::Tell(TableEvent { view, update })
}

fn keep(name: String, record: Option<String>) -> Effect<TableEvent> {
    Effect::Keep { name, record }
}

fn format_sid(number: u32) -> String {
    let mut sid = String::from("t");
    json::push_integer(&mut sid, number.into());
    sid
}
