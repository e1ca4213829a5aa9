//! [`Call`]: a locked call from its begin to its end, and [`Attempt`], one transaction of it.

use std::cell::Cell;
use std::panic::Location;
use std::time::Instant;

use super::ending::Ending;
use super::listener::{Listener, Subject, Times};
use super::{Meter, Span};
use crate::error::{LockError, RetryCause};
use crate::retry::Failure;

/// A call that listeners are told of. It ends when it is dropped, so that a panic ends it too.
pub(crate) struct Call(Option<Told>);

struct Told {
    subject: Subject,
    attempts: Cell<u32>,
    times: Cell<Times>,
    ending: Cell<Ending>,
    meter: Meter,
    span: Span,
}

impl Call {
    /// A call of the line that called, which locks rows of `table` in this strength.
    #[track_caller]
    pub(crate) fn begin(
        system: &'static str,
        strength: &'static str,
        table: fn() -> Option<&'static str>,
    ) -> Self {
        let subject = Subject {
            system,
            strength,
            table: table(),
        };
        let site = Location::caller();
        Self(Some(Told {
            attempts: Cell::default(),
            times: Cell::default(),
            // What drops it without a word is a panic.
            ending: Cell::new(Ending::PANIC),
            meter: Meter::call_begins(&subject, site),
            span: Span::call_begins(&subject, site),
            subject,
        }))
    }

    /// A transaction of the crate's own, which nobody is told of.
    pub(crate) const fn untold() -> Self {
        Self(None)
    }

    /// The attempt that begins now.
    pub(crate) fn attempt(&self) -> Attempt<'_> {
        if let Some(told) = &self.0 {
            told.attempts.set(told.attempts.get() + 1);
        }
        Attempt {
            told: self.0.as_ref(),
            begun: Instant::now(),
            held_since: None,
            ending: Ending::PANIC,
        }
    }

    /// No attempt could be made.
    pub(crate) fn failed(&self, error: &LockError) {
        if let Some(told) = &self.0 {
            told.ended(Ending::of(error));
        }
    }

    /// If the last attempt ended by an error of the closure's, it is this one.
    pub(crate) fn closure_failed(&self, error: &LockError) {
        match &self.0 {
            Some(told) if told.ending.get() == Ending::CLOSURE => told.ended(Ending::of(error)),
            _ => {}
        }
    }

    /// The closure's error by which the last attempt ended has this cause.
    pub(crate) fn failed_by(&self, cause: RetryCause) {
        if let Some(told) = &self.0 {
            told.ended(Ending::of_cause(cause));
        }
    }
}

impl Told {
    fn ended(&self, ending: Ending) {
        self.ending.set(ending);
        if let Some(error) = ending.error {
            self.meter.attempt_failed(&self.subject, error);
            self.span.attempt_failed(&self.subject, error);
        }
    }

    fn add(&self, times: Times) {
        self.meter.attempt_ended(&self.subject, times);
        self.span.attempt_ended(&self.subject, times);
        let before = self.times.get();
        self.times.set(Times {
            wait: before.wait + times.wait,
            hold: times.hold.map_or(before.hold, |hold| {
                Some(before.hold.unwrap_or_default() + hold)
            }),
        });
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // Behind the attempts, which borrow it: their times are in the sums by now.
        let (attempts, times, ending) = (self.attempts.get(), self.times.get(), self.ending.get());
        self.meter
            .call_ended(&self.subject, attempts, times, ending);
        self.span.call_ended(&self.subject, attempts, times, ending);
    }
}

/// One transaction of a call. It ends when it is dropped, by a panic if nothing else was said.
pub(crate) struct Attempt<'c> {
    told: Option<&'c Told>,
    begun: Instant,
    held_since: Option<Instant>,
    ending: Ending,
}

impl Attempt<'_> {
    /// The lock was had.
    pub(crate) fn locked(&mut self) {
        self.held_since = Some(Instant::now());
    }

    /// The transaction is over.
    pub(crate) fn end<R, E>(mut self, result: &Result<R, Failure<E>>) {
        self.ending = match result {
            Ok(_) => Ending::COMMITTED,
            Err(Failure::Lock(error)) => Ending::of(error),
            Err(Failure::Own(_)) => Ending::CLOSURE,
        };
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        // Here and not in `end`, so that an attempt that panics is counted with its times.
        let Some(told) = self.told else { return };
        let now = Instant::now();
        told.add(Times {
            wait: self.held_since.unwrap_or(now) - self.begun,
            hold: self.held_since.map(|since| now - since),
        });
        told.ended(self.ending);
    }
}
