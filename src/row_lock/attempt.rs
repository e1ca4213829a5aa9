//! One attempt of a locked call.

use super::lock::Lock;
use super::target::{Seal, Target};
use super::watch::Signal;
use crate::connection::LockConnection;
use crate::locked::Locked;
use crate::retry::Failure;
use crate::telemetry::Call;
use crate::transaction::run;

/// A transaction that locks the rows of `target` and hands them to `f`. `waiting` is dropped as
/// soon as they are locked.
pub(crate) fn attempt<'q, L, C, G, Rows, Kind, R, E, F>(
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
    G: Target<'q, C, L, Rows, Kind>,
    F: for<'tx> FnOnce(&mut C, Locked<'tx, Rows>) -> Result<R, E>,
{
    // Before BEGIN: what can't be locked costs no round trip, and leaves no transaction to end.
    let statement = target.prepare().inspect_err(|error| call.failed(error))?;
    run(
        conn,
        lock.request(),
        call,
        |conn| G::acquire(statement, &lock, conn, Seal::SEALED),
        |conn, rows| {
            // Before the closure, which may take its time: nothing waits any more.
            drop(waiting);
            f(conn, Locked::new(rows))
        },
    )
}
