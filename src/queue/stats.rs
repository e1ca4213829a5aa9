//! [`QueueStats`]: what a queue has done.

use std::sync::{Mutex, PoisonError};
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

#[derive(Debug, Default)]
pub(super) struct Counter(Mutex<QueueStats>);

impl Counter {
    pub(super) fn read(&self, waiting: usize) -> QueueStats {
        QueueStats {
            waiting,
            ..*self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    fn change(&self, act: impl FnOnce(&mut QueueStats)) {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn turned_away(&self) {
        self.change(|stats| stats.turned_away += 1);
    }

    pub(super) fn waited(&self, time: Duration) {
        self.change(|stats| {
            stats.served += 1;
            stats.waited += time;
            stats.longest_wait = stats.longest_wait.max(time);
        });
    }

    pub(super) fn held(&self, time: Duration) {
        self.change(|stats| {
            stats.held += time;
            stats.longest_hold = stats.longest_hold.max(time);
        });
    }

    /// A batch of so many changes, the leader's own among them.
    pub(super) fn batch(&self, changes: usize) {
        self.change(|stats| {
            stats.batches += 1;
            stats.changes += changes as u64;
            stats.largest_batch = stats.largest_batch.max(changes);
        });
    }
}
