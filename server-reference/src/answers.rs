//! Answers: one task for each dialog that is being answered.
//!
//! A run is an `answer.start`, pieces, and exactly one `answer.end`. A piece is on disk before anybody sees it, so that
//! after a crash the end still holds all that was shown. Messages that come during an answer get one answer together
//! afterwards.

use crate::channel::Channel;
use crate::hub::Hub;
use crate::responder::{ModelError, Responder, Role, Turn};
use crate::store::{EndRun, NewEvent, Outcome, Refusal, StartRun, Store, StorePiece, Stored, Write, own_id};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::wire::json::{Object, Writer};
use tidewire_core::wire::{EventFrame, User, UserKind};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Least time between two pieces.
const PIECE_EVERY: Duration = Duration::from_millis(40);
/// How many messages the model is shown.
const CONTEXT: usize = 10;
/// Longest answer, in bytes; with it a page stays below the protocol's 1 MiB.
const MAX_ANSWER: usize = 128 * 1024;
/// Pause before a write that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How long a drain waits for the ends of the answers.
const DRAIN: Duration = Duration::from_secs(2);

/// Starts and ends answers.
pub(crate) struct Answers {
    store: Arc<Store>,
    hub: Arc<Hub>,
    responder: Option<Arc<dyn Responder>>,
    runtime: tokio::runtime::Handle,
    drain: watch::Sender<bool>,
    /// Each task holds a receiver; a drain waits for the last.
    tasks: watch::Sender<()>,
}

/// Why an answer ended.
#[derive(Clone, Copy)]
enum End {
    Done,
    Stopped,
    Interrupted,
    Error(ModelError),
}

impl Answers {
    pub(crate) fn new(
        store: Arc<Store>,
        hub: Arc<Hub>,
        responder: Option<Arc<dyn Responder>>,
    ) -> Arc<Answers> {
        Arc::new(Answers {
            store,
            hub,
            responder,
            runtime: tokio::runtime::Handle::current(),
            drain: watch::Sender::new(false),
            tasks: watch::Sender::new(()),
        })
    }

    /// Whether messages are answered at all.
    pub(crate) fn are_on(&self) -> bool {
        self.responder.is_some()
    }

    /// A message that wants an answer was committed at `offset`.
    pub(crate) fn want(self: &Arc<Self>, channel: &Arc<Channel>, offset: u64) {
        let Some(responder) = self.responder.clone() else { return };
        if *self.drain.borrow() || !channel.want_answer(offset) {
            // While draining, the database remembers the wish for the next start.
            return;
        }
        let (answers, channel, alive) = (self.clone(), channel.clone(), self.tasks.subscribe());
        self.runtime.spawn(async move {
            loop {
                match answers.run(&channel, responder.as_ref()).await {
                    Some(covered) if channel.wants_another(covered) => {}
                    _ => break,
                }
            }
            drop(alive);
        });
    }

    /// Ends what a crash left without an end, then answers what still wants an answer.
    pub(crate) async fn recover(self: &Arc<Self>) -> Result<(), crate::store::StoreError> {
        for left in self.store.readers().unfinished().await? {
            tracing::info!(run = left.run, "an answer was interrupted by the last stop");
            let end = end_of(left.channel, left.name.clone().into(), &left.run, End::Interrupted, &left.text);
            let channel = self.hub.channel(&left.name).await?;
            let answers = self.clone();
            self.runtime.spawn(async move {
                answers.write_end(channel.as_ref(), end).await;
            });
        }
        for (name, offset) in self.store.readers().wanting().await? {
            if let Some(channel) = self.hub.channel(&name).await? {
                self.want(&channel, offset);
            }
        }
        Ok(())
    }

    /// Ends all answers as interrupted and waits for their ends.
    pub(crate) async fn drain(&self) {
        self.drain.send_replace(true);
        if timeout(DRAIN, self.tasks.closed()).await.is_err() {
            tracing::warn!("some answers could not be ended; they will be at the next start");
        }
    }

