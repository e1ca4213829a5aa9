//! [`Lines`]: who waits for what, first come, first served. Knows nothing of databases.
//!
//! In the line for a key stand callers who want a turn of their own, and callers with a job that
//! anybody may do for them. Whoever comes to the head of the line gets a turn. A turn first acquires
//! (its lock, at the server), then holds. One at a time acquires, so that they come to the server in
//! their order; and while one holds the next may already acquire, so that it waits where the lock is.
//! Whoever begins to hold for a job takes the jobs at the head of the line along. As long as such a
//! batch is held no other one acquires: it would have the lock before those of the batch can come
//! again, and so be a small one between two large ones.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Instant;

use super::sync::{makes, wait_until, Arc, Condvar, Mistake, Mutex, MutexGuard, PoisonError};

/// The lines for all keys. A key that nobody waits for has none.
pub(super) struct Lines<K, J> {
    by_key: Mutex<HashMap<K, Line<J>>>,
    /// How many turns there are at once for a key.
    width: usize,
    /// How many may stand in a line.
    longest: usize,
}

struct Line<J> {
    waiting: VecDeque<Arc<Waiter<J>>>,
    acquiring: bool,
    holding: usize,
    batch_is_held: bool,
}

struct Waiter<J> {
    place: Mutex<Place<J>>,
    moved: Condvar,
}

enum Place<J> {
    InLine(Option<J>),
    /// It is this caller's turn, to do its own job or none.
    Turn(Option<J>),
    /// Somebody does the job.
    Taken,
    Served,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is kept under these locks is ever left half done by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<J> Waiter<J> {
    fn becomes(&self, place: Place<J>) {
        *lock(&self.place) = place;
        self.moved.notify_one();
    }

    fn has_job(&self) -> bool {
        matches!(&*lock(&self.place), Place::InLine(Some(_)))
    }
}

impl<J> Line<J> {
    fn is_over(&self) -> bool {
        self.waiting.is_empty() && !self.acquiring && self.holding == 0
    }

    /// Gives the next one in the line its turn, if there is one to give.
    fn call_next(&mut self, width: usize) {
        let width = width + usize::from(makes(Mistake::TooManyTurns));
        if self.acquiring || self.holding >= width {
            return;
        }
        if self.batch_is_held && self.waiting.front().is_some_and(|next| next.has_job()) {
            return;
        }
        let next = if makes(Mistake::LastComesFirst) {
            self.waiting.pop_back()
        } else {
            self.waiting.pop_front()
        };
        if let Some(waiter) = next {
            self.acquiring = true;
            let mut place = lock(&waiter.place);
            if let Place::InLine(job) = &mut *place {
                *place = Place::Turn(job.take());
            }
            drop(place);
            waiter.moved.notify_one();
        }
    }

    /// The jobs at the head of the line, up to the first who wants a turn of its own.
    fn take_jobs(&mut self, most: usize) -> Vec<Taken<J>> {
        let mut taken = Vec::new();
        let mut at = 0;
        while taken.len() < most && at < self.waiting.len() {
            if !self.waiting[at].has_job() {
                if makes(Mistake::JobsOvertake) {
                    at += 1;
                    continue;
                }
                break;
            }
            let Some(waiter) = self.waiting.remove(at) else {
                break;
            };
            let place = std::mem::replace(&mut *lock(&waiter.place), Place::Taken);
            let Place::InLine(job) = place else { continue };
            taken.push(Taken {
                waiter,
                job,
                is_back: false,
            });
        }
        taken
    }
}

/// The line was as long as it may be.
#[derive(Debug)]
pub(super) struct Full;

impl<K: Eq + Hash + Clone, J> Lines<K, J> {
    /// With so many turns at once for a key (one or two), and no more callers in a line than that.
    pub(super) fn new(width: usize, longest: usize) -> Self {
        Self {
            by_key: Mutex::new(HashMap::new()),
            width,
            longest,
        }
    }

    /// Stands in line, with a job or for a turn of one's own.
    pub(super) fn enter(&self, key: K, job: Option<J>) -> Result<Ticket<'_, K, J>, Full> {
        let waiter = Arc::new(Waiter {
            place: Mutex::new(Place::InLine(job)),
            moved: Condvar::new(),
        });
        let mut lines = lock(&self.by_key);
        let line = lines.entry(key.clone()).or_insert_with(|| Line {
            waiting: VecDeque::new(),
            acquiring: false,
            holding: 0,
            batch_is_held: false,
        });
        if line.waiting.len() >= self.longest {
            return Err(Full);
        }
        line.waiting.push_back(Arc::clone(&waiter));
        line.call_next(self.width);
        Ok(Ticket {
            lines: self,
            key,
            waiter,
        })
    }

    /// How many stand in line, for all keys.
    #[cfg_attr(test, allow(dead_code))]
    pub(super) fn waiting(&self) -> usize {
        let lines = lock(&self.by_key);
        lines.values().map(|line| line.waiting.len()).sum()
    }

    /// How many keys have a line.
    #[cfg(test)]
    #[allow(dead_code, reason = "only of the lines under random schedules")]
    pub(super) fn keys(&self) -> usize {
        lock(&self.by_key).len()
    }

