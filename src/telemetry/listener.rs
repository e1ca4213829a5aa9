//! [`Listener`]: who is told of a locked call.

use std::panic::Location;
use std::time::Duration;

use super::ending::Ending;

/// What is known of a call when it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject {
    pub(super) system: &'static str,
    pub(super) table: Option<&'static str>,
    pub(super) strength: &'static str,
}

/// How long one attempt, or all attempts of a call together, waited for the lock and held it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    pub(super) wait: Duration,
    /// `None` if the lock was never had.
    pub(super) hold: Option<Duration>,
}

/// Is told of one call.
pub(super) trait Listener {
    /// `site` is the line that made the call.
    fn call_begins(subject: &Subject, site: &'static Location<'static>) -> Self;

    fn attempt_ended(&self, _: &Subject, _: Times) {}

    /// Why an attempt failed. What an error of the closure is may be known later, if at all.
    fn attempt_failed(&self, _: &Subject, _: &'static str) {}

    /// The call is over after so many attempts, with the ending of the last one.
    fn call_ended(&self, _: &Subject, _attempts: u32, _: Times, _: Ending) {}
}

/// Stands for the listener whose feature is off.
#[cfg(not(all(feature = "metrics", feature = "tracing")))]
pub(super) struct Nobody;

#[cfg(not(all(feature = "metrics", feature = "tracing")))]
impl Listener for Nobody {
    fn call_begins(_: &Subject, _: &'static Location<'static>) -> Self {
        Self
    }
}
