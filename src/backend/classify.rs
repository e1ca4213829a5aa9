//! Which [`LockError`] the error of a backend becomes.

use std::sync::Arc;

use diesel::result::Error as DieselError;

use super::cause::{cause_in, Cause, ErrorBackend};
use super::settings::Waiting;
use crate::error::LockError;

/// The error of a statement that ran while locks were acquired or the transaction committed.
pub(crate) fn classify<B: ErrorBackend>(error: DieselError, waiting: Waiting) -> LockError {
    match cause_in::<B>(&error) {
        Some(cause) => cause.into_error(error, waiting),
        // Nothing about locks: a violated constraint, or an error of Diesel's own such as
        // `NotFound`.
        None => error.into(),
    }
}

/// The error of a `BEGIN`.
pub(crate) fn not_begun<B: ErrorBackend>(error: DieselError, waiting: Waiting) -> LockError {
    if is_already_open::<B>(&error) {
        return LockError::AlreadyInTransaction {
            reason: "a transaction that Diesel does not know of is open on this connection",
        };
    }
    unsupported::<B>(error, waiting)
}

/// The error of a statement that asked for what not every server of the backend has.
pub(crate) fn unsupported<B: ErrorBackend>(error: DieselError, waiting: Waiting) -> LockError {
    let lacks = match &error {
        DieselError::DatabaseError(_, info) => B::lacks(info.message()),
        _ => None,
    };
    match lacks {
        Some(what) => LockError::Unsupported {
            what: what.to_owned(),
            source: Some(error.into()),
        },
        None => classify::<B>(error, waiting),
    }
}

/// Whether a `BEGIN` was refused because of [`ErrorBackend::ALREADY_OPEN`].
pub(crate) fn is_already_open<B: ErrorBackend>(error: &DieselError) -> bool {
    match (error, B::ALREADY_OPEN) {
        (DieselError::DatabaseError(_, info), Some(begin)) => info.message().starts_with(begin),
        _ => false,
    }
}

impl Cause {
    /// The error of this cause. While a lock is acquired without waiting, a timeout means busy:
    /// MariaDB answers `NOWAIT` with the same error as a timeout, SQLite with the same as always.
    pub(crate) fn into_error(self, source: DieselError, waiting: Waiting) -> LockError {
        let source = Arc::new(source);
        match self {
            Self::Timeout if waiting == Waiting::Never => LockError::Busy { source },
            Self::Busy => LockError::Busy { source },
            Self::Timeout => LockError::Timeout {
                source,
                blocker: None,
            },
            Self::Deadlock => LockError::Deadlock { source },
            Self::SerializationFailure => LockError::SerializationFailure { source },
            Self::StatementTimeout => LockError::StatementTimeout { source },
            Self::Cancelled => LockError::Cancelled { source },
            Self::Aborted => LockError::Aborted {
                source: Some(source),
            },
            Self::ConnectionLost => LockError::ConnectionLost { source },
        }
    }
}
