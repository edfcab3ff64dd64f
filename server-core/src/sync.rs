//! Locks that outlive a panic: no state here is left half-changed by one.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes the lock, whether or not another holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
