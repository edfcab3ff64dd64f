//! The state of a history, and the checks of each event as it comes.

use crate::event::Event;
use crate::names::Names;
use crate::report::{Report, Violation, ViolationKind};
use std::collections::HashMap;

/// A history that is being recorded. Its memory grows with the number of different ops and offsets
/// (some 200 bytes each), not with the number of observers.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub(crate) clients: Names,
    pub(crate) observers: Names,
    pub(crate) channels: Names,
    pub(crate) ids: Names,
    /// By the op's number.
    pub(crate) ops: Vec<Op>,
    /// By the channel's number.
    pub(crate) logs: Vec<Log>,
    pub(crate) lives: Vec<Life>,
    /// By observer and channel.
    pub(crate) cursors: Vec<Cursor>,
    cursor_of: HashMap<(usize, usize), usize>,
    /// The ops that must keep their order: by client, channel and lane.
    pub(crate) streams: Vec<Stream>,
    stream_of: HashMap<(usize, usize, Option<Box<str>>), usize>,
    server_prefixes: Vec<Box<str>>,
    /// By the client's number.
    pub(crate) drained: Vec<bool>,
    pub(crate) report: Report,
}

/// What is known about one op or one event of the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Op {
    pub(crate) origin: Origin,
    pub(crate) failed: bool,
    pub(crate) discarded: bool,
    /// The offset of its acknowledgement, and the number of restores of the channel before that.
    pub(crate) acked: Option<(u64, u32)>,
    /// An epoch and an offset for each epoch in which it was seen.
    pub(crate) places: Vec<(usize, u64)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Not mentioned yet, or the violation was counted.
    #[default]
    Unknown,
    Server,
    Client {
        client: usize,
        channel: usize,
    },
}

/// One channel with all its epochs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// In the order in which they were first mentioned.
    pub(crate) lives: Vec<usize>,
    /// The epoch of the last [`Event::Log`].
    pub(crate) last: Option<usize>,
    pub(crate) restores: u32,
}

/// One epoch of a channel.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) channel: usize,
    pub(crate) epoch: Box<str>,
    pub(crate) places: HashMap<u64, Place>,
    /// How many of its events are in the log.
    pub(crate) logged: u64,
    pub(crate) head: u64,
    pub(crate) trimmed: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) op: usize,
    pub(crate) logged: bool,
}

/// The position of an observer in a channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    pub(crate) observer: usize,
    pub(crate) channel: usize,
    pub(crate) life: Option<usize>,
    /// The offset at which it began in this epoch.
    since: u64,
    pub(crate) at: u64,
    pub(crate) caught_up: bool,
}

/// The ops of one client in one lane of one channel, in the order of sending.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    pub(crate) ops: Vec<usize>,
}

type Checked = Result<(), Violation>;

impl History {
    /// An empty history.
    pub fn new() -> History {
        History::default()
    }

    /// Adds the next event. If it contradicts earlier ones this returns the violation, which is
    /// counted in the report, and the history can be continued. [`finish`](History::finish) finds
    /// violations that need the whole history.
    pub fn push(&mut self, event: Event<'_>) -> Result<(), Violation> {
        let checked = match event {
            Event::Send { client, ch, lane, id } => self.send(&client, &ch, lane.as_deref(), &id),
            Event::Ack { client, ch, id, offset } => self.ack(&client, &ch, &id, offset),
            Event::Fail { client, ch, id, code } => self.fail(&client, &ch, &id, &code),
            Event::Retry { client, id } => self.settle(&client, &id, |op| op.failed = false),
            Event::Discard { client, id } => self.settle(&client, &id, |op| op.discarded = true),
            Event::Drained { client } => {
                let client = self.client(&client);
                self.drained[client] = true;
                Ok(())
            }
            Event::Apply { observer, ch, epoch, offset, id } => {
                self.apply(&observer, &ch, &epoch, offset, &id)
            }
            Event::Reset { observer, ch, epoch, from, .. } => {
                let life = self.life(&ch, &epoch);
                let cursor = self.cursor(&observer, &ch);
                (cursor.life, cursor.since, cursor.at) = (Some(life), from, from);
                Ok(())
            }
            Event::CaughtUp { observer, ch } => {
                self.cursor(&observer, &ch).caught_up = true;
                Ok(())
            }
            Event::Server { id } => {
                let op = self.op(&id);
                self.ops[op].origin = Origin::Server;
                Ok(())
            }
            Event::ServerPrefix { prefix } => {
                self.server_prefixes.push(prefix.into());
                Ok(())
            }
            Event::Log { ch, epoch, offset, id } => self.log(&ch, &epoch, offset, &id),
            Event::Trimmed { ch, epoch, to } => {
                let life = self.life(&ch, &epoch);
                self.lives[life].trimmed = self.lives[life].trimmed.max(to);
                Ok(())
            }
            Event::Restored { ch } => {
                let channel = self.channel(&ch);
                self.logs[channel].restores += 1;
                Ok(())
            }
        };
        if let Err(violation) = &checked {
            self.report.note(violation);
        }
        checked
    }

