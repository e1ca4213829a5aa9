//! What the lines stand on. Their tests put others of the same names in its place, which try one
//! interleaving after the other.

use std::time::Instant;

pub(super) use std::sync::atomic::AtomicBool;
pub(super) use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Waits for a notification; `true` if the time came first.
pub(super) fn wait_until<'g, T>(
    condvar: &Condvar,
    guard: MutexGuard<'g, T>,
    deadline: Option<Instant>,
) -> (MutexGuard<'g, T>, bool) {
    let Some(deadline) = deadline else {
        let woken = condvar.wait(guard);
        return (woken.unwrap_or_else(PoisonError::into_inner), false);
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let woken = condvar.wait_timeout(guard, left);
    let (guard, _) = woken.unwrap_or_else(PoisonError::into_inner);
    // The clock decides. A wait can end early without a notification, and a notification can come
    // together with the end of the time.
    (guard, Instant::now() >= deadline)
}
