//! The module `waits`: `lock_waits` lists waiters and blockers, `cancel` and `terminate` end them.

#[cfg(any(feature = "postgres", feature = "mysql"))]
mod ended;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod holders;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod lines;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod listed;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod named;

#[cfg(any(feature = "postgres", feature = "mysql"))]
use helpers::*;

#[cfg(any(feature = "postgres", feature = "mysql"))]
mod helpers {
    use std::time::Duration;

    use diesel::connection::SimpleConnection;
    use diesel_row_lock::bounds::WaitsBackend;
    use diesel_row_lock::waits::{lock_waits, LockWait, SessionId};
    use diesel_row_lock::LockConnection;

    use crate::support::wait_until;

    /// Begins a transaction that has account `id`, and idles then.
    pub(super) fn hold<C: SimpleConnection>(conn: &mut C, id: i32) {
        conn.batch_execute("BEGIN").unwrap();
        take(conn, id);
    }

    pub(super) fn take<C: SimpleConnection>(conn: &mut C, id: i32) {
        let update = format!("UPDATE accounts SET balance = balance + 1 WHERE id = {id}");
        conn.batch_execute(&update).unwrap();
    }

    /// What the server says of the wait of this session, as soon as it says so.
    pub(super) fn wait_of<C>(watcher: &mut C, waiter: SessionId) -> LockWait
    where
        C: LockConnection<Backend: WaitsBackend>,
    {
        let mut found = None;
        wait_until("the wait is listed", Duration::from_millis(5), || {
            let waits = lock_waits(watcher).unwrap();
            found = waits.into_iter().find(|wait| wait.waiter.id == waiter);
            found.is_some()
        });
        found.unwrap()
    }

    /// The blocker of this session, as soon as it is in a statement.
    pub(super) fn running_blocker_of<C>(watcher: &mut C, waiter: SessionId) -> SessionId
    where
        C: LockConnection<Backend: WaitsBackend>,
    {
        let mut blocker = None;
        wait_until("the blocker runs", Duration::from_millis(5), || {
            let wait = wait_of(watcher, waiter);
            blocker = (!wait.blocker.idle).then_some(wait.blocker.id);
            blocker.is_some()
        });
        blocker.unwrap()
    }

    pub(super) fn wait_until_nobody_waits_for<C>(watcher: &mut C, blocker: SessionId)
    where
        C: LockConnection<Backend: WaitsBackend>,
    {
        wait_until("the wait is over", Duration::from_millis(5), || {
            let waits = lock_waits(watcher).unwrap();
            !waits.iter().any(|wait| wait.blocker.id == blocker)
        });
    }
}

/// A thread that locks account `$id`, and its session.
#[cfg(any(feature = "postgres", feature = "mysql"))]
macro_rules! spawn_waiter {
    ($db:ident, $scope:ident, $id:expr) => {{
        let mut conn = $db.connect();
        let session = SessionId::of(&mut conn).unwrap();
        let call = move || with_row_lock(&mut conn, accounts::table.find($id), nothing);
        (session, $scope.spawn(call))
    }};
}
#[cfg(any(feature = "postgres", feature = "mysql"))]
use spawn_waiter;
