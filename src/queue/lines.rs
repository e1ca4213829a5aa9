//! [`Lines`]: a [`Line`] for each key, and the callers that enter it, wait, and have their turn.

use std::collections::hash_map::Entry;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use super::line::{lock, Line, Place, Taken, Waiter};
use super::sync::{wait_until, Arc, Mutex};

/// The lines for all keys. A key that no caller waits for has none.
pub(super) struct Lines<K, J> {
    by_key: Mutex<HashMap<K, Line<J>>>,
    /// How many turns there are at once for a key.
    width: usize,
    /// How many may stand in a line.
    longest: usize,
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
        let waiter = Arc::new(Waiter::new(job));
        let mut lines = lock(&self.by_key);
        let line = lines.entry(key.clone()).or_default();
        if line.waiting.len() >= self.longest {
            // A line that is full has callers in it, so none was made for nothing just now.
            return Err(Full);
        }
        line.waiting.push_back(Arc::clone(&waiter));
        // In the step that enters the line: if a turn ended in between, no later event would call
        // this caller.
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
        // In the same step: a caller that enters between the two would stand in a line that is not
        // there any more.
        if line.get().is_over() {
            line.remove();
        }
        Some(result)
    }
}

/// A place in a line. To drop it is to leave.
pub(super) struct Ticket<'l, K: Eq + Hash + Clone, J> {
    lines: &'l Lines<K, J>,
    key: K,
    waiter: Arc<Waiter<J>>,
}

/// What a wait came to.
pub(super) enum Waited<'l, K: Eq + Hash + Clone, J> {
    /// It is this caller's turn; here is its job, if it came with one.
    Turn(Turn<'l, K, J>, Option<J>),
    /// Another caller has done the job.
    Served,
    /// The time was over first. No caller will do the job.
    GaveUp,
}

impl<'l, K: Eq + Hash + Clone, J> Ticket<'l, K, J> {
    /// Waits for the turn, or until the job is done. A job that another caller has begun is waited
    /// for even when the time is over.
    pub(super) fn wait(self, deadline: Option<Instant>) -> Waited<'l, K, J> {
        loop {
            let mut place = lock(&self.waiter.place);
            let deadline = match &mut *place {
                Place::Turn(job) => {
                    let job = job.take();
                    // The turn goes to the caller. `Served` keeps the `Drop` of this ticket from
                    // giving it up.
                    *place = Place::Served;
                    drop(place);
                    return Waited::Turn(self.turn(), job);
                }
                Place::Served => return Waited::Served,
                // A batch may commit with this job in it, so the answer is waited for without a
                // limit.
                Place::Taken => None,
                Place::InLine(_) => deadline,
            };
            let (place, too_late) = wait_until(&self.waiter.moved, place, deadline);
            // Lock order: `leave` takes the lock of the lines.
            drop(place);
            // A caller that has left under the lock of the lines can't be called or taken any more.
            // If it was too late for that, the next round finds its turn, or waits for its job.
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
        let left = self
            .lines
            .with_line(&self.key, |line| line.leave(&self.waiter));
        left == Some(true)
    }
}

impl<K: Eq + Hash + Clone, J> Drop for Ticket<'_, K, J> {
    fn drop(&mut self) {
        if matches!(&*lock(&self.waiter.place), Place::Taken | Place::Served) || self.leave() {
            return;
        }
        // It is not in the line any more: it gave up, or a batch took it, or it was given a turn.
        let place = std::mem::replace(&mut *lock(&self.waiter.place), Place::Served);
        if matches!(place, Place::Turn(_)) {
            // It was called, and will not come: the next one's turn.
            drop(self.turn());
        }
    }
}

/// A turn: it acquires, and then holds. To drop it calls the next one.
pub(super) struct Turn<'l, K: Eq + Hash + Clone, J> {
    lines: &'l Lines<K, J>,
    key: K,
    holds: bool,
    holds_batch: bool,
}

impl<K: Eq + Hash + Clone, J> Turn<'_, K, J> {
    /// The lock is acquired, for a turn of one's own or for a batch of jobs, which takes up to this
    /// many along. Lets the next one acquire.
    pub(super) fn acquired(&mut self, batch: Option<usize>) -> Vec<Taken<J>> {
        self.holds = true;
        self.holds_batch = batch.is_some();
        let width = self.lines.width;
        let jobs = self.lines.with_line(&self.key, |line| {
            line.begin_to_hold(batch.is_some());
            // Before the next one is called, or that could be one of these jobs.
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
            line.put_back(jobs);
            line.call_next(width);
        });
    }
}

impl<K: Eq + Hash + Clone, J> Drop for Turn<'_, K, J> {
    fn drop(&mut self) {
        let width = self.lines.width;
        self.lines.with_line(&self.key, |line| {
            // Also when the closure panics: the callers behind it must have their turns.
            if self.holds {
                line.end_holding(self.holds_batch);
            } else {
                line.end_acquiring();
            }
            line.call_next(width);
        });
    }
}