    fn send(&mut self, client: &str, ch: &str, lane: Option<&str>, id: &str) -> Checked {
        let (owner, channel, op) = (self.client(client), self.channel(ch), self.op(id));
        self.report.sent += 1;
        if self.ops[op].origin != Origin::Unknown {
            return broken(ViolationKind::Duplicated, format!("{client} sent {id} to {ch}, a used id"));
        }
        self.ops[op].origin = Origin::Client { client: owner, channel };
        let streams = self.streams.len();
        let stream = *self.stream_of.entry((owner, channel, lane.map(Box::from))).or_insert(streams);
        if stream == streams {
            self.streams.push(Stream::default());
        }
        self.streams[stream].ops.push(op);
        Ok(())
    }

    fn ack(&mut self, client: &str, ch: &str, id: &str, offset: u64) -> Checked {
        let op = self.own(client, id)?;
        let channel = self.channel(ch);
        if !matches!(self.ops[op].origin, Origin::Client { channel: sent, .. } if sent == channel) {
            let what = format!("{id} of {client} was acknowledged in {ch}, where it was not sent");
            return broken(ViolationKind::Diverged, what);
        }
        let restores = self.logs[channel].restores;
        let op = &mut self.ops[op];
        let before = op.acked.replace((offset, restores));
        self.report.acked += u64::from(before.is_none());
        if op.failed {
            let what = format!("{id} of {client} in {ch} was rejected, then acknowledged at {offset}");
            return broken(ViolationKind::Invented, what);
        }
        match before {
            Some((other, generation)) if other != offset && generation == restores => broken(
                ViolationKind::Diverged,
                format!("{id} of {client} in {ch} was acknowledged at {other}, then at {offset}"),
            ),
            _ => self.ack_fits(ch, id),
        }
    }

    /// In a channel that has had one epoch only, an op has the offset of its acknowledgement.
    fn ack_fits(&self, ch: &str, id: &str) -> Checked {
        let (Some(op), Some(channel)) = (self.ids.find(id), self.channels.find(ch)) else { return Ok(()) };
        match (self.ops[op].acked, self.ops[op].places.as_slice()) {
            (Some((acked, restores)), [(_, offset)])
                if acked != *offset
                    && self.logs[channel].lives.len() == 1
                    // An acknowledgement does not name its epoch. After a restore it may be an
                    // epoch of which no event was seen yet.
                    && restores == 0 =>
            {
                let what = format!("{id} in {ch} was acknowledged at {acked}, but stands at {offset}");
                broken(ViolationKind::Diverged, what)
            }
            _ => Ok(()),
        }
    }

    fn fail(&mut self, client: &str, ch: &str, id: &str, code: &str) -> Checked {
        let op = self.own(client, id)?;
        let op = &mut self.ops[op];
        self.report.failed += u64::from(!op.failed);
        op.failed = true;
        if op.acked.is_some() || !op.places.is_empty() {
            let what = format!("{id} of {client} in {ch} was rejected ({code}), but it is committed");
            return broken(ViolationKind::Invented, what);
        }
        Ok(())
    }

    fn settle(&mut self, client: &str, id: &str, how: impl FnOnce(&mut Op)) -> Checked {
        let op = self.own(client, id)?;
        how(&mut self.ops[op]);
        Ok(())
    }

    fn apply(&mut self, observer: &str, ch: &str, epoch: &str, offset: u64, id: &str) -> Checked {
        let life = self.life(ch, epoch);
        self.report.applied += 1;
        let known = self.lives[life].places.get(&offset).copied();
        let cursor = self.cursor(observer, ch);
        let before = *cursor;
        // Continues from here, so that one fault is not counted with every later event.
        cursor.life = Some(life);
        cursor.at = offset;
        let changed = before.life.is_some_and(|other| other != life);
        if changed {
            cursor.since = offset.saturating_sub(1);
        }
        let place = self.place(ch, life, offset, id, false);
        let who = || format!("{observer} applied {id} at {offset} of {ch} in epoch {epoch}");
        if changed {
            let what = format!("{}, another epoch without a reset", who());
            return broken(ViolationKind::Nonmonotonic, what);
        }
        if offset <= before.at {
            self.cursor(observer, ch).at = before.at;
            let again =
                offset > before.since && known.is_some_and(|known| self.ids.find(id) == Some(known.op));
            let kind = if again { ViolationKind::Duplicated } else { ViolationKind::Nonmonotonic };
            place?;
            return broken(kind, format!("{}, after {}", who(), before.at));
        }
        if offset > before.at.saturating_add(1) {
            place?;
            let what = format!("{}, after {} without a reset", who(), before.at);
            return broken(ViolationKind::Skipped, what);
        }
        place
    }

