//! [`QueueStats`]: what a queue has done.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// What a [`RowQueue`](super::RowQueue) has done since it was made, and who waits now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Callers who stand in a line now.
    pub waiting: usize,
    /// Callers who have been served: by a turn of their own or in a batch.
    pub served: u64,
    /// Callers who gave up, or were turned away.
    pub turned_away: u64,
    /// Transactions for [`update`](super::RowQueue::update).
    pub batches: u64,
    /// Changes that ran in them.
    pub changes: u64,
    /// The most changes that one of them had.
    pub largest_batch: usize,
    /// How long those who were served, or led a batch, stood in line, in all.
    pub waited: Duration,
    /// The longest of these waits.
    pub longest_wait: Duration,
    /// How long rows were held, from the lock to the end of the transaction, in all.
    pub held: Duration,
    /// The longest of these holds.
    pub longest_hold: Duration,
}

/// Many threads count at once, so none of them waits for another one: what is read is not of one
/// moment. Times are in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Counter {
    served: AtomicU64,
    turned_away: AtomicU64,
    batches: AtomicU64,
    changes: AtomicU64,
    largest_batch: AtomicUsize,
    waited: Times,
    held: Times,
}

#[derive(Debug, Default)]
struct Times {
    all: AtomicU64,
    longest: AtomicU64,
}

impl Times {
    fn add(&self, time: Duration) {
        // Enough for 584 years.
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // Relaxed, here and below: each number stands alone, and no thread reads other memory
        // because of what it finds in one.
        self.all.fetch_add(time, Relaxed);
        self.longest.fetch_max(time, Relaxed);
    }

    fn read(&self) -> (Duration, Duration) {
        let read = |time: &AtomicU64| Duration::from_nanos(time.load(Relaxed));
        (read(&self.all), read(&self.longest))
    }
}

impl Counter {
    pub(super) fn read(&self, waiting: usize) -> QueueStats {
        let (waited, longest_wait) = self.waited.read();
        let (held, longest_hold) = self.held.read();
        QueueStats {
            waiting,
            served: self.served.load(Relaxed),
            turned_away: self.turned_away.load(Relaxed),
            batches: self.batches.load(Relaxed),
            changes: self.changes.load(Relaxed),
            largest_batch: self.largest_batch.load(Relaxed),
            waited,
            longest_wait,
            held,
            longest_hold,
        }
    }

    pub(super) fn turned_away(&self) {
        self.turned_away.fetch_add(1, Relaxed);
    }

    pub(super) fn waited(&self, time: Duration) {
        self.served.fetch_add(1, Relaxed);
        self.waited.add(time);
    }

    pub(super) fn held(&self, time: Duration) {
        self.held.add(time);
    }

    /// A batch of this number of changes, which includes the leader's own.
    pub(super) fn batch(&self, changes: usize) {
        self.batches.fetch_add(1, Relaxed);
        self.changes.fetch_add(changes as u64, Relaxed);
        self.largest_batch.fetch_max(changes, Relaxed);
    }
}
