//! How the statements of a lease run: alone or in a transaction of their own.

use std::thread;
use std::time::Duration;

use crate::backend::lease::sql::{LeaseRow, Statement, Values};
use crate::backend::lease::LeaseBackend;
use crate::backend::{classify, Settings, Waiting};
use crate::connection::{depth, LockConnection};
use crate::error::LockError;
use crate::retry::Failure;
use crate::telemetry::Call;
use crate::transaction::{run, run_alone, Request};

/// How often a call runs that loses against a concurrent one.
pub(super) const ATTEMPTS: u32 = 10;

/// Runs the attempt again when the server has rolled it back in favour of a concurrent one, which
/// the session's isolation level or a deadlock can make it do. The other one has made progress.
pub(super) fn again<C, R>(
    conn: &mut C,
    mut attempt: impl FnMut(&mut C) -> Result<R, LockError>,
) -> Result<R, LockError> {
    let mut attempts = 1;
    loop {
        match attempt(conn) {
            // The transaction of the attempt is rolled back, so the pause holds no lock.
            Err(error) if attempts < ATTEMPTS && has_lost(&error) => pause(attempts),
            result => return result,
        }
        attempts += 1;
    }
}

/// Before the attempt behind this one.
pub(super) fn pause(attempts: u32) {
    thread::sleep(Duration::from_millis(attempts.into()));
}

/// Whether the transaction lost against a concurrent one, and may run again.
pub(super) fn has_lost(error: &LockError) -> bool {
    matches!(
        error,
        LockError::Deadlock { .. } | LockError::SerializationFailure { .. }
    )
}

/// Runs these statements in a transaction of their own. Not inside another one: its rollback would
/// take back what the caller has relied on since.
pub(super) fn transaction<C, R>(
    conn: &mut C,
    mut body: impl FnMut(&mut C) -> Result<R, LockError>,
) -> Result<R, LockError>
where
    C: LockConnection,
{
    let request = Request {
        settings: Settings::NONE,
        outermost: true,
        commit_token: None,
    };
    // In an open transaction, whose rollback would take the change back unnoticed, nothing is sent.
    refuse_nested(conn)?;
    again(conn, |conn| {
        // For each attempt: the level holds for one transaction.
        read_committed(conn)?;
        run(
            conn,
            request,
            &Call::untold(),
            |_| Ok(()),
            |conn, ()| body(conn),
        )
        .map_err(Failure::into_error)
    })
}

/// Runs one statement that changes something, and returns the number of rows: alone where the
/// backend makes whole calls of one statement, otherwise in a transaction, since `autocommit` may
/// be off.
pub(super) fn execute<C>(
    conn: &mut C,
    sql: &'static str,
    values: Values<'_>,
) -> Result<usize, LockError>
where
    C: LockConnection,
{
    if C::Backend::AT_ONCE.is_some() {
        refuse_nested(conn)?;
        let statement = Statement { sql, values };
        again(conn, |conn| {
            run_alone(conn, |conn| C::Backend::execute(conn, &statement))
        })
    } else {
        transaction(conn, |conn| changed(conn, sql, values))
    }
}

/// Runs a statement of [`AtOnce`](crate::backend::lease::AtOnce) and returns its row. Without a row
/// it has inserted one, or another session has purged it, and it runs again.
pub(super) fn one_row<C>(
    conn: &mut C,
    sql: &'static str,
    values: Values<'_>,
) -> Result<Option<LeaseRow>, LockError>
where
    C: LockConnection,
{
    refuse_nested(conn)?;
    let statement = Statement { sql, values };
    for _ in 0..ATTEMPTS {
        let rows = again(conn, |conn| {
            run_alone(conn, |conn| C::Backend::leases(conn, &statement))
        })?;
        if let Some(row) = rows.into_iter().next() {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// Runs one statement inside a transaction that is open, and returns the number of rows.
pub(super) fn changed<C>(
    conn: &mut C,
    sql: &'static str,
    values: Values<'_>,
) -> Result<usize, LockError>
where
    C: LockConnection,
{
    C::Backend::execute(conn, &Statement { sql, values })
        .map_err(|error| classify::<C::Backend>(error, Waiting::Session))
}

/// Runs one `SELECT` of leases.
pub(super) fn look<C>(
    conn: &mut C,
    sql: &'static str,
    values: Values<'_>,
) -> Result<Vec<LeaseRow>, LockError>
where
    C: LockConnection,
{
    C::Backend::leases(conn, &Statement { sql, values })
        .map_err(|error| classify::<C::Backend>(error, Waiting::Session))
}

/// For the next transaction alone. The server refuses it inside a transaction, and so it also finds
/// one that Diesel does not know of, before `BEGIN` would commit it.
fn read_committed<C>(conn: &mut C) -> Result<(), LockError>
where
    C: LockConnection,
{
    let Some(sql) = C::Backend::READ_COMMITTED else {
        return Ok(());
    };
    // `SET TRANSACTION` would fail in what is open there.
    if depth(conn).is_none() {
        // What is left of a broken transaction; `run` rolls it back.
        return Ok(());
    }
    changed(conn, sql, Values::default())
        .map(drop)
        .map_err(|error| match error {
            LockError::Database(_) => NESTED,
            other => other,
        })
}

fn refuse_nested<C: LockConnection>(conn: &mut C) -> Result<(), LockError> {
    if depth(conn).is_some_and(|depth| depth > 0) {
        return Err(NESTED);
    }
    Ok(())
}

const NESTED: LockError = LockError::AlreadyInTransaction {
    reason: "a lease can't change hands inside an open transaction",
};
