//! One channel in memory: its head, its newest events, its live subscribers, and the answer under
//! way.
//!
//! Everything that a subscriber must see without a gap changes under one lock. [`Channel::apply`]
//! and [`Channel::publish_piece`] are called in the order of the commits, and nothing here blocks.

use super::ops::Op;
use super::progress::{Effects, Progress, Stop};
use super::recent::Recent;
use crate::lock::Mutex;
use crate::outgoing::{Due, Outgoing};
use crate::people::{Agenda, Leaving, People, Readers};
use crate::rules::Matched;
use crate::store::{Account, ChannelRow, Stored, key_of};
use crate::text::Text;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidewire_core::wire::{ChannelName, Offset, PAGE_BYTES, PAGE_EVENTS, Page, Piece, RunId, User};

/// A channel in memory.
pub struct Channel {
    /// Its row in the database.
    pub id: i64,
    /// Its name.
    pub name: ChannelName,
    /// The account that it belongs to.
    pub account: Account,
    /// Who is there.
    pub(crate) people: Arc<People>,
    /// Who is told how far it was read.
    pub(crate) readers: Arc<Readers>,
    state: Mutex<State>,
}

struct State {
    /// The dialog's owner ([`crate::Identity::key`]).
    owner: Option<String>,
    /// None if no rule matches the channel's name, so nobody may do anything in it.
    rule: Option<Matched>,
    /// The channel's row.
    id: i64,
    head: Offset,
    floor: Offset,
    recent: Recent,
    /// By the number of the connection: frames are sent in the order in which connections came.
    live: BTreeMap<u64, Arc<Outgoing>>,
    /// The connections that are subscribed, live or catching up.
    subscribers: BTreeSet<u64>,
    progress: Progress,
}

/// A connection's subscription; dropping it ends it, as if the connection were lost.
pub struct Subscriber {
    /// The channel.
    pub channel: Arc<Channel>,
    conn: u64,
}

impl Subscriber {
    /// Ends it, because the user leaves the channel or may not be there any more.
    pub(crate) fn leave(self) {
        self.channel.people.leave(self.conn, Leaving::Left);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let mut state = self.channel.state.lock();
        state.live.remove(&self.conn);
        state.subscribers.remove(&self.conn);
        drop(state);
        self.channel.readers.leave(self.conn);
        self.channel.people.leave(self.conn, Leaving::Lost);
    }
}

/// What a page starts from.
#[derive(Clone, Copy)]
pub struct Extent {
    /// The newest published offset.
    pub head: Offset,
    /// Every event up to here was trimmed.
    pub floor: Offset,
}

impl Channel {
    /// A channel as the database has it.
    pub fn new(name: ChannelName, row: ChannelRow, rule: Option<Matched>, agenda: &Arc<Agenda>) -> Channel {
        let ChannelRow { id, head, floor, owner, account, handler } = row;
        let has_people = rule.as_ref().is_some_and(|matched| matched.rule.people);
        let people = People::new(id, name.clone(), has_people, agenda);
        let answers = rule.as_ref().is_some_and(|matched| matched.rule.answers);
        let receipts = rule.as_ref().is_some_and(|matched| matched.rule.receipts);
        let handler = name.dialog().map(|_| handler);
        Channel {
            id,
            readers: Readers::new(id, name.clone(), receipts),
            name,
            account,
            people,
            state: Mutex::new(State {
                owner,
                rule,
                id,
                head,
                floor,
                recent: Recent::default(),
                live: BTreeMap::new(),
                subscribers: BTreeSet::new(),
                progress: Progress::new(answers, handler),
            }),
        }
    }

    /// Makes a connection one of at most `most` subscribers; none when there are as many already.
    pub fn subscribe(self: &Arc<Self>, conn: u64, most: usize) -> Option<Subscriber> {
        let mut state = self.state.lock();
        if state.subscribers.len() >= most {
            return None;
        }
        state.subscribers.insert(conn);
        Some(Subscriber { channel: self.clone(), conn })
    }

    /// The rule that holds for the channel.
    pub fn rule(&self) -> Option<Matched> {
        self.state.lock().rule.clone()
    }

