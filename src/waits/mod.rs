//! Who waits for whom, and how to end it.
//!
//! [`lock_waits`] lists all who wait for a lock on the server at this moment, each with a session that
//! is in its way. [`cancel`] and [`terminate`] end what a session does, or the session itself. To
//! have a timeout name its blocker, see [`RowLock::naming_blocker`](crate::RowLock::naming_blocker).
//!
//! SQLite has no server that could be asked: there these calls don't compile.
//!
//! # Example
//!
//! Who waits for a lock often waits for somebody who waits for a third one. To blame is who stands at
//! the end:
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
mod session;
mod wait;

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use self::backend::WaitsBackend;
pub(crate) use self::session::held_by;
pub use self::session::{Session, SessionId};
pub use self::wait::{root_blockers, LockWait};
use crate::backend::{classify, Waiting};
use crate::connection::LockConnection;
use crate::error::LockError;

/// Everybody on the server who waits for a lock, those first who have waited longest.
///
/// Who waits for several is listed once for each. The answer is old when it arrives.
///
/// Executes one `SELECT`. It may run anywhere but in an open transaction, where PostgreSQL goes on
/// showing the sessions as they were.
///
/// - **PostgreSQL**: `pg_locks`, `pg_blocking_pids` and `pg_stat_activity`. Waits of all kinds, also for
///   tables and advisory locks. Who waits in line for a row waits for the one before it. A worker of
///   autovacuum can be a blocker, too: its query begins with `autovacuum:`, and it begins anew when
///   it is cancelled. The queries of other users are shown to the members of `pg_read_all_stats`.
/// - **MariaDB**: `information_schema.innodb_trx`, `innodb_lock_waits`, `innodb_locks` and
///   `processlist`, which need the privilege `PROCESS`. Waits for rows only, and for InnoDB's locks
///   of tables. The server renews these lists only when nobody has read them for 100 ms. So callers
///   take turns, by `GET_LOCK`, and each keeps still for so long: a call takes 110 ms.
/// - **MySQL** (untested): the same from `performance_schema.data_lock_waits` and `data_locks`.
///
/// # Errors
///
/// - [`ConnectionLost`](LockError::ConnectionLost), [`Database`](LockError::Database): what Diesel
///   says.
pub fn lock_waits<C>(conn: &mut C) -> Result<Vec<LockWait>, LockError>
where
    C: LockConnection<Backend: WaitsBackend>,
{
    let rows = C::Backend::waits(conn).map_err(|error| meaning::<C>(error))?;
    let mut waits: Vec<_> = rows.into_iter().map(LockWait::of).collect();
    waits.sort_by_key(|wait| std::cmp::Reverse(wait.waited));
    Ok(waits)
}

/// Cancels the statement that the session is in; returns whether there is such a session.
///
/// On PostgreSQL the transaction of that statement fails with it (or its innermost savepoint does), and
/// its locks are free. MySQL and MariaDB take back the statement only, and the transaction keeps its
/// locks. A session that is [idle](Session::idle) in its transaction is in no statement, so **this
/// changes nothing there**, though it returns `true`: use [`terminate`].
///
/// To a locked call in that session this is [`LockError::Cancelled`].
///
/// Executes `SELECT pg_cancel_backend(…)`, or `KILL QUERY …`.
///
/// # Errors
///
/// - [`Denied`](LockError::Denied): the session is somebody else's. PostgreSQL asks for membership in
///   that role or in `pg_signal_backend`, MariaDB for `CONNECTION ADMIN`. On MariaDB and MySQL also if
///   there is no such session, to who has not the privilege `PROCESS` and can't be told;
/// - [`ConnectionLost`](LockError::ConnectionLost), [`Database`](LockError::Database): what Diesel
///   says.
pub fn cancel<C>(conn: &mut C, session: SessionId) -> Result<bool, LockError>
where
    C: LockConnection<Backend: WaitsBackend>,
{
    C::Backend::cancel(conn, session.get()).map_err(|error| denied::<C>(error))
}

/// Ends the session; returns whether there is such a session. Its transaction is rolled back and its
/// locks are free.
///
/// To a locked call in that session this is [`LockError::ConnectionLost`], or in the middle of its
/// `COMMIT`, [`LockError::CommitUnknown`].
///
/// Executes `SELECT pg_terminate_backend(…)`, or `KILL CONNECTION …`. Neither waits until it is done.
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

fn meaning<C>(error: DieselError) -> LockError
where
    C: LockConnection,
{
    classify::<C::Backend>(error, Waiting::Session)
}

/// The servers say it in many languages. But the statement is always the same, so where the error has
/// no other meaning it is this one.
fn denied<C>(error: DieselError) -> LockError
where
    C: LockConnection,
{
    match meaning::<C>(error) {
        LockError::Database(source @ DieselError::DatabaseError(DatabaseErrorKind::Unknown, _)) => {
            LockError::Denied { source }
        }
        other => other,
    }
}
