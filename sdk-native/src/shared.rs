//! The core behind its lock.

use parking_lot::{Mutex, MutexGuard};
use tidewire_core::{Now, Status, Time};
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::core::{Core, Output};
use crate::hub::Hub;

/// The state that the handles and the driver share. Every use locks it, makes one synchronous call,
/// unlocks it, and wakes the driver.
pub(crate) struct Shared {
    state: Mutex<State>,
    wake: Notify,
    clock: Clock,
    ended: watch::Sender<bool>,
    /// The process in which the threads run.
    process: u32,
}

struct State {
    core: Core,
    hub: Hub,
    /// Effects that the driver has not fetched yet.
    effects: Vec<Output>,
    until: Option<Time>,
    closing: bool,
}

/// The driver's next work.
pub(crate) struct Work {
    pub(crate) effects: Vec<Output>,
    /// When the driver must look again at the latest.
    pub(crate) until: Option<Time>,
    /// The client is being closed.
    pub(crate) closing: bool,
}

/// The client was closed.
pub(crate) struct Closed;

impl Shared {
    /// `durable` says whether the store survives the process.
    pub(crate) fn new(core: Core, clock: Clock, durable: bool) -> Shared {
        let hub = Hub::new(durable);
        let mut state = State { core, hub, effects: Vec::new(), until: None, closing: false };
        // The first status includes what an earlier run left in the store.
        state.drain(clock.now());
        Shared {
            state: Mutex::new(state),
            wake: Notify::new(),
            clock,
            ended: watch::Sender::new(false),
            process: std::process::id(),
        }
    }

    /// The current state of the connection. In a forked process it is `closed`, because the threads
    /// exist only in the parent.
    pub(crate) fn status(&self) -> Status {
        if self.is_forked() {
            let message = Some("this process is a fork; open a client of its own in it".to_owned());
            let cause = Some("forked".to_owned());
            let state = tidewire_core::State::Closed;
            return Status { state, attempt: 0, retry_in_ms: None, cause, message, waiting: 0 };
        }
        self.lock().hub.status.borrow().clone()
    }

    /// Whether this process was forked from the one that opened the client. Check this before
    /// locking: in the child the lock may be held for ever.
    fn is_forked(&self) -> bool {
        self.process != std::process::id()
    }

    /// Carries out a command, unless the client was closed. Its effects on rows and states are
    /// visible when this returns.
    pub(crate) fn command<R>(&self, run: impl FnOnce(&mut Core, &mut Hub, Now) -> R) -> Result<R, Closed> {
        if self.is_forked() {
            return Err(Closed);
        }
        let mut state = self.lock();
        if state.closing {
            return Err(Closed);
        }
        Ok(self.step(&mut state, run))
    }

    /// Feeds inputs to the core, also while closing.
    pub(crate) fn feed(&self, run: impl FnOnce(&mut Core, Now)) {
        self.step(&mut self.lock(), |core, _, now| run(core, now));
    }

    /// Reads from the core.
    pub(crate) fn look<R>(&self, run: impl FnOnce(&Core) -> R) -> R {
        run(&self.lock().core)
    }

    /// As [`Shared::look`], with the present time.
    pub(crate) fn look_now<R>(&self, run: impl FnOnce(&Core, Now) -> R) -> R {
        run(&self.lock().core, self.clock.now())
    }

    /// Reads or changes the hub.
    pub(crate) fn hub<R>(&self, run: impl FnOnce(&mut Hub) -> R) -> R {
        run(&mut self.lock().hub)
    }

    /// Ends the connection for good. The driver ends once the store is on disk.
    pub(crate) fn close(&self) {
        if self.is_forked() {
            return;
        }
        let mut state = self.lock();
        if !state.closing {
            state.closing = true;
            self.step(&mut state, |core, _, now| core.close(now));
        }
    }

    /// Takes the effects so far, in their order.
    pub(crate) fn work(&self) -> Work {
        let mut state = self.lock();
        let state = &mut *state;
        state.drain(self.clock.now());
        Work { effects: std::mem::take(&mut state.effects), until: state.until, closing: state.closing }
    }

    /// Resolves when the core was used since the last [`Shared::work`].
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The driver has ended, with the client or with its runtime: settles what is left and signals
    /// the end.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.closing = true;
        self.step(&mut state, |core, _, now| core.close(now));
        state.hub.end();
        drop(state);
        self.ended.send_replace(true);
    }

    /// Resolves after [`Shared::end`].
    pub(crate) async fn ended(&self) {
        // The sender lives as long as `self`.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    fn step<R>(&self, state: &mut State, run: impl FnOnce(&mut Core, &mut Hub, Now) -> R) -> R {
        let now = self.clock.now();
        let result = run(&mut state.core, &mut state.hub, now);
        state.drain(now);
        self.wake.notify_one();
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn drain(&mut self, now: Now) {
        loop {
            match self.core.poll(now) {
                Output::Event(event) => self.hub.apply(event),
                Output::Wait { until, .. } => {
                    self.until = until;
                    break;
                }
                effect => self.effects.push(effect),
            }
        }
        self.hub.publish(&self.core);
    }
}
