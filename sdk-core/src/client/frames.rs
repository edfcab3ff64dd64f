//! Handles the frames from the server.

use super::{Client, context};
use crate::delivery::{Applied, EntryState, Step};
use crate::event::{ChannelState, Event, OpState};
use crate::io::{ConnId, Message, StoreChange};
use crate::link::Cause;
use crate::part::Part;
use crate::time::Now;
use crate::wire::{
    ChannelName, ClientFrame, DecodeError, EventFrame, Offset, OpId, Page, Past, Piece, Problem, ServerFrame,
    SubOk, UNREADABLE, User, Welcome, codes, decode_server_message,
};

impl<T: Part> Client<T> {
    /// Handles a message of the current connection or of its successor in a handover.
    pub(super) fn message(&mut self, now: Now, conn: ConnId, text: &str) {
        match decode_server_message(text) {
            Ok(frames) => {
                for frame in &frames {
                    self.frame(now, conn, frame);
                }
            }
            Err(error) => self.not_a_frame(now, conn, error),
        }
    }

    /// The server broke the protocol: ends the connection.
    pub(super) fn not_a_frame(&mut self, now: Now, conn: ConnId, error: DecodeError) {
        let (code, message) = (error.code().to_owned(), "the server sent what is not a frame".to_owned());
        self.emit(Event::Problem { code, message });
        self.link.broken(context!(self, now), conn, codes::PROTOCOL);
        self.follow_link();
    }

    fn frame(&mut self, now: Now, conn: ConnId, frame: &ServerFrame) {
        match frame {
            ServerFrame::Welcome(welcome) if self.link.awaits_welcome(conn) => {
                self.welcome(now, conn, welcome);
            }
            // An error on the successor does not affect the connection that works.
            _ if self.link.is_successor(conn) => {}
            ServerFrame::Error(problem) => self.problem(problem),
            ServerFrame::Goaway { spread_ms, reason, .. } => {
                self.journal.note(now.wall, "goaway", reason, 1);
                self.link.goaway(context!(self, now), *spread_ms);
            }
            // All other frames are valid only within a session.
            frame => {
                if self.session == Some(conn) {
                    self.session_frame(now, conn, frame);
                }
            }
        }
    }

    fn session_frame(&mut self, now: Now, conn: ConnId, frame: &ServerFrame) {
        match frame {
            ServerFrame::AuthOk { token_ttl_ms, .. } => self.link.token_lasts(now, *token_ttl_ms),
            ServerFrame::SubOk(sub) => self.sub_ok(now, sub),
            ServerFrame::SubErr { ch, problem, retryable } => self.sub_err(now, ch, problem, *retryable),
            ServerFrame::Page(page) => self.page(now, page),
            ServerFrame::Past(past) => self.past(now, past),
            ServerFrame::Event(event) => self.event(now, event),
            ServerFrame::Piece(piece) => self.piece(now, piece),
            ServerFrame::Unreadable { ch } => self.unreadable(now, ch.as_ref()),
            ServerFrame::Signal { signal, by } => self.signalled(signal.clone(), by.clone()),
            ServerFrame::People(people) => self.people_frame(now, people),
            ServerFrame::Marks(marks) => self.marks_frame(now, marks),
            ServerFrame::Ok { id, ch, offset, at, .. } => self.committed(now, id, ch, *offset, *at),
            ServerFrame::Nack { id, problem, retryable } => self.nack(now, id, problem, *retryable),
            ServerFrame::Table(text) => self.part_frame(now, conn, text),
            ServerFrame::Ping { n } => {
                self.transmit(conn, &ClientFrame::Pong { n: n.clone() });
            }
            ServerFrame::Pong { n } => {
                if let Some(after_ms) = self.link.ponged(now.mono, n) {
                    self.meter.answered(after_ms);
                }
            }
            ServerFrame::Welcome(_)
            | ServerFrame::Error(_)
            | ServerFrame::Goaway { .. }
            | ServerFrame::Unknown => {}
        }
    }

