//! Fair scheduling of snapshot reads between owners.
//!
//! Snapshots are read on threads of their own, but only one thread reads at a time, for a few ms.
//! The next one is the reader whose owner has read least recently. So a user with many requests
//! delays mostly themselves, and reading leaves room for chat.

use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a reader may keep reading while others wait.
const TIME_SLICE: Duration = Duration::from_millis(2);
/// The half-life of the time that an owner has used.
const HALF: Duration = Duration::from_secs(2);
/// How often a waiting reader checks whether it is still needed.
const LOOK: Duration = Duration::from_millis(50);

/// How much each owner has read, and which reader reads now.
#[derive(Default)]
pub(super) struct FairScheduler {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    reading: Option<u64>,
    waiting: Vec<(u64, Arc<str>)>,
    used: BTreeMap<Arc<str>, (Duration, Option<Instant>)>,
    last: u64,
}

impl State {
    fn used(&mut self, owner: &Arc<str>, now: Instant) -> Duration {
        let Some((used, at)) = self.used.get_mut(owner) else { return Duration::ZERO };
        let since = at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        used.mul_f64(0.5_f64.powf(since.as_secs_f64() / HALF.as_secs_f64()))
    }

    fn add(&mut self, owner: &Arc<str>, more: Duration, now: Instant) {
        let used = self.used(owner, now) + more;
        self.used.insert(owner.clone(), (used, Some(now)));
        // After ten half-lives almost nothing is left.
        self.used.retain(|_, (_, at)| at.is_some_and(|at| now.saturating_duration_since(at) < 10 * HALF));
    }

    /// The next reader: the first one of the owner with the least recent use.
    fn next(&mut self, now: Instant) -> Option<u64> {
        let waiting = self.waiting.clone();
        let next = waiting.into_iter().min_by_key(|(id, owner)| (self.used(owner, now), *id));
        next.map(|(id, _)| id)
    }
}

/// One reader and its share of the time.
pub(super) struct Reader {
    scheduler: Arc<FairScheduler>,
    owner: Arc<str>,
    id: u64,
    /// When it began to read; `None` while it waits.
    since: Option<Instant>,
    /// How long it has read in all, without the present slice.
    read: Duration,
}

impl FairScheduler {
    /// How much an owner has read recently.
    pub(super) fn used(&self, owner: &Arc<str>) -> Duration {
        self.state.lock().used(owner, Instant::now())
    }

    /// A new reader, which does not read yet.
    pub(super) fn reader(self: &Arc<FairScheduler>, owner: Arc<str>) -> Reader {
        let mut state = self.state.lock();
        state.last += 1;
        Reader { scheduler: self.clone(), owner, id: state.last, since: None, read: Duration::ZERO }
    }
}

impl Reader {
    /// Waits until this reader may read. Returns the error of `go_on` as soon as it gives one.
    pub(super) fn begin<E>(&mut self, go_on: &dyn Fn() -> Result<(), E>) -> Result<(), E> {
        let mut state = self.scheduler.state.lock();
        state.waiting.push((self.id, self.owner.clone()));
        let result = loop {
            if state.reading.is_none() && state.next(Instant::now()) == Some(self.id) {
                state.reading = Some(self.id);
                break Ok(());
            }
            self.scheduler.changed.wait_for(&mut state, LOOK);
            drop(state);
            // Called without the lock, because it may take other locks.
            let result = go_on();
            state = self.scheduler.state.lock();
            if result.is_err() {
                break result;
            }
        };
        state.waiting.retain(|(id, _)| *id != self.id);
        if result.is_ok() {
            self.since = Some(Instant::now());
        }
        drop(state);
        self.scheduler.changed.notify_all();
        result
    }

    /// Lets another reader take over if one waits and the time slice is over.
    pub(super) fn pause<E>(&mut self, go_on: &dyn Fn() -> Result<(), E>) -> Result<(), E> {
        let Some(since) = self.since.filter(|since| since.elapsed() >= TIME_SLICE) else { return Ok(()) };
        go_on()?;
        let now = Instant::now();
        let mut state = self.scheduler.state.lock();
        state.add(&self.owner, now - since, now);
        self.read += now - since;
        self.since = Some(now);
        if state.waiting.is_empty() {
            return Ok(());
        }
        state.reading = None;
        self.since = None;
        drop(state);
        self.scheduler.changed.notify_all();
        self.begin(go_on)
    }

    /// How long it has read.
    pub(super) fn read(&self) -> Duration {
        self.read + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.scheduler.state.lock();
        if let Some(since) = self.since {
            let now = Instant::now();
            state.add(&self.owner, now - since, now);
            state.reading = None;
        }
        drop(state);
        self.scheduler.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_reads_much_does_not_hold_up_who_reads_little() {
        let scheduler = Arc::new(FairScheduler::default());
        let stop = std::sync::atomic::AtomicBool::new(false);
        let busy = |owner: &str, most: Duration| {
            let mut turn = scheduler.reader(owner.into());
            turn.begin(&|| Ok::<(), ()>(())).unwrap();
            while turn.read() < most && !stop.load(std::sync::atomic::Ordering::Relaxed) {
                turn.pause(&|| Ok::<(), ()>(())).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| busy("mallory", Duration::from_secs(60)));
            }
            let used = |owner: &str| scheduler.used(&owner.into());
            while used("mallory").is_zero() {
                std::thread::sleep(Duration::from_millis(1));
            }
            let begun = Instant::now();
            for _ in 0..10 {
                busy("ada", Duration::from_millis(2));
            }
            let took = begun.elapsed();
            // Nor is the owner who reads much shut out: they may be one time slice behind now.
            while used("mallory") <= used("ada") && begun.elapsed() < Duration::from_secs(30) {
                std::thread::sleep(Duration::from_millis(1));
            }
            let went_on = used("mallory") > used("ada");
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(went_on);
            assert!(took < Duration::from_secs(5), "{took:?}");
        });
    }

    #[test]
    fn who_need_not_wait_any_more_leaves() {
        let scheduler = Arc::new(FairScheduler::default());
        let mut first = scheduler.reader("ada".into());
        first.begin(&|| Ok::<(), ()>(())).unwrap();
        assert_eq!(scheduler.reader("bob".into()).begin(&|| Err("gone")), Err("gone"));
        drop(first);
        scheduler.reader("bob".into()).begin(&|| Ok::<(), ()>(())).unwrap();
    }
}
