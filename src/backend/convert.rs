//! [`LockError`] from Diesel's own error, and back.

use std::sync::Arc;

use diesel::result::{DatabaseErrorInformation, Error as DieselError};

use super::cause::{cause_of, Cause};
use super::settings::Waiting;
use crate::error::LockError;

/// What Diesel's error means, found without knowing which backend it comes from.
///
/// A `LockError` that went through `diesel::result::Error` comes back as itself. Every other
/// error is looked up in the tables of the backends that are compiled in.
///
/// The error does not say which statement it comes from. The [`outcome`](LockError::outcome) is
/// right for a statement before `COMMIT`. Of an error that `conn.transaction(…)` of Diesel returns
/// it is not: if the connection was lost at that `COMMIT`, the transaction may be committed. Only
/// [`RollbackErrorOnCommit`](DieselError::RollbackErrorOnCommit) says so itself, and becomes
/// [`CommitUnknown`](LockError::CommitUnknown).
impl From<DieselError> for LockError {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::NotFound => Self::NotFound { key: None },
            DieselError::AlreadyInTransaction => Self::nested_in_transaction(),
            error @ DieselError::RollbackErrorOnCommit { .. } => Self::CommitUnknown {
                source: error.into(),
            },
            DieselError::QueryBuilderError(inner) => match inner.downcast::<Self>() {
                Ok(error) => *error,
                Err(inner) => Self::Database(DieselError::QueryBuilderError(inner).into()),
            },
            error => match cause_of(&error) {
                Some(cause) => cause.into_error(error, Waiting::Session),
                None => Self::Database(error.into()),
            },
        }
    }
}

/// The error of Diesel behind it where that one tells the whole story, so that code which matches
/// on Diesel's errors goes on working; otherwise the `LockError` itself in
/// [`QueryBuilderError`](DieselError::QueryBuilderError). Either way `LockError::from` brings it
/// back as what it was. So it is with a clone.
impl From<LockError> for DieselError {
    fn from(error: LockError) -> Self {
        let told = match &error {
            LockError::Timeout {
                source,
                blocker: None,
            } => Some((source, Some(Cause::Timeout))),
            LockError::Deadlock { source } => Some((source, Some(Cause::Deadlock))),
            LockError::SerializationFailure { source } => {
                Some((source, Some(Cause::SerializationFailure)))
            }
            LockError::StatementTimeout { source } => Some((source, Some(Cause::StatementTimeout))),
            LockError::Cancelled { source } => Some((source, Some(Cause::Cancelled))),
            LockError::ConnectionLost { source } => Some((source, Some(Cause::ConnectionLost))),
            LockError::Database(source) => Some((source, None)),
            _ => None,
        }
        .is_some_and(|(source, cause)| cause_of(source) == cause);
        match error {
            LockError::NotFound { key: None } => Self::NotFound,
            LockError::Timeout { source, .. }
            | LockError::Deadlock { source }
            | LockError::SerializationFailure { source }
            | LockError::StatementTimeout { source }
            | LockError::Cancelled { source }
            | LockError::ConnectionLost { source }
            | LockError::Database(source)
                if told =>
            {
                // As a rule no clone exists, and the very error that Diesel made goes back.
                Arc::try_unwrap(source).unwrap_or_else(told_again)
            }
            other => Self::QueryBuilderError(Box::new(other)),
        }
    }
}

/// An error that a clone has too. Only a database's answer has a cause, so what can't be made a
/// second time was [`LockError::Database`].
fn told_again(shared: Arc<DieselError>) -> DieselError {
    match &*shared {
        DieselError::DatabaseError(kind, _) => {
            DieselError::DatabaseError(*kind, Box::new(Answer(shared)))
        }
        DieselError::RollbackTransaction => DieselError::RollbackTransaction,
        DieselError::BrokenTransactionManager => DieselError::BrokenTransactionManager,
        _ => DieselError::QueryBuilderError(Box::new(LockError::Database(shared))),
    }
}

/// What the database says, for each of those whom the error concerns.
struct Answer(Arc<DieselError>);

impl Answer {
    fn information(&self) -> Option<&(dyn DatabaseErrorInformation + Send + Sync)> {
        match &*self.0 {
            DieselError::DatabaseError(_, information) => Some(&**information),
            _ => None,
        }
    }
}

impl DatabaseErrorInformation for Answer {
    fn message(&self) -> &str {
        self.information().map_or("", |it| it.message())
    }

    fn details(&self) -> Option<&str> {
        self.information()?.details()
    }

    fn hint(&self) -> Option<&str> {
        self.information()?.hint()
    }

    fn table_name(&self) -> Option<&str> {
        self.information()?.table_name()
    }

    fn column_name(&self) -> Option<&str> {
        self.information()?.column_name()
    }

    fn constraint_name(&self) -> Option<&str> {
        self.information()?.constraint_name()
    }

    fn statement_position(&self) -> Option<i32> {
        self.information()?.statement_position()
    }
}

#[cfg(test)]
mod tests;