    /// Another rule holds for the channel from now on. False if it has people, and it is not known who
    /// is there.
    pub(super) fn set_rule(&self, rule: Option<Matched>) -> bool {
        let mut state = self.state.lock();
        state.progress.set_answered(rule.as_ref().is_some_and(|matched| matched.rule.answers));
        let has_people = rule.as_ref().is_some_and(|matched| matched.rule.people);
        self.readers.set_receipts(rule.as_ref().is_some_and(|matched| matched.rule.receipts));
        state.rule = rule;
        let is_followed = !state.subscribers.is_empty();
        drop(state);
        !self.people.set_on(has_people) || !is_followed
    }

    /// Whether this user owns the dialog ([`crate::Identity::key`]).
    pub fn is_owned_by(&self, user: &str) -> bool {
        self.state.lock().owner.as_deref() == Some(user)
    }

    /// Removes the owner, if it is this user.
    pub fn disown(&self, user: &str) {
        let mut state = self.state.lock();
        if state.owner.as_deref() == Some(user) {
            state.owner = None;
        }
    }

    /// Makes `to` the owner, if `from` was.
    pub(crate) fn hand_over(&self, from: &str, to: &str) {
        let mut state = self.state.lock();
        if state.owner.as_deref() == Some(from) {
            state.owner = Some(to.to_owned());
        }
    }

    /// Whether the server's model answers messages here.
    pub fn is_answered(&self) -> bool {
        self.state.lock().rule.as_ref().is_some_and(|matched| matched.rule.answers)
    }

    /// Whether the channel has subscribers.
    pub fn is_followed(&self) -> bool {
        !self.state.lock().subscribers.is_empty()
    }

    /// The answer under way.
    pub(crate) fn run(&self) -> Option<RunId> {
        self.state.lock().progress.run().cloned()
    }

    /// How many connections are subscribed.
    pub(crate) fn subscribers(&self) -> usize {
        self.state.lock().subscribers.len()
    }

    /// The dialog was deleted: removes all subscribers, and ends an answer under way.
    pub(crate) fn dissolve(&self) -> Effects {
        let mut state = self.state.lock();
        state.live.clear();
        state.subscribers.clear();
        state.progress.dissolve()
    }

    /// The ends of the channel's log.
    pub fn extent(&self) -> Extent {
        let state = self.state.lock();
        Extent { head: state.head, floor: state.floor }
    }

    /// Whether the events after `from` are all in memory.
    pub fn remembers(&self, from: Offset) -> bool {
        let state = self.state.lock();
        from >= state.head || state.recent.first().is_some_and(|first| first <= from.next())
    }

    /// Notes that every event up to `floor` was trimmed.
    pub fn trimmed(&self, floor: Offset) {
        let mut state = self.state.lock();
        state.floor = state.floor.max(floor);
    }

    /// A subscriber is no longer live: it leaves, or goes back to catching up.
    pub fn leave(&self, conn: u64) {
        self.state.lock().live.remove(&conn);
    }

    /// Completes a page that begins after `from` with `events` from the disk, and queues it. If it
    /// reaches the head the subscriber becomes live in the same step, so that no event and no piece
    /// is lost between the page and the live frames. Nothing is queued if the subscription has
    /// ended meanwhile.
    pub fn send_page(
        &self,
        outgoing: &Arc<Outgoing>,
        from: Offset,
        mut events: Vec<Text>,
        encode: impl FnOnce(Page, &[Text]) -> String,
    ) {
        let mut state = self.state.lock();
        if !state.subscribers.contains(&outgoing.id()) {
            return;
        }
        let mut last = from.plus(events.len() as u64);
        let mut bytes: usize = events.iter().map(|event| event.len() + 1).sum();
        while last < state.head && events.len() < PAGE_EVENTS {
            let Some(event) = state.recent.get(last.next()) else { break };
            if bytes + event.len() + 1 > PAGE_BYTES && !events.is_empty() {
                break;
            }
            bytes += event.len() + 1;
            events.push(event.clone());
            last = last.next();
        }
        let more = last < state.head;
        let runs = if more { Vec::new() } else { state.progress.runs() };
        let handler = state.progress.handler().filter(|_| !more).cloned();
        let (ch, head) = (self.name.clone(), state.head);
        let page = Page { ch, from, head, events: Vec::new(), more, runs, handler };
        let mut due = Due::default();
        let sent = outgoing.put_of(self.id, encode(page, &events).into(), &mut due);
        if sent && !more {
            state.live.insert(outgoing.id(), outgoing.clone());
        } else {
            state.live.remove(&outgoing.id());
        }
        drop(state);
        due.give();
    }

