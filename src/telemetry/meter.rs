//! [`Meter`]: calls as counters and histograms of `metrics`.

use std::panic::Location;

use metrics::{counter, describe_counter, describe_histogram, histogram, Label, Unit};

use super::ending::{Ending, DEADLOCK, QUEUE_FULL, QUEUE_TIMEOUT, TIMEOUT};
use super::listener::{Listener, Subject, Times};

const CALLS: &str = "row_lock_calls_total";
const RETRIES: &str = "row_lock_retries_total";
const DEADLOCKS: &str = "row_lock_deadlocks_total";
const TIMEOUTS: &str = "row_lock_timeouts_total";
const TURNED_AWAY: &str = "row_lock_turned_away_total";
const WAIT: &str = "row_lock_wait_seconds";
const HOLD: &str = "row_lock_hold_seconds";

/// Gives the recorder the units and the descriptions: once, after it was installed. With the
/// feature `metrics`.
///
/// # Example
///
/// ```
/// use metrics_util::debugging::DebuggingRecorder;
///
/// DebuggingRecorder::new().install().expect("the first recorder");
/// diesel_row_lock::telemetry::describe();
/// ```
pub fn describe() {
    describe_counter!(CALLS, Unit::Count, "Locked calls, by how they ended");
    describe_counter!(RETRIES, Unit::Count, "Further attempts of locked calls");
    describe_counter!(DEADLOCKS, Unit::Count, "Attempts that a deadlock ended");
    describe_counter!(TIMEOUTS, Unit::Count, "Attempts that a lock timeout ended");
    describe_counter!(
        TURNED_AWAY,
        Unit::Count,
        "Callers that a queue turned away, by why"
    );
    describe_histogram!(
        WAIT,
        Unit::Seconds,
        "How long an attempt waited for its lock"
    );
    describe_histogram!(HOLD, Unit::Seconds, "How long an attempt held its lock");
}

pub(super) struct Meter;

impl Listener for Meter {
    fn call_begins(_: &Subject, _: &'static Location<'static>) -> Self {
        Self
    }

    fn attempt_ended(&self, subject: &Subject, times: Times) {
        histogram!(WAIT, labels(subject)).record(times.wait);
        if let Some(hold) = times.hold {
            histogram!(HOLD, labels(subject)).record(hold);
        }
    }

    fn attempt_failed(&self, subject: &Subject, error: &'static str) {
        match error {
            DEADLOCK => counter!(DEADLOCKS, labels(subject)).increment(1),
            TIMEOUT => counter!(TIMEOUTS, labels(subject)).increment(1),
            QUEUE_TIMEOUT | QUEUE_FULL => {
                let mut by_reason = labels(subject);
                by_reason.push(Label::from_static_parts("error", error));
                counter!(TURNED_AWAY, by_reason).increment(1);
            }
            _ => {}
        }
    }

    fn call_ended(&self, subject: &Subject, attempts: u32, _: Times, ending: Ending) {
        let mut of_the_call = labels(subject);
        of_the_call.push(Label::from_static_parts("outcome", ending.outcome));
        counter!(CALLS, of_the_call).increment(1);
        let retries = attempts.saturating_sub(1);
        if retries > 0 {
            counter!(RETRIES, labels(subject)).increment(retries.into());
        }
    }
}

fn labels(subject: &Subject) -> Vec<Label> {
    vec![
        Label::from_static_parts("system", subject.system),
        Label::from_static_parts("table", subject.table.unwrap_or_default()),
        Label::from_static_parts("strength", subject.strength),
    ]
}
