//! The model's answers: starts those that are requested, and gives those under way their words.

use crate::dice::Dice;
use crate::server::inbox::Inbox;
use crate::server::log::Log;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tidewire_core::Time;
use tidewire_server_core::store::{Outcome, Reply, Store, StoreError, UnfinishedRun};
use tidewire_server_core::{Answering, Channel, Ids, Run, Step, left_ended};
use uuid::Uuid;

/// Time between two words of an answer, in ms.
const WORD_MS: u64 = 120;

/// Ids that ascend with time, without randomness.
pub(super) struct CountedIds(AtomicU64);

impl Default for CountedIds {
    fn default() -> CountedIds {
        CountedIds(AtomicU64::new(1))
    }
}

impl Ids for CountedIds {
    fn next(&self) -> Uuid {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        Uuid::from_u128(0x0000_5e12_7e12_7000_8000_0000_0000_0000 + u128::from(n))
    }
}

/// The channels in which an answer is to start.
#[derive(Default)]
struct Requested {
    channels: Mutex<Vec<Arc<Channel>>>,
    draining: AtomicBool,
}

impl Answering for Requested {
    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn start(self: Arc<Self>, channel: &Arc<Channel>) {
        self.channels.lock().push(channel.clone());
    }
}

/// The runs of one server process.
pub(super) struct Runs {
    requested: Arc<Requested>,
    active: Vec<ActiveRun>,
    ids: Arc<CountedIds>,
}

/// A run under way.
struct ActiveRun {
    run: Run,
    channel: Option<Arc<Channel>>,
    stop: Arc<AtomicBool>,
    /// Outcomes of its writes that it has not been given yet.
    outcomes: Arc<Mutex<Vec<Result<Outcome, StoreError>>>>,
    words: u64,
    next_word: u64,
    /// A crash left it without an end, so it only ends.
    left: bool,
}

impl Runs {
    pub(super) fn new(ids: Arc<CountedIds>) -> Runs {
        Runs { requested: Arc::default(), active: Vec::new(), ids }
    }

    /// The interface through which the server requests answers.
    pub(super) fn answering(&self) -> Arc<dyn Answering> {
        self.requested.clone()
    }

    /// Ends a run that a crash left open.
    pub(super) fn take_up(&mut self, left: UnfinishedRun, channel: Option<Arc<Channel>>, now: u64) {
        self.active.push(ActiveRun {
            run: Run::left(left, channel.clone(), self.ids.clone()),
            channel,
            stop: Arc::default(),
            outcomes: Arc::default(),
            words: 0,
            next_word: now,
            left: true,
        });
    }

    /// Starts no further answers, and ends those under way.
    pub(super) fn drain(&mut self) {
        self.requested.draining.store(true, Ordering::Relaxed);
        self.active.iter_mut().for_each(|active| active.run.drain());
    }

    /// Drives all runs; returns when to do so again.
    pub(super) fn advance(&mut self, now: u64, log: &Log, inbox: &Inbox, dice: &mut Dice) -> Option<u64> {
        for channel in std::mem::take(&mut *self.requested.channels.lock()) {
            self.active.push(ActiveRun::begin(&channel, &self.ids, dice, now));
        }
        let mut wake: Option<u64> = None;
        let mut at = 0;
        while at < self.active.len() {
            let active = &mut self.active[at];
            active.hear(now);
            match active.run.poll(Time(now)) {
                Step::Write(write, publish) => {
                    let outcomes = active.outcomes.clone();
                    inbox.write(
                        *write,
                        Box::new(move |result| {
                            if let Ok(outcome) = &result {
                                publish.publish(outcome);
                            }
                            outcomes.lock().push(result);
                        }),
                    );
                }
                Step::Read(read) => active.run.context(log.read(&read).and_then(Reply::frames)),
                Step::Model(_) => {}
                Step::Wait(until) => {
                    let word = active.run.listens().then_some(active.next_word);
                    for due in [until.map(|until| until.0), word].into_iter().flatten() {
                        wake = Some(wake.map_or(due, |wake| wake.min(due)).max(now + 1));
                    }
                    at += 1;
                }
                Step::Done(covered) => {
                    let over = self.active.remove(at);
                    if over.left
                        && let Some(channel) = &over.channel
                    {
                        left_ended(self.requested.clone(), channel);
                    } else if let (Some(channel), Some(covered)) = (over.channel, covered)
                        && channel.wants_another(covered)
                    {
                        self.active.push(ActiveRun::begin(&channel, &self.ids, dice, now));
                    }
                }
            }
        }
        wake
    }
}

impl ActiveRun {
    fn begin(channel: &Arc<Channel>, ids: &Arc<CountedIds>, dice: &mut Dice, now: u64) -> ActiveRun {
        let stop = Arc::<AtomicBool>::default();
        let raise = stop.clone();
        ActiveRun {
            run: Run::new(channel, ids.clone(), Arc::new(move || raise.store(true, Ordering::Relaxed))),
            channel: Some(channel.clone()),
            stop,
            outcomes: Arc::default(),
            words: dice.log_uniform(1, 60),
            next_word: now,
            left: false,
        }
    }

    /// Gives a run its outcomes, and a word if one is due.
    fn hear(&mut self, now: u64) {
        if self.stop.load(Ordering::Relaxed) {
            self.run.stop();
        }
        for outcome in std::mem::take(&mut *self.outcomes.lock()) {
            self.run.written(Time(now), outcome);
        }
        if self.run.listens() && self.next_word <= now {
            let word = (self.words > 0).then(|| Ok(format!("word{} ", self.words)));
            self.words = self.words.saturating_sub(1);
            self.next_word = now + WORD_MS;
            self.run.part(word);
        }
    }
}
