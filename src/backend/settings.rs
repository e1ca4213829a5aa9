//! [`Settings`]: what a request asks of the session that runs it.

use std::time::Duration;

use crate::isolation::Isolation;

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

impl Waiting {
    /// The same, but no longer than this.
    pub(crate) fn within(self, left: Duration) -> Self {
        // What is left may be nothing, but zero would be a request not to wait.
        let left = left.max(Duration::from_millis(1));
        match self {
            Self::Session => Self::AtMost(left),
            Self::AtMost(time) => Self::AtMost(time.min(left)),
            Self::Never | Self::Skip => self,
        }
    }
}

/// What a request asks of the session's settings.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub(crate) waiting: Waiting,
    /// How long the lock may be held.
    pub(crate) hold: Option<Duration>,
    /// The isolation level of an outermost transaction. SQLite has one.
    pub(crate) isolation: Option<Isolation>,
}

impl Settings {
    /// Nothing.
    pub(crate) const NONE: Self = Self {
        waiting: Waiting::Session,
        hold: None,
        isolation: None,
    };
}
