//! [`Outcome`]: what an error means for the work, and for a further attempt.

use super::LockError;

/// What became of the writes of a call that returned an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Nothing that the closure wrote is durable.
    NotApplied,
    /// All of it is durable, or none of it, and this side can't know which.
    InDoubt,
    /// The closure broke out of its transaction: any part of its work may be durable.
    Escaped,
}

impl LockError {
    /// What became of the writes.
    ///
    /// Sends no SQL. [`Outcome::InDoubt`] comes only with [`CommitUnknown`](Self::CommitUnknown),
    /// [`Outcome::Escaped`] only with [`Escaped`](Self::Escaped). Of a call inside an open
    /// transaction (a savepoint) it speaks of the savepoint's writes.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::CommitUnknown { .. } => Outcome::InDoubt,
            Self::Escaped { .. } => Outcome::Escaped,
            _ => Outcome::NotApplied,
        }
    }

    /// Whether a fresh attempt, in a transaction of its own, may succeed with nothing else
    /// changed.
    ///
    /// Sends no SQL. Never true when the outcome is anything but [`Outcome::NotApplied`]. After
    /// [`ConnectionLost`](Self::ConnectionLost) the fresh attempt needs a fresh connection.
    pub fn is_transient(&self) -> bool {
        self.is_contention()
            || matches!(
                self,
                Self::SerializationFailure { .. }
                    | Self::ConnectionLost { .. }
                    | Self::Pool { .. }
                    | Self::Abandoned
                    | Self::StaleRow { .. }
            )
    }

    /// Whether the call failed because another session holds the lock, or stands in line for it.
    ///
    /// Sends no SQL.
    pub fn is_contention(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::Timeout { .. }
                | Self::Deadlock { .. }
                | Self::QueueTimeout { .. }
                | Self::QueueFull { .. }
                | Self::LeaseHeld { .. }
        )
    }
}
