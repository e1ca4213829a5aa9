//! [`Settings`]: what a request asks of the session that runs it.

use std::time::Duration;

/// How long a request waits for its lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// As long as the session allows.
    Session,
    /// Not at all.
    Never,
    /// Not at all, and rows that are locked are left out.
    Skip,
    /// This long; never zero.
    AtMost(Duration),
}

/// What a request asks of the session's settings.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub(crate) waiting: Waiting,
    /// How long the lock may be held.
    pub(crate) hold: Option<Duration>,
}

impl Settings {
    /// Nothing.
    pub(crate) const NONE: Self = Self {
        waiting: Waiting::Session,
        hold: None,
    };
}
