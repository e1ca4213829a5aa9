//! [`Lines`]: a [`Line`] for each key, and the callers that enter it, wait, and have their turn.

use std::collections::hash_map::Entry;
use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::line::{lock, Line, Place, Taken, Waiter};
use super::sync::{wait_until, Arc, AtomicBool, Mutex};

/// The lines for all keys. A key that no caller waits for has none.
pub(super) struct Lines<K, J, T> {
    by_key: Mutex<HashMap<K, Line<J, T>>>,
    /// How many turns there are at once for a key.
    width: usize,
    /// From now on there is one.
    is_narrow: AtomicBool,
    /// How many may stand in a line.
    longest: usize,
}

/// The line was as long as it may be.
#[derive(Debug)]
pub(super) struct Full;

impl<K: Eq + Hash + Clone, J, T> Lines<K, J, T> {
    /// With `width` turns at once for a key (one or two), and no more callers in a line than
    /// `longest`.
    pub(super) fn new(width: usize, longest: usize) -> Self {
        Self {
            by_key: Mutex::new(HashMap::new()),
            width,
            is_narrow: AtomicBool::new(width == 1),
            longest,
        }
    }

    /// From now on there is one turn at once for a key.
    #[cfg_attr(test, allow(dead_code))]
    pub(super) fn narrow(&self) {
        // Relaxed: no other memory depends on it, and a turn too many does no harm.
        self.is_narrow.store(true, Relaxed);
    }

    pub(super) fn is_wide(&self) -> bool {
        !self.is_narrow.load(Relaxed)
    }

    fn width(&self) -> usize {
        if self.is_wide() {
            self.width
        } else {
            1
        }
    }

    /// Stands in line, with a job or for a turn of one's own.
    pub(super) fn enter(&self, key: K, job: Option<J>) -> Result<Ticket<'_, K, J, T>, Full> {
        let has_job = job.is_some();
        let waiter = Arc::new(Waiter::new(job));
        let mut lines = lock(&self.by_key);
        let line = lines.entry(key.clone()).or_default();
        if line.waiting.len() >= self.longest {
            // A line that is full has callers in it, so none was made for nothing just now.
            return Err(Full);
        }
        line.enter(Arc::clone(&waiter), has_job);
        // In the step that enters the line: if a turn ended in between, no later event would call
        // this caller.
        line.call_next(self.width(), None);
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

    fn with_line<R>(&self, key: &K, act: impl FnOnce(&mut Line<J, T>) -> R) -> Option<R> {
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
pub(super) struct Ticket<'l, K: Eq + Hash + Clone, J, T> {
    lines: &'l Lines<K, J, T>,
    key: K,
    waiter: Arc<Waiter<J, T>>,
}

/// What a wait came to.
pub(super) enum Waited<'l, K: Eq + Hash + Clone, J, T> {
    /// It is this caller's turn; here is its job, if it came with one.
    Turn(Turn<'l, K, J, T>, Option<J>),
    /// Another caller has done the job.
    Served,
    /// The time was over first. No caller will do the job.
    GaveUp,
}

impl<'l, K: Eq + Hash + Clone, J, T> Ticket<'l, K, J, T> {
    /// Waits for the turn, or until the job is done. A job that another caller has taken is waited
    /// for even when the time is over, until it is done or comes back.
    pub(super) fn wait(self, deadline: Option<Instant>) -> Waited<'l, K, J, T> {
        loop {
            let mut place = lock(&self.waiter.place);
            let limit = match &mut *place {
                Place::Turn { job, kept } => {
                    let (job, kept) = (job.take(), kept.take());
                    // The turn goes to the caller. `Served` keeps the `Drop` of this ticket from
                    // giving it up.
                    *place = Place::Served;
                    drop(place);
                    return Waited::Turn(self.turn(kept), job);
                }
                Place::Served => return Waited::Served,
                // A batch may commit with this job in it.
                Place::Taken { overdue: true } => None,
                Place::Taken { overdue: false } | Place::InLine(_) => deadline,
            };
            let (mut place, too_late) = wait_until(&self.waiter.moved, place, limit);
            if !too_late {
                continue;
            }
            if let Place::Taken { overdue } = &mut *place {
                *overdue = true;
                continue;
            }
            // Lock order: `leave` takes the lock of the lines.
            drop(place);
            // A caller that has left under the lock of the lines can't be called or taken any more.
            // If it was too late for that, the next round finds its turn, or waits for its job.
            if self.leave() {
                return Waited::GaveUp;
            }
        }
    }

