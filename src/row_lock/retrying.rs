//! [`RetryingRowLock`]: a [`RowLock`] whose calls are made again when the database says so.

use std::time::Duration;

use diesel::query_builder::AsQuery;
use diesel::query_dsl::methods::LoadQuery;
use diesel::query_source::Table;

use super::RowLock;
use crate::backend::Waiting;
use crate::connection::LockConnection;
use crate::error::{LockError, RetryCause};
use crate::hold::{Hold, LockHold};
use crate::locked::Locked;
use crate::retry::{Failure, Retry, Retryable};
use crate::sql::by_key::SelectByKeys;
use crate::sql::clause::{LockStrength, LockTables, LockWait, LockingSelect, Timeout, Wait};
use crate::sql::key::{KeyValue, KeyedBy};
use crate::sql::lockable::Lockable;
use crate::telemetry::Call;

/// A [`RowLock`] with a [`Retry`] policy, from [`RowLock::retry`].
///
/// Its calls are those of the `RowLock`, but for three things: the closure may run more than once,
/// each time with rows locked and read anew; the query or the keys are cloned for each attempt; and
/// the call must be the outermost transaction, because a deadlock is not cured by repeating the
/// part that ran into it.
///
/// # Errors
///
/// Those of [`RowLock::with`], and
///
/// - [`RetriesExhausted`](LockError::RetriesExhausted): the policy gave up;
/// - [`AlreadyInTransaction`](LockError::AlreadyInTransaction): a transaction is open.
#[derive(Debug, Clone)]
#[must_use = "it locks nothing until `with`, `with_many` or `with_all`"]
pub struct RetryingRowLock<S, W, T, H, D = ByTrait> {
    lock: RowLock<S, W, T, H>,
    policy: Retry,
    decide: D,
}

/// The closure's error says itself whether to retry.
#[derive(Debug, Clone, Copy)]
pub struct ByTrait;

/// Decides whether an attempt that ended with the error `E` of the closure may be made again:
/// a closure, or the error itself.
#[diagnostic::on_unimplemented(
    message = "nothing says which errors `{E}` may be retried",
    note = "implement `Retryable` for `{E}`, or pass a closure to `.when(…)`"
)]
pub trait Decide<E> {
    #[doc(hidden)]
    fn cause(&self, error: &E) -> Option<RetryCause>;

    /// The source of [`LockError::RetriesExhausted`].
    #[doc(hidden)]
    fn last(&self, error: E) -> Option<LockError>;
}

impl<E: Retryable> Decide<E> for ByTrait {
    fn cause(&self, error: &E) -> Option<RetryCause> {
        error.retry_cause()
    }

    fn last(&self, error: E) -> Option<LockError> {
        error.into_lock_error()
    }
}

impl<E, D: Fn(&E) -> Option<RetryCause>> Decide<E> for D {
    fn cause(&self, error: &E) -> Option<RetryCause> {
        self(error)
    }

    fn last(&self, _: E) -> Option<LockError> {
        None
    }
}

impl<S, W: Copy, T: Copy, H: Copy> RowLock<S, W, T, H> {
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
    pub fn retry(self, policy: Retry) -> RetryingRowLock<S, W, T, H> {
        RetryingRowLock {
            lock: self.outermost(),
            policy,
            decide: ByTrait,
        }
    }
}

impl<S, W: Copy, T: Copy, H: Hold, D> RetryingRowLock<S, W, T, H, D> {
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
    pub fn when<E, F>(self, decide: F) -> RetryingRowLock<S, W, T, H, F>
    where
        F: Fn(&E) -> Option<RetryCause>,
    {
        RetryingRowLock {
            lock: self.lock,
            policy: self.policy,
            decide,
        }
    }