    // The connection.

    fn welcome(&mut self, now: Now, conn: ConnId, welcome: &Welcome) {
        let handover = self.session.is_some();
        self.link.welcomed(context!(self, now), conn, welcome);
        self.meter.connected();
        if handover {
            self.hand_over(now);
        } else {
            self.journal.counters.reconnects += u64::from(self.limits.is_some());
        }
        if let Some(transport) = self.link.transport() {
            let what = if handover { "handover" } else { "transport" };
            self.journal.note(now.wall, what, transport.as_str(), 1);
        }
        self.session = self.link.online();
        self.limiter.advertised(now.mono, &welcome.limits);
        self.limiter.draining(now.mono, self.outbox.waiting() > 0);
        self.limits = Some(welcome.limits.clone());
        self.sign_in(&welcome.user);
        self.part_connected();
    }

    /// A connection takes over from one that still works. The application gets no event. What was
    /// unanswered on the old one is sent again on the new one; the server recognizes repeated ops.
    fn hand_over(&mut self, now: Now) {
        self.outbox.disconnected();
        let asked = std::mem::take(&mut self.asked);
        for channel in &mut self.channels {
            channel.handed_over(now.mono, asked.contains(&channel.name));
            channel.people.handed_over();
            channel.leases.disconnected();
            channel.reading.handed_over();
        }
    }

    /// Sets the client's user.
    fn sign_in(&mut self, user: &User) {
        let another = self.me.as_ref().is_some_and(|me| me.id != user.id);
        if another {
            self.forget_user();
        }
        let (adopted, foreign) = self.outbox.sign_in(&user.id);
        for id in adopted {
            if let Some(record) = self.outbox.get(&id).map(|entry| entry.record()) {
                self.put_op(&id, record);
            }
        }
        for id in foreign {
            self.fail_op(&id, codes::USER_CHANGED, "it was written by another user");
        }
        for channel in &mut self.channels {
            if let Some(timeline) = &mut channel.timeline {
                timeline.signed_in(user);
            }
        }
        if self.me.as_ref() != Some(user) {
            self.me = Some(user.clone());
            self.put_profile();
        }
        self.emit(Event::User(user.clone()));
    }

    /// Another user signed in: forgets what the former user saw.
    fn forget_user(&mut self) {
        self.kept_marks.clear();
        let mut names = Vec::new();
        for cached in std::mem::take(&mut self.cached) {
            names.extend(ChannelName::parse(&cached.channel));
        }
        for at in 0..self.channels.len() {
            let name = self.channels[at].name.clone();
            self.drop_older(at);
            self.channels[at].people.forget();
            self.channels[at].leases.forget();
            self.channels[at].reading.forget();
            if self.channels[at].forget() {
                let state = ChannelState::Reset { reason: "user".to_owned(), missed: 0 };
                self.emit_channel(&name, state);
            }
            names.push(name);
        }
        for channel in names {
            self.store(StoreChange::ClearChannel { channel });
        }
        self.forget_part();
    }

    fn problem(&mut self, problem: &Problem) {
        self.link.refused(Cause::new(&problem.code, &problem.message), problem.retry_after_ms);
        self.emit(Event::Problem { code: problem.code.clone(), message: problem.message.clone() });
    }

    // Channels.

    fn sub_ok(&mut self, now: Now, sub: &SubOk) {
        let Some(at) = self.place(&sub.page.ch) else {
            // The channel was closed while `hello` was under way.
            return self.leave_channel(&sub.page.ch);
        };
        if self.channels[at].is_unsent() {
            // The answer to a subscription that has ended, and the server's end of it is on its way.
            return;
        }
        let missed = self.channels[at].skipped(sub);
        self.journal.counters.lost += missed;
        let mut applied = self.channels[at].sub_ok(sub);
        applied.missed = missed;
        self.applied(now, at, applied, Some(&sub.page), true);
    }