    fn turn(&self, kept: Option<T>) -> Turn<'l, K, J, T> {
        Turn {
            lines: self.lines,
            key: self.key.clone(),
            kept,
            state: State::Acquires,
            passed: 0,
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

impl<K: Eq + Hash + Clone, J, T> Drop for Ticket<'_, K, J, T> {
    fn drop(&mut self) {
        let is_over = |place: &Place<J, T>| matches!(place, Place::Taken { .. } | Place::Served);
        if is_over(&lock(&self.waiter.place)) || self.leave() {
            return;
        }
        // It is not in the line any more: it gave up, or a batch took it, or it was given a turn.
        let place = mem::replace(&mut *lock(&self.waiter.place), Place::Served);
        if let Place::Turn { kept, .. } = place {
            // It was called, and will not come: the next one's turn.
            self.turn(None).end(kept);
        }
    }
}

/// A turn: it acquires, and then holds. To drop it calls the next one.
pub(super) struct Turn<'l, K: Eq + Hash + Clone, J, T> {
    lines: &'l Lines<K, J, T>,
    key: K,
    kept: Option<T>,
    state: State,
    passed: usize,
}

#[derive(Clone, Copy)]
enum State {
    Acquires,
    Holds { batch: bool, alone: bool },
    Over,
}

impl<K: Eq + Hash + Clone, J, T> Turn<'_, K, J, T> {
    /// What the turn before has [left](Self::leave) for this one.
    pub(super) fn kept(&mut self) -> Option<T> {
        self.kept.take()
    }

    /// The lock is acquired, for a turn of one's own or for a batch of jobs. Lets a caller acquire
    /// that comes next and wants a turn of its own. A turn that holds goes on as it is.
    pub(super) fn acquired(&mut self, batch: bool) {
        if !matches!(self.state, State::Acquires) {
            return;
        }
        self.state = State::Holds {
            batch,
            alone: false,
        };
        let width = self.lines.width();
        self.lines.with_line(&self.key, |line| {
            line.begin_to_hold(batch);
            line.call_next(width, None);
        });
    }

    pub(super) fn key(&self) -> &K {
        &self.key
    }

    /// Whether no other turn holds.
    pub(super) fn is_free(&self) -> bool {
        let is_free = self.lines.with_line(&self.key, |line| line.is_free());
        is_free == Some(true)
    }

    /// Whether it [holds alone](Self::holds_alone).
    pub(super) fn is_alone(&self) -> bool {
        matches!(self.state, State::Holds { alone: true, .. })
    }

    /// Holds for a batch of jobs without a lock at the server. No other one acquires meanwhile.
    pub(super) fn holds_alone(&mut self) {
        if matches!(self.state, State::Acquires) {
            self.state = State::Holds {
                batch: true,
                alone: true,
            };
            self.lines.with_line(&self.key, |line| line.begin_alone());
        }
    }

    /// The job at the head of the line, for a batch that has `taken` jobs already. `None` if the
    /// batch ends here: no caller waits, or the next one wants a turn of its own, or the batch is
    /// as large as it may be while a job is looked for that the database refuses.
    pub(super) fn take_next(&self, taken: usize) -> Option<Taken<J, T>> {
        let width = self.lines.width();
        let taken = self.lines.with_line(&self.key, |line| {
            let taken = line.take_next(taken);
            // The next one may be a caller that wants a turn of its own.
            line.call_next(width, None);
            taken
        });
        taken.flatten()
    }

    /// Gives jobs back to the head of the line. Their callers can give up again.
    pub(super) fn give_back(&self, jobs: Vec<Taken<J, T>>) {
        self.lines.with_line(&self.key, |line| line.give_back(jobs));
    }

    /// The batch failed by one of its `jobs`, and no one knows by which; or by the single one that
    /// it had. Behind [`give_back`](Self::give_back).
    pub(super) fn refused(&self, jobs: usize) {
        self.lines.with_line(&self.key, |line| line.refused(jobs));
    }

    /// This number of `jobs` is done, and the turn with it.
    pub(super) fn passed(&mut self, jobs: usize) {
        // The line learns of it when the turn ends.
        self.passed = jobs;
    }

    /// Ends the turn, and leaves `value` to the caller whose turn is next. Returns it if no caller
    /// waits for a turn now, or the next one has its turn already.
    pub(super) fn leave(mut self, value: T) -> Option<T> {
        self.end(Some(value))
    }

    fn end(&mut self, value: Option<T>) -> Option<T> {
        let width = self.lines.width();
        let state = mem::replace(&mut self.state, State::Over);
        let passed = self.passed;
        let act = |line: &mut Line<J, T>| {
            if passed > 0 {
                line.passed(passed);
            }
            match state {
                State::Acquires => line.end_acquiring(),
                State::Holds { batch, .. } => line.end_holding(batch),
                State::Over => return value,
            }
            line.call_next(width, value)
        };
        // The line of a turn is there.
        self.lines.with_line(&self.key, act).flatten()
    }
}

/// Also when the closure panics: the callers behind it must have their turns.
impl<K: Eq + Hash + Clone, J, T> Drop for Turn<'_, K, J, T> {
    fn drop(&mut self) {
        if !matches!(self.state, State::Over) {
            self.end(None);
        }
    }
}