    fn with_line<R>(&self, key: &K, act: impl FnOnce(&mut Line<J>) -> R) -> Option<R> {
        let mut lines = lock(&self.by_key);
        let Entry::Occupied(mut line) = lines.entry(key.clone()) else {
            return None;
        };
        let result = act(line.get_mut());
        if line.get().is_over() {
            line.remove();
        }
        Some(result)
    }
}

/// A place in a line. Who drops it has left.
pub(super) struct Ticket<'l, K: Eq + Hash + Clone, J> {
    lines: &'l Lines<K, J>,
    key: K,
    waiter: Arc<Waiter<J>>,
}

/// What a wait came to.
pub(super) enum Waited<'l, K: Eq + Hash + Clone, J> {
    /// It is this caller's turn; here is its job, if it came with one.
    Turn(Turn<'l, K, J>, Option<J>),
    /// Somebody has done the job.
    Served,
    /// The time was over first. Nobody will do the job.
    GaveUp,
}

impl<'l, K: Eq + Hash + Clone, J> Ticket<'l, K, J> {
    /// Waits for the turn, or until the job is done. A job that somebody has begun is waited for
    /// even when the time is over.
    pub(super) fn wait(self, deadline: Option<Instant>) -> Waited<'l, K, J> {
        loop {
            let mut place = lock(&self.waiter.place);
            let deadline = match &mut *place {
                Place::Turn(job) => {
                    let job = job.take();
                    *place = Place::Served;
                    drop(place);
                    return Waited::Turn(self.turn(), job);
                }
                Place::Served => return Waited::Served,
                Place::Taken => None,
                Place::InLine(_) => deadline,
            };
            let (place, too_late) = wait_until(&self.waiter.moved, place, deadline);
            drop(place);
            if too_late && self.leave() {
                return Waited::GaveUp;
            }
        }
    }

    fn turn(&self) -> Turn<'l, K, J> {
        Turn {
            lines: self.lines,
            key: self.key.clone(),
            holds: false,
            holds_batch: false,
        }
    }

    /// Leaves the line. `false` if it was too late for that.
    fn leave(&self) -> bool {
        if makes(Mistake::LeaverStays) {
            return true;
        }
        let left = self.lines.with_line(&self.key, |line| {
            let mut waiting = line.waiting.iter();
            let at = waiting.position(|waiter| Arc::ptr_eq(waiter, &self.waiter));
            at.and_then(|at| line.waiting.remove(at)).is_some()
        });
        left == Some(true)
    }
}

impl<K: Eq + Hash + Clone, J> Drop for Ticket<'_, K, J> {
    fn drop(&mut self) {
        if matches!(&*lock(&self.waiter.place), Place::Taken | Place::Served) || self.leave() {
            return;
        }
        let place = std::mem::replace(&mut *lock(&self.waiter.place), Place::Served);
        if matches!(place, Place::Turn(_)) {
            // It was called, and will not come: the next one's turn.
            drop(self.turn());
        }
    }
}

/// A turn: it acquires, and then holds. Who drops it calls the next one.
pub(super) struct Turn<'l, K: Eq + Hash + Clone, J> {
    lines: &'l Lines<K, J>,
    key: K,
    holds: bool,
    holds_batch: bool,
}

impl<K: Eq + Hash + Clone, J> Turn<'_, K, J> {
    /// The lock is had, for a turn of one's own or for a batch of jobs, which takes up to so many
    /// along. Lets the next one acquire.
    pub(super) fn acquired(&mut self, batch: Option<usize>) -> Vec<Taken<J>> {
        self.holds = true;
        self.holds_batch = batch.is_some();
        let width = self.lines.width;
        let jobs = self.lines.with_line(&self.key, |line| {
            line.acquiring = false;
            line.holding += 1;
            line.batch_is_held |= batch.is_some();
            let jobs = line.take_jobs(batch.unwrap_or(0));
            line.call_next(width);
            jobs
        });
        jobs.unwrap_or_default()
    }

    /// Puts jobs that were not begun back to the head of the line.
    pub(super) fn put_back(&self, jobs: Vec<Taken<J>>) {
        let width = self.lines.width;
        self.lines.with_line(&self.key, |line| {
            for mut taken in jobs.into_iter().rev() {
                let job = taken.job.take();
                line.waiting.push_front(Arc::clone(&taken.waiter));
                taken.is_back = true;
                taken.waiter.becomes(Place::InLine(job));
            }
            line.call_next(width);
        });
    }
}

impl<K: Eq + Hash + Clone, J> Drop for Turn<'_, K, J> {
    fn drop(&mut self) {
        let width = self.lines.width;
        self.lines.with_line(&self.key, |line| {
            if self.holds {
                line.holding -= 1;
                line.batch_is_held &= !self.holds_batch;
            } else {
                line.acquiring = false;
            }
            if !makes(Mistake::NextIsNotCalled) {
                line.call_next(width);
            }
        });
    }
}

/// A job of somebody who waits for it. Who drops it has done it.
pub(super) struct Taken<J> {
    waiter: Arc<Waiter<J>>,
    /// `None` once it was taken out.
    pub(super) job: Option<J>,
    is_back: bool,
}

impl<J> Drop for Taken<J> {
    fn drop(&mut self) {
        if !self.is_back && !makes(Mistake::ServedIsNotTold) {
            self.waiter.becomes(Place::Served);
        }
    }
}
