//! [`Builder`]: the bounds of a queue.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::AtomicU32;
use std::sync::Arc;
use std::time::Duration;

use diesel::r2d2::{ConnectionManager, Pool, R2D2Connection};

use super::lines::Lines;
use super::rest::Resting;
use super::stats::Counter;
use super::{RowQueue, Shared};
use crate::backend::LockBackend;
use crate::connection::LockConnection;
use crate::hold::{Hold, Unlimited};
use crate::isolation::Isolation;
use crate::retry::Retry;
use crate::row_lock::{Lock, RowLock};
use crate::sql::clause::{Block, EveryTable, Exclusive, ForUpdate, Strength, Wait};

/// How long a caller waits in line unless told otherwise: as long as r2d2 lets it wait for a
/// connection.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub(super) longest_wait: Duration,
    pub(super) longest_line: usize,
    pub(super) largest_batch: usize,
    pub(super) longest_batch: Duration,
    pub(super) retry: Option<Retry>,
}

/// The bounds of a [`RowQueue`], and how it locks.
///
/// # Default
///
/// A caller waits in line for 30 s at most, and there are 10,000 callers in a line at most. A batch
/// has up to 1,000 changes, and begins none after 10 ms. The lock is `FOR UPDATE`, without a
/// timeout of its own; nothing is retried.
///
/// # Example
///
/// ```
/// # include!("../doctest_setup.rs");
/// use std::time::Duration;
/// use diesel::r2d2::{ConnectionManager, Pool};
/// use diesel_row_lock::queue::RowQueue;
/// use diesel_row_lock::{LockError, RowLock};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pool = Pool::new(ConnectionManager::<SqliteConnection>::new(":memory:"))?;
/// let accounts = RowQueue::<SqliteConnection, Account>::builder()
///     .longest_wait(Duration::from_secs(2))
///     .lock(RowLock::for_update().timeout(Duration::from_secs(5)))
///     .build(pool);
/// # let _ = accounts.stats();
/// # Ok(())
/// # }
/// ```
#[must_use = "there is no queue until `build`"]
pub struct Builder<C, M, S = ForUpdate, W = Block, H = Unlimited> {
    bounds: Bounds,
    lock: RowLock<S, W, EveryTable, H>,
    rows: PhantomData<fn(&mut C) -> M>,
}

impl<C, M, S, W, H> fmt::Debug for Builder<C, M, S, W, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}

impl<C, M> Builder<C, M> {
    pub(super) fn new() -> Self {
        Self {
            bounds: Bounds {
                longest_wait: LONGEST_WAIT,
                longest_line: 10_000,
                largest_batch: 1_000,
                longest_batch: Duration::from_millis(10),
                retry: None,
            },
            lock: RowLock::for_update(),
            rows: PhantomData,
        }
    }
}

impl<C, M, S, W, H> Builder<C, M, S, W, H> {
    /// How long a caller waits in line, in this process, before
    /// [`QueueTimeout`](crate::LockError::QueueTimeout). A change of [`update`](RowQueue::update)
    /// waits in line until a batch begins it; a caller that has begun waits for the end of its
    /// batch. The waits for a connection and for the lock are bounded by the pool, and by
    /// [`RowLock::timeout`](crate::RowLock::timeout).
    pub fn longest_wait(mut self, time: Duration) -> Self {
        self.bounds.longest_wait = time;
        self
    }

    /// How many callers may stand in the line for one row before others are turned away with
    /// [`QueueFull`](crate::LockError::QueueFull). At least one.
    pub fn longest_line(mut self, callers: usize) -> Self {
        self.bounds.longest_line = callers.max(1);
        self
    }

    /// How many changes one transaction of [`update`](RowQueue::update) may have. At least one.
    pub fn largest_batch(mut self, changes: usize) -> Self {
        self.bounds.largest_batch = changes.max(1);
        self
    }

    /// How long after it has acquired the lock a transaction of [`update`](RowQueue::update) begins
    /// further changes; the others stay in the line. At least one is run.
    pub fn longest_batch(mut self, time: Duration) -> Self {
        self.bounds.longest_batch = time;
        self
    }

    /// Run the changes of [`update`](RowQueue::update) again as this policy says.
    ///
    /// Each change counts its own attempts, from the one on in which it first runs: its deadline
    /// does not count the wait in line, which has [a bound of its own](Self::longest_wait). The
    /// deadline of a caller that runs the transaction bounds the wait for the lock. So with a
    /// deadline the row is always locked first.
    pub fn retry(mut self, policy: Retry) -> Self {
        self.bounds.retry = Some(policy);
        self
    }

    /// Lock the rows like this: strength, timeout, time to hold. No commit token: that is for one
    /// call, and a second one with it is refused by the database.
    ///
    /// The strength must exclude other writers: `FOR UPDATE` or `FOR NO KEY UPDATE`. With a shared
    /// lock two callers hold the row at once, and one of two changes is lost.
    ///
    /// With an [isolation level](RowLock::isolation) above `READ COMMITTED`, one caller at a time
    /// goes to the server for a row: the snapshot of a second one, which waits there, would be too
    /// old for the row by the time it has the lock. Otherwise a queue finds that out by the first
    /// [`SerializationFailure`](crate::LockError::SerializationFailure) at a lock, and that call
    /// acquires the lock again.
    pub fn lock<S2: Exclusive, W2, H2>(
        self,
        lock: RowLock<S2, W2, EveryTable, H2>,
    ) -> Builder<C, M, S2, W2, H2> {
        Builder {
            bounds: self.bounds,
            lock,
            rows: PhantomData,
        }
    }

    /// The queue before this pool.
    pub fn build(self, pool: Pool<ConnectionManager<C>>) -> RowQueue<C, M, S, W, H>
    where
        C: R2D2Connection + LockConnection + 'static,
        S: Strength,
        W: Wait,
        H: Hold,
    {
        let lines = Lines::new(C::Backend::CONNECTIONS_PER_ROW, self.bounds.longest_line);
        let isolation = self.lock.request().settings.isolation;
        if isolation.is_some_and(|level| level != Isolation::ReadCommitted) {
            lines.narrow();
        }
        RowQueue {
            shared: Arc::new(Shared {
                pool,
                lock: self.lock,
                lines,
                resting: Resting::new(),
                misses: [const { AtomicU32::new(0) }; 64],
                bounds: self.bounds,
                counter: Counter::default(),
            }),
        }
    }
}
