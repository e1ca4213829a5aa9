//! [`LockError`]: how a locked call can end when it does not end in `Ok`.

mod cause;
mod display;
mod outcome;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use diesel::r2d2::PoolError;
use diesel::result::Error as DieselError;

pub use self::cause::RetryCause;
pub use self::outcome::Outcome;
use crate::session::Session;

/// Why a locked call did not end in `Ok`, and what that means for the work.
///
/// [`outcome`](Self::outcome) says what became of the writes, [`is_transient`](Self::is_transient)
/// whether a fresh attempt may succeed, [`is_contention`](Self::is_contention) whether another
/// session was in the way. Where an error of Diesel stands behind a variant,
/// [`diesel_error`](Self::diesel_error) gives it, and so does
/// [`source`](std::error::Error::source); [`Database`](Self::Database) is that error itself, so its
/// `source` is the next one. Diesel's errors can't be cloned; a `LockError` can, since it shares
/// them.
///
/// # How an error is recognized
///
/// Diesel keeps neither SQLSTATE nor error number, so the text decides, in every language of the
/// server, to the letter: an error of your own (`RAISE`, `SIGNAL`), or a value that is quoted in
/// one, is not taken for the server's because it begins like it or names a lock. One in exactly the
/// server's words can't be told from it. The harm is bounded: the work is rolled back either way,
/// so the outcome is right. But the variant is that of the server's error, and a
/// [`Retry`](crate::Retry) runs the closure again.
///
/// The page [`errors`](crate::errors) lists which call can return which variant.
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
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LockError {
    /// No row matched: it never existed, it was deleted, or it stopped matching while the call
    /// waited for its lock. With `skip_locked`, also a row that somebody else holds.
    NotFound {
        /// The primary key that no row has, where the call asked by key.
        key: Option<String>,
    },

    /// Somebody else holds the row, and the request was not to wait.
    Busy {
        /// What the server said.
        source: Arc<DieselError>,
    },

    /// The lock did not come free within the time that the request, or the session, allows.
    Timeout {
        /// What the server said.
        source: Arc<DieselError>,
        /// Who was in the way, with [`RowLock::naming_blocker`](crate::RowLock::naming_blocker);
        /// `None` without it.
        blocker: Option<Box<Session>>,
    },

    /// The server chose this transaction as the victim of a deadlock.
    Deadlock {
        /// What the server said.
        source: Arc<DieselError>,
    },

    /// The transaction can't be put in order with a concurrent one (SQLSTATE 40001 on
    /// PostgreSQL, error 1020 on MariaDB).
    SerializationFailure {
        /// What the server said.
        source: Arc<DieselError>,
    },

    /// A statement ran longer than `statement_timeout` (`max_statement_time` on MariaDB) allows.
    StatementTimeout {
        /// What the server said.
        source: Arc<DieselError>,
    },

    /// Somebody cancelled the statement (`pg_cancel_backend`, `KILL QUERY`).
    Cancelled {
        /// What the server said.
        source: Arc<DieselError>,
    },

    /// The closure ignored a failed statement: it returned `Ok`, but the server has rolled
    /// the transaction back or refuses to commit it. Also a call inside a transaction that the
    /// server has ended already, and an `UPDATE` of this crate that succeeds without a row: a
    /// trigger skips it, or MariaDB reports it as successful although it was cancelled.
    Aborted {
        /// What the server said when it was asked to commit, if it was asked.
        source: Option<Arc<DieselError>>,
    },

    /// The closure ended its transaction itself: `COMMIT`, `ROLLBACK`, or a statement that
    /// commits implicitly. The lock was lost with it, and what ran up to there, or after it, may
    /// be durable.
    ///
    /// SQLite itself rolls a transaction back at some failed statements (a full disk, an I/O error,
    /// `OR ROLLBACK`), which from outside looks the same; the worse is assumed.
    Escaped {
        /// What the server said when it was asked to commit, if it was asked.
        source: Option<Arc<DieselError>>,
    },

    /// The lock was held longer than [`RowLock::hold_at_most`](crate::RowLock::hold_at_most)
    /// allows. `COMMIT` was not sent, and the server may have ended the session. What
    /// [`ConnectionLost`](Self::ConnectionLost) says of a closure that had committed itself is true
    /// here, too.
    HoldExpired {
        /// How long it may be held.
        limit: Duration,
    },

    /// The call may not run inside the transaction that is open: it asked to be the outermost
    /// one, the open transaction does not hold the write lock (on SQLite), or Diesel does not know
    /// of it (XA on MySQL and MariaDB, a raw `BEGIN` on SQLite). Also a call of a
    /// [`RowQueue`](crate::queue::RowQueue) inside the closure of another one, for the same row: it
    /// would wait for itself.
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
    WrongRow {
        /// The primary key of that row.
        key: String,
    },

    /// More than one row has this primary key, as tables that inherit from another one
    /// (PostgreSQL) allow. Lock them with [`RowLock::with_all`](crate::RowLock::with_all).
    AmbiguousKey {
        /// The primary key.
        key: String,
    },

    /// A primary key was asked for twice in one call: nothing was sent to the server; or two keys
    /// are the same to the database.
    DuplicateKey {
        /// The key.
        key: String,
    },

    /// The change of a [`RowQueue::update`](crate::queue::RowQueue::update) has given the model
    /// another primary key. A row is changed under the key that it was asked for; the change was
    /// taken back.
    KeyChanged {
        /// The primary key of the row.
        key: String,
    },

    /// The row is not of the version that the caller has seen: somebody has saved it, or deleted
    /// it, since. Nothing was changed. Read it again.
    StaleRow {
        /// The primary key.
        key: String,
        /// The version that the caller has seen.
        expected: i64,
    },

    /// The version column can't count any further. Nothing was sent to the server.
    VersionOverflow {
        /// The primary key.
        key: String,
        /// The version that the caller has seen.
        version: i64,
    },

    /// Somebody else holds the [lease](crate::lease), and has not let go within the time that the
    /// call may wait.
    LeaseHeld {
        /// Its name.
        lease: String,
        /// Who; `None` when that changed in the moment of asking.
        holder: Option<String>,
    },

    /// The [lease](crate::lease) is lost: it was released, its time is over, or another session
    /// holds it. Nothing was changed.
    ///
    /// The token is the one that the lease had when it was acquired. It has nothing to do with a
    /// [`CommitToken`](crate::CommitToken), which says whether a transaction has committed.
    StaleToken {
        /// Its name.
        lease: String,
        /// The token of the late holder.
        token: i64,
    },

    /// There can be no such [lease](crate::lease). Nothing was sent to the server.
    InvalidLease {
        /// What of it: its `name`, `owner`, `note`, `reason` or `ttl`, or a `handle`.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },

    /// The server does not let this user end somebody else's session or statement
    /// ([`waits`](crate::waits)).
    Denied {
        /// What the server said.
        source: Arc<DieselError>,
    },

    /// The server, or the backend, has no such thing. Nothing was changed.
    Unsupported {
        /// What is not supported, and what to use instead.
        what: String,
        /// What the server said, if it was asked.
        source: Option<Arc<DieselError>>,
    },

    /// `COMMIT` was sent, and the answer does not say what became of it: the connection was lost, a
    /// proxy answered in place of the server, or the thread that sent it for this caller panicked.
    /// The transaction is either committed or not. Never retry this blindly.
    CommitUnknown {
        /// What the client library said.
        source: Arc<DieselError>,
    },

    /// The connection was lost before `COMMIT` was sent: nothing was applied.
    ///
    /// Unless the closure had ended its transaction itself before that. Then its work up to there
    /// is durable. A server that can't be asked any more does not say so
    /// ([`Escaped`](Self::Escaped)).
    ConnectionLost {
        /// What the client library said.
        source: Arc<DieselError>,
    },

    /// The [`Retry`](crate::Retry) policy gave up.
    RetriesExhausted {
        /// How many attempts were made.
        attempts: u32,
        /// Why the first one failed.
        first: RetryCause,
        /// Why the last one failed.
        last: RetryCause,
        /// The error of the last one. `None` if it is an error of the closure's own type, unless
        /// [`Retryable::into_lock_error`](crate::Retryable::into_lock_error) gives it.
        source: Option<Box<LockError>>,
    },

    /// The caller's turn in a [`RowQueue`](crate::queue::RowQueue) did not come in time.
    QueueTimeout {
        /// How long a caller may wait.
        waited: Duration,
    },

    /// The line for the row in a [`RowQueue`](crate::queue::RowQueue) was as long as it may be.
    QueueFull {
        /// How many callers may wait.
        length: usize,
    },

    /// The thread that ran the transaction for this change panicked. Nothing was committed.
    Abandoned,

    /// The pool had no connection to give.
    Pool {
        /// What the pool said.
        source: Arc<PoolError>,
    },

    /// Any other error of Diesel, untouched.
    Database(Arc<DieselError>),
}

impl LockError {
    /// The error of Diesel behind it, where there is one: of a failed statement, or what the client
    /// library said.
    ///
    /// Sends no SQL.
    ///
    /// # Example
    ///
    /// ```
    /// use diesel::result::{DatabaseErrorKind, Error as DieselError};
    /// use diesel_row_lock::LockError;
    ///
    /// fn is_taken(error: &LockError) -> bool {
    ///     matches!(
    ///         error.diesel_error(),
    ///         Some(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _))
    ///     )
    /// }
    /// # let taken = DieselError::DatabaseError(
    /// #     DatabaseErrorKind::UniqueViolation,
    /// #     Box::new("the name is taken".to_owned()),
    /// # );
    /// # assert!(is_taken(&LockError::from(taken)));
    /// ```
    pub fn diesel_error(&self) -> Option<&DieselError> {
        match self {
            Self::Busy { source }
            | Self::Timeout { source, .. }
            | Self::Deadlock { source }
            | Self::SerializationFailure { source }
            | Self::StatementTimeout { source }
            | Self::Cancelled { source }
            | Self::Denied { source }
            | Self::CommitUnknown { source }
            | Self::ConnectionLost { source }
            | Self::Database(source) => Some(source),
            Self::Aborted { source }
            | Self::Escaped { source }
            | Self::Unsupported { source, .. } => source.as_deref(),
            Self::NotFound { .. }
            | Self::HoldExpired { .. }
            | Self::AlreadyInTransaction { .. }
            | Self::WrongRow { .. }
            | Self::AmbiguousKey { .. }
            | Self::DuplicateKey { .. }
            | Self::KeyChanged { .. }
            | Self::StaleRow { .. }
            | Self::VersionOverflow { .. }
            | Self::LeaseHeld { .. }
            | Self::StaleToken { .. }
            | Self::InvalidLease { .. }
            | Self::RetriesExhausted { .. }
            | Self::QueueTimeout { .. }
            | Self::QueueFull { .. }
            | Self::Abandoned
            | Self::Pool { .. } => None,
        }
    }

    pub(crate) fn key_changed(key: &impl std::fmt::Debug) -> Self {
        Self::KeyChanged {
            key: format!("{key:?}"),
        }
    }

    pub(crate) fn nested_in_transaction() -> Self {
        Self::AlreadyInTransaction {
            reason: "`.outermost()` was asked for, \
                 but a transaction is already open on this connection",
        }
    }
}
