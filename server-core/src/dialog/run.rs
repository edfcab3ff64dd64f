//! Answers: what one run does, as a state machine.
//!
//! A run is an `answer.start`, pieces, and exactly one `answer.end`. A piece is stored before
//! anybody sees it, so that after a crash the end still holds all that was shown. Messages that
//! come during an answer get one answer together afterwards.
//!
//! A driver polls a [`Run`], carries out the [`Step`] and reports what came of it:
//!
//! ```text
//! loop {
//!     if !run.listens() { drop the model's stream }
//!     match run.poll(now) {
//!         Write(write, publish) => submit(write), in its `done` publish.publish(outcome);
//!                                  then run.written(now, result)
//!         Read(read)            => run.context(the store's reply)
//!         Model(turns)          => open the model's stream
//!         Wait(until)           => until then: run.part(..) of the stream, run.stop(), run.drain()
//!         Done(covered)         => break
//!     }
//! }
//! ```

use super::channel::Channel;
use super::context::{CONTEXT_EVENTS, CONTEXT_KINDS, ModelError, Turn, turns};
use super::ops;
use super::progress::Stop;
use crate::store::{
    EndRun, NewEvent, Outcome, Read, Refusal, StartRun, StoreError, StorePiece, UnfinishedRun, Write,
};
use crate::text::Text;
use std::sync::Arc;
use tidewire_core::Time;
use tidewire_core::wire::{AnswerEnd, AnswerStart, User, UserKind};
use uuid::Uuid;

/// Least time between two pieces, in ms.
const PIECE_EVERY_MS: u64 = 40;
/// Longest answer, in bytes; with it a page stays below the protocol's 1 MiB.
const MAX_ANSWER: usize = 128 * 1024;
/// Pause before a write that failed is tried again, in ms.
const RETRY_MS: u64 = 500;

/// Makes the ids of what the server itself writes: UUIDs, in order of time if they can be.
pub trait Ids: Send + Sync {
    /// One that was never given before.
    fn next(&self) -> Uuid;
}

/// Starts answers.
pub trait Answering: Send + Sync {
    /// Whether the server is about to stop and begins no answer any more.
    fn is_draining(&self) -> bool;

    /// Begins to answer a dialog: one [`Run`] after the other, as long as the last ended with an
    /// offset and
    /// [`Channel::wants_another`] says so.
    fn start(self: Arc<Self>, channel: &Arc<Channel>);
}

/// An answer that a crash left open has ended: what came meanwhile may be answered now.
pub fn left_ended(answering: Arc<dyn Answering>, channel: &Arc<Channel>) {
    if channel.wants_another(0) && !answering.is_draining() {
        answering.start(channel);
    }
}

/// What is shown of a write once it is stored.
#[must_use]
pub struct Publish {
    /// None when nobody has the channel in memory.
    channel: Option<Arc<Channel>>,
    what: Shown,
}

enum Shown {
    /// The start or the end.
    Event(Box<dyn ops::Op>),
    Piece(StorePiece),
}

impl Publish {
    /// Shows it. Call it with the outcome, with no lock held and before any later write is
    /// published, and not at all when the write failed.
    pub fn publish(self, outcome: &Outcome) {
        let Some(channel) = self.channel else { return };
        match (self.what, outcome.event()) {
            // Starts and ends call nobody.
            (Shown::Event(op), Some(stored)) => {
                channel.apply(&stored, &ai(), op.as_ref()).carry_out(None, &channel);
            }
            (Shown::Event(_), None) => {}
            (Shown::Piece(piece), _) => channel.publish_piece(&piece.run, piece.at, &piece.text),
        }
    }
}

/// What a driver does next for a run.
pub enum Step {
    /// Hand this in to the log, have it published, and report by [`Run::written`].
    Write(Box<Write>, Publish),
    /// Ask the store this, and report by [`Run::context`].
    Read(Read),
    /// Have the model answer these, and report what it says by [`Run::part`].
    Model(Vec<Turn>),
    /// Nothing to do before an input comes, or before this time.
    Wait(Option<Time>),
    /// It is over; with the offset of its start, or none when the server is about to stop and
    /// nothing follows.
    Done(Option<u64>),
}

/// Why an answer ended.
#[derive(Clone, Copy)]
enum End {
    Done,
    Stopped,
    Interrupted,
    Error(ModelError),
}

enum Stage {
    Start(NewEvent),
    Context,
    Model(Vec<Turn>),
    Streaming,
    End(EndRun),
    Over,
}

