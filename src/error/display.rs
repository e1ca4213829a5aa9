//! The text of a [`LockError`], and the error behind it.
//!
//! By hand, because a derived `source()` gives the `Arc` and not Diesel's error in it, so that a
//! search for `diesel::result::Error` in the chain would not find it.

use std::error::Error;
use std::fmt;

use super::LockError;

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { key: None } => f.write_str("no row to lock"),
            Self::NotFound { key: Some(key) } => {
                write!(f, "no row to lock with primary key {key}")
            }
            Self::Busy { .. } => f.write_str("the row is locked by another transaction"),
            Self::Timeout { blocker, .. } => {
                f.write_str("timed out waiting for a lock")?;
                match blocker {
                    Some(blocker) => write!(f, " held by {blocker}{}", blocker.doing()),
                    None => Ok(()),
                }
            }
            Self::Deadlock { .. } => {
                f.write_str("the transaction was rolled back to end a deadlock")
            }
            Self::SerializationFailure { .. } => {
                f.write_str("the transaction conflicts with a concurrent one")
            }
            Self::StatementTimeout { .. } => {
                f.write_str("a statement exceeded the time that it may take")
            }
            Self::Cancelled { .. } => f.write_str("the statement was cancelled"),
            Self::Aborted { .. } => {
                f.write_str("a statement failed and its error was ignored; nothing was committed")
            }
            Self::Escaped { .. } => f.write_str(
                "the transaction was ended inside the closure; \
                 the lock was lost and work may have escaped",
            ),
            Self::HoldExpired { limit } => write!(
                f,
                "the lock was held longer than {limit:?}; nothing was committed"
            ),
            Self::AlreadyInTransaction { reason } => f.write_str(reason),
            Self::WrongRow { key } => write!(
                f,
                "the server locked the row with primary key {key}, which was not asked for"
            ),
            Self::AmbiguousKey { key } => write!(f, "more than one row has primary key {key}"),
            Self::DuplicateKey { key } => write!(f, "primary key {key} was asked for twice"),
            Self::KeyChanged { key } => write!(
                f,
                "the closure changed primary key {key}; nothing of it was applied"
            ),
            Self::StaleRow { key, expected } => write!(
                f,
                "the row with primary key {key} is no longer of version {expected}"
            ),
            Self::VersionOverflow { key, version } => write!(
                f,
                "version {version} of the row with primary key {key} \
                 is the last that its column can hold"
            ),
            Self::LeaseHeld {
                lease,
                holder: None,
            } => write!(f, "the lease {lease:?} is held"),
            Self::LeaseHeld {
                lease,
                holder: Some(holder),
            } => write!(f, "the lease {lease:?} is held by {holder:?}"),
            Self::StaleToken { lease, token } => write!(
                f,
                "the lease {lease:?} is lost: token {token} no longer holds it"
            ),
            Self::InvalidLease { what, why } => write!(f, "the {what} of the lease {why}"),
            Self::Denied { .. } => {
                f.write_str("the user of this connection may not do that to the session")
            }
            Self::Unsupported { what, .. } => f.write_str(what),
            Self::CommitUnknown { .. } => f.write_str(
                "the outcome of COMMIT is unknown; the transaction may or may not be committed",
            ),
            Self::ConnectionLost { .. } => {
                f.write_str("the connection was lost before COMMIT; nothing was committed")
            }
            Self::RetriesExhausted {
                attempts,
                first,
                last,
                ..
            } => {
                let s = if *attempts == 1 { "" } else { "s" };
                write!(
                    f,
                    "gave up after {attempts} attempt{s} (first: {first}, last: {last})"
                )
            }
            Self::QueueTimeout { waited } => {
                write!(f, "timed out after {waited:?} in the queue for the row")
            }
            Self::QueueFull { length } => {
                write!(f, "{length} callers are waiting for the row already")
            }
            Self::Abandoned => {
                f.write_str("the thread that made this change panicked; nothing was committed")
            }
            Self::Pool { .. } => f.write_str("no connection from the pool"),
            Self::Database(error) => error.fmt(f),
        }
    }
}

impl Error for LockError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Pool { source } => Some(&**source),
            Self::RetriesExhausted { source, .. } => match source {
                Some(last) => Some(&**last),
                None => None,
            },
            // It has Diesel's own text, which a printed chain of causes must not repeat.
            Self::Database(error) => error.source(),
            other => other.diesel_error().map(|error| error as _),
        }
    }
}