    /// Applies a committed event, whoever committed it: changes the dialog and sends the event to
    /// every live subscriber. Does nothing if it was applied before.
    pub fn apply(&self, event: &Stored, by: &User, op: &dyn Op) -> Effects {
        let mut state = self.state.lock();
        if event.offset <= state.head {
            return Effects::default();
        }
        let effects = op.applied(&mut state.progress, by, event);
        let due = state.publish(event);
        drop(state);
        due.give();
        if effects.said {
            self.people.has_said(&key_of(by.kind, &by.id));
        }
        effects
    }

    /// Sends a stored piece of the answer under way to every live subscriber.
    pub fn publish_piece(&self, run: &RunId, at: u64, text: &str) {
        let mut state = self.state.lock();
        if !state.progress.piece(run, at, text) {
            return;
        }
        let piece = Piece { ch: self.name.clone(), run: run.clone(), at, text: text.to_owned() };
        let due = state.send(&piece.encode().into());
        drop(state);
        due.give();
    }

    /// Sends a signal to every live subscriber but the connection that it comes from, and those
    /// whose queue is more than half full.
    pub(crate) fn signal(&self, from: u64, frame: &Text) {
        let mut due = Due::default();
        for (_, outgoing) in self.state.lock().live.iter().filter(|(conn, _)| **conn != from) {
            outgoing.put_if_light(self.id, frame, &mut due);
        }
        due.give();
    }

    /// Notes how to end an answer that is about to begin.
    pub(super) fn will_run(&self, run: &RunId, stop: Stop) {
        self.state.lock().progress.will_run(run, stop);
    }

    /// Notes that an answer which a crash left open has to be ended first: no other one begins
    /// before.
    pub(super) fn answers_still(&self) {
        self.state.lock().progress.answers_still();
    }

    /// A message that was committed before this server started still needs an answer.
    pub fn want_answer(&self, offset: Offset) -> Effects {
        self.state.lock().progress.want_answer(offset)
    }

    /// Whether a message after offset `covered` needs an answer; if not, the task that answers this
    /// dialog ends.
    pub fn wants_another(&self, covered: Offset) -> bool {
        self.state.lock().progress.wants_another(covered)
    }
}

impl State {
    fn publish(&mut self, event: &Stored) -> Due {
        self.head = event.offset;
        self.recent.push(event.offset, event.frame.clone());
        self.send(&event.frame)
    }

    fn send(&mut self, frame: &Text) -> Due {
        let (channel, mut due) = (self.id, Due::default());
        self.live.retain(|_, outgoing| outgoing.put_of(channel, frame.clone(), &mut due));
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialog::ops::Kinds;
    use tidewire_core::wire::{Handler, UserKind};

    fn apply(channel: &Channel, offset: u64) {
        let stored = Stored { offset: Offset(offset), at: 1, frame: offset.to_string().into() };
        let by =
            User { id: "ada".to_owned(), name: "Ada".to_owned(), kind: UserKind::Operator, profile: None };
        let op = Kinds::standard().read("message", r#"{"text":"x"}"#);
        let effects = channel.apply(&stored, &by, op.as_ref());
        assert!(!effects.answer, "an operator's message wants none");
    }

    #[test]
    fn a_page_for_a_subscription_that_was_lost_meanwhile_brings_nobody_to_life() {
        let name = ChannelName::parse("dialog:a").unwrap();
        let (owner, account, handler) = (None, Account::Own, Handler::Ai);
        let row = ChannelRow { id: 1, head: Offset::ZERO, floor: Offset::ZERO, owner, account, handler };
        let channel = Arc::new(Channel::new(name, row, None, &Arc::default()));
        let outgoing = Arc::new(Outgoing::new(7, 1_000, 100, Arc::new(|_| ())));
        let page = || channel.send_page(&outgoing, Offset::ZERO, Vec::new(), |_, _| "page".to_owned());
        let subscriber = channel.subscribe(7, 1).unwrap();
        page();
        apply(&channel, 1);
        assert!(matches!(outgoing.take(), Some(crate::ToWrite::Write(text)) if text.as_str() == "[page,1]"));
        drop(subscriber);
        page();
        apply(&channel, 2);
        assert_eq!(outgoing.take(), None);
    }
}
