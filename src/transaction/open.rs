//! [`Transaction`]: a transaction or a savepoint that is open, and how it ends.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::result::Error as DieselError;

use super::Request;
use crate::backend::transaction::{EndError, TransactionBackend};
use crate::backend::{classify, not_begun, LockBackend, Settings, Waiting};
use crate::connection::{depth, entered, left_to, mark_broken, status, LockConnection};
use crate::error::LockError;

/// What is open on a connection.
pub(super) struct Transaction<'c, C: LockConnection> {
    pub(super) conn: &'c mut C,
    settings: Settings,
    pub(super) held_since: Instant,
    level: Level<<C::Backend as TransactionBackend>::Server>,
    phase: Phase,
}

/// Whose transaction it is.
#[derive(Debug, Clone, Copy)]
enum Level<S> {
    /// Ours.
    Outermost(S),
    /// A savepoint, in an outer transaction that has this depth of Diesel's.
    Nested(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// A statement that ends it is on its way.
    Ending,
    Over,
}

/// Only a panic drops a transaction that is not over. The row must be free before the unwind
/// leaves the call: code that catches the panic may keep the connection for hours.
impl<C: LockConnection> Drop for Transaction<'_, C> {
    fn drop(&mut self) {
        // The panic is the first cause, and there is no way to report a second one. A panic of the
        // user's own code in here (Diesel's instrumentation) would abort the process.
        let ended = catch_unwind(AssertUnwindSafe(|| match self.phase {
            Phase::Open => drop(self.undo()),
            // The statement may have done its work. Then the guard is gone, which is no escape.
            Phase::Ending => self.give_up(),
            Phase::Over => {}
        }));
        // Nothing is known of the transaction now, and a pool must not lend the connection again.
        if ended.is_err() {
            mark_broken(self.conn);
        }
    }
}

impl<'c, C: LockConnection> Transaction<'c, C> {
    pub(super) fn begin(conn: &'c mut C, request: Request) -> Result<Self, LockError> {
        let before = status(conn);
        let level = match before.depth {
            // An earlier transaction left the connection in an unknown state. If the server still
            // answers, a rollback makes it known again.
            None => {
                Self::recover(conn, request.outermost)?;
                Level::Outermost(Self::begin_outermost(conn, request)?)
            }
            Some(0) => Level::Outermost(Self::begin_outermost(conn, request)?),
            // Both are refused before anything is sent, so the outer transaction stays as it is. In
            // an aborted one a `SAVEPOINT` would fail with an error that hides the first cause.
            Some(_) if request.outermost => return Err(LockError::nested_in_transaction()),
            Some(_) if before.must_roll_back => return Err(LockError::Aborted { source: None }),
            Some(depth) => {
                // Before the savepoint: after a refusal there must be none to take back.
                C::Backend::check_outer(conn)?;
                let waiting = request.settings.waiting;
                C::Backend::savepoint(conn, &savepoint_name(depth), waiting)
                    .map_err(|error| classify::<C::Backend>(error, waiting))?;
                Level::Nested(depth)
            }
        };
        // Diesel has not seen the BEGIN. Unless its depth is raised, a nested `transaction` in the
        // closure sends another BEGIN in the place of a SAVEPOINT.
        entered(conn)?;
        Ok(Self {
            conn,
            settings: request.settings,
            held_since: Instant::now(),
            level,
            phase: Phase::Open,
        })
    }

    /// Makes a connection usable again that Diesel holds to be broken, unless the transaction that
    /// broke it is still open around this call.
    fn recover(conn: &mut C, outermost: bool) -> Result<(), LockError> {
        let lost = |error: DieselError| LockError::ConnectionLost {
            source: error.into(),
        };
        if C::Backend::outer_is_lost(conn, outermost).map_err(lost)? {
            return Err(LockError::Aborted { source: None });
        }
        let recovered = C::Backend::recover(conn);
        abandoned(conn, recovered).map_err(lost)
    }

    fn begin_outermost(
        conn: &mut C,
        request: Request,
    ) -> Result<<C::Backend as TransactionBackend>::Server, LockError> {
        let settings = request.settings;
        let token = request.commit_token.map(|token| token.insert_sql());
        C::Backend::begin(conn, settings, token.as_deref())
            .map_err(|error| not_begun::<C::Backend>(error, settings.waiting))
    }

    /// Runs what ends the transaction. Should that panic, [`Drop`] must know.
    fn end<R>(mut self, ending: impl FnOnce(&mut Self) -> R) -> R {
        self.phase = Phase::Ending;
        let result = ending(&mut self);
        self.phase = Phase::Over;
        result
    }

    /// Ends the transaction because its lock could not be acquired; hands the reason on.
    pub(super) fn fail(self, error: LockError) -> LockError {
        let victim = matches!(
            error,
            LockError::Deadlock { .. } | LockError::SerializationFailure { .. }
        );
        self.end(|this| match this.level {
            Level::Nested(_) if !(victim && C::Backend::VICTIM_LOSES_TRANSACTION) => {
                // The outer transaction goes on, with this connection and its prepared statements.
                C::Backend::forget_statements(this.conn);
                // The reason is the lock's, whatever becomes of this.
                drop(this.undo());
            }
            // Without the outer transaction there is no savepoint to go back to.
            _ => this.give_up(),
        });
        error
    }

    pub(super) fn roll_back(self) -> Result<(), LockError> {
        self.end(Self::undo)
    }

    pub(super) fn commit(self) -> Result<(), LockError> {
        self.end(Self::try_commit)
    }

