//! [`Line`]: the callers who wait for one key, in the order of entry. Knows nothing of databases.
//!
//! In a line stand callers that want a turn of their own, and callers with a job that any of them
//! may do. The caller at the head of the line gets a turn: it first acquires (its lock, at the
//! server), then holds. One caller at a time acquires, so that they come to the server in their
//! order; and while one holds the next may already acquire, so that it waits where the lock is. A
//! caller that holds for a batch takes the jobs at the head of the line, one by one. While a batch
//! is held no other caller with a job acquires: it would have the lock before the callers of the
//! batch can come again, and so lead a small batch between two large ones.
//!
//! Each method is one step, taken under the lock of [`Lines`](super::lines::Lines). The tests
//! replace a step by a wrong one, to see that their laws find it.

use std::collections::VecDeque;
use std::mem;

use super::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The line for a key.
pub(in crate::queue) struct Line<J, T> {
    pub(in crate::queue) waiting: VecDeque<Standing<J, T>>,
    entered: u64,
    /// The number of the caller that acquires.
    pub(in crate::queue) acquiring: Option<u64>,
    holding: usize,
    batch_is_held: bool,
    /// The turn that holds is not to be waited for at the server.
    is_alone: bool,
    /// How many jobs at the head of the line failed together. At least one of them is to blame.
    suspects: usize,
    /// Since jobs were last suspected, some have passed.
    has_passed: bool,
}

/// A caller in the line.
pub(in crate::queue) struct Standing<J, T> {
    /// In the order of entry.
    pub(in crate::queue) number: u64,
    pub(in crate::queue) has_job: bool,
    pub(in crate::queue) waiter: Arc<Waiter<J, T>>,
}

/// A caller, and where it stands.
pub(in crate::queue) struct Waiter<J, T> {
    pub(in crate::queue) place: Mutex<Place<J, T>>,
    pub(in crate::queue) moved: Condvar,
}

/// Where a caller stands.
pub(in crate::queue) enum Place<J, T> {
    InLine(Option<J>),
    /// It is this caller's turn, to do its own job or none.
    Turn {
        job: Option<J>,
        /// What the turn before has left.
        kept: Option<T>,
    },
    /// Another caller has the job.
    Taken {
        /// The caller's time is over. If the job comes back, the caller gives up.
        overdue: bool,
    },
    Served,
}

// Lock order: first the lines (`Lines::by_key`), then a single place. So no caller may enter the
// lock of the lines while it has the lock of a place.
pub(in crate::queue) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is kept under these locks is ever left half done by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<J, T> Waiter<J, T> {
    pub(in crate::queue) fn new(job: Option<J>) -> Self {
        Self {
            place: Mutex::new(Place::InLine(job)),
            moved: Condvar::new(),
        }
    }
}

impl<J, T> Default for Line<J, T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            entered: 0,
            acquiring: None,
            holding: 0,
            batch_is_held: false,
            is_alone: false,
            suspects: 0,
            has_passed: false,
        }
    }
}

