//! What a [`LockedCall`] ends in, with one attempt and with many.

use std::time::Duration;

use super::LockedCall;
use crate::backend::{LockBackend, Waiting};
use crate::connection::LockConnection;
use crate::error::LockError;
use crate::locked::Locked;
use crate::retry::Failure;
use crate::row_lock::attempt::attempt;
use crate::row_lock::attempts::{Again, Decide, Once};
use crate::row_lock::lock::Lock;
use crate::row_lock::target::{all, keys, All, Keys, Target};
use crate::row_lock::watch::Watch;
use crate::telemetry::Call;

impl<L: Lock, V> LockedCall<L, Once, V> {
    /// As [`RowLock::with`](crate::RowLock::with).
    ///
    /// # Errors
    ///
    /// Those of [`RowLock::with`](crate::RowLock::with).
    ///
    /// # Panics
    ///
    /// Only if `f` does.
    #[track_caller]
    pub fn with<'q, C, G, Rows, Kind, R, E, F>(self, conn: &mut C, target: G, f: F) -> Result<R, E>
    where
        C: LockConnection,
        G: Target<'q, C, L, Rows, Kind>,
        V: Watch<C, L>,
        F: for<'tx> FnOnce(&mut C, Locked<'tx, Rows>) -> Result<R, E>,
        E: From<LockError>,
    {
        let call = Call::begin(C::Backend::SYSTEM, L::STRENGTH, G::table);
        let lock = self.lock;
        let attempt = |waiting| attempt(lock, &call, conn, target, waiting, f);
        let result = self.watch.watch(longest_wait(lock), attempt);
        result.map_err(Failure::into_error)
    }

    /// As [`RowLock::with_all`](crate::RowLock::with_all).
    ///
    /// # Errors
    ///
    /// Those of [`RowLock::with_all`](crate::RowLock::with_all).
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

    /// As [`RowLock::with_many`](crate::RowLock::with_many).
    ///
    /// # Errors
    ///
    /// Those of [`RowLock::with_many`](crate::RowLock::with_many).
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
    /// As [`RowLock::with`](crate::RowLock::with), again and again.
    ///
    /// # Errors
    ///
    /// See [`LockedCall`].
    ///
    /// # Panics
    ///
    /// Only if `f` does.
    #[track_caller]
    pub fn with<'q, C, G, Rows, Kind, R, E, F>(
        &self,
        conn: &mut C,
        target: G,
        mut f: F,
    ) -> Result<R, E>
    where
        C: LockConnection,
        G: Target<'q, C, L::Within, Rows, Kind> + Clone, // one for each attempt
        V: Watch<C, L>,
        F: for<'tx> FnMut(&mut C, Locked<'tx, Rows>) -> Result<R, E>,
        E: From<LockError>,
        D: Decide<E>,
    {
        let call = Call::begin(C::Backend::SYSTEM, L::STRENGTH, G::table);
        let Again { policy, decide } = &self.attempts;
        policy.run(
            |left| {
                // The deadline of the policy bounds the wait of each attempt, too.
                let lock = self.lock.within(left);
                let target = target.clone();
                let attempt = |waiting| attempt(lock, &call, conn, target, waiting, &mut f);
                self.watch.watch(longest_wait(lock), attempt)
            },
            // The policy asks after the transaction has ended: by then the span knows only that the
            // closure has failed, and learns here why.
            |error| decide.cause(error).inspect(|cause| call.failed_by(*cause)),
            |error| decide.last(error),
        )
    }

    /// As [`RowLock::with_all`](crate::RowLock::with_all), again and again.
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
        All<Q>: Target<'q, C, L::Within, Vec<M>, Kind> + Clone, // one for each attempt
        V: Watch<C, L>,
        F: for<'tx> FnMut(&mut C, Vec<Locked<'tx, M>>) -> Result<R, E>,
        E: From<LockError>,
        D: Decide<E>,
    {
        self.with(conn, all(query), |conn, rows| f(conn, rows.each()))
    }

    /// As [`RowLock::with_many`](crate::RowLock::with_many), again and again.
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
        Keys<I::Item>: Target<'q, C, L::Within, Vec<M>, Kind> + Clone, // one for each attempt
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
