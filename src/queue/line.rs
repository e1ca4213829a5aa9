//! [`Line`]: the callers who wait for one key, in the order of entry. Knows nothing of databases.
//!
//! In a line stand callers who want a turn of their own, and callers with a job that any of them
//! may do. The caller at the head of the line gets a turn: it first acquires (its lock, at the
//! server), then holds. One caller at a time acquires, so that they come to the server in their
//! order; and while one holds the next may already acquire, so that it waits where the lock is. A
//! caller that begins to hold for a job takes the jobs at the head of the line along. As long as
//! such a batch is held no other one acquires: it would have the lock before the callers of the
//! batch can come again, and so be a small one between two large ones.
//!
//! Each method is one step, taken under the lock of [`Lines`](super::lines::Lines). The tests
//! replace a step by a wrong one, to see that their laws find it.

use std::collections::VecDeque;

use super::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The line for a key.
pub(in crate::queue) struct Line<J> {
    pub(in crate::queue) waiting: VecDeque<Arc<Waiter<J>>>,
    acquiring: bool,
    holding: usize,
    batch_is_held: bool,
}

/// A caller in a line.
pub(in crate::queue) struct Waiter<J> {
    pub(in crate::queue) place: Mutex<Place<J>>,
    pub(in crate::queue) moved: Condvar,
}

/// Where a caller stands.
pub(in crate::queue) enum Place<J> {
    InLine(Option<J>),
    /// It is this caller's turn, to do its own job or none.
    Turn(Option<J>),
    /// Another caller does the job.
    Taken,
    Served,
}

// Lock order: first the lines (`Lines::by_key`), then a single place. So no caller may enter the
// lock of the lines while it has the lock of a place.
pub(in crate::queue) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is kept under these locks is ever left half done by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<J> Waiter<J> {
    pub(in crate::queue) fn new(job: Option<J>) -> Self {
        Self {
            place: Mutex::new(Place::InLine(job)),
            moved: Condvar::new(),
        }
    }

    fn becomes(&self, place: Place<J>) {
        // `notify_one`: only the caller itself waits for its place to change. The lock is free by
        // then, so the caller that wakes does not have to wait for it.
        *lock(&self.place) = place;
        self.moved.notify_one();
    }

    pub(in crate::queue) fn has_job(&self) -> bool {
        matches!(&*lock(&self.place), Place::InLine(Some(_)))
    }
}

impl<J> Default for Line<J> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            acquiring: false,
            holding: 0,
            batch_is_held: false,
        }
    }
}

impl<J> Line<J> {
    pub(in crate::queue) fn is_over(&self) -> bool {
        self.waiting.is_empty() && !self.acquiring && self.holding == 0
    }

    /// Gives the next one in the line its turn, if there is one to give.
    pub(in crate::queue) fn call_next(&mut self, width: usize) {
        if self.acquiring || self.holding >= width {
            return;
        }
        // A caller that comes for a turn of its own, and not with a job, may acquire meanwhile.
        if self.batch_is_held && self.waiting.front().is_some_and(|next| next.has_job()) {
            return;
        }
        if let Some(waiter) = self.waiting.pop_front() {
            // Before the caller knows of its turn. From here on the turn is over only when `Turn`
            // is dropped.
            self.acquiring = true;
            let mut place = lock(&waiter.place);
            if let Place::InLine(job) = &mut *place {
                *place = Place::Turn(job.take());
            }
            // The caller that wakes needs the lock.
            drop(place);
            waiter.moved.notify_one();
        }
    }

    /// The turn of a caller holds from now on, for a batch of jobs or for itself.
    pub(in crate::queue) fn begin_to_hold(&mut self, batch: bool) {
        self.acquiring = false;
        self.holding += 1;
        self.batch_is_held |= batch;
    }

    /// A turn that has not begun to hold is over.
    pub(in crate::queue) fn end_acquiring(&mut self) {
        self.acquiring = false;
    }

    /// A turn that holds is over.
    pub(in crate::queue) fn end_holding(&mut self, batch: bool) {
        self.holding -= 1;
        // With two turns for a key, the one that ends need not be the one with the batch.
        self.batch_is_held &= !batch;
    }

    /// The jobs at the head of the line, up to the first caller that wants a turn of its own.
    pub(in crate::queue) fn take_jobs(&mut self, most: usize) -> Vec<Taken<J>> {
        let mut taken = Vec::new();
        while taken.len() < most && self.waiting.front().is_some_and(|next| next.has_job()) {
            let Some(waiter) = self.waiting.pop_front() else {
                break;
            };
            let place = std::mem::replace(&mut *lock(&waiter.place), Place::Taken);
            // It is in the line, and a caller in the line changes its place only under the lock of
            // the lines.
            let Place::InLine(job) = place else { continue };
            taken.push(Taken {
                waiter,
                job,
                is_back: false,
            });
        }
        taken
    }

    /// Puts jobs that were not begun back to the head of the line.
    pub(in crate::queue) fn put_back(&mut self, jobs: Vec<Taken<J>>) {
        // From the last one on: at the head of the line they stand in their old order.
        for mut taken in jobs.into_iter().rev() {
            let job = taken.job.take();
            self.waiting.push_front(Arc::clone(&taken.waiter));
            // Before it is dropped, which would tell the caller that the job is done.
            taken.is_back = true;
            taken.waiter.becomes(Place::InLine(job));
        }
    }

    /// Removes a caller that gave up. `false` if it is in the line no longer.
    pub(in crate::queue) fn leave(&mut self, waiter: &Arc<Waiter<J>>) -> bool {
        let mut waiting = self.waiting.iter();
        let at = waiting.position(|other| Arc::ptr_eq(other, waiter));
        at.and_then(|at| self.waiting.remove(at)).is_some()
    }
}

/// A job of a caller that waits for it. To drop it tells the caller that it is done.
pub(in crate::queue) struct Taken<J> {
    pub(in crate::queue) waiter: Arc<Waiter<J>>,
    /// `None` once it was taken out.
    pub(in crate::queue) job: Option<J>,
    is_back: bool,
}

impl<J> Drop for Taken<J> {
    fn drop(&mut self) {
        if !self.is_back {
            self.waiter.becomes(Place::Served);
        }
    }
}