    fn page(&mut self, now: Now, page: &Page) {
        let Some(at) = self.place(&page.ch).filter(|at| !self.channels[*at].is_unsent()) else { return };
        let applied = self.channels[at].page(page);
        self.applied(now, at, applied, Some(page), false);
    }

    fn past(&mut self, now: Now, Past { page, retry_after_ms }: &Past) {
        let Some(at) = self.place(&page.ch) else { return };
        let before = page.from.plus(1 + page.events.len() as u64);
        // An answer with a hole is as good as none: the request is sent again.
        let is_dense = page.events.iter().zip(page.from.0 + 1..).all(|(event, at)| event.offset == at);
        if !is_dense || !self.channels[at].answered_older(now.mono, before, *retry_after_ms) {
            return;
        }
        for event in &page.events {
            self.settle_by(event);
        }
        let timeline = self.channels[at].timeline.as_mut();
        let joined = timeline.is_some_and(|timeline| timeline.apply_older(page));
        let (channel, events, more) = (page.ch.clone(), page.events.clone(), page.more);
        self.after_rows.push(Event::Older { channel, before, events, joined, more });
    }

    fn event(&mut self, now: Now, event: &EventFrame) {
        let Some(at) = self.place(&event.ch) else { return };
        let offset = event.offset;
        let past = offset <= self.channels[at].offset();
        self.answered(now, &event.id);
        let applied = self.channels[at].event(event);
        if past {
            self.journal.counters.duplicated += 1;
        }
        self.applied(now, at, applied, None, false);
    }

    fn piece(&mut self, now: Now, piece: &Piece) {
        let Some(at) = self.place(&piece.ch) else { return };
        let step = self.channels[at].piece(piece);
        self.channels[at].persistence.grown(now.mono);
        self.step(now, at, step);
    }

    /// A frame of a channel can't be read. The channel, or every channel if its name can't be read
    /// either, asks for a page, in which the offset of the event is known.
    fn unreadable(&mut self, now: Now, ch: Option<&ChannelName>) {
        self.journal.note(now.wall, "unreadable", ch.map_or("", ChannelName::as_str), 1);
        for at in 0..self.channels.len() {
            if ch.is_none_or(|ch| *ch == self.channels[at].name) {
                let step = self.channels[at].unreadable();
                self.step(now, at, step);
            }
        }
    }

    /// Emits and stores what a channel applied, and carries out its next step.
    fn applied(&mut self, now: Now, at: usize, applied: Applied<'_>, page: Option<&Page>, answered: bool) {
        let name = self.channels[at].name.clone();
        if applied.anew {
            self.channels[at].reading.begin_again();
            self.channels[at].persistence.reset();
        }
        if let Some(reason) = applied.reset {
            if let Some(timeline) = &mut self.channels[at].timeline {
                timeline.reset();
            }
            self.journal.note(now.wall, "reset", &reason, 1);
            self.drop_older(at);
            let state = ChannelState::Reset { reason, missed: applied.missed };
            self.emit_channel(&name, state);
        }
        let mut kept = Vec::new();
        let news = !applied.events.is_empty();
        for event in applied.events {
            self.settle_by(event);
            self.journal.counters.unreadable += u64::from(event.kind == UNREADABLE);
            self.channels[at].reading.applied(event, self.me.as_ref());
            if let Some(timeline) = &mut self.channels[at].timeline {
                timeline.apply(event);
            }
            if self.channels[at].keeps_events {
                kept.push((event.offset, Message(event.raw.clone())));
            }
            if self.channels[at].is_new_to_holders(event.offset) {
                self.emit(Event::Received(event.clone()));
            }
        }
        if news || answered {
            self.keep(at, kept);
        }
        if applied.step == Step::Live {
            let channel = &mut self.channels[at];
            if let (Some(timeline), Some(page)) = (&mut channel.timeline, page) {
                timeline.set_handler(page.handler.as_ref());
                for run in &page.runs {
                    timeline.snapshot(run);
                    channel.persistence.grown(now.mono);
                }
            }
            self.emit_channel(&name, ChannelState::Live);
        }
        self.step(now, at, applied.step);
    }