    /// As [`RowLock::with`], again and again.
    ///
    /// # Errors
    ///
    /// See [`RetryingRowLock`].
    #[track_caller]
    pub fn with<'q, C, Q, M, R, E, F, Form>(&self, conn: &mut C, query: Q, mut f: F) -> Result<R, E>
    where
        C: LockConnection,
        S: LockStrength<C::Backend>,
        W: LockWait<C::Backend>,
        Timeout: LockWait<C::Backend>,
        T: LockTables<C::Backend>,
        H: LockHold<C::Backend>,
        Q: AsQuery<Query: Lockable<C::Backend, Form>> + Clone,
        LockingSelect<Q::Query, S, W, T>: LoadQuery<'q, C, M>,
        LockingSelect<Q::Query, S, Timeout, T>: LoadQuery<'q, C, M>,
        F: for<'tx> FnMut(&mut C, Locked<'tx, M>) -> Result<R, E>,
        E: From<LockError>,
        D: Decide<E>,
    {
        let call = self.lock.call::<C, Q::Query>();
        self.run(&call, |left| {
            let query = query.clone();
            let f = |conn: &mut C, row: Locked<'_, M>| f(conn, row).map_err(Failure::Own);
            match self.bounded(left) {
                Some(bounded) => bounded.attempt(&call, conn, query, f),
                None => self.lock.attempt(&call, conn, query, f),
            }
        })
    }

    /// As [`RowLock::with_all`], again and again.
    ///
    /// # Errors
    ///
    /// See [`RetryingRowLock`].
    #[track_caller]
    pub fn with_all<'q, C, Q, M, R, E, F, Form>(
        &self,
        conn: &mut C,
        query: Q,
        mut f: F,
    ) -> Result<R, E>
    where
        C: LockConnection,
        S: LockStrength<C::Backend>,
        W: LockWait<C::Backend>,
        Timeout: LockWait<C::Backend>,
        T: LockTables<C::Backend>,
        H: LockHold<C::Backend>,
        Q: AsQuery<Query: Lockable<C::Backend, Form>> + Clone,
        LockingSelect<Q::Query, S, W, T>: LoadQuery<'q, C, M>,
        LockingSelect<Q::Query, S, Timeout, T>: LoadQuery<'q, C, M>,
        F: for<'tx> FnMut(&mut C, Vec<Locked<'tx, M>>) -> Result<R, E>,
        E: From<LockError>,
        D: Decide<E>,
    {
        let call = self.lock.call::<C, Q::Query>();
        self.run(&call, |left| {
            let query = query.clone();
            let f = |conn: &mut C, rows: Vec<Locked<'_, M>>| f(conn, rows).map_err(Failure::Own);
            match self.bounded(left) {
                Some(bounded) => bounded.attempt_all(&call, conn, query, f),
                None => self.lock.attempt_all(&call, conn, query, f),
            }
        })
    }

    /// As [`RowLock::with_many`], again and again.
    ///
    /// # Errors
    ///
    /// See [`RetryingRowLock`]; and those of [`RowLock::with_many`].
    #[track_caller]
    pub fn with_many<C, M, I, K, Kind, R, E, F>(
        &self,
        conn: &mut C,
        keys: I,
        mut f: F,
    ) -> Result<R, E>
    where
        C: LockConnection,
        S: LockStrength<C::Backend>,
        W: LockWait<C::Backend>,
        Timeout: LockWait<C::Backend>,
        T: LockTables<C::Backend>,
        H: LockHold<C::Backend>,
        I: IntoIterator<Item = K>,
        M: KeyedBy<K>,
        K: KeyValue<<M::Table as Table>::PrimaryKey, C::Backend, Kind>,
        for<'q> LockingSelect<SelectByKeys<'q, M::Table, K, Kind>, S, W, T>: LoadQuery<'q, C, M>,
        for<'q> LockingSelect<SelectByKeys<'q, M::Table, K, Kind>, S, Timeout, T>:
            LoadQuery<'q, C, M>,
        F: for<'tx> FnMut(&mut C, Vec<Locked<'tx, M>>) -> Result<R, E>,
        E: From<LockError>,
        D: Decide<E>,
    {
        let keys: Vec<K> = keys.into_iter().collect();
        let call = self.lock.call::<C, M::Table>();
        self.run(&call, |left| {
            let keys = keys.iter().cloned();
            let f = |conn: &mut C, rows: Vec<Locked<'_, M>>| f(conn, rows).map_err(Failure::Own);
            match self.bounded(left) {
                Some(bounded) => bounded.attempt_many(&call, conn, keys, f),
                None => self.lock.attempt_many(&call, conn, keys, f),
            }
        })
    }

    fn run<R, E>(
        &self,
        call: &Call,
        attempt: impl FnMut(Option<Duration>) -> Result<R, Failure<E>>,
    ) -> Result<R, E>
    where
        E: From<LockError>,
        D: Decide<E>,
    {
        self.policy.run(
            attempt,
            |error| {
                let cause = self.decide.cause(error);
                cause.inspect(|cause| call.failed_by(*cause))
            },
            |error| self.decide.last(error),
        )
    }

    /// The same lock, waiting no longer than the policy's deadline leaves. A request that does not
    /// wait, or not so long, stays as it is.
    fn bounded(&self, left: Option<Duration>) -> Option<RowLock<S, Timeout, T, H>>
    where
        W: Wait,
    {
        let left = left?;
        let longer = match self.lock.wait.waiting() {
            Waiting::Session => true,
            Waiting::AtMost(time) => time > left,
            Waiting::Never | Waiting::Skip => false,
        };
        longer.then_some(RowLock {
            strength: self.lock.strength,
            // What is left may be nothing, but zero would be a request not to wait.
            wait: Timeout(left.max(Duration::from_millis(1))),
            tables: self.lock.tables,
            hold: self.lock.hold,
            outermost: self.lock.outermost,
            commit_token: self.lock.commit_token,
        })
    }
}
