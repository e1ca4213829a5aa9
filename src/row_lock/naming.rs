//! [`NamingRowLock`]: a [`RowLock`] whose timeout names its blocker.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use diesel::query_builder::AsQuery;
use diesel::query_dsl::methods::LoadQuery;
use diesel::query_source::Table;

use super::RowLock;
use crate::connection::LockConnection;
use crate::error::LockError;
use crate::hold::{Hold, LockHold};
use crate::locked::Locked;
use crate::retry::Failure;
use crate::sql::by_key::SelectByKeys;
use crate::sql::clause::{self, LockStrength, LockTables, LockingSelect, Timeout};
use crate::sql::key::{KeyValue, KeyedBy};
use crate::sql::lockable::Lockable;
use crate::waits::backend::WaitsBackend;
use crate::waits::viewpoint::Viewpoint;
use crate::waits::{LockWait, Session, SessionId};

/// A [`RowLock`] with a second connection that sees who is in the way, from
/// [`RowLock::naming_blocker`].
///
/// Its calls are those of the `RowLock`, with the same SQL on the first connection, and the same errors.
#[must_use = "it locks nothing until `with`, `with_many` or `with_all`"]
pub struct NamingRowLock<'n, S, T, H, N> {
    lock: RowLock<S, Timeout, T, H>,
    second: &'n mut N,
    waiter: SessionId,
}

impl<S, T, H, N> fmt::Debug for NamingRowLock<'_, S, T, H, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamingRowLock")
            .field("waiter", &self.waiter)
            .finish_non_exhaustive()
    }
}

impl<S, T: Copy, H: Copy> RowLock<S, Timeout, T, H> {
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
    ) -> NamingRowLock<'_, S, T, H, N> {
        NamingRowLock {
            lock: self,
            second,
            waiter,
        }
    }
}

impl<S, T: Copy, H: Hold, N> NamingRowLock<'_, S, T, H, N> {
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
    pub fn with<'q, C, Q, M, R, E, F, Form>(self, conn: &mut C, query: Q, f: F) -> Result<R, E>
    where
        C: LockConnection<Backend: WaitsBackend>,
        N: LockConnection<Backend = C::Backend> + Send,
        S: LockStrength<C::Backend>,
        Timeout: clause::LockWait<C::Backend>,
        T: LockTables<C::Backend>,
        H: LockHold<C::Backend>,
        Q: AsQuery<Query: Lockable<C::Backend, Form>>,
        LockingSelect<Q::Query, S, Timeout, T>: LoadQuery<'q, C, M>,
        F: for<'tx> FnOnce(&mut C, Locked<'tx, M>) -> Result<R, E>,
        E: From<LockError>,
    {
        let call = self.lock.call::<C, Q::Query>();
        self.watched(|lock, waiting| {
            lock.attempt(&call, conn, query, |conn: &mut C, row: Locked<'_, M>| {
                drop(waiting);
                f(conn, row).map_err(Failure::Own)
            })
        })
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
    pub fn with_all<'q, C, Q, M, R, E, F, Form>(self, conn: &mut C, query: Q, f: F) -> Result<R, E>
    where
        C: LockConnection<Backend: WaitsBackend>,
        N: LockConnection<Backend = C::Backend> + Send,
        S: LockStrength<C::Backend>,
        Timeout: clause::LockWait<C::Backend>,
        T: LockTables<C::Backend>,
        H: LockHold<C::Backend>,
        Q: AsQuery<Query: Lockable<C::Backend, Form>>,
        LockingSelect<Q::Query, S, Timeout, T>: LoadQuery<'q, C, M>,
        F: for<'tx> FnOnce(&mut C, Vec<Locked<'tx, M>>) -> Result<R, E>,
        E: From<LockError>,
    {
        let call = self.lock.call::<C, Q::Query>();
        self.watched(|lock, waiting| {
            lock.attempt_all(
                &call,
                conn,
                query,
                |conn: &mut C, rows: Vec<Locked<'_, M>>| {
                    drop(waiting);
                    f(conn, rows).map_err(Failure::Own)
                },
            )
        })
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
    pub fn with_many<C, M, I, K, Kind, R, E, F>(self, conn: &mut C, keys: I, f: F) -> Result<R, E>
    where
        C: LockConnection<Backend: WaitsBackend>,
        N: LockConnection<Backend = C::Backend> + Send,
        S: LockStrength<C::Backend>,
        Timeout: clause::LockWait<C::Backend>,
        T: LockTables<C::Backend>,
        H: LockHold<C::Backend>,
        I: IntoIterator<Item = K>,
        M: KeyedBy<K>,
        K: KeyValue<<M::Table as Table>::PrimaryKey, C::Backend, Kind>,
        for<'q> LockingSelect<SelectByKeys<'q, M::Table, K, Kind>, S, Timeout, T>:
            LoadQuery<'q, C, M>,
        F: for<'tx> FnOnce(&mut C, Vec<Locked<'tx, M>>) -> Result<R, E>,
        E: From<LockError>,
    {
        let call = self.lock.call::<C, M::Table>();
        self.watched(|lock, waiting| {
            lock.attempt_many(
                &call,
                conn,
                keys,
                |conn: &mut C, rows: Vec<Locked<'_, M>>| {
                    drop(waiting);
                    f(conn, rows).map_err(Failure::Own)
                },
            )
        })
    }

    /// Runs `call`, which drops what it is given as soon as it waits no longer.
    fn watched<R, E>(
        self,
        call: impl FnOnce(RowLock<S, Timeout, T, H>, Sender<()>) -> Result<R, Failure<E>>,
    ) -> Result<R, E>
    where
        N: LockConnection<Backend: WaitsBackend> + Send,
        E: From<LockError>,
    {
        let Self {
            lock,
            second,
            waiter,
        } = self;
        let (waiting, over) = mpsc::channel();
        let (result, seen) = thread::scope(|scope| {
            let watch = move || watch(second, waiter, lock.wait.0, &over);
            // A system that has no thread to give can still lock.
            let watch = thread::Builder::new().spawn_scoped(scope, watch);
            let result = call(lock, waiting);
            (result, watch.ok().and_then(|watch| watch.join().ok()))
        });
        result.map_err(|failure| match failure {
            Failure::Lock(LockError::Timeout { source, .. }) => E::from(LockError::Timeout {
                source,
                blocker: seen.flatten().map(Box::new),
            }),
            other => other.into_error(),
        })
    }
}

