//! Drives the answers of models: one task for each dialog that is being answered.

use crate::clock::{self, TimeOrdered};
use crate::loader::Loader;
use crate::responder::{ModelError, Responder};
use crate::stores::AsyncStore;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::wire::Offset;
use tidewire_server_core::metrics::Metrics;
use tidewire_server_core::store::{Read, Reply, StoreError};
use tidewire_server_core::{Answering, Channel, Ids, Run, Step, Time, Turn, left_ended};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

/// How long a drain waits for answers to end.
const DRAIN: Duration = Duration::from_secs(2);

/// The text of a model's answer, part by part.
type Stream = BoxStream<'static, Result<String, ModelError>>;

/// Starts and ends answers.
pub(crate) struct Answers {
    store: AsyncStore,
    loader: Arc<Loader>,
    responder: Option<Arc<dyn Responder>>,
    ids: Arc<dyn Ids>,
    runtime: tokio::runtime::Handle,
    drain: watch::Sender<bool>,
    /// Each task holds a receiver; a drain waits until all are dropped.
    tasks: watch::Sender<()>,
    metrics: Arc<Metrics>,
}

impl Answers {
    pub(crate) fn new(
        store: AsyncStore,
        loader: Arc<Loader>,
        responder: Option<Arc<dyn Responder>>,
        metrics: Arc<Metrics>,
    ) -> Arc<Answers> {
        Arc::new(Answers {
            store,
            loader,
            responder,
            ids: Arc::new(TimeOrdered),
            runtime: tokio::runtime::Handle::current(),
            drain: watch::Sender::new(false),
            tasks: watch::Sender::new(()),
            metrics,
        })
    }

    /// The interface for sessions; `None` if messages are not answered.
    pub(crate) fn answering(self: &Arc<Self>) -> Option<Arc<dyn Answering>> {
        self.responder.as_ref().map(|_| self.clone() as Arc<dyn Answering>)
    }

    /// Ends the runs that a crash left without an end, then answers messages that still want an
    /// answer.
    pub(crate) async fn recover(self: &Arc<Self>) -> Result<(), StoreError> {
        for left in self.store.read(Read::Unfinished).await.and_then(Reply::unfinished)? {
            let channel = self.loader.channel(&left.name).await?;
            let run = Run::left(left, channel.clone(), self.ids.clone());
            let answers = self.clone();
            let stopped = watch::Sender::new(false).subscribe();
            self.runtime.spawn(async move {
                answers.drive(run, stopped).await;
                if let (Some(channel), Some(answering)) = (channel, answers.answering()) {
                    left_ended(answering, &channel);
                }
            });
        }
        for (name, offset) in self.store.read(Read::Wanting).await.and_then(Reply::wanting)? {
            if let Some(channel) = self.loader.channel(&name).await? {
                channel.want_answer(offset).carry_out(self.answering().as_ref(), &channel);
            }
        }
        Ok(())
    }

    /// Interrupts all answers and waits until they have ended.
    pub(crate) async fn drain(&self) {
        self.drain.send_replace(true);
        if timeout(DRAIN, self.tasks.closed()).await.is_err() {
            tracing::warn!("some answers could not be ended; they will be at the next start");
        }
    }

    /// Gives one answer, from start to end. The result is the offset of its start, or `None` if the
    /// server is draining.
    async fn answer(&self, channel: &Arc<Channel>) -> Option<Offset> {
        let (stop, stopped) = watch::channel(false);
        let stop = Arc::new(move || {
            stop.send_replace(true);
        });
        self.drive(Run::new(channel, self.ids.clone(), stop), stopped).await
    }

    async fn drive(&self, mut run: Run, mut stopped: watch::Receiver<bool>) -> Option<Offset> {
        let mut drain = self.drain.subscribe();
        let mut stream: Option<Stream> = None;
        let (mut draining, mut stopping) = (false, false);
        if *drain.borrow() {
            run.drain();
        }
        loop {
            if !run.listens() {
                stream = None;
            }
            match run.poll(clock::mono()) {
                Step::Write(write, publish) => {
                    let result = self.store.write_then(*write, |outcome| publish.publish(outcome)).await;
                    if *drain.borrow() {
                        run.drain();
                    }
                    run.written(clock::mono(), result);
                }
                Step::Read(read) => run.context(self.store.read(read).await.and_then(Reply::frames)),
                Step::Model(turns) => match self.ask(turns) {
                    Ok(opened) => stream = Some(opened),
                    Err(error) => run.part(Some(Err(error))),
                },
                Step::Wait(until) => tokio::select! {
                    biased;
                    () = raised(&mut drain), if !draining => {
                        draining = true;
                        run.drain();
                    }
                    () = raised(&mut stopped), if !stopping => {
                        stopping = true;
                        run.stop();
                    }
                    () = reached(until) => {}
                    part = next(&mut stream) => run.part(part),
                },
                Step::Done(covered) => {
                    run.count(&self.metrics);
                    return covered;
                }
            }
        }
    }

    /// Opens the model's stream. A panic of a responder becomes an error, so that the answer gets
    /// an end.
    fn ask(&self, turns: Vec<Turn>) -> Result<Stream, ModelError> {
        let Some(responder) = &self.responder else { return Err(ModelError::Unavailable) };
        catch_unwind(AssertUnwindSafe(|| responder.answer(turns))).map_err(|_| ModelError::BadResponse)
    }
}

impl Answering for Answers {
    fn is_draining(&self) -> bool {
        *self.drain.borrow()
    }

    fn start(self: Arc<Self>, channel: &Arc<Channel>) {
        let (answers, channel, alive) = (self.clone(), channel.clone(), self.tasks.subscribe());
        self.runtime.spawn(async move {
            while let Some(covered) = answers.answer(&channel).await {
                if !channel.wants_another(covered) {
                    break;
                }
            }
            drop(alive);
        });
    }
}

/// The next part of the model's answer; without a stream this never returns.
async fn next(stream: &mut Option<Stream>) -> Option<Result<String, ModelError>> {
    let Some(open) = stream else { return std::future::pending().await };
    AssertUnwindSafe(open.next()).catch_unwind().await.unwrap_or(Some(Err(ModelError::BadResponse)))
}

/// Returns once the flag is set, or its sender is gone.
async fn raised(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|up| *up).await;
}

/// Returns at this time; without a time it never returns.
async fn reached(time: Option<Time>) {
    match time {
        Some(time) => sleep_until(clock::instant(time)).await,
        None => std::future::pending().await,
    }
}
