//! [`Times`]: until when a lease lasts, as far as its holder's process can know.

use std::ops::ControlFlow;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When the server was last asked with success. Shared by the clones of a
/// [`HeldLease`](super::HeldLease).
///
/// Only the monotonic clock counts, and of a call only the time at which it was sent: the server
/// can not have computed the lease's end from an earlier time than that.
#[derive(Debug, Default)]
pub(super) struct Times {
    known: Mutex<Known>,
    changed: Condvar,
}

/// What is known.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Known {
    /// When the acquisition or renewal was sent that succeeded last; `None` in another process.
    renewed: Option<Instant>,
    /// How many guarded writes are open, in transactions that have the lease's row locked.
    writers: u32,
    /// When the last of them was sent.
    write_began: Option<Instant>,
    /// When the last of them ended.
    write_ended: Option<Instant>,
}

impl Known {
    /// When the last acquisition or renewal was sent, or `unknown`.
    pub(super) fn renewed_or(&self, unknown: Instant) -> Instant {
        self.renewed.unwrap_or(unknown)
    }

    /// When the lease ends unless it is renewed; `None` in the far future.
    ///
    /// While a guarded write is open the lease can not be taken, and a renewal waits for the write.
    /// So the end is put off until the write ends and the renewal behind it had its chance, but no
    /// longer than a whole time to live from the moment at which the write found the lease held.
    pub(super) fn end(&self, ttl: Duration, unknown: Instant) -> Option<Instant> {
        let end = self.renewed_or(unknown).checked_add(ttl)?;
        let Some(began) = self.write_began else {
            return Some(end);
        };
        let limit = began.checked_add(ttl)?;
        let put_off = match self.write_ended {
            _ if self.writers > 0 => limit,
            Some(ended) => limit.min(ended.checked_add(ttl / 3)?),
            None => end,
        };
        Some(end.max(put_off))
    }
}

impl Times {
    pub(super) fn since(sent: Instant) -> Self {
        let times = Self::default();
        times.renewed(sent);
        times
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes those who [watch](Self::watch). It takes the lock, so that none of them misses it
    /// between its look and its wait.
    pub(super) fn wake(&self) {
        drop(self.known());
        self.changed.notify_all();
    }

    /// A renewal that was sent at this time has succeeded.
    pub(super) fn renewed(&self, sent: Instant) {
        let mut known = self.known();
        // Answers can overtake each other: an older one must not bring the end forward.
        known.renewed = Some(known.renewed_or(sent).max(sent));
        // Each thread that wakes takes the lock first.
        drop(known);
        self.changed.notify_all();
    }

    /// A guarded write that was sent at this time has the row locked, until the value is dropped.
    pub(super) fn write(&self, sent: Instant) -> Writing<'_> {
        let mut known = self.known();
        known.writers += 1;
        known.write_began = Some(sent);
        // No wake-up: an open write can only put the end off, and the watchers look again at the
        // old end.
        Writing(self)
    }

    /// Looks at what is known until that breaks, again after each change and whenever the time is
    /// over that the look returns.
    pub(super) fn watch(&self, mut look: impl FnMut(&Known) -> ControlFlow<(), Option<Instant>>) {
        let mut known = self.known();
        while let ControlFlow::Continue(until) = look(&known) {
            known = match until {
                None => self
                    .changed
                    .wait(known)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    let woken = self.changed.wait_timeout(known, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// A guarded write that is open.
pub(super) struct Writing<'t>(&'t Times);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut known = self.0.known();
        // Also when the closure panics. From now on the end may be earlier, hence the wake-up.
        known.writers -= 1;
        known.write_ended = Some(Instant::now());
        drop(known);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(12);

    fn after(seconds: u64) -> impl Fn(Instant) -> Instant {
        move |start| start + Duration::from_secs(seconds)
    }

    #[test]
    fn end_is_a_time_to_live_after_the_last_success() {
        let start = Instant::now();
        let times = Times::since(start);
        assert_eq!(times.known().end(TTL, start), Some(start + TTL));
        times.renewed(after(3)(start));
        // One that was sent earlier, but answered later.
        times.renewed(after(2)(start));
        assert_eq!(times.known().end(TTL, start), Some(after(15)(start)));
        assert_eq!(times.known().end(Duration::MAX, start), None);
    }

    #[test]
    fn end_of_a_lease_from_another_process_is_a_time_to_live_after_the_beginning() {
        let start = Instant::now();
        let times = Times::default();
        assert_eq!(times.known().end(TTL, start), Some(start + TTL));
        times.renewed(after(1)(start));
        assert_eq!(times.known().end(TTL, start), Some(after(13)(start)));
    }

    #[test]
    fn open_write_puts_the_end_off_but_not_for_ever() {
        let start = Instant::now();
        let times = Times::since(start);
        let write = times.write(after(4)(start));
        assert_eq!(times.known().end(TTL, start), Some(after(16)(start)));
        drop(write);
        // It ended before the lease did.
        assert_eq!(times.known().end(TTL, start), Some(start + TTL));
    }

    #[test]
    fn renewal_behind_a_write_has_its_chance() {
        let start = Instant::now();
        let ended = |second| Known {
            renewed: Some(start),
            writers: 0,
            write_began: Some(after(4)(start)),
            write_ended: Some(after(second)(start)),
        };
        assert_eq!(ended(5).end(TTL, start), Some(start + TTL));
        assert_eq!(ended(11).end(TTL, start), Some(after(15)(start)));
        assert_eq!(ended(20).end(TTL, start), Some(after(16)(start)));
    }
}
