//! [`update_row`]: changes one row in two round trips.

mod missed;
mod target;

use std::fmt::Debug;

pub(crate) use self::missed::{Misses, RowMisses};
pub use self::target::UpdateTarget;
use crate::backend::stamp::StampBackend;
use crate::backend::{classify, LockBackend, Waiting};
use crate::connection::{depth, LockConnection};
use crate::error::LockError;
use crate::locked::Locked;
use crate::played;
use crate::retry::Failure;
use crate::row_lock::{attempt, RowLock, Signal, Target};
use crate::sql::clause::{ForUpdate, Strength};
use crate::telemetry::Call;
use crate::transaction::run_single;

/// Reads the row with this primary key, lets `f` change it, and writes it if it is still what was
/// read. If another session was faster, locks the row and lets `f` change it again.
///
/// The library writes the row, so `f` gets the model and no connection. That takes two round trips
/// where a locked call takes four. **`f` may run twice**: once on the row that was read, and once
/// on the row that is locked. Only its last run counts, so it must do nothing but change the model
/// and return a value.
///
/// The second run comes
///
/// - after another session has changed the row in between;
/// - if `f` returned `Err`, or changed nothing that can be saved, on a row that was not locked: an
///   answer such as "insufficient funds" is given only of a row that is locked;
/// - if the server refused the write, by a constraint say, for the same reason.
///
/// A row that was missed lately is locked first, and tried again after a number of calls that
/// grows with each miss. `f` then runs once, and the call costs what
/// [`with_row_lock`](crate::with_row_lock) does. The row is always locked first
///
/// - inside an open transaction, where the call is a savepoint as any locked call is;
/// - on MySQL, MariaDB and SQLite;
/// - if the rows have no `xmin`: those of a view, of a foreign table, of a server such as
///   CockroachDB. The first call notices it. So it does where the role may not read `xmin`, which
///   takes the right to read the whole table.
///
/// Fields that the model's `AsChangeset` leaves out (`None`, unless `treat_none_as_null` is set)
/// keep their values in the database.
///
/// Executes, on PostgreSQL: `SELECT …, xmin, … FROM accounts WHERE id = $1`, then `UPDATE accounts
/// SET … WHERE id = $2 AND xmin = $3 AND …`, which is a transaction of its own. The second run
/// executes the SQL of [`with_row_lock`](crate::with_row_lock) and `UPDATE accounts SET … WHERE
/// id = $2`.
///
/// The stamp `xmin` is compared on the session that read it, so that a failover can't make it lie.
/// Behind a pooler that gives each transaction another session, the row is therefore locked as a
/// rule.
///
/// # Errors
///
/// - [`NotFound`](LockError::NotFound): no row has this key;
/// - [`CommitUnknown`](LockError::CommitUnknown): the connection was lost while the row was
///   written, or the answer is none by which the server refuses a statement;
/// - [`Aborted`](LockError::Aborted): the server wrote no row although it was locked, as with a
///   trigger that returns `NULL`. Such a trigger has run for both writes, and what it wrote itself
///   for the first one stays;
/// - [`WrongRow`](LockError::WrongRow), [`AmbiguousKey`](LockError::AmbiguousKey): as in
///   [`keys`](crate::keys);
/// - [`KeyChanged`](LockError::KeyChanged): `f` has changed the primary key of the model;
/// - those of [`RowLock::with`] for the second run;
/// - any error of `f` itself, as it is.
///
/// # Panics
///
/// Only if `f` does. Nothing is then written.
///
/// # Example
///
/// ```
/// # include!("../doctest_setup.rs");
/// use diesel_row_lock::{update_row, LockError};
///
/// # fn main() -> Result<(), LockError> {
/// # let conn = &mut establish_connection();
/// let balance = update_row(conn, 1, |account: &mut Account| {
///     account.balance += 100;
///     Ok::<_, LockError>(account.balance)
/// })?;
/// assert_eq!(balance, 1_100);
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn update_row<C, M, K, Kind, R, E, F>(conn: &mut C, key: K, mut f: F) -> Result<R, E>
where
    C: LockConnection,
    K: UpdateTarget<C, RowLock<ForUpdate>, M, Kind>,
    F: FnMut(&mut M) -> Result<R, E>,
    E: From<LockError>,
{
    let call = Call::begin(
        C::Backend::SYSTEM,
        ForUpdate::NAME,
        <K::Locked<'_> as Target<'_, C, RowLock<ForUpdate>, M, ()>>::table,
    );
    let misses = RowMisses::of::<M, K>(&key);
    // In an open transaction the statement would be no transaction of its own.
    let alone = depth(conn) == Some(0);
    if !C::Backend::HAS_STAMPS || !alone || misses.lock_first() {
        return locked(conn, &key, &call, &mut f);
    }
    match unlocked(conn, &key, &call, misses, &mut f)? {
        Unlocked::Done(value) => Ok(value),
        Unlocked::LockIt => locked(conn, &key, &call, &mut f),
        Unlocked::NoStamps => {
            let result = locked(conn, &key, &call, &mut f);
            if result.is_ok() {
                misses.table_has_no_stamps();
            }
            result
        }
    }
}