/// How long to leave the server alone at least: less where the whole wait is not much longer.
const PAUSES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(50);

/// The last blocker that was seen before the wait was `over`. Most waits are short, and cost the
/// server nothing.
fn watch<N>(
    second: &mut N,
    waiter: SessionId,
    time: Duration,
    over: &Receiver<()>,
) -> Option<Session>
where
    N: LockConnection<Backend: WaitsBackend>,
{
    let begun = Instant::now();
    let shortest = (time / 2).clamp(*PAUSES.start(), *PAUSES.end());
    let mut viewpoint = None;
    let mut blocker = Blocker::default();
    loop {
        let left = time.saturating_sub(begun.elapsed());
        let pause = shortest.max(left / 2);
        if over.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return blocker.seen;
        }
        if viewpoint.is_none() {
            viewpoint = Viewpoint::of(second).ok();
        }
        let Some(viewpoint) = &viewpoint else {
            return blocker.seen;
        };
        let now = Instant::now();
        // An answer to another caller is new enough if it is younger than half of the pause and
        // knows this wait already.
        let recent = now.checked_sub(pause / 2).map_or(now, |at| at.max(begun));
        for since in [recent, now] {
            let known = blocker.seen.is_some();
            let no_more = || known && over.try_recv() == Err(TryRecvError::Disconnected);
            let Ok(Some(waits)) = viewpoint.look(second, since, no_more) else {
                return blocker.seen;
            };
            if blocker.look(waiter, waits) || known {
                break;
            }
        }
    }
}

/// What the looks have shown so far.
#[derive(Default)]
struct Blocker {
    seen: Option<Session>,
    /// Of the last look: the root, and all waits.
    last: Option<(SessionId, Arc<[LockWait]>)>,
}

impl Blocker {
    /// Returns whether this waiter is among the waits.
    ///
    /// A session that waited beside it in the last look is not named at once. Where calls time out
    /// together, it may just have timed out itself, and not have left the line yet.
    fn look(&mut self, waiter: SessionId, waits: Arc<[LockWait]>) -> bool {
        let Some(wait) = waits.iter().find(|wait| wait.waiter.id == waiter) else {
            return false;
        };
        let root = wait.root(&waits).clone();
        let id = root.id;
        let doubtful = self.last.as_ref().is_some_and(|(before, waits)| {
            *before != id && waits.iter().any(|wait| wait.waiter.id == id)
        });
        if self.seen.is_none() || !doubtful {
            self.seen = Some(root);
        }
        self.last = Some((id, waits));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(waiter: i64, blocker: i64) -> LockWait {
        LockWait::of((waiter, None, None, blocker, None, None, true, None, 0))
    }

    /// Who waiter 3 names after looks with these waits, each of one session for another.
    fn named(looks: &[&[(i64, i64)]]) -> Option<i64> {
        let mut blocker = Blocker::default();
        for look in looks {
            let waits = look.iter().map(|(waiter, blocker)| wait(*waiter, *blocker));
            blocker.look(SessionId::new(3), waits.collect());
        }
        blocker.seen.map(|session| session.id.get())
    }

    #[test]
    fn last_root_is_named() {
        assert_eq!(named(&[]), None);
        assert_eq!(named(&[&[(4, 1)]]), None);
        assert_eq!(named(&[&[(3, 2), (2, 1)]]), Some(1));
        assert_eq!(named(&[&[(3, 2), (2, 1)], &[(3, 5)]]), Some(5));
        assert_eq!(named(&[&[(3, 2), (2, 1)], &[(4, 1)]]), Some(1));
    }

    #[test]
    fn waiter_ahead_that_waits_no_longer_is_named_when_it_is_seen_again() {
        let (line, gone) = ([(3, 2), (2, 1)], [(3, 2)]);
        assert_eq!(named(&[&line, &gone]), Some(1));
        assert_eq!(named(&[&line, &gone, &gone]), Some(2));
        assert_eq!(named(&[&gone]), Some(2));
    }
}