    /// Rolls back. `Err` only when there was nothing to roll back any more because the closure
    /// had ended the transaction; every other trouble follows from the error that brought us here.
    fn undo(&mut self) -> Result<(), LockError> {
        let now = status(self.conn);
        match now.depth {
            // Diesel itself has seen the transaction end.
            Some(depth) if depth <= self.outer() => return Err(self.escaped(None)),
            Some(_) => match self.send_rollback(now.must_roll_back) {
                Ok(()) => left_to(self.conn, self.outer()),
                Err(EndError::Gone(error)) => return Err(self.escaped(Some(error))),
                // It may still be open, with its locks.
                Err(EndError::Refused(_) | EndError::Unknown(_)) => self.give_up(),
            },
            // The connection is lost, or a nested call lost the whole transaction.
            None => self.give_up(),
        }
        Ok(())
    }

    fn send_rollback(&mut self, aborted: bool) -> Result<(), EndError> {
        let (conn, settings) = (&mut *self.conn, self.settings);
        match self.level {
            Level::Outermost(server) => C::Backend::roll_back(conn, server, settings, aborted),
            Level::Nested(outer) => {
                C::Backend::rollback_to(conn, &savepoint_name(outer), settings.waiting, aborted)
            }
        }
    }

    /// The transaction is dead. Ours is rolled back whole; of an outer one Diesel does not know
    /// that it is dead too, and its COMMIT must not look like a success.
    fn give_up(&mut self) {
        C::Backend::forget_statements(self.conn);
        match self.level {
            Level::Outermost(_) => drop(abandon(self.conn, self.settings)),
            Level::Nested(outer) => {
                let name = savepoint_name(outer);
                C::Backend::lose_outer(self.conn, &name, self.settings.waiting);
                mark_broken(self.conn);
            }
        }
    }

    fn try_commit(&mut self) -> Result<(), LockError> {
        if let Some(limit) = self.expired() {
            self.undo()?;
            return Err(LockError::HoldExpired { limit });
        }
        let now = status(self.conn);
        match now.depth {
            Some(depth) if depth <= self.outer() => Err(self.escaped(None)),
            Some(_) if !now.must_roll_back => self.send_commit(),
            Some(_) => {
                // PostgreSQL would answer the COMMIT with a ROLLBACK, which Diesel reports as
                // success.
                self.undo()?;
                Err(LockError::Aborted { source: None })
            }
            None => {
                self.give_up();
                Err(Self::broken())
            }
        }
    }

    /// The closure returned `Ok` on a connection that Diesel holds to be broken.
    fn broken() -> LockError {
        if C::Backend::VICTIM_LOSES_TRANSACTION {
            // By a nested call that lost the whole transaction.
            LockError::Aborted { source: None }
        } else {
            let source = DieselError::BrokenTransactionManager.into();
            LockError::ConnectionLost { source }
        }
    }

    /// The limit to the time that the lock may be held, if that is over. The server may have ended
    /// the session by now: a COMMIT would then fail, and leave nothing but a doubt.
    fn expired(&self) -> Option<Duration> {
        let limit = self.settings.hold?;
        (self.held_since.elapsed() >= limit).then_some(limit)
    }

    fn send_commit(&mut self) -> Result<(), LockError> {
        let (conn, settings) = (&mut *self.conn, self.settings);
        let result = match self.level {
            Level::Outermost(server) => C::Backend::commit(conn, server, settings, self.held_since),
            Level::Nested(outer) => {
                C::Backend::release(conn, &savepoint_name(outer), settings.waiting)
            }
        };
        match result {
            Ok(()) => {
                // Unless the backend has found that the connection is lost behind the COMMIT.
                if depth(self.conn).is_some() {
                    left_to(self.conn, self.outer());
                }
                Ok(())
            }
            Err(EndError::Gone(error)) => Err(self.escaped(Some(error))),
            Err(EndError::Refused(error)) => {
                // The server may still have it open.
                match self.level {
                    Level::Outermost(_) => self.give_up(),
                    Level::Nested(_) => drop(self.undo()),
                }
                Err(classify::<C::Backend>(error, Waiting::Session))
            }
            Err(EndError::Unknown(error)) => {
                // The COMMIT is not sent again: it may have worked. What follows only frees the
                // session.
                self.give_up();
                let source = error.into();
                Err(LockError::CommitUnknown { source })
            }
        }
    }

    /// The closure ended the transaction. What is open now, if anything, is not ours: roll it
    /// back, so that the owner of the outer one can't commit it by mistake.
    fn escaped(&mut self, error: Option<DieselError>) -> LockError {
        match self.level {
            Level::Outermost(_) => drop(abandon(self.conn, self.settings)),
            Level::Nested(_) => {
                drop(C::Backend::roll_back_all(self.conn));
                left_to(self.conn, 0);
            }
        }
        // Behind the rollback: an aborted transaction refuses the statement.
        C::Backend::forget_escape(self.conn);
        let source = error.map(Arc::new);
        LockError::Escaped { source }
    }

    /// Diesel's depth outside.
    fn outer(&self) -> u32 {
        match self.level {
            Level::Outermost(_) => 0,
            Level::Nested(outer) => outer,
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
    let result = C::Backend::abandon(conn, settings);
    abandoned(conn, result)
}

/// Tells Diesel whether that was rolled back.
fn abandoned<C: LockConnection>(
    conn: &mut C,
    result: Result<(), DieselError>,
) -> Result<(), DieselError> {
    match result {
        Ok(()) => {
            left_to(conn, 0);
            Ok(())
        }
        // SQLite refuses to roll back nothing; Diesel has then noticed that nothing is open.
        Err(_) if depth(conn) == Some(0) => Ok(()),
        Err(error) => {
            // The server may still hold the locks. A pool closes a broken connection, which frees
            // them.
            mark_broken(conn);
            Err(error)
        }
    }
}
