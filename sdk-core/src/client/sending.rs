//! Sends `hello`, subscriptions, and ops from the outbox within the window and the budget.

use super::{Client, MESSAGE_BYTES, context, row_state};
use crate::delivery::{Delay, EntryState, Lane, Next, Wait};
use crate::event::OpState;
use crate::io::{ConnId, Message, Output, StoreChange};
use crate::part::Part;
use crate::retry::Retry;
use crate::time::{Now, Time};
use crate::wire::json::array;
use crate::wire::{self, ChannelName, ClientFrame, OpId, VERSION, codes};

/// If an op is unanswered for this long, the client sends a ping, in ms.
const PROBE_AFTER_MS: u64 = 5_000;
/// If an op is unanswered for this long although the peer is alive, it is sent again on a new
/// connection, in ms.
const UNANSWERED_MS: u64 = 30_000;
/// The window of unanswered ops: the default and the maximum.
const INFLIGHT: u64 = 32;
const INFLIGHT_BYTES: u64 = 262_144;
/// The retry policy for ops that were refused temporarily.
const RETRY: Retry = Retry::new(250, 30_000);

impl<T: Part> Client<T> {
    pub(super) fn hello(&mut self, now: Now, conn: ConnId) {
        let (tail, successor) = (self.config.tail, self.link.is_successor(conn));
        let mut subs = Vec::new();
        self.asked.clear();
        for channel in self.channels.iter_mut().filter(|channel| !channel.has_failed()) {
            if successor {
                // The old connection still works and stays as it is.
                self.asked.push(channel.name.clone());
                subs.push(channel.wish(tail));
            } else {
                subs.push(channel.ask(now.mono, tail));
            }
        }
        let hello = ClientFrame::Hello {
            v: VERSION,
            token: self.link.credential(),
            client: self.installation.clone(),
            session: Some(self.run.clone()),
            agent: Some(self.config.agent.clone()),
            subs,
        };
        self.transmit(conn, &hello);
    }

    /// Sends everything that may be sent now.
    pub(super) fn pump(&mut self, now: Now, conn: ConnId) {
        let mut frames = Vec::new();
        for channel in &mut self.channels {
            if channel.is_due(now.mono) {
                frames.push(ClientFrame::Sub(channel.ask(now.mono, self.config.tail)).encode());
            }
            while let Some((before, most)) = channel.ask_older(now.mono) {
                frames.push(ClientFrame::Prev { ch: channel.name.clone(), before, most }.encode());
            }
        }
        while let Some(id) = self.outbox.expired(now.wall) {
            self.fail_op(&id, codes::EXPIRED, "it waited longer than it may");
        }
        let (inflight, inflight_bytes) = self.window();
        let (mut ops, gathering) = (0, self.is_gathering(now));
        while !gathering && let Next::Send(id) = self.outbox.next(now.mono, inflight, inflight_bytes) {
            if !self.limiter.take(now.mono) {
                break;
            }
            if let Some(op) = self.outbox.frame(&id) {
                frames.push(op.encode());
            }
            self.sent(now, &id);
            ops += 1;
        }
        if ops > 0 {
            self.sent_at = Some(now.mono);
        }
        self.pump_people(now, &mut frames);
        self.pump_reads(now, &mut frames);
        let Client { channels, signals, .. } = self;
        let live = |name: &str| channels.iter().any(|channel| channel.name == name && channel.is_live());
        while let Some(signal) = signals.next(now.mono, live) {
            frames.push(ClientFrame::Signal(signal).encode());
        }
        if self.outbox.waiting() == 0 {
            self.limiter.draining(now.mono, false);
        }
        let most = self.limits.as_ref().map_or(MESSAGE_BYTES, |limits| limits.message_bytes);
        for message in join(frames, most) {
            self.out.push_back(Output::Transmit { conn, message });
        }
        self.watch_answers(now, conn);
    }

