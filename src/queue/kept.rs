//! What is kept from one batch to the next: [`Kept`] while callers wait, [`Rows`] for a short time
//! when none does.

use std::array;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diesel::r2d2::{ConnectionManager, Pool, PooledConnection, R2D2Connection};

use super::key::RowKey;
use crate::connection::{mark_broken, LockConnection};

pub(super) type Pooled<C> = PooledConnection<ConnectionManager<C>>;

/// How long a line keeps a connection if others may be waiting for one.
const LONGEST_LOAN: Duration = Duration::from_millis(10);

/// How long a row is kept that no caller waits for.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// The connection of the last turn. A line hands it on while callers wait.
pub(super) struct Kept<C: R2D2Connection + 'static> {
    pub(super) conn: Pooled<C>,
    /// When it was taken from the pool.
    since: Instant,
}

impl<C: R2D2Connection + 'static> Kept<C> {
    pub(super) fn new(conn: Pooled<C>) -> Self {
        Self {
            conn,
            since: Instant::now(),
        }
    }

    /// Whether the pool needs it back: with more hot rows than connections each line has it only
    /// for some time, and callers of other rows go on.
    pub(super) fn is_overdue(&self, pool: &Pool<ConnectionManager<C>>) -> bool {
        if self.since.elapsed() < LONGEST_LOAN {
            return false;
        }
        let state = pool.state();
        state.idle_connections == 0 && state.connections >= pool.max_size()
    }

    /// The number of the session, the same as long as it is this one.
    pub(super) fn session(&mut self) -> u64 {
        static LAST: AtomicU64 = AtomicU64::new(0);

        let extensions = PooledConnection::extensions_mut(&mut self.conn);
        if let Some(Session(number)) = extensions.get() {
            return *number;
        }
        let number = LAST.fetch_add(1, Relaxed);
        extensions.insert(Session(number));
        number
    }
}

/// Gives the connection back to the pool.
///
/// That runs code of the user's, a customizer's. A panic of it says nothing of the transaction, and
/// must not keep the callers of the batch from their answers.
pub(super) fn check_in<C>(mut kept: Kept<C>, has_panicked: bool)
where
    C: R2D2Connection + LockConnection + 'static,
{
    let _ = catch_unwind(AssertUnwindSafe(move || {
        if has_panicked {
            // As r2d2 does while a thread panics: the pool must not lend it again.
            mark_broken(&mut *kept.conn);
        }
        drop(kept);
    }));
}

/// A pool ends the connection together with it.
struct Session(u64);

/// The rows that were written last, as the server returned them, each with its stamp. There are at
/// most as many as there are places, and the row of one key only once: an older one would only be
/// missed.
pub(super) struct Rows<M, S>([Mutex<Option<Row<M, S>>>; 64]);

struct Row<M, S> {
    key: RowKey,
    /// The stamp is valid on this one.
    session: u64,
    since: Instant,
    row: (M, S),
}

impl<M, S> Default for Rows<M, S> {
    fn default() -> Self {
        Self(array::from_fn(|_| Mutex::default()))
    }
}

impl<M, S> Rows<M, S> {
    fn place(&self, key: &RowKey) -> MutexGuard<'_, Option<Row<M, S>>> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        // The remainder is smaller than the number of places.
        let at = usize::try_from(hasher.finish() % self.0.len() as u64).unwrap_or_default();
        self.0[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out the row of this key, if it can be written on this session.
    pub(super) fn take(&self, key: &RowKey, session: u64) -> Option<(M, S)> {
        let kept = self.place(key).take_if(|kept| kept.key == *key)?;
        let is_valid = kept.session == session && kept.since.elapsed() < LONGEST_REST;
        is_valid.then_some(kept.row)
    }

    /// The row is to be written by other means.
    pub(super) fn forget(&self, key: &RowKey) {
        // Behind the guard: a value of the user's.
        let kept = self.place(key).take_if(|kept| kept.key == *key);
        drop(kept);
    }

    pub(super) fn put(&self, key: &RowKey, session: u64, row: (M, S)) {
        let kept = Row {
            key: key.clone(),
            session,
            since: Instant::now(),
            row,
        };
        let before = self.place(key).replace(kept);
        drop(before);
    }
}
