#![doc = include_str!("guide.md")]

mod attempt;
mod batch;
mod builder;
mod held;
mod job;
mod kept;
mod key;
mod lead;
mod line;
mod lines;
mod rest;
mod stats;
mod sync;
#[cfg(test)]
mod tests;

use std::fmt::{self, Debug};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

use diesel::associations::HasTable;
use diesel::connection::Connection;
use diesel::query_source::Table;
use diesel::r2d2::{ConnectionManager, Pool, PooledConnection, R2D2Connection};

use self::batch::Change;
use self::builder::Bounds;
pub use self::builder::Builder;
use self::held::Held;
use self::job::post;
use self::kept::Kept;
use self::key::RowKey;
use self::lead::LockOf;
use self::lines::{Lines, Turn, Waited};
use self::rest::Resting;
use self::stats::Counter;
pub use self::stats::QueueStats;
use crate::backend::stamp::StampBackend;
use crate::backend::LockBackend;
use crate::connection::LockConnection;
use crate::error::LockError;
use crate::hold::{LockHold, Unlimited};
use crate::locked::Locked;
use crate::retry::Failure;
use crate::row_lock::{attempt, Lock, OneByKey, RowLock, Signal, Target};
use crate::sql::clause::{Block, EveryTable, ForUpdate, LockStrength, LockWait};
use crate::sql::key::KeyedBy;
use crate::telemetry::{table_in, Call};
use crate::update_row::{Misses, UpdateTarget};

/// The stamp of a row on this backend.
type Stamp<C> = <<C as Connection>::Backend as StampBackend>::Stamp;

type QueueTurn<'q, C, M> = Turn<'q, RowKey, Change<M>, Kept<C, M>>;

/// A caller's turn, and its own change, if it came with one. In this order: the thread has the row
/// until the turn is over.
struct OwnTurn<'q, C: R2D2Connection + LockConnection + 'static, M> {
    turn: QueueTurn<'q, C, M>,
    change: Option<Change<M>>,
    _held: Held,
}

/// A queue before a pool, for the rows of one model. See the [module](self).
///
/// It is cheap to clone, and all clones are the same queue. `S`, `W` and `H` are the options of the
/// [`RowLock`] that it locks by.
pub struct RowQueue<C, M, S = ForUpdate, W = Block, H = Unlimited>
where
    C: R2D2Connection + LockConnection + 'static,
{
    shared: Arc<Shared<C, M, S, W, H>>,
}

struct Shared<C, M, S, W, H>
where
    C: R2D2Connection + LockConnection + 'static,
{
    pool: Pool<ConnectionManager<C>>,
    lock: RowLock<S, W, EveryTable, H>,
    bounds: Bounds,
    lines: Lines<RowKey, Change<M>, Kept<C, M>>,
    resting: Arc<Resting<C, M>>,
    misses: Misses<64>,
    counter: Counter,
}