    /// One answer, from start to end; the offset of its start, or none when the server is draining.
    async fn run(&self, channel: &Arc<Channel>, responder: &dyn Responder) -> Option<u64> {
        let mut drain = self.drain.subscribe();
        let run = own_id().1;
        let (stop, mut stopped) = watch::channel(false);
        let start = self.write_start(channel, &run, stop, &mut drain).await?;
        tracing::info!(channel = channel.id, run, "answer started");
        let mut answer = Answer {
            store: &self.store,
            channel,
            run: &run,
            sent: 0,
            pending: String::new(),
            text: String::new(),
        };
        let end = match self.context(channel, start.offset).await {
            None => End::Error(ModelError::Unavailable),
            Some(turns) => {
                let following = async {
                    let stream = responder.answer(turns);
                    answer.follow(stream, &mut stopped, &mut drain).await
                };
                // A fault in a responder must not leave a dialog with an answer that never ends.
                AssertUnwindSafe(following)
                    .catch_unwind()
                    .await
                    .unwrap_or(End::Error(ModelError::BadResponse))
            }
        };
        let text = answer.text;
        let end = end_of(channel.id, channel.name.clone(), &run, end, &text);
        self.write_end(Some(channel), end).await;
        Some(start.offset)
    }

    async fn write_start(
        &self,
        channel: &Arc<Channel>,
        run: &str,
        stop: watch::Sender<bool>,
        drain: &mut watch::Receiver<bool>,
    ) -> Option<Stored> {
        let body = Writer::object().str("run", run).end();
        let event = own_event(channel.id, channel.name.clone(), "answer.start", body);
        loop {
            if *drain.borrow() {
                return None;
            }
            let write = Write::StartRun(StartRun { event: event.clone(), run: run.to_owned() });
            let (known, id, stop) = (channel.clone(), run.to_owned(), stop.clone());
            let outcome = self
                .store
                .write_then(write, move |outcome| {
                    if let Some(stored) = outcome.event() {
                        known.begin_run(&stored, &id, stop);
                    }
                })
                .await;
            if let Some(stored) = outcome.ok().and_then(|outcome| outcome.event()) {
                return Some(stored);
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                _ = drain.changed() => {}
            }
        }
    }

    /// Writes the end, as often as it takes: nobody may be left with an answer that never ends.
    async fn write_end(&self, channel: Option<&Arc<Channel>>, end: EndRun) {
        loop {
            let (known, run) = (channel.cloned(), end.run.clone());
            let outcome = self
                .store
                .write_then(Write::EndRun(end.clone()), move |outcome| {
                    if let (Outcome::Stored(stored), Some(channel)) = (outcome, known) {
                        channel.end_run(stored, &run);
                    }
                })
                .await;
            let draining = *self.drain.borrow();
            match outcome {
                Ok(Outcome::Refused(Refusal::RunNotFound) | Outcome::Stored(_)) => return,
                // The next start will find the run without an end.
                _ if draining => return,
                _ => sleep(RETRY).await,
            }
        }
    }

    /// The newest messages before the answer's start, oldest first.
    async fn context(&self, channel: &Channel, before: u64) -> Option<Vec<Turn>> {
        // An answer may bring its start with it.
        let frames = self.store.readers().newest(channel.id, before, 2 * CONTEXT, matters).await.ok()?;
        let turns = turns(&frames);
        (!turns.is_empty()).then_some(turns)
    }
}

/// An answer's text on its way.
struct Answer<'a> {
    store: &'a Store,
    channel: &'a Arc<Channel>,
    run: &'a str,
    /// Bytes that are stored and shown.
    sent: usize,
    /// Text that is not.
    pending: String,
    /// Everything.
    text: String,
}

