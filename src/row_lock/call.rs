//! [`LockedCall`]: a [`RowLock`] with a retry policy, a watch, or both.

use std::time::Duration;

use super::attempts::{Again, ByTrait, Decide, Once};
use super::lock::Lock;
use super::target::{all, keys, All, Keys, Target};
use super::watch::{NamingBlocker, Signal, Unwatched, Watch};
use super::RowLock;
use crate::backend::{LockBackend, Waiting};
use crate::commit_token::CommitToken;
use crate::connection::LockConnection;
use crate::error::{LockError, RetryCause};
use crate::hold::{HoldAtMost, Unlimited};
use crate::isolation::Isolation;
use crate::locked::Locked;
use crate::retry::{Failure, Retry};
use crate::sql::clause::{Block, EveryTable, NoWait, Of, SkipLocked, Timeout};
use crate::telemetry::Call;
use crate::transaction::run;
use crate::waits::SessionId;

/// A [`RowLock`] with a [`Retry`] policy ([`RowLock::retry`]), a watch
/// ([`RowLock::naming_blocker`]), or both.
///
/// It has the options of the `RowLock`, and its calls run the same SQL. With a policy
///
/// - the closure may run more than once, each time with rows locked and read anew;
/// - the target is cloned for each attempt;
/// - the call must be the outermost transaction, because a deadlock is not cured by repeating the
///   part that ran into it.
///
/// # Errors
///
/// A call returns those of [`RowLock::with`], and with a policy
///
/// - [`RetriesExhausted`](LockError::RetriesExhausted): the policy gave up;
/// - [`AlreadyInTransaction`](LockError::AlreadyInTransaction): a transaction is open.
///
/// # Example
///
/// ```
/// # include!("../doctest_setup.rs");
/// use diesel_row_lock::{keys, Isolation, LockError, Locked, Retry, RowLock};
///
/// # fn main() -> Result<(), LockError> {
/// # let conn = &mut establish_connection();
/// let lock = RowLock::for_update().retry(Retry::new()).isolation(Isolation::Serializable);
/// let total = lock.with(conn, keys([2, 1]), |_, rows: Locked<Vec<Account>>| {
///     Ok::<_, LockError>(rows.iter().map(|account| account.balance).sum::<i64>())
/// })?;
/// assert_eq!(total, 1_500);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "it locks nothing until `with`"]
pub struct LockedCall<L, A = Once, V = Unwatched> {
    lock: L,
    attempts: A,
    watch: V,
}

impl<S, W: Copy, T: Copy, H: Copy> RowLock<S, W, T, H> {
    /// This lock as a call of one attempt without a watch.
    pub(super) const fn call(self) -> LockedCall<Self> {
        LockedCall {
            lock: self,
            attempts: Once,
            watch: Unwatched,
        }
    }

    /// Make the call again, the whole closure with rows locked and read anew, when the transaction
    /// was chosen to lose: a deadlock or a serialization failure, also of a statement in the
    /// closure, also at `COMMIT`. Lock timeouts [on demand](Retry::lock_timeouts).
    ///
    /// A commit in doubt is never retried.
    ///
    /// # Example
    ///
    /// ```
    /// # include!("../doctest_setup.rs");
    /// use diesel_row_lock::{LockError, Locked, Retry, RowLock};
    ///
    /// # fn main() -> Result<(), LockError> {
    /// # let conn = &mut establish_connection();
    /// let lock = RowLock::for_update().retry(Retry::new().attempts(10));
    /// let balance = lock.with(conn, accounts::table.find(1), |conn, mut account: Locked<Account>| {
    ///     account.balance += 100;
    ///     let saved: Account = account.save_changes(conn)?;
    ///     Ok::<_, LockError>(saved.balance)
    /// })?;
    /// assert_eq!(balance, 1_100);
    /// # Ok(())
    /// # }
    /// ```
    pub fn retry(self, policy: Retry) -> LockedCall<Self, Again> {
        self.call().retry(policy)
    }