impl<C, M, S, W, H> Clone for RowQueue<C, M, S, W, H>
where
    C: R2D2Connection + LockConnection + 'static,
{
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<C, M, S, W, H> Debug for RowQueue<C, M, S, W, H>
where
    C: R2D2Connection + LockConnection + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowQueue")
            .field("bounds", &self.shared.bounds)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl<C, M> RowQueue<C, M>
where
    C: R2D2Connection + LockConnection + 'static,
{
    /// A queue before this pool, with the default [bounds](Builder).
    pub fn new(pool: Pool<ConnectionManager<C>>) -> Self {
        Self::builder().build(pool)
    }

    /// For other bounds, and other locks than `FOR UPDATE`.
    pub fn builder() -> Builder<C, M> {
        Builder::new()
    }
}

impl<C, M, S, W, H> RowQueue<C, M, S, W, H>
where
    C: R2D2Connection + LockConnection + 'static,
{
    /// What it has done, and who waits now.
    pub fn stats(&self) -> QueueStats {
        self.shared.counter.read(self.shared.lines.waiting())
    }

    fn connection(&self, call: &Call) -> Result<PooledConnection<ConnectionManager<C>>, LockError> {
        let conn = self.shared.pool.get();
        conn.map_err(|error| LockError::Pool {
            source: Arc::new(error),
        })
        .inspect_err(|error| call.failed(error))
    }

    /// What the last turn of the row has left, to this one or to no other.
    fn kept_for(&self, turn: &mut QueueTurn<'_, C, M>) -> Option<Kept<C, M>> {
        let kept = turn.kept();
        kept.or_else(|| self.shared.resting.take(turn.key()))
    }

    /// Stands in line for a row; `None` if another caller has made the change.
    fn line_up(
        &self,
        key: RowKey,
        change: Option<Change<M>>,
    ) -> Result<Option<OwnTurn<'_, C, M>>, LockError> {
        // All clones of a queue have this address, and no other queue while one of them is called.
        let address = Arc::as_ptr(&self.shared) as usize;
        if Held::is_held(address, &key) {
            return Err(LockError::AlreadyInTransaction {
                reason: "this thread has the row already, by a call of the same queue \
                     that this call is inside of",
            });
        }
        let begin = Instant::now();
        let longest = self.shared.bounds.longest_wait;
        let ticket = self.shared.lines.enter(key.clone(), change);
        let waited = match ticket {
            Ok(ticket) => ticket.wait(begin.checked_add(longest)),
            Err(lines::Full) => {
                self.shared.counter.turned_away();
                return Err(LockError::QueueFull {
                    length: self.shared.bounds.longest_line,
                });
            }
        };
        match waited {
            Waited::Turn(turn, change) => {
                self.shared.counter.waited(begin.elapsed());
                Ok(Some(OwnTurn {
                    turn,
                    change,
                    _held: Held::new(address, key),
                }))
            }
            Waited::Served => {
                self.shared.counter.waited(begin.elapsed());
                Ok(None)
            }
            Waited::GaveUp => {
                self.shared.counter.turned_away();
                Err(LockError::QueueTimeout { waited: longest })
            }
        }
    }

    /// Whether a lock could not be acquired because the transaction had begun while another turn
    /// held the row. From now on there is one turn at once for a row.
    fn is_too_wide(&self, error: &LockError) -> bool {
        let is_too_wide = matches!(error, LockError::SerializationFailure { .. });
        if is_too_wide {
            self.shared.lines.narrow();
        }
        is_too_wide
    }
}

