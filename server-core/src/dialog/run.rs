//! A run: one answer of a model, as a state machine.
//!
//! A run is an `answer.start`, pieces, and exactly one `answer.end`. A piece is stored before it is
//! sent, so that after a crash the end still has all that was shown. Messages that come during an
//! answer get one answer together afterwards.
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
use crate::metrics::Metrics;
use crate::store::{
    EndRun, NewEvent, Outcome, Read, Refusal, StartRun, StoreError, StorePiece, UnfinishedRun, Write,
};
use crate::text::Text;
use std::sync::Arc;
use tidewire_core::Time;
use tidewire_core::wire::{AnswerEnd, AnswerStart, ChannelName, Offset, OpId, RunId, User, UserKind};
use uuid::Uuid;

/// Least time between two pieces, in ms.
const PIECE_EVERY_MS: u64 = 40;
/// Longest answer, in bytes; with it a page stays below the protocol's 1 MiB.
const MAX_ANSWER: usize = 128 * 1024;
/// Pause before a write that failed is tried again, in ms.
const RETRY_MS: u64 = 500;

/// Makes the ids of events that the server writes itself: UUIDs, in order of time if possible.
pub trait Ids: Send + Sync {
    /// An id that was never given before.
    fn next(&self) -> Uuid;
}

/// Starts answers.
pub trait Answering: Send + Sync {
    /// Whether the server is about to stop and begins no answer any more.
    fn is_draining(&self) -> bool;

    /// Begins to answer a dialog: one [`Run`] after the other, as long as the last one ended with
    /// an offset and [`Channel::wants_another`] is true of it.
    fn start(self: Arc<Self>, channel: &Arc<Channel>);
}

/// An answer that a crash left open has ended: messages that came meanwhile may be answered now.
pub fn left_ended(answering: Arc<dyn Answering>, channel: &Arc<Channel>) {
    if channel.wants_another(Offset::ZERO) && !answering.is_draining() {
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
            (Shown::Piece(piece), _) if matches!(outcome, Outcome::Done) => {
                channel.publish_piece(&piece.run, piece.at, &piece.text);
            }
            (Shown::Piece(_), _) => {}
        }
    }
}

/// What a driver does next for a run.
pub enum Step {
    /// Pass this to the store, publish its outcome, and report it by [`Run::written`].
    Write(Box<Write>, Publish),
    /// Read this from the store, and report the reply by [`Run::context`].
    Read(Read),
    /// Have the model answer these messages, and report its output by [`Run::part`].
    Model(Vec<Turn>),
    /// Nothing to do before the next input, or before this time.
    Wait(Option<Time>),
    /// The run is over. It has the offset of its start, or none when the server is about to stop
    /// and no other run follows.
    Done(Option<Offset>),
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
    name: ChannelName,
    /// None when a crash left the run open and the channel was deleted.
    channel: Option<Arc<Channel>>,
    ids: Arc<dyn Ids>,
    id: RunId,
    stage: Stage,
    /// Whether a write or a read is under way.
    busy: bool,
    not_before: Time,
    /// Offset of its start.
    start: Option<Offset>,
    stopped: bool,
    draining: bool,
    ended: Option<End>,
    /// How it ended, once that is decided.
    end: Option<End>,
    /// How many bytes of the text are stored and sent.
    sent: usize,
    /// The whole text so far.
    text: String,
    /// Up to where the piece under way reaches, in bytes.
    sending: usize,
}

impl Run {
    /// A new answer in this channel. `stop` is called when a user asks to end it; the driver then
    /// calls [`Run::stop`].
    pub fn new(channel: &Arc<Channel>, ids: Arc<dyn Ids>, stop: Stop) -> Run {
        let id = RunId::from(ids.next().hyphenated().to_string());
        let body = AnswerStart { run: id.clone() }.encode();
        let event = own_event(ids.as_ref(), channel.id, channel.name.clone(), AnswerStart::KIND, body);
        channel.will_run(&id, stop);
        let (row, name) = (channel.id, channel.name.clone());
        Run::at(row, name, Some(channel.clone()), ids, id, Stage::Start(event), String::new())
    }

    /// A run that a crash left without an end: it only writes its end. Until then no other run
    /// begins in the dialog; call [`left_ended`] afterwards.
    pub fn left(left: UnfinishedRun, channel: Option<Arc<Channel>>, ids: Arc<dyn Ids>) -> Run {
        tracing::info!(run = %left.run, "an answer was interrupted by the last stop");
        if let Some(channel) = &channel {
            channel.answers_still();
        }
        let (row, name) = (left.channel, left.name);
        let mut run = Run::at(row, name, channel, ids, left.run, Stage::Streaming, left.text);
        run.end(End::Interrupted);
        run
    }