    /// The event of an own op says that it is committed, whether or not its answer arrives.
    fn settle_by(&mut self, event: &EventFrame) {
        if self.outbox.get(&event.id).is_some() {
            self.settle_op(&event.id, OpState::Acked { offset: event.offset });
        }
    }

    /// Stores the applied events and the new cursor.
    fn keep(&mut self, at: usize, events: Vec<(Offset, Message)>) {
        self.channels[at].persistence.add(events, self.config.cached_events);
        self.persist_channel(at);
    }

    fn step(&mut self, now: Now, at: usize, step: Step) {
        match step {
            Step::None | Step::Live => {}
            Step::Next => {
                let ch = self.channels[at].name.clone();
                if self.channels[at].is_live() {
                    self.journal.note(now.wall, "repair", &ch, 1);
                    self.journal.counters.repaired += 1;
                    self.emit_channel(&ch, ChannelState::Syncing);
                }
                let from = self.channels[at].ask_next(now.mono);
                if let Some(conn) = self.session {
                    self.transmit(conn, &ClientFrame::Next { ch, from });
                }
            }
            // The next pump subscribes without a cursor.
            Step::Anew => self.channels[at].give_up(),
        }
    }

    fn sub_err(&mut self, now: Now, ch: &ChannelName, problem: &Problem, retryable: bool) {
        let Some(at) = self.place(ch) else { return };
        // With the subscription the server forgot who watches, and what they hold.
        self.channels[at].people.disconnected();
        self.channels[at].leases.disconnected();
        self.channels[at].reading.disconnected();
        // Not subscribed: the subscription ended while a request for a page was under way.
        if retryable || problem.code == codes::NOT_SUBSCRIBED {
            let floor = problem.retry_after_ms.unwrap_or(0);
            let again = self.channels[at].refused(now.mono, floor, &mut self.rng);
            self.journal.note(now.wall, "refused", &problem.code, 1);
            let Problem { code, message, .. } = problem.clone();
            let state = ChannelState::Waiting { code, message, retry_in_ms: again.since(now.mono) };
            self.emit_channel(ch, state);
            return;
        }
        self.channels[at].fail();
        self.channels[at].people.refuse(&problem.code);
        self.channels[at].reading.refuse(&problem.code);
        self.drop_older(at);
        // Data that may no longer be read must not stay on the device.
        if self.channels[at].forget() {
            self.store(StoreChange::ClearChannel { channel: ch.clone() });
        }
        let state = ChannelState::Failed { code: problem.code.clone(), message: problem.message.clone() };
        self.emit_channel(ch, state);
    }

    // Ops.

    /// The server answered an op, or the op's own event came first.
    fn answered(&mut self, now: Now, id: &OpId) {
        if let Some(EntryState::Sent { at }) = self.outbox.get(id).map(|entry| &entry.state) {
            let after_ms = now.mono.since(*at);
            self.journal.counters.round_trip_ms = after_ms;
            self.meter.answered(after_ms);
        }
    }

    fn committed(&mut self, now: Now, id: &OpId, ch: &ChannelName, offset: Offset, at: u64) {
        if self.outbox.get(id).is_none() {
            return;
        }
        self.answered(now, id);
        if let Some(timeline) = self.timeline(ch) {
            timeline.commit(id, offset, at);
        }
        self.settle_op(id, OpState::Acked { offset });
    }

    fn nack(&mut self, now: Now, id: &OpId, problem: &Problem, retryable: bool) {
        if !retryable {
            self.fail_op(id, &problem.code, &problem.message);
            return;
        }
        if let (codes::RATE_LIMITED, Some(wait)) = (problem.code.as_str(), problem.retry_after_ms) {
            self.limiter.pause(now.mono.after(wait));
        }
        self.delay_op(now, id, &problem.code, problem.retry_after_ms);
    }
}
