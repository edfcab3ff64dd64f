//! The outbox: ops in the order in which they were made, until each is settled.

use crate::config::Config;
use crate::error::SendError;
use crate::io::Message;
use crate::time::Time;
use crate::wire::json::{Object, Writer};
use crate::wire::{self, ChannelName, Op, OpId, codes, is_uuid};

/// Most ops in the session lane.
const SESSION_OPS: usize = 100;

/// How an op is kept until it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Stored on this device until it is settled: it survives reloads and crashes, and waits for
    /// days. One that failed blocks its channel until the application decides.
    Durable,
    /// Kept in memory for a minute, and sent before durable ops: for ops that would be useless
    /// later, such as ending an answer. One that failed is discarded.
    Session,
}

impl Lane {
    /// The word that every binding uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Lane::Durable => "durable",
            Lane::Session => "session",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Lane> {
        [Lane::Durable, Lane::Session].into_iter().find(|lane| lane.as_str() == word)
    }
}

/// An op that is checked and has its id, but is not sent. [`crate::Client::send_draft`] of this
/// client or another one sends it; sending it again under the same id does no harm. `Debug` leaves
/// the body out.
#[derive(Clone, PartialEq, Eq)]
pub struct Draft {
    /// The op's id, a UUID.
    pub id: OpId,
    /// How it is kept.
    pub lane: Lane,
    /// The channel.
    pub channel: ChannelName,
    /// What kind of event it asks for.
    pub kind: String,
    /// The JSON text of an object.
    pub body: String,
}

impl Draft {
    /// An op that the application made, or another client's [`Draft`], from its parts.
    ///
    /// # Errors
    ///
    /// [`SendError::BadOpId`] if the id is not a UUID, [`SendError::BadChannel`] if the channel's
    /// name is not valid. The body is checked when the draft is sent.
    pub fn new(id: &str, lane: Lane, channel: &str, kind: &str, body: &str) -> Result<Draft, SendError> {
        if !is_uuid(id) {
            return Err(SendError::BadOpId);
        }
        Ok(Draft {
            id: OpId::from(id),
            lane,
            channel: ChannelName::parse(channel).ok_or(SendError::BadChannel)?,
            kind: kind.to_owned(),
            body: body.to_owned(),
        })
    }
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft")
            .field("id", &self.id)
            .field("lane", &self.lane)
            .field("kind", &self.kind)
            .finish()
    }
}

/// An op to be added.
pub(crate) struct NewOp<'a> {
    pub(crate) draft: &'a Draft,
    pub(crate) since: Time,
    pub(crate) made_at: u64,
    pub(crate) user: Option<String>,
}

/// The state of an entry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum EntryState {
    /// To be sent; not before the time in `delay` if the server refused it for now.
    Ready { delay: Option<Delay> },
    /// Sent on the current connection.
    Sent { at: Time },
    /// Refused for good; blocks its channel.
    Failed { code: String, message: String },
}

/// Why an op that was refused for now waits, and until when.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Delay {
    pub(crate) until: Time,
    pub(crate) code: String,
}

/// Why an op that is ready is not sent, besides the connection and those before it.
pub(crate) struct Wait<'a> {
    pub(crate) entry: &'a Entry,
    /// `blocked` if one before it failed; otherwise the code with which the server or the budget
    /// delays it.
    pub(crate) code: &'a str,
    /// When it may be sent, if that is known.
    pub(crate) until: Option<Time>,
}

/// An op that is not yet settled.
pub(crate) struct Entry {
    pub(crate) id: OpId,
    pub(crate) lane: Lane,
    pub(crate) channel: ChannelName,
    pub(crate) kind: String,
    pub(crate) body: String,
    /// When it was made, by the monotonic clock; 0 if it was restored.
    since: Time,
    /// When it was made, by the wall clock.
    pub(crate) made_at: u64,
    /// The user who wrote it; unknown before the first welcome.
    pub(crate) user: Option<String>,
    pub(crate) state: EntryState,
    /// Whether the store has it.
    pub(crate) stored: bool,
    /// How often it was sent.
    pub(crate) tried: u32,
    /// Whether the server may have committed it without this client knowing.
    pub(crate) maybe_committed: bool,
    /// Whether the connection was lost before its answer came.
    pub(crate) unanswered: bool,
    /// Its place in the outbox, also after a restart.
    seq: u64,
}

