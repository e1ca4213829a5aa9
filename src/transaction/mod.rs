//! The only place that begins, commits and rolls back, and that guards against panics and against
//! transactions that are dead or gone.
//!
//! Between BEGIN and COMMIT runs a closure that may do anything: swallow an error that made the
//! server give up the transaction, end it with SQL of its own, panic. What the server then answers
//! to `COMMIT` is not to be trusted (PostgreSQL answers the COMMIT of an aborted transaction with
//! a silent ROLLBACK; MySQL and SQLite commit what is left). So every transaction opened here
//! carries a guard that dies with it, and COMMIT comes behind a statement that fails if the guard
//! is gone. Inside an open transaction the savepoint is its own guard. What each backend sends for
//! that stands in its own module, behind
//! [`TransactionBackend`](crate::backend::transaction::TransactionBackend).

mod open;

use std::time::Instant;

use diesel::result::{Error as DieselError, QueryResult};

use self::open::Transaction;
use crate::backend::stamp::StampBackend;
use crate::backend::{classify, Settings, Waiting};
use crate::commit_token::CommitToken;
use crate::connection::{depth, LockConnection};
use crate::error::LockError;
use crate::played;
use crate::retry::Failure;
use crate::telemetry::{Attempt, Call};

/// What the caller asked for, apart from the statement.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    pub(crate) settings: Settings,
    pub(crate) outermost: bool,
    pub(crate) commit_token: Option<CommitToken>,
}

/// Runs `acquire` and then `body` in one transaction, an attempt of `call`.
///
/// Commits when `body` returns `Ok`, rolls back when either returns `Err` or panics. Inside an
/// open transaction it is a savepoint instead.
pub(crate) fn run<C, T, R, E>(
    conn: &mut C,
    request: Request,
    call: &Call,
    acquire: impl FnOnce(&mut C) -> Result<T, LockError>,
    body: impl FnOnce(&mut C, T) -> Result<R, E>,
) -> Result<R, Failure<E>>
where
    C: LockConnection,
{
    let mut attempt = call.attempt();
    let result = transact(conn, request, &mut attempt, acquire, body);
    attempt.end(&result);
    result
}

fn transact<C, T, R, E>(
    conn: &mut C,
    request: Request,
    attempt: &mut Attempt<'_>,
    acquire: impl FnOnce(&mut C) -> Result<T, LockError>,
    body: impl FnOnce(&mut C, T) -> Result<R, E>,
) -> Result<R, Failure<E>>
where
    C: LockConnection,
{
    // The race prover can't interrupt a transaction on another connection than the one that it
    // watches, so it has to know of one.
    let seen = played::statements_seen();
    let mut transaction = Transaction::begin(conn, request)?;
    played::has_begun(seen);
    // From here on each way out of this function, a panic included, ends the transaction: by one of
    // the calls below, or by the `Drop` of `Transaction`.
    let acquired = match acquire(transaction.conn) {
        Ok(acquired) => acquired,
        Err(error) => return Err(transaction.fail(error).into()),
    };
    // `hold_at_most` counts from the lock: the wait for it is not the closure's time.
    transaction.held_since = Instant::now();
    attempt.locked();
    match body(transaction.conn, acquired) {
        Ok(value) => {
            transaction.commit()?;
            Ok(value)
        }
        Err(error) => {
            // That the closure has ended the transaction weighs more than its own error: a part of
            // its work may be durable.
            transaction.roll_back()?;
            Err(Failure::Own(error))
        }
    }
}

/// Runs one statement, which is a transaction of its own unless one is open.
///
/// If the connection is lost meanwhile, nobody here can know whether it was committed.
pub(crate) fn run_alone<C, R>(
    conn: &mut C,
    statement: impl FnOnce(&mut C) -> QueryResult<R>,
) -> Result<R, LockError>
where
    C: LockConnection,
{
    // Asked before the statement runs: an error can leave Diesel's manager without a depth.
    let alone = depth(conn) == Some(0);
    let seen = played::statements_seen();
    let result = statement(conn);
    played::has_begun(seen);
    result.map_err(
        |error| match classify::<C::Backend>(error, Waiting::Session) {
            LockError::ConnectionLost { source } if alone => LockError::CommitUnknown { source },
            other => other,
        },
    )
}

/// Runs one statement that is a transaction of its own: none is open. An error says whether the
/// server has rolled it back.
pub(crate) fn run_single<C, R>(
    conn: &mut C,
    statement: impl FnOnce(&mut C) -> QueryResult<R>,
) -> Result<R, LockError>
where
    C: LockConnection,
{
    let since = Instant::now();
    statement(conn).map_err(|error| match error {
        // The server commits behind the statement, so an answer that is not its own may stand for
        // one that says that the row is written. It is not sent again.
        DieselError::DatabaseError(..) if !C::Backend::was_refused(conn, &error, since) => {
            LockError::CommitUnknown {
                source: error.into(),
            }
        }
        // Any other error of Diesel comes from before the statement is sent.
        error => classify::<C::Backend>(error, Waiting::Session),
    })
}
