//! Access to a table's lock. What is left to do after a change comes back as a value and is done
//! with no lock held.

use super::state::{After, State};
use super::{Tables, Woken};
use crate::lock::{Guard, calls_out};

impl Tables {
    /// Applies `act` to a table, then serves the subscriptions that became ready; `None` if there
    /// is no table with this index.
    pub(super) fn with<T>(&self, at: usize, act: impl FnOnce(&mut State) -> T) -> Option<T> {
        let (done, ready) = self.only_with(at, act)?;
        if !ready.is_empty() {
            self.serve(at, ready);
        }
        Some(done)
    }

    /// Applies `act` to a table, and returns the subscriptions that became ready, for the caller to
    /// serve.
    pub(super) fn only_with<T>(&self, at: usize, act: impl FnOnce(&mut State) -> T) -> Option<(T, Vec<u64>)> {
        Some(self.act(at, self.states.get(at)?.lock(), act))
    }

    /// As [`Tables::only_with`], unless another thread holds the lock.
    pub(super) fn try_with<T>(&self, at: usize, act: impl FnOnce(&mut State) -> T) -> Option<(T, Vec<u64>)> {
        Some(self.act(at, self.states.get(at)?.try_lock()?, act))
    }

    fn act<T>(
        &self,
        at: usize,
        mut state: Guard<'_, State>,
        act: impl FnOnce(&mut State) -> T,
    ) -> (T, Vec<u64>) {
        let done = act(&mut state);
        let after = std::mem::take(&mut state.after);
        drop(state);
        (done, self.carry_out(at, after))
    }

    /// Sends notifications, and returns the subscriptions that became ready.
    pub(super) fn carry_out(&self, at: usize, after: After) -> Vec<u64> {
        after.due.give();
        if after.requests {
            self.wake(Woken::Requests);
        }
        if after.work {
            self.wake(Woken::Work(at));
        }
        after.ready
    }

    /// Wakes the driver.
    pub(super) fn wake(&self, why: Woken) {
        calls_out();
        (self.wake)(why);
    }
}