    fn log(&mut self, ch: &str, epoch: &str, offset: u64, id: &str) -> Checked {
        let life = self.life(ch, epoch);
        let channel = self.lives[life].channel;
        self.logs[channel].last = Some(life);
        self.report.logged += 1;
        self.place(ch, life, offset, id, true)
    }

    /// Records that `id` was seen at this offset.
    fn place(&mut self, ch: &str, life: usize, offset: u64, id: &str, logged: bool) -> Checked {
        let op = self.op(id);
        let here = &mut self.lives[life];
        here.head = here.head.max(offset);
        let place = here.places.entry(offset).or_insert(Place { op, logged: false });
        if place.op != op {
            let (other, epoch) = (self.ids.name(place.op), &here.epoch);
            let what = format!("{offset} of {ch} in epoch {epoch} is {id} and also {other}");
            return broken(ViolationKind::Diverged, what);
        }
        if logged && !place.logged {
            place.logged = true;
            here.logged += 1;
        }
        let epoch = &here.epoch;
        let known = &mut self.ops[op];
        match known.places.iter().find(|(other, _)| *other == life) {
            Some((_, other)) if *other == offset => return Ok(()),
            Some((_, other)) => {
                let what = format!("{id} is at {other} and at {offset} of {ch} in epoch {epoch}");
                return broken(ViolationKind::Duplicated, what);
            }
            None => known.places.push((life, offset)),
        }
        let wrong = match known.origin {
            Origin::Server => return Ok(()),
            Origin::Unknown => {
                // Counts as known from now on, so that it is reported once.
                known.origin = Origin::Server;
                "nobody sent it"
            }
            Origin::Client { channel, .. } if channel != here.channel => "it was sent to another channel",
            Origin::Client { .. } if known.failed => "it was rejected",
            Origin::Client { .. } => return self.ack_fits(ch, id),
        };
        broken(ViolationKind::Invented, format!("{id} is at {offset} of {ch} in epoch {epoch}, but {wrong}"))
    }

    fn client(&mut self, name: &str) -> usize {
        let (client, new) = self.clients.number(name);
        if new {
            self.drained.push(false);
        }
        client
    }

    fn channel(&mut self, name: &str) -> usize {
        let (channel, new) = self.channels.number(name);
        if new {
            self.logs.push(Log::default());
        }
        channel
    }

    fn op(&mut self, id: &str) -> usize {
        let (op, new) = self.ids.number(id);
        if new {
            self.ops.push(Op::default());
        }
        let origin = &mut self.ops[op].origin;
        if *origin == Origin::Unknown && self.server_prefixes.iter().any(|prefix| id.starts_with(&**prefix)) {
            *origin = Origin::Server;
        }
        op
    }

    /// The op with this id, which must be the client's.
    fn own(&mut self, client: &str, id: &str) -> Result<usize, Violation> {
        let (op, number) = (self.op(id), self.client(client));
        if matches!(self.ops[op].origin, Origin::Client { client, .. } if client == number) {
            return Ok(op);
        }
        let what = format!("{client} was told about {id}, which it did not send");
        Err(Violation { kind: ViolationKind::Invented, what })
    }

    fn life(&mut self, ch: &str, epoch: &str) -> usize {
        let channel = self.channel(ch);
        let log = &mut self.logs[channel];
        if let Some(life) = log.lives.iter().rev().find(|life| *self.lives[**life].epoch == *epoch) {
            return *life;
        }
        let life = self.lives.len();
        log.lives.push(life);
        let places = HashMap::new();
        self.lives.push(Life { channel, epoch: epoch.into(), places, logged: 0, head: 0, trimmed: 0 });
        life
    }

    fn cursor(&mut self, observer: &str, ch: &str) -> &mut Cursor {
        let ((observer, _), channel) = (self.observers.number(observer), self.channel(ch));
        let cursors = self.cursors.len();
        let cursor = *self.cursor_of.entry((observer, channel)).or_insert(cursors);
        if cursor == cursors {
            self.cursors.push(Cursor { observer, channel, life: None, since: 0, at: 0, caught_up: false });
        }
        &mut self.cursors[cursor]
    }
}

fn broken(kind: ViolationKind, what: String) -> Checked {
    Err(Violation { kind, what })
}
