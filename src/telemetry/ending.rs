//! [`Ending`]: how a call ended, in the words of spans and labels.

use crate::error::{LockError, Outcome, RetryCause};

/// How an attempt, or with its last attempt the call, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) outcome: &'static str,
    /// The kind of the error.
    pub(super) error: Option<&'static str>,
}

impl Ending {
    pub(super) const COMMITTED: Self = Self {
        outcome: "committed",
        error: None,
    };

    /// By an error of the closure's own.
    pub(super) const CLOSURE: Self = Self::not_applied("closure");

    pub(super) const PANIC: Self = Self::not_applied("panic");

    const fn not_applied(error: &'static str) -> Self {
        Self {
            outcome: "not_applied",
            error: Some(error),
        }
    }

    pub(super) fn of_cause(cause: RetryCause) -> Self {
        Self::not_applied(match cause {
            RetryCause::Deadlock => DEADLOCK,
            RetryCause::SerializationFailure => "serialization_failure",
            RetryCause::Timeout => TIMEOUT,
            RetryCause::Busy => "busy",
            RetryCause::StaleRow => "stale_row",
        })
    }

    pub(super) fn of(error: &LockError) -> Self {
        Self {
            outcome: match error.outcome() {
                Outcome::NotApplied => "not_applied",
                Outcome::InDoubt => "in_doubt",
                Outcome::Escaped => "escaped",
            },
            error: Some(kind(error)),
        }
    }
}

pub(super) const DEADLOCK: &str = "deadlock";
pub(super) const TIMEOUT: &str = "timeout";
pub(super) const QUEUE_TIMEOUT: &str = "queue_timeout";
pub(super) const QUEUE_FULL: &str = "queue_full";

/// The variant's name.
fn kind(error: &LockError) -> &'static str {
    match error {
        LockError::NotFound { .. } => "not_found",
        LockError::Busy { .. } => "busy",
        LockError::Timeout { .. } => TIMEOUT,
        LockError::Deadlock { .. } => DEADLOCK,
        LockError::SerializationFailure { .. } => "serialization_failure",
        LockError::StatementTimeout { .. } => "statement_timeout",
        LockError::Cancelled { .. } => "cancelled",
        LockError::Aborted { .. } => "aborted",
        LockError::Escaped { .. } => "escaped",
        LockError::HoldExpired { .. } => "hold_expired",
        LockError::AlreadyInTransaction { .. } => "already_in_transaction",
        LockError::WrongRow { .. } => "wrong_row",
        LockError::AmbiguousKey { .. } => "ambiguous_key",
        LockError::DuplicateKey { .. } => "duplicate_key",
        LockError::KeyChanged { .. } => "key_changed",
        LockError::StaleRow { .. } => "stale_row",
        LockError::VersionOverflow { .. } => "version_overflow",
        LockError::LeaseHeld { .. } => "lease_held",
        LockError::StaleToken { .. } => "stale_token",
        LockError::InvalidLease { .. } => "invalid_lease",
        LockError::Denied { .. } => "denied",
        LockError::Unsupported { .. } => "unsupported",
        LockError::CommitUnknown { .. } => "commit_unknown",
        LockError::ConnectionLost { .. } => "connection_lost",
        LockError::RetriesExhausted { .. } => "retries_exhausted",
        LockError::QueueTimeout { .. } => QUEUE_TIMEOUT,
        LockError::QueueFull { .. } => QUEUE_FULL,
        LockError::Abandoned => "abandoned",
        LockError::Pool { .. } => "pool",
        LockError::Database(_) => "database",
    }
}