    /// Let a [`LockError::Timeout`] say who was in the way: its `blocker`.
    ///
    /// After a timeout nobody waits any more, so it is asked meanwhile, on a `second` connection to the
    /// same server and from a thread that lives as long as the wait: first when half of the time is
    /// over, and then more often, until the lock is had or the time is over. `waiter` is the session of
    /// the connection that locks ([`SessionId::of`]), which the caller asks for once: a locked call takes
    /// no more round trips there than without this.
    ///
    /// The blocker is the last one that was seen, and the one at the end of the line: who waits for
    /// nobody ([`LockWait::root`](crate::waits::LockWait::root)). It is `None` if none was seen; if the
    /// second connection fails or may not ask, see [`lock_waits`](crate::waits::lock_waits); or behind
    /// a transaction pooler, where sessions change. The call returns when the second connection has
    /// its answer.
    ///
    /// Calls of one process that wait at the same time share the answers: one of their second
    /// connections asks for all that have the same server, user and database. So a hundred calls
    /// that time out together cost the server little more than one.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")] mod with_server {
    /// # include!("../doctest_setup.rs");
    /// use std::time::Duration;
    /// use diesel_row_lock::waits::SessionId;
    /// use diesel_row_lock::{LockError, Locked, RowLock};
    ///
    /// # fn run(conn: &mut PgConnection, second: &mut PgConnection) -> Result<(), LockError> {
    /// let session = SessionId::of(conn)?; // once for each connection
    ///
    /// let lock = RowLock::for_update().timeout(Duration::from_secs(2)).naming_blocker(second, session);
    /// let result = lock.with(conn, accounts::table.find(1), |_, account: Locked<Account>| {
    ///     Ok::<_, LockError>(account.balance)
    /// });
    /// if let Err(LockError::Timeout { blocker: Some(blocker), .. }) = &result {
    ///     println!("{blocker} has the row; its query: {:?}", blocker.query);
    /// }
    /// # Ok(())
    /// # }
    /// # }
    /// # fn main() {}
    /// ```
    pub fn naming_blocker<N>(
        self,
        second: &mut N,
        waiter: SessionId,
    ) -> LockedCall<Self, Once, NamingBlocker<'_, N>> {
        self.call().naming_blocker(second, waiter)
    }
}

impl<S, W: Copy, T: Copy, H: Copy, V> LockedCall<RowLock<S, W, T, H>, Once, V> {
    /// As [`RowLock::retry`].
    pub fn retry(self, policy: Retry) -> LockedCall<RowLock<S, W, T, H>, Again, V> {
        LockedCall {
            lock: self.lock.outermost(),
            attempts: Again {
                policy,
                decide: ByTrait,
            },
            watch: self.watch,
        }
    }
}

impl<L, A> LockedCall<L, A> {
    /// As [`RowLock::naming_blocker`].
    pub fn naming_blocker<N>(
        self,
        second: &mut N,
        waiter: SessionId,
    ) -> LockedCall<L, A, NamingBlocker<'_, N>> {
        LockedCall {
            lock: self.lock,
            attempts: self.attempts,
            watch: NamingBlocker::new(second, waiter),
        }
    }
}

impl<L, V> LockedCall<L, Again, V> {
    /// Let this closure say which errors of the closure may be retried, for errors that are not
    /// [`Retryable`].
    ///
    /// # Example
    ///
    /// ```
    /// # include!("../doctest_setup.rs");
    /// use diesel_row_lock::{Locked, Retry, RetryCause, RowLock};
    ///
    /// # fn main() -> anyhow::Result<()> {
    /// # let conn = &mut establish_connection();
    /// let lock = RowLock::for_update()
    ///     .retry(Retry::new())
    ///     .when(|error: &anyhow::Error| RetryCause::of(error.as_ref()));
    /// lock.with(conn, accounts::table.find(1), |_, account: Locked<Account>| {
    ///     anyhow::ensure!(account.balance > 0, "poor {}", account.owner);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn when<E, F>(self, decide: F) -> LockedCall<L, Again<F>, V>
    where
        F: Fn(&E) -> Option<RetryCause>,
    {
        LockedCall {
            lock: self.lock,
            attempts: Again {
                policy: self.attempts.policy,
                decide,
            },
            watch: self.watch,
        }
    }
}

/// The options of the lock, so that their order does not matter.
impl<L, A, V> LockedCall<L, A, V> {
    fn map<L2>(self, option: impl FnOnce(L) -> L2) -> LockedCall<L2, A, V> {
        LockedCall {
            lock: option(self.lock),
            attempts: self.attempts,
            watch: self.watch,
        }
    }
}