impl Answer<'_> {
    async fn follow(
        &mut self,
        mut stream: BoxStream<'static, Result<String, ModelError>>,
        stopped: &mut watch::Receiver<bool>,
        drain: &mut watch::Receiver<bool>,
    ) -> End {
        let mut next_piece = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = raised(drain) => return End::Interrupted,
                () = raised(stopped) => return End::Stopped,
                () = sleep_until(next_piece), if !self.pending.is_empty() => {
                    let pause = if self.send_piece().await { PIECE_EVERY } else { RETRY };
                    next_piece = Instant::now() + pause;
                }
                part = stream.next() => match part {
                    Some(Ok(part)) => {
                        self.pending.push_str(&part);
                        self.text.push_str(&part);
                        if self.text.len() > MAX_ANSWER {
                            let end = self.text.floor_boundary(MAX_ANSWER);
                            self.text.truncate(end);
                            return End::Error(ModelError::Cut);
                        }
                    }
                    Some(Err(error)) => return End::Error(error),
                    None => return End::Done,
                },
            }
        }
    }

    /// Stores what is pending, then shows it.
    async fn send_piece(&mut self) -> bool {
        let piece = StorePiece { run: self.run.to_owned(), at: self.sent as u64, text: self.pending.clone() };
        let (channel, shown) = (self.channel.clone(), piece.clone());
        let outcome = self
            .store
            .write_then(Write::Piece(piece), move |_| {
                channel.publish_piece(&shown.run, shown.at, &shown.text)
            })
            .await;
        if outcome.is_ok() {
            self.sent += self.pending.len();
            self.pending.clear();
        }
        outcome.is_ok()
    }
}

/// Returns once the flag is up, or nobody can raise it any more.
async fn raised(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|up| *up).await;
}

trait FloorBoundary {
    /// The greatest character boundary that is not after `at`.
    fn floor_boundary(&self, at: usize) -> usize;
}

impl FloorBoundary for String {
    fn floor_boundary(&self, at: usize) -> usize {
        (0..=at.min(self.len())).rev().find(|at| self.is_char_boundary(*at)).unwrap_or(0)
    }
}

fn own_event(channel: i64, name: Arc<str>, kind: &'static str, body: String) -> NewEvent {
    let (op, id) = own_id();
    NewEvent {
        channel,
        name,
        author: "ai:ai".to_owned(),
        by: User { id: "ai".to_owned(), name: "Assistant".to_owned(), kind: UserKind::Ai },
        op,
        id,
        kind,
        body,
        after: None,
        needs_run: None,
        wants_answer: false,
    }
}

fn end_of(channel: i64, name: Arc<str>, run: &str, end: End, text: &str) -> EndRun {
    let (status, code) = match end {
        End::Done => ("done", None),
        End::Stopped => ("stopped", None),
        End::Interrupted => ("interrupted", None),
        End::Error(error) => ("error", Some(error.code())),
    };
    tracing::info!(channel, run, status, code, bytes = text.len(), "answer ended");
    let body =
        Writer::object().str("run", run).str("status", status).str("text", text).opt_str("code", code).end();
    EndRun { event: own_event(channel, name, "answer.end", body), run: run.to_owned() }
}

/// Whether the event at `frame` says something, or where something said later belongs.
fn matters(frame: &str) -> bool {
    EventFrame::decode(frame)
        .is_ok_and(|event| matches!(event.kind.as_str(), "message" | "answer.start" | "answer.end"))
}

/// The newest [`CONTEXT`] messages of these events. An answer stands where it began: what was written during it was
/// not answered by it, and the model must find that at the end.
fn turns(frames: &[String]) -> Vec<Turn> {
    let mut starts: HashMap<String, u64> = HashMap::new();
    let mut placed: Vec<(u64, Turn)> = Vec::new();
    for event in frames.iter().filter_map(|frame| EventFrame::decode(frame).ok()) {
        let Ok(body) = Object::parse(&event.body) else { continue };
        let run = body.str("run").unwrap_or_default();
        let (place, role) = match (event.kind.as_str(), event.by.kind) {
            ("answer.start", _) => {
                starts.insert(run.into_owned(), event.offset);
                continue;
            }
            ("answer.end", _) => (starts.get(run.as_ref()).copied().unwrap_or(event.offset), Role::Assistant),
            (_, UserKind::Operator) => (event.offset, Role::Operator),
            _ => (event.offset, Role::User),
        };
        if let Some(text) = body.str("text").filter(|text| !text.is_empty()) {
            placed.push((place, Turn { role, name: event.by.name.clone(), text: text.into_owned() }));
        }
    }
    placed.sort_by_key(|(place, _)| *place);
    let surplus = placed.len().saturating_sub(CONTEXT);
    placed.into_iter().skip(surplus).map(|(_, turn)| turn).collect()
}