    /// Updates what waiting rows show as the reason of their wait, if that may have changed.
    pub(super) fn show_waits(&mut self, now: Now) {
        let online = self.session.is_some();
        let waits_of = (self.outbox.version(), online);
        if self.shown_waits.replace(waits_of) == Some(waits_of) {
            return;
        }
        let Client { outbox, limiter, channels, .. } = self;
        let waits = outbox
            .waits(now.mono, |nth| Some(limiter.nth(now.mono, nth)).filter(|at| online && *at > now.mono));
        for channel in channels {
            let Some(timeline) = &mut channel.timeline else { continue };
            let with_row = |wait: &&Wait<'_>| {
                wait.entry.channel == channel.name && wait.entry.kind == wire::Message::KIND
            };
            timeline.show_waits(waits.iter().filter(with_row).map(|wait| {
                let until = wait.until.map(|at| now.wall.saturating_add(at.since(now.mono)));
                (&wait.entry.id, wait.code, until)
            }));
        }
    }

    /// Whether ops wait to be sent together with later ones in one message.
    fn is_gathering(&self, now: Now) -> bool {
        let Some(until) = self.gathered_at() else { return false };
        now.mono < until && self.outbox.ready() < self.config.batch_ops
    }

    fn gathered_at(&self) -> Option<Time> {
        self.sent_at.filter(|_| self.config.batch_ms > 0).map(|at| at.after(self.config.batch_ms))
    }

    /// Fails ops of the session lane that have expired.
    pub(super) fn expire(&mut self, now: Now) {
        while let Some(id) = self.outbox.expired_session_op(now.mono) {
            self.fail_op(&id, codes::EXPIRED, "it waited longer than it may");
        }
    }

    fn window(&self) -> (u64, u64) {
        self.limits.as_ref().map_or((INFLIGHT, INFLIGHT_BYTES), |limits| {
            (limits.inflight.clamp(1, INFLIGHT), limits.inflight_bytes.min(INFLIGHT_BYTES))
        })
    }

    fn sent(&mut self, now: Now, id: &OpId) {
        let Some(entry) = self.outbox.get_mut(id) else { return };
        entry.state = EntryState::Sent { at: now.mono };
        self.journal.counters.resent += u64::from(std::mem::take(&mut entry.unanswered));
        entry.tried = entry.tried.saturating_add(1);
        entry.maybe_committed = true;
        let (channel, state) = (entry.channel.clone(), row_state(entry));
        if let Some(timeline) = self.timeline(&channel) {
            timeline.mark(id, state, None);
        }
        self.emit_op(id.clone(), channel, OpState::Sending);
    }

    /// An unanswered op makes the client probe the connection, or end it, before the heartbeat
    /// does.
    fn watch_answers(&mut self, now: Now, conn: ConnId) {
        let Some(oldest) = self.outbox.oldest_sent() else { return };
        let silent_ms = now.mono.since(oldest);
        if silent_ms >= UNANSWERED_MS {
            self.link.broken(context!(self, now), conn, codes::OP_TIMEOUT);
        } else if silent_ms >= PROBE_AFTER_MS && !self.link.heard_since(oldest.after(PROBE_AFTER_MS)) {
            self.link.probe(context!(self, now));
        }
    }

    /// When [`Client::pump`] has something to do.
    pub(super) fn sending_deadline(&mut self, now: Now) -> Option<Time> {
        let (inflight, inflight_bytes) = self.window();
        let next = match self.outbox.next(now.mono, inflight, inflight_bytes) {
            Next::Send(_) => {
                let gathered = self.gathered_at().filter(|_| self.is_gathering(now));
                Some(self.limiter.next(now.mono).max(gathered.unwrap_or(now.mono)))
            }
            Next::At(at) => Some(at),
            Next::Nothing => None,
        };
        let answer = self.outbox.oldest_sent().map(|oldest| {
            if now.mono.since(oldest) < PROBE_AFTER_MS {
                oldest.after(PROBE_AFTER_MS)
            } else {
                oldest.after(UNANSWERED_MS)
            }
        });
        let signal = self.signals.deadline(now.mono);
        let waits = self.channels.iter().any(|channel| channel.is_live() && channel.leases.wait());
        let lease = waits.then(|| self.signals.may_send_at(now.mono));
        [next, answer, signal, lease].into_iter().flatten().min()
    }

    // Answers.

    /// Settles an op: it was committed, failed or discarded.
    pub(super) fn settle_op(&mut self, id: &OpId, state: OpState) {
        let Some(entry) = self.outbox.remove(id) else { return };
        if entry.lane == Lane::Durable {
            self.store(StoreChange::DeleteOp { id: id.clone() });
        }
        // An op that is gone without a commit has no row any more.
        let gone = state == OpState::Discarded || matches!(state, OpState::Failed { .. });
        if gone && let Some(timeline) = self.timeline(&entry.channel) {
            timeline.discard(id);
        }
        self.emit_op(entry.id, entry.channel, state);
    }

    /// The server refused an op for now.
    pub(super) fn delay_op(&mut self, now: Now, id: &OpId, code: &str, retry_after_ms: Option<u64>) {
        let Some(entry) = self.outbox.get_mut(id) else { return };
        // The server answers `blocked` only after it has looked up the op in the log, so the op is
        // not there. Other refusals may come before that look-up: they prove only that this attempt
        // did not commit it.
        entry.maybe_committed &= code != codes::BLOCKED && entry.tried > 1;
        let delay_ms = RETRY.delay(entry.tried, retry_after_ms.unwrap_or(0), &mut self.rng);
        let delay = Delay { until: now.mono.after(delay_ms), code: code.to_owned() };
        entry.state = EntryState::Ready { delay: Some(delay) };
        let (channel, state) = (entry.channel.clone(), row_state(entry));
        if let Some(timeline) = self.timeline(&channel) {
            timeline.mark(id, state, None);
        }
    }

    /// Marks an op as failed. A message of a dialog blocks its channel until the application retries
    /// or discards it. Other ops have no row where that could be done: they are dropped.
    pub(super) fn fail_op(&mut self, id: &OpId, code: &str, message: &str) {
        let Some(entry) = self.outbox.get_mut(id) else { return };
        let state = OpState::Failed { code: code.to_owned(), message: message.to_owned() };
        // Ops of the session lane are only of use now.
        if entry.lane == Lane::Session || !entry.has_row() {
            self.settle_op(id, state);
            return;
        }
        entry.state = EntryState::Failed { code: code.to_owned(), message: message.to_owned() };
        self.journal.note(self.last.wall, "op_failed", code, 1);
        let (record, channel) = (entry.record(), entry.channel.clone());
        let shown = row_state(entry);
        self.store(StoreChange::PutOp { id: id.clone(), record });
        if let Some(timeline) = self.timeline(&channel) {
            timeline.mark(id, shown, Some(code));
        }
        self.emit_op(id.clone(), channel, state);
    }

    /// Sends a frame on this connection.
    pub(super) fn transmit(&mut self, conn: ConnId, frame: &ClientFrame) {
        self.out.push_back(Output::Transmit { conn, message: Message(frame.encode()) });
    }

    pub(super) fn leave_channel(&mut self, name: &ChannelName) {
        if let Some(conn) = self.session {
            self.transmit(conn, &ClientFrame::Unsub { ch: name.clone() });
        }
    }
}

/// Packs frames into messages, as many in each as the size limit allows.
fn join(frames: Vec<String>, most: u64) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    let mut batch: Vec<String> = Vec::new();
    let mut bytes = 0;
    for frame in frames {
        if !batch.is_empty() && bytes + frame.len() as u64 + 2 > most {
            messages.push(batched(&mut batch));
            bytes = 0;
        }
        bytes += frame.len() as u64 + 1;
        batch.push(frame);
    }
    if !batch.is_empty() {
        messages.push(batched(&mut batch));
    }
    messages
}

fn batched(batch: &mut Vec<String>) -> Message {
    let frames = std::mem::take(batch);
    if let [frame] = frames.as_slice() {
        return Message(frame.clone());
    }
    Message(array(frames.iter().map(String::as_str)))
}
