//! The locks of this crate, and their rule: no code that a driver or an application gave us runs
//! while one is held.
//!
//! In builds with assertions each thread counts the locks that it holds, and [`calls_out`] checks
//! the count before every such call. So every test and every simulated run checks the rule.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// A mutex that counts how many locks its thread holds.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

/// Access to the guarded value. Dropping it unlocks.
pub(crate) struct Guard<'a, T> {
    // Declared first, so that the lock is released before the count changes.
    inner: parking_lot::MutexGuard<'a, T>,
    _held: Held,
}

struct Held;

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(parking_lot::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> Guard<'_, T> {
        Guard { inner: self.0.lock(), _held: Held::new() }
    }

    /// Locks if nobody holds the lock; otherwise `None`.
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        Some(Guard { inner: self.0.try_lock()?, _held: Held::new() })
    }
}

impl Held {
    fn new() -> Held {
        count(|held| held + 1);
        Held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        count(|held| held - 1);
    }
}

fn count(change: impl FnOnce(usize) -> usize) {
    if cfg!(debug_assertions) {
        // A thread that ends may unlock after its thread-local variables are gone.
        let _ = HELD.try_with(|held| held.set(change(held.get())));
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

/// Call this before every call of foreign code. Panics in builds with assertions if this thread
/// holds a lock.
#[track_caller]
pub(crate) fn calls_out() {
    let held = if cfg!(debug_assertions) { HELD.try_with(Cell::get).unwrap_or(0) } else { 0 };
    debug_assert_eq!(held, 0, "locks are held while somebody else's code is called");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_counted_until_they_are_given_back() {
        let (one, other) = (Mutex::new(1), Mutex::new(2));
        let (first, second) = (one.lock(), other.try_lock().unwrap());
        assert!(one.try_lock().is_none());
        assert!(std::panic::catch_unwind(calls_out).is_err());
        drop((first, second));
        calls_out();
    }
}
