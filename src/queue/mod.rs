#![doc = include_str!("guide.md")]

mod batch;
mod builder;
mod job;
mod key;
mod line;
mod lines;
mod stats;
mod sync;
#[cfg(test)]
mod tests;

use std::fmt::{self, Debug};
use std::hash::Hash;
use std::panic::resume_unwind;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use diesel::associations::HasTable;
use diesel::query_source::Table;
use diesel::r2d2::{ConnectionManager, Pool, PooledConnection, R2D2Connection};

use self::batch::Batch;
use self::builder::Bounds;
pub use self::builder::Builder;
use self::job::{Again, Change, Job, Once, Slot, Task};
use self::key::RowKey;
use self::lines::{Lines, Turn, Waited};
use self::stats::Counter;
pub use self::stats::QueueStats;
use crate::backend::LockBackend;
use crate::connection::LockConnection;
use crate::error::LockError;
use crate::hold::{LockHold, Unlimited};
use crate::locked::Locked;
use crate::retry::Failure;
use crate::row_lock::{attempt, Lock, OneByKey, RowLock, Signal, Target};
use crate::sql::clause::{Block, EveryTable, ForUpdate, LockStrength, LockWait};
use crate::sql::key::{KeyValue, KeyedBy};
use crate::sql::save::Savable;
use crate::telemetry::{table_in, Call};

type Jobs<M> = Box<dyn Job<M>>;

/// A caller's turn, and its own job, if it came with one.
type OwnTurn<'q, M> = (Turn<'q, RowKey, Jobs<M>>, Option<Jobs<M>>);

/// A queue before a pool, for the rows of one model. See the [module](self).
///
/// It is cheap to clone, and all clones are the same queue. `S`, `W` and `H` are the options of the
/// [`RowLock`] that it locks by.
pub struct RowQueue<C, M, S = ForUpdate, W = Block, H = Unlimited>
where
    C: R2D2Connection + 'static,
{
    shared: Arc<Shared<C, M, S, W, H>>,
}

struct Shared<C, M, S, W, H>
where
    C: R2D2Connection + 'static,
{
    pool: Pool<ConnectionManager<C>>,
    lock: RowLock<S, W, EveryTable, H>,
    bounds: Bounds,
    lines: Lines<RowKey, Jobs<M>>,
    counter: Counter,
}

