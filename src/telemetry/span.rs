//! [`Span`]: a call as a span of `tracing`.

use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::field::Empty;
use tracing::span::EnteredSpan;
use tracing::Level;

use super::ending::Ending;
use super::listener::{Listener, Subject, Times};

/// In microseconds.
static LONGEST_HOLD: AtomicU64 = AtomicU64::new(1_000_000);

/// Warn of every lock that is held for longer than this: an event of level `WARN` in the call's
/// span.
///
/// With the feature `tracing`. For the whole process, from now on; rounded down to a microsecond.
/// One second unless told otherwise; [`Duration::MAX`] for no warnings.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// diesel_row_lock::telemetry::warn_when_held_for(Duration::from_millis(200));
/// ```
pub fn warn_when_held_for(time: Duration) {
    // Relaxed: the number stands alone, and a call that reads the old one is as good as an earlier
    // call.
    LONGEST_HOLD.store(micros(time), Ordering::Relaxed);
}

/// Entered as long as the call lasts, so that what happens in it is inside of it.
pub(super) struct Span {
    span: EnteredSpan,
    site: &'static Location<'static>,
}

impl Listener for Span {
    fn call_begins(subject: &Subject, site: &'static Location<'static>) -> Self {
        let span = tracing::info_span!(
            target: "diesel_row_lock",
            "row_lock",
            db.system.name = subject.system,
            db.collection.name = subject.table,
            row_lock.strength = subject.strength,
            code.file.path = site.file(),
            code.line.number = site.line(),
            row_lock.attempts = Empty,
            row_lock.wait_us = Empty,
            row_lock.hold_us = Empty,
            row_lock.outcome = Empty,
            "error.type" = Empty,
        );
        Self {
            span: span.entered(),
            site,
        }
    }

    fn attempt_ended(&self, subject: &Subject, times: Times) {
        let longest = LONGEST_HOLD.load(Ordering::Relaxed);
        let Some(hold) = times.hold.map(micros).filter(|hold| *hold > longest) else {
            return;
        };
        // With what the span says, too: a filter may have left that out.
        tracing::event!(
            target: "diesel_row_lock",
            Level::WARN,
            db.collection.name = subject.table,
            row_lock.hold_us = hold,
            code.file.path = self.site.file(),
            code.line.number = self.site.line(),
            "a lock was held for long"
        );
    }

    fn call_ended(&self, _: &Subject, attempts: u32, times: Times, ending: Ending) {
        let span = &self.span;
        span.record("row_lock.attempts", attempts);
        span.record("row_lock.wait_us", micros(times.wait));
        span.record("row_lock.hold_us", times.hold.map(micros));
        span.record("row_lock.outcome", ending.outcome);
        span.record("error.type", ending.error);
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap_or(u64::MAX)
}
