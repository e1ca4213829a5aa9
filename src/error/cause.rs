//! [`RetryCause`]: why an attempt failed that may be made again.

use std::fmt;

/// Why an attempt failed that may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryCause {
    /// The transaction was the victim of a deadlock.
    Deadlock,
    /// The transaction can't be put in order with a concurrent one.
    SerializationFailure,
    /// The lock did not come free in time. Retried only [on demand](crate::Retry::lock_timeouts).
    Timeout,
    /// Another session holds the lock. Retried only [on demand](crate::Retry::lock_timeouts).
    Busy,
    /// Another session has saved the row since it was read. Retried only by
    /// [`update_versioned`](crate::update_versioned), which reads it again.
    StaleRow,
}

impl fmt::Display for RetryCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deadlock => "deadlock",
            Self::SerializationFailure => "serialization failure",
            Self::Timeout => "lock timeout",
            Self::Busy => "busy row",
            Self::StaleRow => "stale row",
        })
    }
}