impl<C, M, S, W, H> Clone for RowQueue<C, M, S, W, H>
where
    C: R2D2Connection + 'static,
{
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<C, M, S, W, H> Debug for RowQueue<C, M, S, W, H>
where
    C: R2D2Connection + 'static,
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
    C: R2D2Connection + 'static,
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

    /// Stands in line for a row; `None` if somebody has done the job.
    fn line_up<K>(&self, id: &K, job: Option<Jobs<M>>) -> Result<Option<OwnTurn<'_, M>>, LockError>
    where
        K: Clone + Eq + Hash + Send + Sync + 'static,
    {
        let begin = Instant::now();
        let longest = self.shared.bounds.longest_wait;
        let ticket = self.shared.lines.enter(RowKey::new(id.clone()), job);
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
            Waited::Turn(turn, job) => {
                self.shared.counter.waited(begin.elapsed());
                Ok(Some((turn, job)))
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
        let Some((mut turn, _)) = self.line_up(&id, None)? else {
            unreachable!("nobody takes a turn that has no job")
        };
        let lock = self.shared.lock;
        let call = Self::call();
        // Not before the turn: callers that wait in line must not empty the pool.
        let mut conn = self.connection(&call)?;
        let mut held = None;
        let work = |conn: &mut C, row: Locked<'_, M>| {
            // The next caller may now go to the server, and waits there for this lock.
            turn.acquired(None);
            held = Some(Instant::now());
            f(conn, row)
        };
        let key = OneByKey(&id);
        let result = attempt(lock, &call, &mut *conn, key, Signal::NONE, work);
        // The connection first: the next one may want it.
        drop(conn);
        drop(turn);
        self.count_hold(held);
        result.map_err(Failure::into_error)
    }

    /// Changes the row with this primary key, together with everybody else who waits for that: one
    /// lock, one `UPDATE`, one `COMMIT` for all of them.
    ///
    /// `f` changes the model; it may run on another caller's thread. The call returns after the
    /// `COMMIT` of the transaction that its change was part of. If `f` returns `Err` or panics, its
    /// change is taken back, and its alone.
    ///
    /// Executes the SQL of [`RowLock::with`] for `table.find(id)`, and if any change counts,
    /// `UPDATE … SET … WHERE pk = …` with the columns of the model's `AsChangeset`.
    ///
    /// # Errors
    ///
    /// Those of [`with_row_lock`](Self::with_row_lock): if the transaction fails, everybody in it
    /// has the error. And
    ///
    /// - [`Abandoned`](LockError::Abandoned): the thread that ran the transaction panicked.
    ///
    /// # Panics
    ///
    /// Only if `f` does.
    #[track_caller]
    pub fn update<K, Kind, R, E, F>(&self, id: K, f: F) -> Result<R, E>
    where
        M: KeyedBy<K> + Savable<K, Kind, C::Backend> + Clone + 'static,
        K: KeyValue<<M::Table as Table>::PrimaryKey, C::Backend, Kind> + Send + Sync + 'static,
        for<'k> OneByKey<'k, K>: Target<'k, C, RowLock<S, W, EveryTable, H>, M, ()>,
        F: FnOnce(&mut M) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<LockError> + Send + 'static,
    {
        self.change(id, Once(Some(f)))
    }

    /// As [`update`](Self::update), and once more after a deadlock or a serialization failure, if
    /// the queue has a [retry policy](Builder::retry).
    ///
    /// # Errors
    ///
    /// Those of [`update`](Self::update), and
    /// [`RetriesExhausted`](LockError::RetriesExhausted).
    ///
    /// # Panics
    ///
    /// Only if `f` does.
    #[track_caller]
    pub fn update_retrying<K, Kind, R, E, F>(&self, id: K, f: F) -> Result<R, E>
    where
        M: KeyedBy<K> + Savable<K, Kind, C::Backend> + Clone + 'static,
        K: KeyValue<<M::Table as Table>::PrimaryKey, C::Backend, Kind> + Send + Sync + 'static,
        for<'k> OneByKey<'k, K>: Target<'k, C, RowLock<S, W, EveryTable, H>, M, ()>,
        F: FnMut(&mut M) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<LockError> + Send + 'static,
    {
        self.change(id, Again(f))
    }

    #[track_caller]
    fn change<K, Kind, R, E, F>(&self, id: K, change: F) -> Result<R, E>
    where
        M: KeyedBy<K> + Savable<K, Kind, C::Backend> + Clone + 'static,
        K: KeyValue<<M::Table as Table>::PrimaryKey, C::Backend, Kind> + Send + Sync + 'static,
        for<'k> OneByKey<'k, K>: Target<'k, C, RowLock<S, W, EveryTable, H>, M, ()>,
        F: Change<M, R, E> + 'static,
        R: Send + 'static,
        E: From<LockError> + Send + 'static,
    {
        let slot: Slot<R, E> = Arc::default();
        let job = Box::new(Task::new(change, &slot));
        if let Some((turn, Some(job))) = self.line_up(&id, Some(job))? {
            self.lead(&id, turn, job);
        }
        // Behind the wake-up, which comes behind the answer.
        let answer = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        match answer {
            Some(Ok(Ok(result))) => result,
            // Not `panic!`: the hook has reported it already, on the thread where it happened.
            Some(Ok(Err(panic))) => resume_unwind(panic),
            Some(Err(error)) => Err(error.into()),
            // The job was dropped unrun, by a panic between the line and the batch.
            None => Err(LockError::Abandoned.into()),
        }
    }

    /// The call that begins now, of the line that called.
    #[track_caller]
    fn call() -> Call
    where
        M: HasTable<Table: Table>,
    {
        Call::begin(C::Backend::SYSTEM, S::NAME, table_in::<M::Table>)
    }

    /// Runs the transaction for this job and for those that have come by the time the lock is had.
    #[track_caller]
    fn lead<K, Kind>(&self, id: &K, mut turn: Turn<'_, RowKey, Jobs<M>>, job: Jobs<M>)
    where
        M: KeyedBy<K> + Savable<K, Kind, C::Backend> + Clone + 'static,
        K: KeyValue<<M::Table as Table>::PrimaryKey, C::Backend, Kind> + Send + Sync + 'static,
        for<'k> OneByKey<'k, K>: Target<'k, C, RowLock<S, W, EveryTable, H>, M, ()>,
    {
        let bounds = &self.shared.bounds;
        let lock = self.shared.lock;
        let call = Self::call();
        let mut batch = Batch::new(job);
        let mut held = None;
        let result = batch.run(bounds.retry.as_ref(), |batch| {
            // For each attempt anew: the pool has the connection back while a retry pauses.
            let mut conn = self.connection(&call)?;
            let work = |conn: &mut C, row: Locked<'_, M>| {
                // Only once: a further attempt runs the changes that the batch has.
                if held.is_none() {
                    held = Some(Instant::now());
                    batch.add(turn.acquired(Some(bounds.largest_batch.saturating_sub(1))));
                }
                let (changed, late) = batch.change(row.into_inner(), bounds.longest_batch);
                // At once, not behind the COMMIT: in the line their callers can give up in time.
                turn.put_back(late);
                if let Some(row) = changed {
                    if !row.save(id, conn)? {
                        // MariaDB 11.8 may answer so if the UPDATE is cancelled.
                        return Err(LockError::Aborted { source: None });
                    }
                }
                // From here on the COMMIT may be on its way.
                batch.is_committing = true;
                Ok(())
            };
            attempt(lock, &call, &mut *conn, OneByKey(id), Signal::NONE, work)
                .map_err(Failure::into_error)
                .inspect_err(|error| call.closure_failed(error))
        });
        self.shared.counter.batch(batch.len());
        // Who comes again with its next change is to be in the line before the next batch begins. A
        // server's round trips leave time for that; without them the next one is called last.
        let turn = (C::Backend::CONNECTIONS_PER_ROW == 1).then_some(turn);
        batch.answer(result.map_err(|error| self.or_expired(error, held)));
        drop(turn);
        self.count_hold(held);
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

    fn count_hold(&self, since: Option<Instant>) {
        if let Some(since) = since {
            self.shared.counter.held(since.elapsed());
        }
    }
}