impl<C, M, S, W, H> RowQueue<C, M, S, W, H>
where
    C: R2D2Connection + LockConnection + 'static,
    S: LockStrength<C::Backend>,
    W: LockWait<C::Backend>,
    H: LockHold<C::Backend>,
{
    /// As [`with_row_lock`](crate::with_row_lock), after a wait in line: locks the row with this
    /// primary key, hands it to `f` as it is now, and commits when `f` returns `Ok`.
    ///
    /// The caller has a transaction of its own, and `f` runs on the caller's thread.
    ///
    /// Executes the SQL of [`RowLock::with`] for `table.find(id)`.
    ///
    /// # Errors
    ///
    /// Those of [`RowLock::with`], and
    ///
    /// - [`WrongRow`](LockError::WrongRow), [`AmbiguousKey`](LockError::AmbiguousKey): as in
    ///   [`with_row_locks`](crate::with_row_locks);
    /// - [`QueueTimeout`](LockError::QueueTimeout): the caller's turn did not come in time;
    /// - [`QueueFull`](LockError::QueueFull): the line was as long as it may be;
    /// - [`Pool`](LockError::Pool): its turn came, but no connection.
    ///
    /// # Panics
    ///
    /// Only if `f` does.
    #[track_caller]
    pub fn with_row_lock<K, R, E, F>(&self, id: K, f: F) -> Result<R, E>
    where
        M: KeyedBy<K>,
        K: Clone + Eq + Hash + Debug + Send + Sync + 'static,
        for<'k> OneByKey<'k, K>: Target<'k, C, RowLock<S, W, EveryTable, H>, M, ()>,
        F: for<'tx> FnOnce(&mut C, Locked<'tx, M>) -> Result<R, E>,
        E: From<LockError>,
    {
        let Some(mut own) = self.stand_in_line(&id, None)? else {
            unreachable!("no caller takes a turn that has no change")
        };
        let lock = self.shared.lock;
        let call = Self::call();
        let kept = self.kept_for(&mut own.turn);
        // Not before the turn: callers that wait in line must not empty the pool.
        let mut kept = kept.map_or_else(|| self.connection(&call).map(Kept::new), Ok)?;
        let mut held = None;
        let mut f = Some(f);
        let result = loop {
            let was_wide = self.shared.lines.is_wide();
            let work = |conn: &mut C, row: Locked<'_, M>| {
                // The next caller may now go to the server, and waits there for this lock.
                own.turn.acquired(false);
                held = Some(Instant::now());
                match f.take() {
                    Some(f) => f(conn, row),
                    None => unreachable!("an attempt that has run it is the last one"),
                }
            };
            let key = OneByKey(&id);
            let result = attempt(lock, &call, &mut *kept.conn, key, Signal::NONE, work);
            match &result {
                Err(Failure::Lock(error)) if f.is_some() && was_wide && self.is_too_wide(error) => {
                }
                _ => break result,
            }
        };
        // The connection first: the next one may want it.
        drop(kept);
        drop(own);
        if let Some(since) = held {
            self.shared.counter.held(since.elapsed());
        }
        result.map_err(Failure::into_error)
    }

    /// Changes the row with this primary key, together with the other callers that wait for that:
    /// one `UPDATE`, and on PostgreSQL one round trip, for all of them.
    ///
    /// `f` changes the model; it may run on another caller's thread. The call returns after the
    /// commit of the transaction that its change was part of. If `f` returns `Err` or panics, its
    /// change is taken back, and no other one.
    ///
    /// `f` **may run more than once**, each time on the row as it is then, and only its last run
    /// counts:
    ///
    /// - if another session has changed the row since it was read;
    /// - if no change of a batch counts, and the row was not locked;
    /// - if the database refuses a batch, whose changes run again in smaller ones until the change
    ///   to blame is alone;
    /// - after a deadlock or a serialization failure, if the queue has a
    ///   [retry policy](Builder::retry);
    /// - if the change sets a field from `None` or to `None` that `AsChangeset` leaves out.
    ///
    /// A closure that has panicked does not run again.
    ///
    /// Executes, on PostgreSQL, `UPDATE … SET … WHERE pk = $1 AND xmin = $2 AND … RETURNING …` with
    /// the columns of the model's `AsChangeset`; for the first batch `SELECT …, xmin, … WHERE pk =
    /// $1` before it. If that is not enough ([when](self#what-a-batch-costs)), and on the other
    /// backends, the SQL of [`RowLock::with`] for `table.find(id)`, and if any change counts,
    /// `UPDATE … SET … WHERE pk = …`.
    ///
    /// # Errors
    ///
    /// Those of [`with_row_lock`](Self::with_row_lock). The error of a statement that one change is
    /// to blame for goes to its caller only; any other error that ends the transaction goes to all
    /// callers of the batch. And
    ///
    /// - [`Aborted`](LockError::Aborted): the `UPDATE` changed no row, because a trigger skips it;
    /// - [`KeyChanged`](LockError::KeyChanged): `f` has changed the primary key of the model;
    /// - [`RetriesExhausted`](LockError::RetriesExhausted): with a retry policy, which gave up;
    /// - [`Abandoned`](LockError::Abandoned): the thread that ran the transaction panicked.
    ///
    /// # Panics
    ///
    /// Only if `f` does, or code of the user's that runs for its change (Diesel's instrumentation,
    /// the model's `ToSql`).
    #[track_caller]
    pub fn update<K, Kind, R, E, F>(&self, id: K, f: F) -> Result<R, E>
    where
        M: HasTable<Table: Table> + Clone + Send + 'static,
        K: UpdateTarget<C, LockOf<S, W, H>, M, Kind> + Send + Sync + 'static,
        F: FnMut(&mut M) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<LockError> + Send + 'static,
    {
        let (job, answer) = post(f);
        let own = self.stand_in_line(&id, Some(Change::new(job)))?;
        if let Some(OwnTurn {
            turn,
            change: Some(change),
            _held,
        }) = own
        {
            self.lead(&id, turn, change);
        }
        // Behind the wake-up, which comes behind the answer.
        answer.take()
    }

    /// As [`line_up`](Self::line_up), and reports a caller that gets no turn to the telemetry.
    #[track_caller]
    fn stand_in_line<K>(
        &self,
        id: &K,
        change: Option<Change<M>>,
    ) -> Result<Option<OwnTurn<'_, C, M>>, LockError>
    where
        M: HasTable<Table: Table>,
        K: Clone + Eq + Hash + Send + Sync + 'static,
    {
        let own = self.line_up(RowKey::new(id.clone()), change);
        own.inspect_err(|error| Self::call().failed(error))
    }

    /// The call that begins now, of the line that called.
    #[track_caller]
    fn call() -> Call
    where
        M: HasTable<Table: Table>,
    {
        Call::begin(C::Backend::SYSTEM, S::NAME, table_in::<M::Table>)
    }

    /// The `UPDATE` of a batch may be the first to find that the server has ended the session
    /// because the lock was held too long.
    fn or_expired(&self, error: LockError, held: Option<Instant>) -> LockError {
        match (self.shared.lock.request().settings.hold, held) {
            (Some(limit), Some(since))
                if matches!(error, LockError::ConnectionLost { .. })
                    && since.elapsed() >= limit =>
            {
                LockError::HoldExpired { limit }
            }
            _ => error,
        }
    }
}