/// One answer, from its start to its end.
pub struct Run {
    row: i64,
    name: Arc<str>,
    /// None when a crash left the run and the channel is gone.
    channel: Option<Arc<Channel>>,
    ids: Arc<dyn Ids>,
    id: String,
    stage: Stage,
    /// A write or a read is under way.
    busy: bool,
    not_before: Time,
    /// Offset of its start.
    start: Option<u64>,
    stopped: bool,
    draining: bool,
    ended: Option<End>,
    /// Bytes that are stored and shown.
    sent: usize,
    /// Everything.
    text: String,
    /// How far the piece under way reaches.
    sending: usize,
}

impl Run {
    /// A new answer in this channel. `stop` is called when somebody asks to end it: the driver then
    /// calls [`Run::stop`].
    pub fn new(channel: &Arc<Channel>, ids: Arc<dyn Ids>, stop: Stop) -> Run {
        let id = ids.next().hyphenated().to_string();
        let body = AnswerStart { run: id.clone() }.encode();
        let event = own_event(ids.as_ref(), channel.id, channel.name.clone(), AnswerStart::KIND, body);
        channel.will_run(&id, stop);
        let (row, name) = (channel.id, channel.name.clone());
        Run::at(row, name, Some(channel.clone()), ids, id, Stage::Start(event), String::new())
    }

    /// A run that a crash left without an end: it only ends. Until then the dialog begins no other
    /// one; call [`left_ended`] after it.
    pub fn left(left: UnfinishedRun, channel: Option<Arc<Channel>>, ids: Arc<dyn Ids>) -> Run {
        tracing::info!(run = left.run, "an answer was interrupted by the last stop");
        if let Some(channel) = &channel {
            channel.answers_still();
        }
        let (row, name) = (left.channel, left.name.into());
        let mut run = Run::at(row, name, channel, ids, left.run, Stage::Streaming, left.text);
        run.end(End::Interrupted);
        run
    }

    /// One at this stage, of which this text is stored and shown.
    fn at(
        row: i64,
        name: Arc<str>,
        channel: Option<Arc<Channel>>,
        ids: Arc<dyn Ids>,
        id: String,
        stage: Stage,
        text: String,
    ) -> Run {
        Run {
            row,
            name,
            channel,
            ids,
            id,
            stage,
            busy: false,
            not_before: Time::default(),
            start: None,
            stopped: false,
            draining: false,
            ended: None,
            sent: text.len(),
            text,
            sending: 0,
        }
    }

    /// What to do next.
    pub fn poll(&mut self, now: Time) -> Step {
        if self.busy {
            return Step::Wait(None);
        }
        self.settle();
        let due = now >= self.not_before;
        match &mut self.stage {
            // Its end may not be stored: a server about to stop begins nothing after it.
            Stage::Over => Step::Done(self.start.filter(|_| !self.draining)),
            Stage::Start(_) | Stage::End(_) if !due => Step::Wait(Some(self.not_before)),
            Stage::Start(event) => {
                let write = Write::StartRun(StartRun { event: event.clone(), run: self.id.clone() });
                let started = ops::started(&self.id);
                self.write(write, Shown::Event(started))
            }
            Stage::Context => {
                self.busy = true;
                let before = self.start.unwrap_or_default();
                Step::Read(Read::Newest {
                    channel: self.row,
                    before,
                    most: CONTEXT_EVENTS,
                    kinds: CONTEXT_KINDS,
                })
            }
            Stage::Model(turns) => {
                let turns = std::mem::take(turns);
                self.stage = Stage::Streaming;
                Step::Model(turns)
            }
            Stage::Streaming if self.sent == self.text.len() => Step::Wait(None),
            Stage::Streaming if !due => Step::Wait(Some(self.not_before)),
            Stage::Streaming => self.piece(),
            Stage::End(end) => {
                let write = Write::EndRun(end.clone());
                let ended = ops::ended(&self.id);
                self.write(write, Shown::Event(ended))
            }
        }
    }

    /// What became of the write.
    pub fn written(&mut self, now: Time, result: Result<Outcome, StoreError>) {
        self.busy = false;
        match self.stage {
            // The dialog is gone.
            Stage::Start(_) if matches!(result, Ok(Outcome::Refused(_))) => self.stage = Stage::Over,
            Stage::Start(_) => match result.ok().and_then(|outcome| outcome.event()) {
                Some(stored) => {
                    tracing::info!(channel = self.row, run = self.id, "answer started");
                    self.start = Some(stored.offset);
                    self.stage = Stage::Context;
                }
                None => self.not_before = now.after(RETRY_MS),
            },
            Stage::Streaming => {
                if result.is_ok() {
                    self.sent = self.sending;
                }
                self.not_before = now.after(if result.is_ok() { PIECE_EVERY_MS } else { RETRY_MS });
            }
            Stage::End(_) => match result {
                Ok(Outcome::Refused(Refusal::RunNotFound) | Outcome::Stored(_)) => self.stage = Stage::Over,
                // The next start will find the run without an end.
                _ if self.draining => self.stage = Stage::Over,
                // As often as it takes: nobody may be left with an answer that never ends.
                _ => self.not_before = now.after(RETRY_MS),
            },
            Stage::Context | Stage::Model(_) | Stage::Over => {}
        }
    }

