//! An error for everybody whom it concerns: Diesel's errors can't be cloned.

use diesel::result::{DatabaseErrorInformation, Error as DieselError};

use crate::error::LockError;

/// What a server said, kept.
#[derive(Debug)]
struct Said {
    message: String,
    details: Option<String>,
    hint: Option<String>,
    table_name: Option<String>,
    column_name: Option<String>,
    constraint_name: Option<String>,
    statement_position: Option<i32>,
}

impl Said {
    fn again(info: &dyn DatabaseErrorInformation) -> Self {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Self {
            message: info.message().to_owned(),
            details: own(info.details()),
            hint: own(info.hint()),
            table_name: own(info.table_name()),
            column_name: own(info.column_name()),
            constraint_name: own(info.constraint_name()),
            statement_position: info.statement_position(),
        }
    }
}

impl DatabaseErrorInformation for Said {
    fn message(&self) -> &str {
        &self.message
    }

    fn details(&self) -> Option<&str> {
        self.details.as_deref()
    }

    fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    fn table_name(&self) -> Option<&str> {
        self.table_name.as_deref()
    }

    fn column_name(&self) -> Option<&str> {
        self.column_name.as_deref()
    }

    fn constraint_name(&self) -> Option<&str> {
        self.constraint_name.as_deref()
    }

    fn statement_position(&self) -> Option<i32> {
        self.statement_position
    }
}

fn again(error: &DieselError) -> DieselError {
    match error {
        DieselError::DatabaseError(kind, info) => {
            DieselError::DatabaseError(*kind, Box::new(Said::again(&**info)))
        }
        DieselError::NotFound => DieselError::NotFound,
        DieselError::BrokenTransactionManager => DieselError::BrokenTransactionManager,
        DieselError::AlreadyInTransaction => DieselError::AlreadyInTransaction,
        other => DieselError::QueryBuilderError(other.to_string().into()),
    }
}

impl LockError {
    /// The same error, for somebody else.
    pub(crate) fn retold(&self) -> Self {
        match self {
            Self::NotFound { key } => Self::NotFound { key: key.clone() },
            Self::Busy { source } => Self::Busy {
                source: again(source),
            },
            Self::Timeout { source, blocker } => Self::Timeout {
                source: again(source),
                blocker: blocker.clone(),
            },
            Self::Deadlock { source } => Self::Deadlock {
                source: again(source),
            },
            Self::SerializationFailure { source } => Self::SerializationFailure {
                source: again(source),
            },
            Self::StatementTimeout { source } => Self::StatementTimeout {
                source: again(source),
            },
            Self::Cancelled { source } => Self::Cancelled {
                source: again(source),
            },
            Self::Aborted { source } => Self::Aborted {
                source: source.as_ref().map(again),
            },
            Self::Escaped { source } => Self::Escaped {
                source: source.as_ref().map(again),
            },
            Self::HoldExpired { limit } => Self::HoldExpired { limit: *limit },
            Self::AlreadyInTransaction { reason } => Self::AlreadyInTransaction { reason },
            Self::WrongRow { key } => Self::WrongRow { key: key.clone() },
            Self::AmbiguousKey { key } => Self::AmbiguousKey { key: key.clone() },
            Self::DuplicateKey { key } => Self::DuplicateKey { key: key.clone() },
            Self::StaleRow { key, expected } => Self::StaleRow {
                key: key.clone(),
                expected: *expected,
            },
            Self::VersionOverflow { key, version } => Self::VersionOverflow {
                key: key.clone(),
                version: *version,
            },
            Self::LeaseHeld { lease, holder } => Self::LeaseHeld {
                lease: lease.clone(),
                holder: holder.clone(),
            },
            Self::StaleToken { lease, token } => Self::StaleToken {
                lease: lease.clone(),
                token: *token,
            },
            Self::InvalidLease { what, why } => Self::InvalidLease { what, why },
            Self::Denied { source } => Self::Denied {
                source: again(source),
            },
            Self::Unsupported { what, source } => Self::Unsupported {
                what: what.clone(),
                source: source.as_ref().map(again),
            },
            Self::CommitUnknown { source } => Self::CommitUnknown {
                source: again(source),
            },
            Self::ConnectionLost { source } => Self::ConnectionLost {
                source: again(source),
            },
            Self::RetriesExhausted {
                attempts,
                first,
                last,
            } => Self::RetriesExhausted {
                attempts: *attempts,
                first: *first,
                last: *last,
            },
            Self::QueueTimeout { waited } => Self::QueueTimeout { waited: *waited },
            Self::QueueFull { length } => Self::QueueFull { length: *length },
            Self::Abandoned => Self::Abandoned,
            Self::Database(error) => Self::Database(again(error)),
            // Whoever asks the pool asks for itself.
            Self::Pool { source } => {
                Self::Database(DieselError::QueryBuilderError(source.to_string().into()))
            }
        }
    }
}