impl<S, T: Copy, H: Copy, A, V> LockedCall<RowLock<S, Block, T, H>, A, V> {
    /// As [`RowLock::no_wait`].
    pub fn no_wait(self) -> LockedCall<RowLock<S, NoWait, T, H>, A, V> {
        self.map(RowLock::no_wait)
    }

    /// As [`RowLock::skip_locked`].
    pub fn skip_locked(self) -> LockedCall<RowLock<S, SkipLocked, T, H>, A, V> {
        self.map(RowLock::skip_locked)
    }

    /// As [`RowLock::timeout`].
    pub fn timeout(self, time: Duration) -> LockedCall<RowLock<S, Timeout, T, H>, A, V> {
        self.map(|lock| lock.timeout(time))
    }
}

impl<S, W: Copy, H: Copy, A, V> LockedCall<RowLock<S, W, EveryTable, H>, A, V> {
    /// As [`RowLock::of`].
    pub fn of<T>(self, table: T) -> LockedCall<RowLock<S, W, Of<T>, H>, A, V> {
        self.map(|lock| lock.of(table))
    }
}

impl<S, W: Copy, T: Copy, A, V> LockedCall<RowLock<S, W, T, Unlimited>, A, V> {
    /// As [`RowLock::hold_at_most`].
    pub fn hold_at_most(self, time: Duration) -> LockedCall<RowLock<S, W, T, HoldAtMost>, A, V> {
        self.map(|lock| lock.hold_at_most(time))
    }
}

impl<S, W: Copy, T: Copy, H: Copy, A, V> LockedCall<RowLock<S, W, T, H>, A, V> {
    /// As [`RowLock::outermost`].
    pub fn outermost(self) -> Self {
        self.map(RowLock::outermost)
    }

    /// As [`RowLock::isolation`].
    pub fn isolation(self, level: Isolation) -> Self {
        self.map(|lock| lock.isolation(level))
    }

    /// As [`RowLock::commit_token`].
    pub fn commit_token(self, token: CommitToken) -> Self {
        self.map(|lock| lock.commit_token(token))
    }
}

impl<L: Lock, V> LockedCall<L, Once, V> {
    /// As [`RowLock::with`].
    ///
    /// # Errors
    ///
    /// Those of [`RowLock::with`].
    ///
    /// # Panics
    ///
    /// Only if `f` does.
    #[track_caller]
    pub fn with<'q, C, G, X, Kind, R, E, F>(self, conn: &mut C, target: G, f: F) -> Result<R, E>
    where
        C: LockConnection,
        G: Target<'q, C, L, X, Kind>,
        V: Watch<C, L>,
        F: for<'tx> FnOnce(&mut C, Locked<'tx, X>) -> Result<R, E>,
        E: From<LockError>,
    {
        let call = Call::begin(C::Backend::SYSTEM, L::STRENGTH, G::table);
        let lock = self.lock;
        let attempt = |waiting| attempt(lock, &call, conn, target, waiting, f);
        let result = self.watch.watch(longest_wait(lock), attempt);
        result.map_err(Failure::into_error)
    }

    /// As [`RowLock::with_all`].
    ///
    /// # Errors
    ///
    /// Those of [`RowLock::with_all`].
    ///
    /// # Panics
    ///
    /// Only if `f` does.
    #[track_caller]
    pub fn with_all<'q, C, Q, M, Kind, R, E, F>(self, conn: &mut C, query: Q, f: F) -> Result<R, E>
    where
        C: LockConnection,
        All<Q>: Target<'q, C, L, Vec<M>, Kind>,
        V: Watch<C, L>,
        F: for<'tx> FnOnce(&mut C, Vec<Locked<'tx, M>>) -> Result<R, E>,
        E: From<LockError>,
    {
        self.with(conn, all(query), |conn, rows| f(conn, rows.each()))
    }

    /// As [`RowLock::with_many`].
    ///
    /// # Errors
    ///
    /// Those of [`RowLock::with_many`].
    ///
    /// # Panics
    ///
    /// Only if `f` does.
    #[track_caller]
    pub fn with_many<'q, C, M, I, Kind, R, E, F>(self, conn: &mut C, ids: I, f: F) -> Result<R, E>
    where
        C: LockConnection,
        I: IntoIterator,
        Keys<I::Item>: Target<'q, C, L, Vec<M>, Kind>,
        V: Watch<C, L>,
        F: for<'tx> FnOnce(&mut C, Vec<Locked<'tx, M>>) -> Result<R, E>,
        E: From<LockError>,
    {
        self.with(conn, keys(ids), |conn, rows| f(conn, rows.each()))
    }
}