    /// The frames that were read for [`Step::Read`].
    pub fn context(&mut self, found: Result<Vec<Text>, StoreError>) {
        self.busy = false;
        if matches!(self.stage, Stage::Context) {
            let turns = found.map(|frames| turns(&frames)).unwrap_or_default();
            match turns.is_empty() {
                true => self.end(End::Error(ModelError::Unavailable)),
                false => self.stage = Stage::Model(turns),
            }
        }
    }

    /// What the model said next; none when it has said everything.
    pub fn part(&mut self, part: Option<Result<String, ModelError>>) {
        if !self.listens() {
            return;
        }
        match part {
            Some(Ok(part)) => {
                self.text.push_str(&part);
                if self.text.len() > MAX_ANSWER {
                    let end = self.text.floor_boundary(MAX_ANSWER);
                    self.text.truncate(end);
                    self.ended = Some(End::Error(ModelError::Cut));
                }
            }
            Some(Err(error)) => self.ended = Some(End::Error(error)),
            None => self.ended = Some(End::Done),
        }
    }

    /// Somebody asked to end it.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// The server is about to stop.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether it still wants to hear the model; if not, the model's stream is to be dropped.
    pub fn listens(&self) -> bool {
        matches!(self.stage, Stage::Streaming) && self.ended.is_none()
    }

    /// Takes account of what happened meanwhile.
    fn settle(&mut self) {
        match self.stage {
            Stage::Start(_) if self.draining => self.stage = Stage::Over,
            Stage::Model(_) | Stage::Streaming if self.draining => self.end(End::Interrupted),
            Stage::Model(_) | Stage::Streaming if self.stopped => self.end(End::Stopped),
            Stage::Streaming => {
                if let Some(end) = self.ended {
                    self.end(end);
                }
            }
            _ => {}
        }
    }

    fn write(&mut self, write: Write, what: Shown) -> Step {
        self.busy = true;
        Step::Write(Box::new(write), Publish { channel: self.channel.clone(), what })
    }

    /// Stores what is pending, then shows it.
    fn piece(&mut self) -> Step {
        self.sending = self.text.len();
        let text = self.text.get(self.sent..).unwrap_or_default().to_owned();
        let piece = StorePiece { run: self.id.clone(), at: self.sent as u64, text };
        self.write(Write::Piece(piece.clone()), Shown::Piece(piece))
    }

    fn end(&mut self, end: End) {
        let (status, code) = match end {
            End::Done => ("done", None),
            End::Stopped => ("stopped", None),
            End::Interrupted => ("interrupted", None),
            End::Error(error) => ("error", Some(error.code())),
        };
        let (run, bytes) = (self.id.clone(), self.text.len());
        tracing::info!(channel = self.row, run, status, code, bytes, "answer ended");
        let end = AnswerEnd {
            run: run.clone(),
            status: status.to_owned(),
            text: self.text.clone(),
            code: code.map(str::to_owned),
        };
        let event = own_event(self.ids.as_ref(), self.row, self.name.clone(), AnswerEnd::KIND, end.encode());
        self.stage = Stage::End(EndRun { event, run });
        self.not_before = Time::default();
    }
}

/// What the author of answers is called.
pub const AI_NAME: &str = "Assistant";

trait FloorBoundary {
    /// The greatest character boundary that is not after `at`.
    fn floor_boundary(&self, at: usize) -> usize;
}

impl FloorBoundary for String {
    fn floor_boundary(&self, at: usize) -> usize {
        (0..=at.min(self.len())).rev().find(|at| self.is_char_boundary(*at)).unwrap_or(0)
    }
}

/// As whom answers are shown.
fn ai() -> User {
    User { id: "ai".to_owned(), name: AI_NAME.to_owned(), kind: UserKind::Ai }
}

fn own_event(ids: &dyn Ids, channel: i64, name: Arc<str>, kind: &str, body: String) -> NewEvent {
    let op = ids.next();
    NewEvent {
        channel,
        name,
        author: "ai:ai".to_owned(),
        by: ai(),
        op,
        id: op.hyphenated().to_string(),
        kind: kind.to_owned(),
        body,
        after: None,
        needs_run: None,
        wants_answer: false,
        forbidden: false,
    }
}
