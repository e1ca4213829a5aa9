//! The only place that begins, commits and rolls back, and that guards against panics and against
//! transactions that are dead or gone.
//!
//! Between BEGIN and COMMIT runs a closure that may do anything: swallow an error that made the
//! server give up the transaction, end it with SQL of its own, panic. What the server then answers
//! to `COMMIT` is not to be trusted (PostgreSQL answers the COMMIT of an aborted transaction with
//! a silent ROLLBACK; MySQL and SQLite commit what is left). So every transaction opened here
//! carries a guard that dies with it, and COMMIT travels in one batch behind a statement that
//! fails if the guard is gone. Inside an open transaction the savepoint is its own guard.

use std::time::{Duration, Instant};

use diesel::result::{Error as DieselError, QueryResult};

use crate::backend::{classify, unsupported, LockBackend, Settings, Waiting, GUARD};
use crate::commit_token::CommitToken;
use crate::connection::{entered, left_to, mark_broken, status, LockConnection};
use crate::error::LockError;
use crate::played;
use crate::retry::Failure;
use crate::telemetry::{Attempt, Call};

/// What the caller asked for, apart from the statement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
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
) -> Result<R, E>
where
    C: LockConnection,
    E: From<LockError>,
{
    let mut attempt = call.attempt();
    let result = transact(conn, request, &mut attempt, acquire, body);
    attempt.end(&result);
    result.map_err(Failure::into_error)
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
    let seen = played::statements_seen();
    let mut transaction = Transaction::begin(conn, request)?;
    played::has_begun(seen);
    let acquired = match acquire(transaction.conn) {
        Ok(acquired) => acquired,
        Err(error) => return Err(transaction.fail(error).into()),
    };
    transaction.held_since = Instant::now();
    attempt.locked();
    match body(transaction.conn, acquired) {
        Ok(value) => {
            transaction.commit()?;
            Ok(value)
        }
        Err(error) => {
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
    let alone = status(conn).depth == Some(0);
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

struct Transaction<'c, C: LockConnection> {
    conn: &'c mut C,
    settings: Settings,
    held_since: Instant,
    /// Diesel's depth inside: 1 is the outermost transaction.
    depth: u32,
    over: bool,
}

/// Only a panic drops a transaction that is not over. The row must be free before the unwind
/// leaves the call: whoever catches it may go on with the connection for hours.
impl<C: LockConnection> Drop for Transaction<'_, C> {
    fn drop(&mut self) {
        if !self.over {
            // The panic is the first cause; nobody could be told of a second one.
            let _ = self.undo();
        }
    }
}

impl<'c, C: LockConnection> Transaction<'c, C> {
    fn begin(conn: &'c mut C, request: Request) -> Result<Self, LockError> {
        let before = status(conn);
        let depth = match before.depth {
            None => {
                // An earlier transaction left the connection in an unknown state. If the server
                // still answers, a rollback makes it known again.
                abandon(conn, Settings::NONE)
                    .map_err(|source| LockError::ConnectionLost { source })?;
                0
            }
            Some(depth) => depth,
        };
        if depth == 0 {
            Self::begin_outermost(conn, request)?;
        } else if request.outermost {
            return Err(LockError::nested_in_transaction());
        } else if before.must_roll_back {
            return Err(LockError::Aborted { source: None });
        } else {
            C::Backend::check_outer(conn)?;
            let waiting = request.settings.waiting;
            conn.batch_execute(&C::Backend::savepoint(&savepoint_name(depth), waiting))
                .map_err(|error| classify::<C::Backend>(error, waiting))?;
        }
        entered(conn)?;
        Ok(Self {
            conn,
            settings: request.settings,
            held_since: Instant::now(),
            depth: depth + 1,
            over: false,
        })
    }

    fn begin_outermost(conn: &mut C, request: Request) -> Result<(), LockError> {
        let settings = request.settings;
        let token = request.commit_token.map(|token| token.insert_sql());
        C::Backend::begin(conn, settings, token.as_deref()).map_err(|error| {
            // The batch may have failed behind its BEGIN.
            let _ = abandon(conn, settings);
            unsupported::<C::Backend>(error, settings.waiting)
        })
    }

    /// Ends the transaction because its lock could not be had; hands the reason on.
    fn fail(mut self, error: LockError) -> LockError {
        self.over = true;
        let lost_all = C::Backend::VICTIM_LOSES_TRANSACTION
            && matches!(
                error,
                LockError::Deadlock { .. } | LockError::SerializationFailure { .. }
            );
        if self.depth == 1 || lost_all {
            self.give_up();
        } else {
            C::Backend::forget_statements(self.conn);
            let _ = self.undo();
        }
        error
    }

    fn roll_back(mut self) -> Result<(), LockError> {
        self.over = true;
        self.undo()
    }

    /// Rolls back. `Err` only when there was nothing to roll back any more because the closure
    /// had ended the transaction; every other trouble follows from the error that brought us here.
    fn undo(&mut self) -> Result<(), LockError> {
        let now = status(self.conn);
        match now.depth {
            Some(depth) if depth < self.depth => return Err(self.escaped(None)),
            Some(_) if self.depth > 1 || !now.must_roll_back => {}
            // The server waits for a rollback; or the connection is lost; or a nested call lost
            // the whole transaction.
            _ => {
                self.give_up();
                return Ok(());
            }
        }
        let sql = if self.depth == 1 {
            C::Backend::rollback(self.settings)
        } else {
            C::Backend::rollback_to(&self.name(), self.settings.waiting).into()
        };
        match self.conn.batch_execute(&sql) {
            Ok(()) => {
                left_to(self.conn, self.depth - 1);
                Ok(())
            }
            Err(error)
                if self.is_gone(&error)
                    && !now.must_roll_back
                    && !C::Backend::ended_by_failed_statement(self.conn) =>
            {
                Err(self.escaped(Some(error)))
            }
            Err(_) => {
                self.give_up();
                Ok(())
            }
        }
    }

    /// The transaction is dead. Ours is rolled back whole; of an outer one Diesel does not know
    /// that it is dead too, and its COMMIT must not look like a success.
    fn give_up(&mut self) {
        C::Backend::forget_statements(self.conn);
        if self.depth == 1 {
            let _ = abandon(self.conn, self.settings);
        } else {
            mark_broken(self.conn);
        }
    }

    fn commit(mut self) -> Result<(), LockError> {
        self.over = true;
        if let Some(limit) = self.expired() {
            self.undo()?;
            return Err(LockError::HoldExpired { limit });
        }
        let now = status(self.conn);
        match now.depth {
            Some(depth) if depth < self.depth => return Err(self.escaped(None)),
            Some(_) if !now.must_roll_back => {}
            _ => return Err(self.aborted()),
        }
        if self.depth == 1 {
            self.commit_outermost()
        } else {
            self.release()
        }
    }

    /// The limit to the time that the lock may be held, if that is over. The server may have ended
    /// the session by now: a COMMIT would then fail, and leave nothing but a doubt.
    fn expired(&self) -> Option<Duration> {
        let limit = self.settings.hold?;
        (self.held_since.elapsed() >= limit).then_some(limit)
    }

    fn commit_outermost(&mut self) -> Result<(), LockError> {
        let Err(error) = self.conn.batch_execute(&C::Backend::commit(self.settings)) else {
            left_to(self.conn, 0);
            return Ok(());
        };
        if self.is_gone(&error) {
            return Err(self.escaped(Some(error)));
        }
        // From the first byte of the batch on, only the server knows. If it still answers, it has
        // refused the COMMIT, and the error is its answer. If not, nobody can say.
        let answers =
            status(self.conn).depth == Some(0) || abandon(self.conn, self.settings).is_ok();
        Err(if answers {
            classify::<C::Backend>(error, Waiting::Session)
        } else {
            LockError::CommitUnknown { source: error }
        })
    }

    fn release(&mut self) -> Result<(), LockError> {
        let sql = C::Backend::release(&self.name(), self.settings.waiting);
        match self.conn.batch_execute(&sql) {
            Ok(()) => {
                left_to(self.conn, self.depth - 1);
                Ok(())
            }
            Err(error) if self.is_gone(&error) => Err(self.escaped(Some(error))),
            Err(error) => {
                let _ = self.undo();
                Err(classify::<C::Backend>(error, Waiting::Session))
            }
        }
    }

    /// The closure returned `Ok`, but the server will not commit.
    fn aborted(&mut self) -> LockError {
        if self.depth > 1 {
            let lost = status(self.conn).depth.is_none() && !C::Backend::VICTIM_LOSES_TRANSACTION;
            let _ = self.undo();
            return if lost {
                let source = DieselError::BrokenTransactionManager;
                LockError::ConnectionLost { source }
            } else {
                LockError::Aborted { source: None }
            };
        }
        match abandon(self.conn, self.settings) {
            Ok(()) => LockError::Aborted { source: None },
            Err(source) => LockError::ConnectionLost { source },
        }
    }

    /// The closure ended the transaction. What is open now, if anything, is not ours: roll it
    /// back, so that whoever opened the outer one can't commit it by mistake.
    fn escaped(&mut self, source: Option<DieselError>) -> LockError {
        if self.depth == 1 {
            let _ = abandon(self.conn, self.settings);
        } else {
            let _ = self.conn.batch_execute("ROLLBACK");
            left_to(self.conn, 0);
        }
        LockError::Escaped { source }
    }

    fn is_gone(&self, error: &DieselError) -> bool {
        matches!(error, DieselError::DatabaseError(_, info) if info.message().contains(&*self.name()))
    }

    fn name(&self) -> String {
        if self.depth == 1 {
            GUARD.to_owned()
        } else {
            savepoint_name(self.depth - 1)
        }
    }
}

/// The name that Diesel would give a savepoint opened at this depth, so that both may nest.
fn savepoint_name(outer_depth: u32) -> String {
    format!("diesel_savepoint_{outer_depth}")
}

/// Rolls back whatever the server has open on this connection, and tells Diesel. `Err` means that
/// the server does not answer; the connection is then marked as broken.
fn abandon<C: LockConnection>(conn: &mut C, settings: Settings) -> Result<(), DieselError> {
    match conn.batch_execute(&C::Backend::abandon(settings)) {
        Ok(()) => {
            left_to(conn, 0);
            Ok(())
        }
        // SQLite refuses to roll back nothing; Diesel has then noticed that nothing is open.
        Err(_) if status(conn).depth == Some(0) => Ok(()),
        Err(error) => {
            mark_broken(conn);
            Err(error)
        }
    }
}