impl<J, T> Line<J, T> {
    pub(in crate::queue) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.acquiring.is_none() && self.holding == 0
    }

    pub(in crate::queue) fn enter(&mut self, waiter: Arc<Waiter<J, T>>, has_job: bool) {
        let number = self.entered;
        self.entered += 1;
        self.waiting.push_back(Standing {
            number,
            has_job,
            waiter,
        });
    }

    /// Gives the next caller in the line its turn, if there is one to give, and `kept` with it.
    /// Returns what was not passed on.
    pub(in crate::queue) fn call_next(&mut self, width: usize, kept: Option<T>) -> Option<T> {
        if self.acquiring.is_some() || self.holding >= width || self.is_alone {
            return kept;
        }
        // A caller that comes for a turn of its own, and not with a job, may acquire meanwhile.
        if self.batch_is_held && self.waiting.front().is_some_and(|next| next.has_job) {
            return kept;
        }
        let Some(next) = self.waiting.pop_front() else {
            return kept;
        };
        // Before the caller knows of its turn. From here on the turn is over only when `Turn`
        // is dropped.
        self.acquiring = Some(next.number);
        let mut place = lock(&next.waiter.place);
        if let Place::InLine(job) = &mut *place {
            let job = job.take();
            *place = Place::Turn { job, kept };
        }
        // The caller that wakes needs the lock.
        drop(place);
        next.waiter.moved.notify_one();
        None
    }

    /// The turn of a caller holds from now on, for a batch of jobs or for itself.
    pub(in crate::queue) fn begin_to_hold(&mut self, batch: bool) {
        self.acquiring = None;
        self.holding += 1;
        self.batch_is_held |= batch;
    }

    /// Whether no other turn holds.
    pub(in crate::queue) fn is_free(&self) -> bool {
        self.holding == 0
    }

    /// A turn holds from now on for a batch of jobs, without a lock at the server: no other one may
    /// acquire meanwhile, or the batch would wait for that and then miss.
    pub(in crate::queue) fn begin_alone(&mut self) {
        self.begin_to_hold(true);
        self.is_alone = true;
    }

    /// A turn that has not begun to hold is over.
    pub(in crate::queue) fn end_acquiring(&mut self) {
        self.acquiring = None;
    }

    /// A turn that holds is over.
    pub(in crate::queue) fn end_holding(&mut self, batch: bool) {
        self.holding -= 1;
        // With two turns for a key, the one that ends need not be the one with the batch.
        self.batch_is_held &= !batch;
        self.is_alone = false;
    }

    /// The job at the head of the line, for a batch that has `taken` jobs already.
    pub(in crate::queue) fn take_next(&mut self, taken: usize) -> Option<Taken<J, T>> {
        if self.suspects > 0 && taken >= (self.suspects / 2).max(1) {
            return None;
        }
        let next = self.waiting.front()?;
        // A caller that acquires for itself has come before the jobs behind it.
        let overtakes = self.acquiring.is_some_and(|number| number < next.number);
        if overtakes || !next.has_job {
            return None;
        }
        let next = self.waiting.pop_front()?;
        // The caller sleeps on: it has nothing to do before its answer.
        let taken = Place::Taken { overdue: false };
        let place = mem::replace(&mut *lock(&next.waiter.place), taken);
        // It is in the line, and a caller in the line changes its place only under the lock of
        // the lines.
        let Place::InLine(job) = place else {
            return None;
        };
        Some(Taken {
            waiter: next.waiter,
            number: next.number,
            job,
            is_back: false,
        })
    }

    /// Gives jobs back to the head of the line, in their order.
    pub(in crate::queue) fn give_back(&mut self, jobs: Vec<Taken<J, T>>) {
        for mut taken in jobs.into_iter().rev() {
            // Before it is dropped, which would tell the caller that the job is done.
            taken.is_back = true;
            let waiter = Arc::clone(&taken.waiter);
            let in_line = Place::InLine(taken.job.take());
            let was = mem::replace(&mut *lock(&waiter.place), in_line);
            // It waits for its answer without a limit, and must look at the clock again.
            if matches!(was, Place::Taken { overdue: true }) {
                waiter.moved.notify_one();
            }
            self.waiting.push_front(Standing {
                number: taken.number,
                has_job: true,
                waiter,
            });
        }
    }

    /// This number of jobs failed together, and is at the head of the line again; or a single job
    /// failed, and is gone.
    ///
    /// The next batch has half of them, so that a few batches find the one to blame. Once it is
    /// found the next batch takes all that wait. But if no job has passed meanwhile, the next ones
    /// may all be to blame, so they are tried one by one until one passes.
    pub(in crate::queue) fn refused(&mut self, jobs: usize) {
        let were_suspected = self.suspects > 0;
        self.has_passed &= were_suspected;
        self.suspects = if jobs > 1 {
            jobs
        } else {
            usize::from(were_suspected && !self.has_passed)
        };
    }

    /// This number of jobs is not to blame.
    pub(in crate::queue) fn passed(&mut self, jobs: usize) {
        self.suspects = self.suspects.saturating_sub(jobs);
        self.has_passed = true;
    }

    /// Removes a caller that gave up. `false` if it is in the line no longer.
    pub(in crate::queue) fn leave(&mut self, waiter: &Arc<Waiter<J, T>>) -> bool {
        let mut waiting = self.waiting.iter();
        let at = waiting.position(|other| Arc::ptr_eq(&other.waiter, waiter));
        at.and_then(|at| self.waiting.remove(at)).is_some()
    }
}

/// A job of a caller that waits for it. To drop it tells the caller that it is done.
pub(in crate::queue) struct Taken<J, T> {
    waiter: Arc<Waiter<J, T>>,
    number: u64,
    /// `None` once it was taken out.
    pub(in crate::queue) job: Option<J>,
    is_back: bool,
}

impl<J, T> Taken<J, T> {
    pub(in crate::queue) fn job(&mut self) -> Option<&mut J> {
        self.job.as_mut()
    }

    /// Does the last of the job, and then tells its caller.
    pub(in crate::queue) fn finish(mut self, last: impl FnOnce(J)) {
        if let Some(job) = self.job.take() {
            last(job);
        }
    }
}

impl<J, T> Drop for Taken<J, T> {
    fn drop(&mut self) {
        if self.is_back {
            return;
        }
        // The lock is free when the caller wakes, so that it does not have to wait for it.
        *lock(&self.waiter.place) = Place::Served;
        // `notify_one`: only the caller itself waits for its place to change.
        self.waiter.moved.notify_one();
    }
}
