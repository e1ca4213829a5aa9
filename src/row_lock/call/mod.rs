//! [`LockedCall`]: a [`RowLock`] with a retry policy, a watch, or both.

mod ends;
mod options;

use super::attempts::{Again, ByTrait, Once};
use super::watch::{NamingBlocker, Unwatched};
use super::RowLock;
use crate::error::RetryCause;
use crate::retry::Retry;
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
/// - [`RetriesExhausted`](crate::LockError::RetriesExhausted): the policy gave up;
/// - [`AlreadyInTransaction`](crate::LockError::AlreadyInTransaction): a transaction is open.
///
/// # Example
///
/// ```
/// # include!("../../doctest_setup.rs");
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
    /// # include!("../../doctest_setup.rs");
    /// use diesel_row_lock::{LockError, Locked, Retry, RowLock};
    ///
    /// # fn main() -> Result<(), LockError> {
    /// # let conn = &mut establish_connection();
    /// let lock = RowLock::for_update().retry(Retry::new().attempts(10));
    /// let row = accounts::table.find(1);
    /// let balance = lock.with(conn, row, |conn, mut account: Locked<Account>| {
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

    /// Let a [`LockError::Timeout`](crate::LockError::Timeout) say who was in the way: its
    /// `blocker`.
    ///
    /// After a timeout nobody waits any more, so it is asked meanwhile, on a `second` connection to
    /// the same server and from a thread that lives as long as the wait: first when half of the
    /// time is over, and then more often, until the lock is had or the time is over. `waiter` is
    /// the session of the connection that locks ([`SessionId::of`]), which the caller asks for
    /// once: a locked call takes no more round trips there than without this.
    ///
    /// The blocker is the last one that was seen, and the one at the end of the line: who waits for
    /// nobody ([`LockWait::root`](crate::waits::LockWait::root)). It is `None` if none was seen; if
    /// the second connection fails or may not ask, see [`lock_waits`](crate::waits::lock_waits); or
    /// behind a transaction pooler, where sessions change. The call returns when the second
    /// connection has its answer.
    ///
    /// Calls of one process that wait at the same time share the answers: one of their second
    /// connections asks for all that have the same server, user and database. So a hundred calls
    /// that time out together cost the server little more than one.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")] mod with_server {
    /// # include!("../../doctest_setup.rs");
    /// use std::time::Duration;
    /// use diesel_row_lock::waits::SessionId;
    /// use diesel_row_lock::{LockError, Locked, RowLock};
    ///
    /// # fn run(conn: &mut PgConnection, second: &mut PgConnection) -> Result<(), LockError> {
    /// let session = SessionId::of(conn)?; // once for each connection
    ///
    /// let lock = RowLock::for_update()
    ///     .timeout(Duration::from_secs(2))
    ///     .naming_blocker(second, session);
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
            // In an open transaction another attempt would meet the locks of the first one.
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
    /// [`Retryable`](crate::Retryable).
    ///
    /// # Example
    ///
    /// ```
    /// # include!("../../doctest_setup.rs");
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