/// What an attempt without a lock came to.
enum Unlocked<R> {
    Done(R),
    /// Nothing is written, and no answer given that another session could have made untrue.
    LockIt,
    /// As above. It may be that no row of this table has a stamp.
    NoStamps,
}

fn unlocked<C, M, K, Kind, R, E>(
    conn: &mut C,
    key: &K,
    call: &Call,
    misses: RowMisses<'_>,
    f: &mut impl FnMut(&mut M) -> Result<R, E>,
) -> Result<Unlocked<R>, LockError>
where
    C: LockConnection,
    K: UpdateTarget<C, RowLock<ForUpdate>, M, Kind>,
{
    let (row, stamp) = match read(conn, key).inspect_err(|error| call.failed(error))? {
        Read::Row(row, stamp) => (row, stamp),
        Read::LockIt => return Ok(Unlocked::LockIt),
        Read::NoStamps => return Ok(Unlocked::NoStamps),
    };
    let mut attempt = call.attempt();
    attempt.locked();
    let result = try_to_write(conn, key, row, &stamp, f);
    attempt.end(&result);
    match result {
        Ok(value) => {
            misses.hit();
            Ok(Unlocked::Done(value))
        }
        // The answer may be untrue by now: it is given of a row that is locked. So is a refusal by
        // the server, which checks a constraint on the row before it waits for another session.
        Err(Failure::Own(_) | Failure::Lock(LockError::Database(_))) => Ok(Unlocked::LockIt),
        Err(Failure::Lock(LockError::StaleRow { .. } | LockError::SerializationFailure { .. })) => {
            misses.missed();
            Ok(Unlocked::LockIt)
        }
        Err(Failure::Lock(error)) => Err(error),
    }
}

/// What a read without a lock came to.
pub(crate) enum Read<M, S> {
    Row(M, S),
    /// There is no such row, or the server has returned another one.
    LockIt,
    /// It may be that no row of this table has a stamp.
    NoStamps,
}

/// Reads the row with its stamp.
pub(crate) fn read<C, L, M, K, Kind>(
    conn: &mut C,
    key: &K,
) -> Result<Read<M, <C::Backend as StampBackend>::Stamp>, LockError>
where
    C: LockConnection,
    K: UpdateTarget<C, L, M, Kind>,
{
    // The race prover has to know of work on another connection.
    let seen = played::statements_seen();
    let rows = key.read(conn);
    played::has_begun(seen);
    let mut rows = match rows.map_err(|error| classify::<C::Backend>(error, Waiting::Session)) {
        Ok(rows) => rows,
        // There is no such column, or no right to read it. If it is something else, the locking
        // statement says so.
        Err(LockError::Database(_)) => return Ok(Read::NoStamps),
        Err(error) => return Err(error),
    };
    Ok(match (rows.pop(), rows.is_empty()) {
        (Some((_, stamp)), _) if !C::Backend::is_valid(&stamp) => Read::NoStamps,
        // Behind a pooler the row may be one that was not asked for.
        (Some((row, stamp)), true) if K::of(&row) == *key => Read::Row(row, stamp),
        _ => Read::LockIt,
    })
}

fn try_to_write<C, M, K, Kind, R, E>(
    conn: &mut C,
    key: &K,
    mut row: M,
    stamp: &<C::Backend as StampBackend>::Stamp,
    f: &mut impl FnMut(&mut M) -> Result<R, E>,
) -> Result<R, Failure<E>>
where
    C: LockConnection,
    K: UpdateTarget<C, RowLock<ForUpdate>, M, Kind>,
{
    let value = change(&mut row, K::of, f)?;
    // Without a change there is no statement that could say whether the row is still the same.
    let is_noop = K::is_noop(&row).map_err(LockError::from)?;
    if !is_noop && run_single(conn, |conn| key.write(&row, stamp, conn))? > 0 {
        return Ok(value);
    }
    Err(Failure::Lock(LockError::StaleRow {
        key: format!("{key:?}"),
        expected: 0,
    }))
}

/// The call with a lock.
fn locked<C, M, K, Kind, R, E>(
    conn: &mut C,
    key: &K,
    call: &Call,
    f: &mut impl FnMut(&mut M) -> Result<R, E>,
) -> Result<R, E>
where
    C: LockConnection,
    K: UpdateTarget<C, RowLock<ForUpdate>, M, Kind>,
    E: From<LockError>,
{
    let lock = RowLock::for_update();
    let work = |conn: &mut C, row: Locked<'_, M>| {
        let mut row = row.into_inner();
        let value = change(&mut row, K::of, f).map_err(Failure::into_error)?;
        key.save(&row, conn)?;
        Ok(value)
    };
    attempt(lock, call, conn, key.locked(), Signal::NONE, work).map_err(Failure::into_error)
}

/// Runs the closure, which may not change the key: the row is written by the one it had.
fn change<M, K, R, E>(
    row: &mut M,
    key_of: impl Fn(&M) -> K,
    f: &mut impl FnMut(&mut M) -> Result<R, E>,
) -> Result<R, Failure<E>>
where
    K: PartialEq + Debug,
{
    let key = key_of(row);
    let value = f(row).map_err(Failure::Own)?;
    if key_of(row) == key {
        return Ok(value);
    }
    Err(Failure::Lock(LockError::key_changed(&key)))
}