impl Entry {
    fn bytes(&self) -> usize {
        // The members' names and punctuation of an op frame come on top.
        self.id.len() * 2 + self.channel.len() + self.kind.len() + self.body.len() + 64
    }

    /// Whether a dialog shows it as a row, where people can retry or discard it.
    pub(crate) fn has_row(&self) -> bool {
        self.kind == wire::Message::KIND && self.channel.dialog().is_some()
    }

    /// The record for the store.
    pub(crate) fn record(&self) -> Message {
        let failed = match &self.state {
            EntryState::Failed { code, .. } => Some(code.as_str()),
            EntryState::Ready { .. } | EntryState::Sent { .. } => None,
        };
        Message(
            Writer::object()
                .str("id", &self.id)
                .str("ch", &self.channel)
                .str("kind", &self.kind)
                .raw("body", &self.body)
                .u64("made_at", self.made_at)
                .u64("seq", self.seq)
                .opt_str("user", self.user.as_deref())
                .opt_str("failed", failed)
                .end(),
        )
    }

    fn restore(record: &str) -> Option<Entry> {
        let object = Object::parse(crate::wire::json::validate(record).ok()?).ok()?;
        Some(Entry {
            id: OpId::from(object.text("id")?),
            lane: Lane::Durable,
            since: Time(0),
            channel: ChannelName::parse(&object.str("ch")?)?,
            kind: object.text("kind")?,
            body: object.raw("body")?.to_owned(),
            made_at: object.u64("made_at")?,
            user: object.text("user"),
            state: match object.text("failed") {
                Some(code) => EntryState::Failed { code, message: String::new() },
                None => EntryState::Ready { delay: None },
            },
            stored: true,
            // It may have been sent before the crash.
            tried: 1,
            maybe_committed: true,
            unanswered: false,
            seq: object.u64("seq")?,
        })
    }

    /// Whether it is discarded after a minute. An op that the server may have committed is not: it
    /// is sent again, and the answer says whether it was.
    fn may_lapse(&self) -> bool {
        self.lane == Lane::Session && !self.is_sent() && !self.maybe_committed
    }

    fn is_sent(&self) -> bool {
        matches!(self.state, EntryState::Sent { .. })
    }
}

/// The entries, oldest first, with caps on their number and bytes.
pub(crate) struct Outbox {
    entries: Vec<Entry>,
    bytes: usize,
    next_seq: u64,
    /// Changes whenever an entry may have changed.
    version: u64,
    max_ops: usize,
    max_bytes: usize,
    ttl_ms: u64,
    session_ttl_ms: u64,
}

impl Outbox {
    pub(crate) fn new(config: &Config) -> Outbox {
        Outbox {
            entries: Vec::new(),
            bytes: 0,
            next_seq: 1,
            version: 0,
            max_ops: config.outbox_ops,
            max_bytes: config.outbox_bytes,
            ttl_ms: config.op_ttl_ms,
            session_ttl_ms: config.session_ttl_ms,
        }
    }

    /// Restores an op from the store; false for a record that can't be read, or whose op is there
    /// already.
    pub(crate) fn restore(&mut self, record: &str) -> bool {
        let Some(entry) = Entry::restore(record).filter(|entry| self.get(&entry.id).is_none()) else {
            return false;
        };
        self.next_seq = self.next_seq.max(entry.seq.saturating_add(1));
        self.bytes += entry.bytes();
        let at = self.entries.iter().rposition(|other| other.seq < entry.seq).map_or(0, |at| at + 1);
        self.entries.insert(at, entry);
        true
    }

