//! [`Kept`]: what a line keeps from one turn to the next.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::{Duration, Instant};

use diesel::r2d2::{ConnectionManager, Pool, PooledConnection, R2D2Connection};

use super::Stamp;
use crate::connection::{mark_broken, LockConnection};

/// How long a line keeps a connection if others may be waiting for one.
pub(super) const LONGEST_LOAN: Duration = Duration::from_millis(10);

/// The connection of the last turn, and the row as its last statement returned it.
///
/// The connection has not been in the pool since, so no other code has run on it: what the row's
/// stamp was read for is still so.
pub(super) struct Kept<C, M>
where
    C: R2D2Connection + LockConnection + 'static,
{
    pub(super) conn: PooledConnection<ConnectionManager<C>>,
    /// When it was taken from the pool.
    since: Instant,
    pub(super) row: Option<(M, Stamp<C>)>,
}

impl<C, M> Kept<C, M>
where
    C: R2D2Connection + LockConnection + 'static,
{
    pub(super) fn new(conn: PooledConnection<ConnectionManager<C>>) -> Self {
        Self {
            conn,
            since: Instant::now(),
            row: None,
        }
    }

    /// Whether the pool needs it back: with more hot rows than connections each line has one only
    /// for some time, and callers of other rows go on.
    pub(super) fn is_overdue(&self, pool: &Pool<ConnectionManager<C>>) -> bool {
        self.since.elapsed() >= LONGEST_LOAN && is_exhausted(pool)
    }

    /// Gives the connection back to the pool.
    ///
    /// That runs code of the user's, a customizer's. A panic of it says nothing of the
    /// transaction, and must not keep the callers of the batch from their answers.
    pub(super) fn check_in(mut self, has_panicked: bool) {
        let _ = catch_unwind(AssertUnwindSafe(move || {
            if has_panicked {
                // As r2d2 does while a thread panics: the pool must not lend it again.
                mark_broken(&mut *self.conn);
            }
            drop(self);
        }));
    }
}

/// Whether a caller that needs a connection has to wait for one.
pub(super) fn is_exhausted<C>(pool: &Pool<ConnectionManager<C>>) -> bool
where
    C: R2D2Connection + 'static,
{
    let state = pool.state();
    state.idle_connections == 0 && state.connections >= pool.max_size()
}