    /// A run at this stage, of which this text is stored and sent.
    fn at(
        row: i64,
        name: ChannelName,
        channel: Option<Arc<Channel>>,
        ids: Arc<dyn Ids>,
        id: RunId,
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
            end: None,
            sent: text.len(),
            text,
            sending: 0,
        }
    }

    /// What the driver has to do next.
    pub fn poll(&mut self, now: Time) -> Step {
        if self.busy {
            return Step::Wait(None);
        }
        self.end_if_due();
        let due = now >= self.not_before;
        match &mut self.stage {
            // While draining its end may not be stored, so no other run follows.
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

    /// Reports the result of [`Step::Write`].
    pub fn written(&mut self, now: Time, result: Result<Outcome, StoreError>) {
        self.busy = false;
        match self.stage {
            Stage::Start(_) if matches!(result, Ok(Outcome::Refused(Refusal::Silent))) => {
                // The messages up to now are not answered; later ones may be.
                self.start = Some(Offset::ZERO);
                self.stage = Stage::Over;
            }
            // The dialog was deleted.
            Stage::Start(_) if matches!(result, Ok(Outcome::Refused(_))) => self.stage = Stage::Over,
            Stage::Start(_) => match result.ok().and_then(|outcome| outcome.event()) {
                Some(stored) => {
                    tracing::info!(channel = self.row, run = %self.id, "answer started");
                    self.start = Some(stored.offset);
                    self.stage = Stage::Context;
                }
                None => self.not_before = now.after(RETRY_MS),
            },
            Stage::Streaming => {
                match result {
                    Ok(Outcome::Done) => self.sent = self.sending,
                    // An operator has the dialog, or it was deleted.
                    Ok(_) => self.stopped = true,
                    Err(_) => {}
                }
                self.not_before = now.after(if result.is_ok() { PIECE_EVERY_MS } else { RETRY_MS });
            }
            Stage::End(_) => match result {
                Ok(Outcome::Refused(Refusal::RunNotFound) | Outcome::Stored(_)) => self.stage = Stage::Over,
                // The next start of the server finds the run without an end.
                _ if self.draining => self.stage = Stage::Over,
                // It is tried until it works: no client may be left with an answer that never ends.
                _ => self.not_before = now.after(RETRY_MS),
            },
            Stage::Context | Stage::Model(_) | Stage::Over => {}
        }
    }

    /// Reports the frames that were read for [`Step::Read`].
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

    /// Reports the next part of the model's output; none at its end.
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

    /// A user asked to end the answer.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// The server is about to stop.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether it still needs the model's output; if not, drop the model's stream.
    pub fn listens(&self) -> bool {
        matches!(self.stage, Stage::Streaming) && self.ended.is_none()
    }

    /// Counts how the answer ended; nothing if it did not begin. Call it after [`Step::Done`].
    pub fn count(&self, metrics: &Metrics) {
        match self.end {
            Some(End::Done) => metrics.runs_done.count(),
            Some(End::Stopped) => metrics.runs_stopped.count(),
            Some(End::Interrupted) => metrics.runs_interrupted.count(),
            Some(End::Error(error)) => metrics.runs_failed.count(error.code()),
            None => {}
        }
    }

    /// Decides whether the answer has to end, after an input.
    fn end_if_due(&mut self) {
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

    /// Stores the text that is not sent yet as a piece; it is sent afterwards.
    fn piece(&mut self) -> Step {
        self.sending = self.text.len();
        let text = self.text.get(self.sent..).unwrap_or_default().to_owned();
        let piece = StorePiece { run: self.id.clone(), at: self.sent as u64, text };
        self.write(Write::Piece(piece.clone()), Shown::Piece(piece))
    }

    fn end(&mut self, end: End) {
        if matches!(end, End::Stopped) {
            // It ends with what was shown: after an operator took the dialog nothing more is.
            self.text.truncate(self.sent);
        }
        let (status, code) = match end {
            End::Done => ("done", None),
            End::Stopped => ("stopped", None),
            End::Interrupted => ("interrupted", None),
            End::Error(error) => ("error", Some(error.code())),
        };
        self.end = Some(end);
        let (run, bytes) = (self.id.clone(), self.text.len());
        tracing::info!(channel = self.row, %run, status, code, bytes, "answer ended");
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

/// The name of the author of answers.
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

/// The author of answers.
fn ai() -> User {
    User { id: "ai".to_owned(), name: AI_NAME.to_owned(), kind: UserKind::Ai, profile: None }
}

fn own_event(ids: &dyn Ids, channel: i64, name: ChannelName, kind: &str, body: String) -> NewEvent {
    let op = ids.next();
    NewEvent {
        channel,
        name,
        author: "ai:ai".to_owned(),
        by: ai(),
        op,
        id: OpId::from(op.hyphenated().to_string()),
        kind: kind.to_owned(),
        body,
        after: None,
        needs_run: None,
        wants_answer: false,
        handing: None,
        forbidden: false,
    }
}
