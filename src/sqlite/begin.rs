//! How a transaction begins and ends on SQLite.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use diesel::connection::{Connection, LoadConnection, SimpleConnection};
use diesel::dsl::sql;
use diesel::result::{Error as DieselError, QueryResult};
use diesel::sql_types::{Integer, Text};
use diesel::sqlite::Sqlite;
use diesel::{RunQueryDsl, SqliteConnection};

use crate::backend::transaction::{EndError, TransactionBackend};
use crate::backend::{is_already_open, LockBackend, Settings, Waiting, GUARD};
use crate::error::LockError;
use crate::played::aside;
use crate::sql::ablation::are_locks_taken_out;

impl LockBackend for Sqlite {
    const SYSTEM: &'static str = "sqlite";
    const CONNECTIONS_PER_ROW: usize = 1;
    const ROW_VALUES: &'static str = "VALUES ";
    const BINDS: usize = 32_766;
    const CREATE_COMMITS: &'static str =
        include_str!("../../migrations/sqlite/2026-11-22-000001_row_lock_commits/up.sql");

    fn seconds_ago(seconds: u32) -> String {
        format!("CAST(strftime('%s', 'now') AS INTEGER) - {seconds}")
    }

    fn wait_sql(_: Waiting) -> Cow<'static, str> {
        "".into()
    }

    fn check_outer<C>(conn: &mut C) -> Result<(), LockError>
    where
        C: LoadConnection<Backend = Self>,
    {
        if are_locks_taken_out() || aside(|| holds_write_lock(conn))? {
            Ok(())
        } else {
            Err(LockError::AlreadyInTransaction {
                reason: "the open transaction does not hold SQLite's write lock; \
                         begin it with `immediate_transaction`, or by a locked call",
            })
        }
    }
}

impl TransactionBackend for Sqlite {
    const VICTIM_LOSES_TRANSACTION: bool = false;

    type Server = ();

    /// `BEGIN IMMEDIATE` takes the write lock of the whole database, which is the exclusion that
    /// `FOR UPDATE` gives elsewhere. A deferred transaction would take it at its first write, and
    /// fail there at once if another connection had committed since its first read.
    fn begin<C>(conn: &mut C, settings: Settings, first: Option<&str>) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        // `IMMEDIATE` is the lock here, so it is what the race prover takes out.
        let immediate = if are_locks_taken_out() {
            ""
        } else {
            " IMMEDIATE"
        };
        let mut begin = format!("BEGIN{immediate}; SAVEPOINT row_lock_guard");
        if let Some(first) = first {
            begin += "; ";
            begin += first;
        }
        let begun = match settings.waiting {
            Waiting::Session | Waiting::Skip => conn.batch_execute(&begin),
            Waiting::Never => begin_within(conn, &begin, 0),
            Waiting::AtMost(time) => begin_within(conn, &begin, millis(time)),
        };
        begun.inspect_err(|error| {
            // What is open may be the user's own.
            if !is_already_open::<Self>(error) {
                drop(Self::roll_back_all(conn));
            }
        })
    }

    fn commit<C>(conn: &mut C, (): (), _: Settings, _: Instant) -> Result<(), EndError>
    where
        C: LoadConnection<Backend = Self>,
    {
        // SQLite stops a batch at its first error: without the guard no COMMIT runs.
        conn.batch_execute("RELEASE SAVEPOINT row_lock_guard; COMMIT")
            .map_err(|error| end_error(error, GUARD))
    }

    fn roll_back<C>(conn: &mut C, (): (), _: Settings, _: bool) -> Result<(), EndError>
    where
        C: LoadConnection<Backend = Self>,
    {
        // `ROLLBACK` alone would succeed in a transaction that the closure has begun itself.
        conn.batch_execute("ROLLBACK TO SAVEPOINT row_lock_guard; ROLLBACK")
            .map_err(|error| end_error(error, GUARD))
    }

    fn savepoint<C>(conn: &mut C, name: &str, _: Waiting) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        conn.batch_execute(&format!("SAVEPOINT {name}"))
    }

    fn release<C>(conn: &mut C, name: &str, _: Waiting) -> Result<(), EndError>
    where
        C: LoadConnection<Backend = Self>,
    {
        conn.batch_execute(&format!("RELEASE SAVEPOINT {name}"))
            .map_err(|error| end_error(error, name))
    }

    fn rollback_to<C>(conn: &mut C, name: &str, _: Waiting, _: bool) -> Result<(), EndError>
    where
        C: LoadConnection<Backend = Self>,
    {
        conn.batch_execute(&format!(
            "ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}"
        ))
        .map_err(|error| end_error(error, name))
    }
}

/// SQLite's texts are not translated.
fn end_error(error: DieselError, savepoint: &str) -> EndError {
    let gone = format!("no such savepoint: {savepoint}");
    let is_gone = matches!(&error, DieselError::DatabaseError(_, info) if info.message() == gone);
    EndError::gone_if(is_gone, error)
}

/// The session's own timeout is back before the closure runs.
fn begin_within<C>(conn: &mut C, begin: &str, millis: i32) -> QueryResult<()>
where
    C: LoadConnection<Backend = Sqlite>,
{
    // The timeout is the connection's, not the statement's. There is no scope that would put it
    // back by itself.
    let session = sql::<Integer>("PRAGMA busy_timeout").get_result::<i32>(conn)?;
    conn.batch_execute(&format!("PRAGMA busy_timeout = {millis}"))?;
    let begun = conn.batch_execute(begin);
    // Before the result is looked at: the session's value is back after an error, too.
    conn.batch_execute(&format!("PRAGMA busy_timeout = {session}"))?;
    begun
}

/// Whether the open transaction has the write lock of the main database.
///
/// No SQL tells whether a transaction is deferred. So a second connection to the same file asks
/// for the write lock: if it can be had, the open transaction does not hold it. If it can't,
/// somebody holds it, and a write of our own that changes nothing tells whether it is us.
///
/// A database in memory has no file that a second connection could ask for, though others may share
/// its cache (`file::memory:?cache=shared`). There the write alone decides: if it succeeds, the
/// open transaction holds the write lock from then on. What it has read before can't be stale: in a
/// shared cache a reader's table is locked for writers until the reader's transaction ends.
fn holds_write_lock<C>(conn: &mut C) -> Result<bool, LockError>
where
    C: LoadConnection<Backend = Sqlite>,
{
    let file = sql::<Text>("SELECT file FROM pragma_database_list WHERE name = 'main'")
        .get_result::<String>(conn)?;
    if !file.is_empty() && !is_locked(&file) {
        return Ok(false);
    }
    let version = sql::<Integer>("PRAGMA user_version").get_result::<i32>(conn)?;
    let written = conn.batch_execute(&format!("PRAGMA user_version = {version}"));
    Ok(written.is_ok())
}

fn is_locked(file: &str) -> bool {
    match SqliteConnection::establish(file) {
        // The connection is closed at the end of this line, and the lock it may have taken is free.
        Ok(mut other) => other.batch_execute("BEGIN IMMEDIATE").is_err(),
        // Out of file handles, an encrypted file: the write decides.
        Err(_) => true,
    }
}

/// Whole milliseconds, rounded up; SQLite takes a negative or too large one for zero.
fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
}
