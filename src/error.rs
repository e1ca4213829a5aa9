//! [`LockError`]: how a locked call can end when it does not end in `Ok`.

use std::time::Duration;

use diesel::r2d2::PoolError;
use diesel::result::Error as DieselError;
use thiserror::Error;

use crate::backend::{cause_of, Cause, Waiting};
use crate::retry::RetryCause;
use crate::waits::{held_by, Session};

/// Why a locked call did not end in `Ok`, and what that means for the work.
///
/// [`outcome`](Self::outcome) says what became of the writes, [`is_transient`](Self::is_transient)
/// whether a fresh attempt may succeed, [`is_contention`](Self::is_contention) whether somebody
/// else was in the way. Where a database error stands behind a variant it is the
/// [`source`](std::error::Error::source).
///
/// # How an error is recognized
///
/// Diesel keeps neither SQLSTATE nor error number, so the text decides, in every language of the
/// server, to the letter: an error of your own (`RAISE`, `SIGNAL`), or a value that is quoted in one,
/// is not taken for the server's because it begins like it or names a lock. One in exactly the
/// server's words can't be told from it. The harm is bounded: the work is rolled back either
/// way, so the outcome is right. But the variant is that of the server's error, and a
/// [`Retry`](crate::Retry) runs the closure again.
///
/// The closure of a locked call returns any `E: From<LockError>`. That includes `LockError`
/// itself, [`diesel::result::Error`] and `anyhow::Error`.
///
/// # Example
///
/// ```
/// use diesel_row_lock::{LockError, Outcome};
///
/// #[derive(Debug, thiserror::Error)]
/// enum BankError {
///     #[error("insufficient funds")]
///     InsufficientFunds,
///     #[error("no such account")]
///     UnknownAccount,
///     #[error(transparent)]
///     Lock(LockError),
/// }
///
/// impl From<LockError> for BankError {
///     fn from(error: LockError) -> Self {
///         match error {
///             LockError::NotFound { .. } => BankError::UnknownAccount,
///             other => BankError::Lock(other),
///         }
///     }
/// }
///
/// let error = LockError::NotFound { key: None };
/// assert_eq!(error.outcome(), Outcome::NotApplied);
/// assert!(matches!(BankError::from(error), BankError::UnknownAccount));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LockError {
    /// No row matched: it never existed, it was deleted, or it stopped matching while the call
    /// waited for its lock. With `skip_locked`, also a row that somebody else holds.
    #[error("no row to lock{}", .key.as_ref().map(|key| format!(" with primary key {key}")).unwrap_or_default())]
    NotFound {
        /// The primary key that no row has, where the call asked by key.
        key: Option<String>,
    },

    /// Somebody else holds the row, and the request was not to wait.
    #[error("the row is locked by another transaction")]
    Busy {
        /// What the server said.
        source: DieselError,
    },

    /// The lock did not come free within the time that the request, or the session, allows.
    #[error("timed out waiting for a lock{}", held_by(.blocker.as_deref()))]
    Timeout {
        /// What the server said.
        source: DieselError,
        /// Who was in the way, with [`RowLock::naming_blocker`](crate::RowLock::naming_blocker);
        /// `None` without it.
        blocker: Option<Box<Session>>,
    },

    /// The server chose this transaction as the victim of a deadlock.
    #[error("the transaction was rolled back to end a deadlock")]
    Deadlock {
        /// What the server said.
        source: DieselError,
    },

    /// The transaction can't be put in order with a concurrent one (SQLSTATE 40001 on
    /// PostgreSQL, error 1020 on MariaDB).
    #[error("the transaction conflicts with a concurrent one")]
    SerializationFailure {
        /// What the server said.
        source: DieselError,
    },

    /// A statement ran longer than `statement_timeout` (`max_statement_time` on MariaDB) allows.
    #[error("a statement exceeded the time that it may take")]
    StatementTimeout {
        /// What the server said.
        source: DieselError,
    },

    /// Somebody cancelled the statement (`pg_cancel_backend`, `KILL QUERY`).
    #[error("the statement was cancelled")]
    Cancelled {
        /// What the server said.
        source: DieselError,
    },

    /// The closure ignored a failed statement: it returned `Ok`, but the server has rolled
    /// the transaction back or refuses to commit it. Also a call inside a transaction that the
    /// server has ended already, and an `UPDATE` of this crate that MariaDB reports as successful
    /// although it was cancelled.
    #[error("a statement failed and its error was ignored; nothing was committed")]
    Aborted {
        /// What the server said when it was asked to commit, if it was asked.
        source: Option<DieselError>,
    },

    /// The closure ended its transaction itself: `COMMIT`, `ROLLBACK`, or a statement that
    /// commits implicitly. The lock was lost with it, and what ran up to there, or after it, may
    /// be durable.
    ///
    /// SQLite itself rolls a transaction back at some failed statements (a full disk, an I/O error,
    /// `OR ROLLBACK`), which from outside looks the same; the worse is assumed.
    #[error(
        "the transaction was ended inside the closure; the lock was lost and work may have escaped"
    )]
    Escaped {
        /// What the server said when it was asked to commit, if it was asked.
        source: Option<DieselError>,
    },

    /// The lock was held longer than [`RowLock::hold_at_most`](crate::RowLock::hold_at_most) allows.
    /// `COMMIT` was not sent, and the server may have ended the session.
    #[error("the lock was held longer than {limit:?}; nothing was committed")]
    HoldExpired {
        /// How long it may be held.
        limit: Duration,
    },

    /// The call may not run inside the transaction that is open: it asked to be the outermost
    /// one, the open transaction does not hold the write lock (on SQLite), or Diesel does not know
    /// of it (XA on MySQL and MariaDB, a raw `BEGIN` on SQLite).
    #[error("{reason}")]
    AlreadyInTransaction {
        /// Which of them.
        reason: &'static str,
    },

    /// The locking statement returned a row with a primary key that was not asked for: behind a
    /// transaction pooler another client's statement ran
    /// ([`pooler_safe`](crate::LockConnection::pooler_safe) prevents it).
    ///
    /// A key that the database writes in another way than the caller is no wrong one: padded with
    /// blanks (`CHAR(n)`), rounded to microseconds, in letters that its collation takes for the
    /// same. The database is asked whether it is the same key.
    #[error("the server locked the row with primary key {key}, which was not asked for")]
    WrongRow {
        /// The primary key of that row.
        key: String,
    },

    /// More than one row has this primary key, as tables that inherit from another one
    /// (PostgreSQL) allow. Lock them with [`RowLock::with_all`](crate::RowLock::with_all).
    #[error("more than one row has primary key {key}")]
    AmbiguousKey {
        /// The primary key.
        key: String,
    },

    /// A primary key was asked for twice in one call: nothing was sent to the server; or two keys
    /// are the same to the database.
    #[error("primary key {key} was asked for twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },

    /// The row is not of the version that the caller has seen: somebody has saved it, or deleted it,
    /// since. Nothing was changed. Read it again.
    #[error("the row with primary key {key} is no longer of version {expected}")]
    StaleRow {
        /// The primary key.
        key: String,
        /// The version that the caller has seen.
        expected: i64,
    },

    /// The version column can't count any further. Nothing was sent to the server.
    #[error(
        "version {version} of the row with primary key {key} is the last that its column can hold"
    )]
    VersionOverflow {
        /// The primary key.
        key: String,
        /// The version that the caller has seen.
        version: i64,
    },

    /// Somebody else holds the [lease](crate::lease), and has not let go within the time that the call
    /// may wait.
    #[error("the lease {lease:?} is held{}", .holder.as_ref().map(|holder| format!(" by {holder:?}")).unwrap_or_default())]
    LeaseHeld {
        /// Its name.
        lease: String,
        /// Who; `None` when that changed in the moment of asking.
        holder: Option<String>,
    },

    /// The [lease](crate::lease) is not, or no longer, held with this token: it was released, its time
    /// is over, or somebody else has it. Nothing was changed.
    #[error("the lease {lease:?} is no longer held with token {token}")]
    StaleToken {
        /// Its name.
        lease: String,
        /// The token of the late holder.
        token: i64,
    },

    /// There can be no such [lease](crate::lease). Nothing was sent to the server.
    #[error("the {what} of the lease {why}")]
    InvalidLease {
        /// What of it: its `name`, `owner`, `note`, `reason` or `ttl`, or a `handle`.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },

    /// The server does not let this user end somebody else's session or statement
    /// ([`waits`](crate::waits)).
    #[error("the user of this connection may not do that to the session")]
    Denied {
        /// What the server said.
        source: DieselError,
    },

    /// The server, or the backend, has no such thing. Nothing was changed.
    #[error("{what}")]
    Unsupported {
        /// What is not supported, and what to use instead.
        what: String,
        /// What the server said, if it was asked.
        source: Option<DieselError>,
    },

    /// `COMMIT` was sent, and the answer does not say what became of it: the connection was lost, a
    /// proxy answered in place of the server, or the thread that sent it for this caller panicked.
    /// The transaction is either committed or not. Never retry this blindly.
    #[error("the outcome of COMMIT is unknown; the transaction may or may not be committed")]
    CommitUnknown {
        /// What the client library said.
        source: DieselError,
    },

    /// The connection was lost before `COMMIT` was sent: nothing was applied.
    #[error("the connection was lost before COMMIT; nothing was committed")]
    ConnectionLost {
        /// What the client library said.
        source: DieselError,
    },

    /// The [`Retry`](crate::Retry) policy gave up.
    #[error("gave up after {attempts} attempts, the first of which failed by {first}, the last by {last}")]
    RetriesExhausted {
        /// How many were made.
        attempts: u32,
        /// Why the first one failed.
        first: RetryCause,
        /// Why the last one failed.
        last: RetryCause,
    },

    /// The caller's turn in a [`RowQueue`](crate::queue::RowQueue) did not come in time.
    #[error("timed out after {waited:?} in the queue for the row")]
    QueueTimeout {
        /// How long a caller may wait.
        waited: Duration,
    },

    /// The line for the row in a [`RowQueue`](crate::queue::RowQueue) was as long as it may be.
    #[error("{length} callers are waiting for the row already")]
    QueueFull {
        /// How many callers may wait.
        length: usize,
    },

    /// The thread that ran the transaction for this change panicked. Nothing was committed.
    #[error("the thread that made this change panicked; nothing was committed")]
    Abandoned,

    /// The pool had no connection to give.
    #[error("no connection from the pool")]
    Pool {
        /// What the pool said.
        source: PoolError,
    },

    /// Any other error of Diesel, untouched.
    #[error(transparent)]
    Database(DieselError),
}

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

    /// Whether the call failed because somebody else holds the lock.
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

    pub(crate) fn nested_in_transaction() -> Self {
        Self::AlreadyInTransaction {
            reason:
                "`.outermost()` was asked for, but a transaction is already open on this connection",
        }
    }
}

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
            error @ DieselError::RollbackErrorOnCommit { .. } => {
                Self::CommitUnknown { source: error }
            }
            DieselError::QueryBuilderError(inner) => match inner.downcast::<Self>() {
                Ok(error) => *error,
                Err(inner) => Self::Database(DieselError::QueryBuilderError(inner)),
            },
            error => match cause_of(&error) {
                Some(cause) => cause.into_error(error, Waiting::Session),
                None => Self::Database(error),
            },
        }
    }
}

/// The error of Diesel behind it where that one tells the whole story, so that code which matches
/// on Diesel's errors goes on working; otherwise the `LockError` itself in
/// [`QueryBuilderError`](DieselError::QueryBuilderError). Either way `LockError::from` brings it
/// back as what it was.
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
                source
            }
            other => Self::QueryBuilderError(Box::new(other)),
        }
    }
}
