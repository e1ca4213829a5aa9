//! Lists the sessions that wait for locks and their blockers, and ends them.
//!
//! [`lock_waits`] lists each session that waits for a lock at this moment, with the session that
//! blocks it. [`cancel`] and [`terminate`] end what a session does, or the session itself. A
//! timeout can name its blocker: see [`RowLock::naming_blocker`](crate::RowLock::naming_blocker).
//!
//! SQLite has no server to ask: there these calls don't compile.
//!
//! # Example
//!
//! A blocker often waits for another session itself. The root blocker, at the end of the line,
//! waits for none:
//!
//! ```no_run
//! # #[cfg(feature = "postgres")] mod with_server {
//! use diesel::PgConnection;
//! use diesel_row_lock::waits::{lock_waits, root_blockers, terminate};
//! use diesel_row_lock::LockError;
//!
//! fn free_the_line(conn: &mut PgConnection) -> Result<(), LockError> {
//!     let waits = lock_waits(conn)?;
//!     for wait in &waits {
//!         println!("{wait}; in the end for {}", wait.root(&waits));
//!     }
//!     for blocker in root_blockers(&waits) {
//!         // It holds its locks and does nothing: there is nothing to cancel.
//!         if blocker.idle {
//!             terminate(conn, blocker.id)?;
//!         }
//!     }
//!     Ok(())
//! }
//! # }
//! # fn main() {}
//! ```

pub(crate) mod backend;
pub(crate) mod looks;
pub(crate) mod viewpoint;
mod wait;

use std::time::Instant;

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use self::backend::WaitsBackend;
use self::viewpoint::Viewpoint;
pub use self::wait::{root_blockers, LockWait};
use crate::backend::{classify, Waiting};
use crate::connection::LockConnection;
use crate::error::LockError;
pub use crate::session::{Session, SessionId};

/// Each session on the server that waits for a lock, with its direct blockers. The longest wait
/// comes first.
///
/// A direct blocker holds the lock that the waiter asks for. Where a lock has several holders, the
/// first waiter in each mode is listed once for each of them, and the waiters behind it once, for
/// one of them. A waiter that no holder blocks stands behind a conflicting request, and is listed
/// once, for that request. So the list has a row for each waiter and each holder: it does not grow
/// with the square of a line. [`LockWait::root`] follows the blockers to the end.
///
/// The answer is old when it arrives. It may be the answer to another call of this process, by a
/// connection to the same server, as the same user and in the same database, if the server was
/// asked after this call began. So a hundred callers at once cost the server a few looks.
///
/// Executes a `SELECT` that names the server and the user, and one that lists the waits.
///
/// - **PostgreSQL**: `pg_locks` and `pg_stat_activity`; `pg_blocking_pids` only for waiters that no
///   holder blocks. Waits of all kinds, also for tables and advisory locks. The first waiter for a
///   row waits for its holder, and the others wait for the first. A worker of autovacuum can be a
///   blocker, too: its query begins with `autovacuum:`, and it begins anew when it is cancelled.
///   The queries of other users are shown to the members of `pg_read_all_stats`. In an open
///   transaction this renews what the transaction sees of the statistics
///   (`pg_stat_clear_snapshot`).
/// - **MariaDB**: `information_schema.innodb_trx`, `innodb_lock_waits`, `innodb_locks` and
///   `processlist`, which need the privilege `PROCESS`. Waits for rows only, and for InnoDB's locks
///   of tables. The server does not tell transactions apart that hold shared locks only: a waiter
///   for one of them is listed with all that hold any lock. It renews these lists only when no
///   session has read them for 100 ms. So processes take turns, by `GET_LOCK`, and each pauses for
///   so long: a call takes 110 ms.
/// - **MySQL**: the same waits, from `data_lock_waits`, `data_locks`, `threads`,
///   `events_transactions_current` and `events_statements_current` of `performance_schema`, which
///   need `SELECT` on them. Where the server runs without `performance_schema` the list is empty.
///
/// # Errors
///
/// Those of [any statement](crate::errors#any-statement).
pub fn lock_waits<C>(conn: &mut C) -> Result<Vec<LockWait>, LockError>
where
    C: LockConnection<Backend: WaitsBackend>,
{
    let viewpoint = Viewpoint::of(conn)?;
    let waits = viewpoint.look(conn, Instant::now(), || false)?;
    Ok(waits.map_or_else(Vec::new, |waits| waits.to_vec()))
}

/// Cancels the statement that the session is in; returns whether there is such a session.
///
/// On PostgreSQL the transaction of that statement fails with it (or its innermost savepoint does),
/// and its locks are free. MySQL and MariaDB take back the statement only, and the transaction
/// keeps its locks. A session that is [idle](Session::idle) in its transaction is in no statement,
/// so **this changes nothing there**, though it returns `true`: use [`terminate`].
///
/// To a locked call in that session this is [`LockError::Cancelled`].
///
/// Executes `SELECT pg_cancel_backend(…)`, or `KILL QUERY …`.
///
/// # Errors
///
/// - [`Denied`](LockError::Denied): the session is somebody else's. PostgreSQL asks for membership
///   in that role or in `pg_signal_backend`, MariaDB for `CONNECTION ADMIN`. On MariaDB and MySQL
///   also if there is no such session, to who has not the privilege `PROCESS` and can't be told;
/// - those of [any statement](crate::errors#any-statement).
pub fn cancel<C>(conn: &mut C, session: SessionId) -> Result<bool, LockError>
where
    C: LockConnection<Backend: WaitsBackend>,
{
    C::Backend::cancel(conn, session.get()).map_err(|error| denied::<C>(error))
}

/// Ends the session; returns whether there is such a session. Its transaction is rolled back and
/// its locks are free.
///
/// To a locked call in that session this is [`LockError::ConnectionLost`], or in the middle of its
/// `COMMIT`, [`LockError::CommitUnknown`].
///
/// Executes `SELECT pg_terminate_backend(…)`, or `KILL CONNECTION …`. Neither waits until it is
/// done.
///
/// # Errors
///
/// Those of [`cancel`].
pub fn terminate<C>(conn: &mut C, session: SessionId) -> Result<bool, LockError>
where
    C: LockConnection<Backend: WaitsBackend>,
{
    C::Backend::terminate(conn, session.get()).map_err(|error| denied::<C>(error))
}

impl SessionId {
    /// The id of this connection's own session. It stays the same while the connection lives,
    /// except behind a transaction pooler.
    ///
    /// Executes `SELECT pg_backend_pid()`, or `SELECT connection_id()`.
    ///
    /// # Errors
    ///
    /// Those of [any statement](crate::errors#any-statement).
    pub fn of<C>(conn: &mut C) -> Result<Self, LockError>
    where
        C: LockConnection<Backend: WaitsBackend>,
    {
        let id = C::Backend::session(conn).map_err(|error| meaning::<C>(error))?;
        Ok(Self::new(id))
    }
}

fn meaning<C>(error: DieselError) -> LockError
where
    C: LockConnection,
{
    classify::<C::Backend>(error, Waiting::Session)
}

/// The servers say it in many languages. But the statement is always the same, so where the error
/// has no other meaning it is this one.
fn denied<C>(error: DieselError) -> LockError
where
    C: LockConnection,
{
    match meaning::<C>(error) {
        // What is left without a cause here is the server's refusal: the statement has no other
        // part that could fail.
        LockError::Database(source)
            if matches!(
                *source,
                DieselError::DatabaseError(DatabaseErrorKind::Unknown, _)
            ) =>
        {
            LockError::Denied { source }
        }
        other => other,
    }
}
