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
    /// Jobs are taken past a caller that acquires for itself.
    JobsOvertake,
    /// Jobs that come back stand at the end of the line.
    BackAtTheEnd,
    /// The jobs that failed together are all taken again.
    SuspectsAreForgotten,
    /// A turn that holds alone lets others acquire.
    AloneIsNotAlone,
    /// A value is left to a caller that is not called.
    ValueIsLost,
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
pub(super) struct Line<J, T> {
    right: right::Line<J, T>,
    skips_next_call: bool,
}

impl<J, T> Default for Line<J, T> {
    fn default() -> Self {
        Self {
            right: right::Line::default(),
            skips_next_call: false,
        }
    }
}

impl<J, T> Deref for Line<J, T> {
    type Target = right::Line<J, T>;

    fn deref(&self) -> &Self::Target {
        &self.right
    }
}

impl<J, T> DerefMut for Line<J, T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.right
    }
}

impl<J, T> Line<J, T> {
    pub(super) fn call_next(&mut self, width: usize, kept: Option<T>) -> Option<T> {
        if mem::take(&mut self.skips_next_call) {
            return kept;
        }
        let width = width + usize::from(Mistake::TooManyTurns.is_made());
        let kept = if Mistake::LastComesFirst.is_made() {
            self.waiting.make_contiguous().reverse();
            let kept = self.right.call_next(width, kept);
            self.waiting.make_contiguous().reverse();
            kept
        } else {
            self.right.call_next(width, kept)
        };
        kept.filter(|_| !Mistake::ValueIsLost.is_made())
    }

    pub(super) fn begin_alone(&mut self) {
        if Mistake::AloneIsNotAlone.is_made() {
            self.right.begin_to_hold(true);
        } else {
            self.right.begin_alone();
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

    pub(super) fn take_next(&mut self, taken: usize) -> Option<Taken<J, T>> {
        let taken = if Mistake::SuspectsAreForgotten.is_made() {
            0
        } else {
            taken
        };
        if Mistake::JobsOvertake.is_made() {
            let number = self.acquiring.take();
            let taken = self.right.take_next(taken);
            self.acquiring = number;
            taken.map(Taken::of)
        } else {
            self.right.take_next(taken).map(Taken::of)
        }
    }

    pub(super) fn give_back(&mut self, jobs: Vec<Taken<J, T>>) {
        let jobs: Vec<_> = jobs
            .into_iter()
            .filter_map(|mut taken| taken.0.take())
            .collect();
        let number = jobs.len();
        self.right.give_back(jobs);
        if Mistake::BackAtTheEnd.is_made() {
            self.waiting.rotate_left(number);
        }
    }

    pub(super) fn leave(&mut self, waiter: &Arc<Waiter<J, T>>) -> bool {
        Mistake::LeaverStays.is_made() || self.right.leave(waiter)
    }
}

/// `None` once it was put back.
pub(super) struct Taken<J, T>(Option<right::Taken<J, T>>);

impl<J, T> Taken<J, T> {
    fn of(right: right::Taken<J, T>) -> Self {
        Self(Some(right))
    }

    pub(super) fn job(&mut self) -> Option<&mut J> {
        self.0.as_mut()?.job()
    }

    pub(super) fn finish(mut self, last: impl FnOnce(J)) {
        let Some(mut taken) = self.0.take() else {
            return;
        };
        if Mistake::ServedIsNotTold.is_made() {
            let job = taken.job.take();
            mem::forget(taken);
            job.map(last);
        } else {
            taken.finish(last);
        }
    }
}

impl<J, T> Drop for Taken<J, T> {
    fn drop(&mut self) {
        if Mistake::ServedIsNotTold.is_made() {
            mem::forget(self.0.take());
        }
    }
}
