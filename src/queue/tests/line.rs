//! The [`Line`] of the queue on the primitives of the tests, with one of its steps done wrong if a
//! test asks for that. `lines.rs` finds it under the name of the right one.

use std::cell::Cell;
use std::mem;
use std::ops::{Deref, DerefMut};

use super::sync;
use super::sync::Arc;

#[path = "../line.rs"]
#[allow(clippy::duplicate_mod, reason = "on other primitives")]
mod right;

pub(super) use self::right::{lock, Place, Waiter};

/// Mistakes that the tests make on purpose, to see that their laws find them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistake {
    /// A turn that ends does not call the next caller.
    NextIsNotCalled,
    /// A caller whose job is done is not notified.
    ServedIsNotTold,
    /// A caller that gave up stays in the line.
    LeaverStays,
    /// The last in the line comes first.
    LastComesFirst,
    /// There is one turn more at once than there may be.
    TooManyTurns,
    /// Jobs are taken past a caller that wants a turn of its own.
    JobsOvertake,
}

thread_local! {
    // The threads of a schedule are one thread of the machine.
    static MADE: Cell<Option<Mistake>> = const { Cell::new(None) };
}

impl Mistake {
    /// Makes it in all lines until `act` returns.
    pub(super) fn during<R>(self, act: impl FnOnce() -> R) -> R {
        MADE.set(Some(self));
        let result = act();
        MADE.set(None);
        result
    }

    fn is_made(self) -> bool {
        MADE.get() == Some(self)
    }
}

/// The steps that are not below are the right ones.
pub(super) struct Line<J> {
    right: right::Line<J>,
    skips_next_call: bool,
}

impl<J> Default for Line<J> {
    fn default() -> Self {
        Self {
            right: right::Line::default(),
            skips_next_call: false,
        }
    }
}

impl<J> Deref for Line<J> {
    type Target = right::Line<J>;

    fn deref(&self) -> &Self::Target {
        &self.right
    }
}

impl<J> DerefMut for Line<J> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.right
    }
}

impl<J> Line<J> {
    pub(super) fn call_next(&mut self, width: usize) {
        if mem::take(&mut self.skips_next_call) {
            return;
        }
        let width = width + usize::from(Mistake::TooManyTurns.is_made());
        if Mistake::LastComesFirst.is_made() {
            self.waiting.make_contiguous().reverse();
            self.right.call_next(width);
            self.waiting.make_contiguous().reverse();
        } else {
            self.right.call_next(width);
        }
    }

    pub(super) fn end_acquiring(&mut self) {
        self.right.end_acquiring();
        self.skips_next_call = Mistake::NextIsNotCalled.is_made();
    }

    pub(super) fn end_holding(&mut self, batch: bool) {
        self.right.end_holding(batch);
        self.skips_next_call = Mistake::NextIsNotCalled.is_made();
    }

    pub(super) fn take_jobs(&mut self, most: usize) -> Vec<Taken<J>> {
        let taken = if Mistake::JobsOvertake.is_made() {
            self.take_jobs_from_anywhere(most)
        } else {
            self.right.take_jobs(most)
        };
        taken.into_iter().map(|taken| Taken(Some(taken))).collect()
    }

    fn take_jobs_from_anywhere(&mut self, most: usize) -> Vec<right::Taken<J>> {
        let mut order = self.waiting.clone();
        self.waiting.retain(|waiter| waiter.has_job());
        let taken = self.right.take_jobs(most);
        let is_taken =
            |waiter: &Arc<_>| taken.iter().any(|taken| Arc::ptr_eq(&taken.waiter, waiter));
        order.retain(|waiter| !is_taken(waiter));
        self.waiting = order;
        taken
    }

    pub(super) fn put_back(&mut self, jobs: Vec<Taken<J>>) {
        let jobs = jobs.into_iter().filter_map(|mut taken| taken.0.take());
        self.right.put_back(jobs.collect());
    }

    pub(super) fn leave(&mut self, waiter: &Arc<Waiter<J>>) -> bool {
        Mistake::LeaverStays.is_made() || self.right.leave(waiter)
    }
}

/// `None` once it was put back.
pub(super) struct Taken<J>(Option<right::Taken<J>>);

impl<J> Taken<J> {
    pub(super) fn job(&self) -> Option<&J> {
        self.0.as_ref().and_then(|taken| taken.job.as_ref())
    }
}

impl<J> Drop for Taken<J> {
    fn drop(&mut self) {
        if Mistake::ServedIsNotTold.is_made() {
            mem::forget(self.0.take());
        }
    }
}