impl<L: Lock, D, V> LockedCall<L, Again<D>, V> {
    /// As [`RowLock::with`], again and again.
    ///
    /// # Errors
    ///
    /// See [`LockedCall`].
    ///
    /// # Panics
    ///
    /// Only if `f` does.
    #[track_caller]
    pub fn with<'q, C, G, X, Kind, R, E, F>(
        &self,
        conn: &mut C,
        target: G,
        mut f: F,
    ) -> Result<R, E>
    where
        C: LockConnection,
        G: Target<'q, C, L::Within, X, Kind> + Clone,
        V: Watch<C, L>,
        F: for<'tx> FnMut(&mut C, Locked<'tx, X>) -> Result<R, E>,
        E: From<LockError>,
        D: Decide<E>,
    {
        let call = Call::begin(C::Backend::SYSTEM, L::STRENGTH, G::table);
        let Again { policy, decide } = &self.attempts;
        policy.run(
            |left| {
                let lock = self.lock.within(left);
                let target = target.clone();
                let attempt = |waiting| attempt(lock, &call, conn, target, waiting, &mut f);
                self.watch.watch(longest_wait(lock), attempt)
            },
            |error| decide.cause(error).inspect(|cause| call.failed_by(*cause)),
            |error| decide.last(error),
        )
    }

    /// As [`RowLock::with_all`], again and again.
    ///
    /// # Errors
    ///
    /// See [`LockedCall`].
    ///
    /// # Panics
    ///
    /// Only if `f` does.
    #[track_caller]
    pub fn with_all<'q, C, Q, M, Kind, R, E, F>(
        &self,
        conn: &mut C,
        query: Q,
        mut f: F,
    ) -> Result<R, E>
    where
        C: LockConnection,
        All<Q>: Target<'q, C, L::Within, Vec<M>, Kind> + Clone,
        V: Watch<C, L>,
        F: for<'tx> FnMut(&mut C, Vec<Locked<'tx, M>>) -> Result<R, E>,
        E: From<LockError>,
        D: Decide<E>,
    {
        self.with(conn, all(query), |conn, rows| f(conn, rows.each()))
    }

    /// As [`RowLock::with_many`], again and again.
    ///
    /// # Errors
    ///
    /// See [`LockedCall`].
    ///
    /// # Panics
    ///
    /// Only if `f` does.
    #[track_caller]
    pub fn with_many<'q, C, M, I, Kind, R, E, F>(
        &self,
        conn: &mut C,
        ids: I,
        mut f: F,
    ) -> Result<R, E>
    where
        C: LockConnection,
        I: IntoIterator,
        Keys<I::Item>: Target<'q, C, L::Within, Vec<M>, Kind> + Clone,
        V: Watch<C, L>,
        F: for<'tx> FnMut(&mut C, Vec<Locked<'tx, M>>) -> Result<R, E>,
        E: From<LockError>,
        D: Decide<E>,
    {
        self.with(conn, keys(ids), |conn, rows| f(conn, rows.each()))
    }
}

/// The limit to the wait for the lock; the session's own is not known.
fn longest_wait(lock: impl Lock) -> Duration {
    match lock.request().settings.waiting {
        Waiting::AtMost(time) => time,
        Waiting::Never | Waiting::Skip => Duration::ZERO,
        Waiting::Session => Duration::MAX,
    }
}

/// One attempt: a transaction that locks the rows of the target.
pub(crate) fn attempt<'q, L, C, G, X, Kind, R, E, F>(
    lock: L,
    call: &Call,
    conn: &mut C,
    target: G,
    waiting: Signal,
    f: F,
) -> Result<R, Failure<E>>
where
    L: Lock,
    C: LockConnection,
    G: Target<'q, C, L, X, Kind>,
    F: for<'tx> FnOnce(&mut C, Locked<'tx, X>) -> Result<R, E>,
{
    let statement = target.prepare().inspect_err(|error| call.failed(error))?;
    run(
        conn,
        lock.request(),
        call,
        |conn| G::acquire(statement, &lock, conn),
        |conn, rows| {
            drop(waiting);
            f(conn, Locked::new(rows))
        },
    )
}
