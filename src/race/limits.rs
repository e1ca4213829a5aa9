//! [`Limits`]: when the prover gives up.

use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How long a session may make no progress and not be seen to wait for another one.
    pub(super) patience: Duration,
    /// How long all runs together may take.
    pub(super) time: Duration,
    /// How many statements a session may send in one run.
    pub(super) statements: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(20),
            time: Duration::from_secs(300),
            statements: 1_000,
        }
    }
}

/// A point in time; `None` if it is too far away for an [`Instant`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    pub(super) fn after(time: Duration) -> Self {
        Self(Instant::now().checked_add(time))
    }

    pub(super) fn is_over(self) -> bool {
        self.0.is_some_and(|end| Instant::now() >= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_duration_is_too_long() {
        assert!(!Deadline::after(Duration::MAX).is_over());
        assert!(Deadline::after(Duration::ZERO).is_over());
    }
}