    /// How many ops will still be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.entries.iter().filter(|entry| !matches!(entry.state, EntryState::Failed { .. })).count()
    }

    /// How many of them are durable.
    pub(crate) fn durable_waiting(&self) -> usize {
        let waits =
            |entry: &&Entry| entry.lane == Lane::Durable && !matches!(entry.state, EntryState::Failed { .. });
        self.entries.iter().filter(waits).count()
    }

    /// Differs from an earlier version if an entry may have changed since.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(crate) fn get(&self, id: &OpId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == *id)
    }

    pub(crate) fn get_mut(&mut self, id: &OpId) -> Option<&mut Entry> {
        self.version += 1;
        self.entries.iter_mut().find(|entry| entry.id == *id)
    }

    /// Adds an op at the end.
    pub(crate) fn push(&mut self, op: NewOp<'_>) -> Result<&Entry, SendError> {
        let entry = Entry {
            id: op.draft.id.clone(),
            lane: op.draft.lane,
            channel: op.draft.channel.clone(),
            kind: op.draft.kind.clone(),
            body: op.draft.body.clone(),
            since: op.since,
            made_at: op.made_at,
            user: op.user,
            state: EntryState::Ready { delay: None },
            stored: false,
            tried: 0,
            maybe_committed: false,
            unanswered: false,
            seq: self.next_seq,
        };
        let of_session = || self.entries.iter().filter(|entry| entry.lane == Lane::Session).count();
        if op.draft.lane == Lane::Session && of_session() >= SESSION_OPS {
            return Err(SendError::OutboxFull);
        }
        if self.entries.len() >= self.max_ops || self.bytes + entry.bytes() > self.max_bytes {
            return Err(SendError::OutboxFull);
        }
        self.next_seq += 1;
        self.version += 1;
        self.bytes += entry.bytes();
        self.entries.push(entry);
        Ok(&self.entries[self.entries.len() - 1])
    }

    /// Removes an op that is settled.
    pub(crate) fn remove(&mut self, id: &OpId) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.id == *id)?;
        let entry = self.entries.remove(at);
        self.version += 1;
        self.bytes -= entry.bytes();
        Some(entry)
    }

    /// The connection is gone: ops that were under way are to be sent again.
    pub(crate) fn disconnected(&mut self) {
        self.version += 1;
        for entry in &mut self.entries {
            if entry.is_sent() {
                entry.state = EntryState::Ready { delay: None };
                entry.unanswered = true;
            }
        }
    }

    /// When the op was sent that has waited longest for its answer.
    pub(crate) fn oldest_sent(&self) -> Option<Time> {
        let mut oldest = None;
        for entry in &self.entries {
            if let EntryState::Sent { at } = entry.state
                && oldest.is_none_or(|other| at < other)
            {
                oldest = Some(at);
            }
        }
        oldest
    }

    /// How many ops wait that have not been sent on this connection.
    pub(crate) fn ready(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry.state, EntryState::Ready { .. })).count()
    }

    /// When the first op of the session lane expires.
    pub(crate) fn session_deadline(&self) -> Option<Time> {
        let waits = |entry: &&Entry| entry.may_lapse();
        self.entries.iter().filter(waits).map(|entry| entry.since.after(self.session_ttl_ms)).min()
    }

    /// An op of the session lane that has expired.
    pub(crate) fn expired_session_op(&self, now: Time) -> Option<OpId> {
        let is_over = |entry: &&Entry| entry.may_lapse() && entry.since.after(self.session_ttl_ms) <= now;
        self.entries.iter().find(is_over).map(|entry| entry.id.clone())
    }

    /// The first op that may be sent now, of the session lane before the durable one; otherwise the
    /// time at which the first one may. An op that failed or is delayed holds back those behind it
    /// in its lane and channel.
    pub(crate) fn next(&self, now: Time, inflight: u64, inflight_bytes: u64) -> Next {
        let (mut count, mut bytes) = (0, 0);
        for entry in self.entries.iter().filter(|entry| entry.is_sent()) {
            count += 1;
            bytes += entry.bytes() as u64;
        }
        let mut wake: Option<Time> = None;
        for lane in [Lane::Session, Lane::Durable] {
            let mut blocked: Vec<&str> = Vec::new();
            for entry in self.entries.iter().filter(|entry| entry.lane == lane) {
                let channel = entry.channel.as_str();
                match &entry.state {
                    _ if blocked.contains(&channel) => {}
                    EntryState::Sent { .. } => {}
                    EntryState::Failed { .. } => blocked.push(channel),
                    EntryState::Ready { delay: Some(delay) } if delay.until > now => {
                        wake = Some(wake.map_or(delay.until, |at| at.min(delay.until)));
                        blocked.push(channel);
                    }
                    EntryState::Ready { .. } => {
                        // A single op is always sent, however long it is.
                        let fits =
                            count == 0 || count < inflight && bytes + entry.bytes() as u64 <= inflight_bytes;
                        return if fits { Next::Send(entry.id.clone()) } else { Next::Nothing };
                    }
                }
            }
        }
        wake.map_or(Next::Nothing, Next::At)
    }

    /// The durable ops that wait for something besides the connection and those before them, in
    /// their order. `budget` says when the op budget allows the nth op from now (counted from 0),
    /// if it delays that one.
    pub(crate) fn waits(&self, now: Time, mut budget: impl FnMut(u64) -> Option<Time>) -> Vec<Wait<'_>> {
        // For each channel, what its first delayed op waits for: those behind it wait for the same.
        let mut held: Vec<(&str, &str, Option<Time>)> = Vec::new();
        let mut waits = Vec::new();
        let mut turn = 0;
        for entry in self.entries.iter().filter(|entry| entry.lane == Lane::Durable) {
            let channel = entry.channel.as_str();
            let behind =
                held.iter().find(|(other, ..)| *other == channel).map(|(_, code, until)| (*code, *until));
            let reason = match (&entry.state, behind) {
                (EntryState::Sent { .. }, _) => continue,
                (EntryState::Failed { .. }, _) => {
                    held.retain(|(other, ..)| *other != channel);
                    held.push((channel, codes::BLOCKED, None));
                    continue;
                }
                (EntryState::Ready { .. }, Some(reason)) => Some(reason),
                (EntryState::Ready { delay: Some(delay) }, None) if delay.until > now => {
                    held.push((channel, &delay.code, Some(delay.until)));
                    Some((delay.code.as_str(), Some(delay.until)))
                }
                (EntryState::Ready { .. }, None) => {
                    turn += 1;
                    budget(turn - 1).map(|at| (codes::RATE_LIMITED, Some(at)))
                }
            };
            if let Some((code, until)) = reason {
                waits.push(Wait { entry, code, until });
            }
        }
        waits
    }

    /// An op that waits to be sent and has expired.
    pub(crate) fn expired(&self, wall: u64) -> Option<OpId> {
        let is_over = |entry: &&Entry| {
            matches!(entry.state, EntryState::Ready { .. })
                && wall.saturating_sub(entry.made_at) > self.ttl_ms
        };
        self.entries.iter().find(is_over).map(|entry| entry.id.clone())
    }

    /// The frame for an op, naming the op right before it in its lane and channel if that one is
    /// still unsettled.
    pub(crate) fn frame(&self, id: &OpId) -> Option<Op> {
        let at = self.entries.iter().position(|entry| entry.id == *id)?;
        let entry = &self.entries[at];
        let before = self.entries[..at]
            .iter()
            .rfind(|other| other.channel == entry.channel && other.lane == entry.lane);
        Some(Op {
            id: entry.id.clone(),
            ch: entry.channel.clone(),
            kind: entry.kind.clone(),
            body: entry.body.clone(),
            after: before.map(|before| before.id.clone()),
        })
    }

    /// The user is known now, and may be another one than before: ops of the earlier user must not
    /// be sent in the new one's name. Returns the ids of the ops that are to be stored as this
    /// user's, and of those of another user.
    pub(crate) fn sign_in(&mut self, user: &str) -> (Vec<OpId>, Vec<OpId>) {
        self.version += 1;
        let (mut adopted, mut foreign) = (Vec::new(), Vec::new());
        for entry in &mut self.entries {
            match &entry.user {
                None => {
                    entry.user = Some(user.to_owned());
                    if entry.lane == Lane::Durable {
                        adopted.push(entry.id.clone());
                    }
                }
                Some(owner) if owner != user => {
                    entry.state =
                        EntryState::Failed { code: codes::USER_CHANGED.to_owned(), message: String::new() };
                    foreign.push(entry.id.clone());
                }
                Some(_) => {}
            }
        }
        (adopted, foreign)
    }
}

/// The result of [`Outbox::next`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This op may be sent.
    Send(OpId),
    /// Nothing before this time.
    At(Time),
    /// Nothing until something else changes.
    Nothing,
}
