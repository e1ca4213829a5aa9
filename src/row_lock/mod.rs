//! The face: lock rows, hand them over fresh, commit.

mod attempt;
mod attempts;
mod builder;
mod call;
mod check;
mod lock;
mod target;
mod watch;
mod with;

use diesel::associations::{HasTable, Identifiable};
use diesel::dsl::Find;
use diesel::query_dsl::methods::FindDsl;

pub(crate) use self::attempt::attempt;
pub use self::attempts::{Again, ByTrait, Decide, Once};
pub use self::builder::RowLock;
pub use self::call::LockedCall;
pub(crate) use self::lock::Lock;
pub use self::lock::LockOn;
pub(crate) use self::target::Seal;
pub use self::target::{all, keys, All, Keys, OneByKey, Target};
pub(crate) use self::watch::Signal;
pub use self::watch::{NamingBlocker, Unwatched, Watch};
use crate::connection::LockConnection;
use crate::error::LockError;
use crate::locked::Locked;
use crate::sql::clause::ForUpdate;

/// Locks the row of `query`, hands it to `f` as it is now, and commits when `f` returns `Ok`.
///
/// Short for [`RowLock::for_update().with(…)`](RowLock::with), where everything is said.
///
/// # Errors
///
/// See [`RowLock::with`].
///
/// # Example
///
/// ```
/// # include!("../doctest_setup.rs");
/// use diesel_row_lock::{with_row_lock, LockError, Locked};
///
/// fn deposit(conn: &mut SqliteConnection, id: i32, amount: i64) -> Result<i64, LockError> {
///     with_row_lock(conn, accounts::table.find(id), |conn, mut account: Locked<Account>| {
///         account.balance += amount;
///         Ok(account.save_changes::<Account>(conn)?.balance)
///     })
/// }
///
/// # fn main() -> Result<(), LockError> {
/// # let conn = &mut establish_connection();
/// assert_eq!(deposit(conn, 1, 100)?, 1_100);
/// assert!(matches!(deposit(conn, 77, 100), Err(LockError::NotFound { .. })));
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn with_row_lock<'q, C, G, Rows, Kind, R, E, F>(conn: &mut C, target: G, f: F) -> Result<R, E>
where
    C: LockConnection,
    G: Target<'q, C, RowLock<ForUpdate>, Rows, Kind>,
    F: for<'tx> FnOnce(&mut C, Locked<'tx, Rows>) -> Result<R, E>,
    E: From<LockError>,
{
    RowLock::for_update().with(conn, target, f)
}

/// Locks the rows with these primary keys, hands them to `f` in the order asked for, and commits
/// when `f` returns `Ok`.
///
/// Short for [`RowLock::for_update().with(conn, keys(…), …)`](keys), where everything is said, but
/// each row is a witness of its own.
///
/// # Errors
///
/// See [`keys`].
///
/// # Example
///
/// ```
/// # include!("../doctest_setup.rs");
/// use diesel_row_lock::{with_row_locks, LockError, Locked};
///
/// # fn main() -> Result<(), LockError> {
/// # let conn = &mut establish_connection();
/// with_row_locks(conn, [2, 1], |conn, [mut from, mut to]: [Locked<Account>; 2]| {
///     assert_eq!((from.id, to.id), (2, 1));
///     from.balance -= 50;
///     to.balance += 50;
///     from.save_changes::<Account>(conn)?;
///     to.save_changes::<Account>(conn)?;
///     Ok::<_, LockError>(())
/// })?;
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn with_row_locks<'q, C, M, K, Kind, R, E, F, const N: usize>(
    conn: &mut C,
    keys: [K; N],
    f: F,
) -> Result<R, E>
where
    C: LockConnection,
    Keys<K>: Target<'q, C, RowLock<ForUpdate>, Vec<M>, Kind>,
    F: for<'tx> FnOnce(&mut C, [Locked<'tx, M>; N]) -> Result<R, E>,
    E: From<LockError>,
{
    RowLock::for_update().with_many(conn, keys, |conn, rows| match <[_; N]>::try_from(rows) {
        Ok(rows) => f(conn, rows),
        Err(rows) => unreachable!("{N} keys gave {} rows", rows.len()),
    })
}

/// The query for the row that this model came from: "refresh under lock".
///
/// The model may be stale; only its primary key is used.
///
/// # Example
///
/// ```
/// # include!("../doctest_setup.rs");
/// use diesel_row_lock::{row_of, with_row_lock, LockError, Locked};
///
/// # fn main() -> Result<(), LockError> {
/// # let conn = &mut establish_connection();
/// let stale: Account = accounts::table.find(1).first(conn)?;
/// diesel::update(&stale).set(accounts::balance.eq(7)).execute(conn)?;
///
/// let fresh = with_row_lock(conn, row_of(&stale), |_, account: Locked<Account>| {
///     Ok::<_, LockError>(account.into_inner())
/// })?;
/// assert_eq!((stale.balance, fresh.balance), (1_000, 7));
/// # Ok(())
/// # }
/// ```
pub fn row_of<'m, M>(model: &'m M) -> Find<<&'m M as HasTable>::Table, <&'m M as Identifiable>::Id>
where
    &'m M: Identifiable,
    <&'m M as HasTable>::Table: FindDsl<<&'m M as Identifiable>::Id>,
{
    FindDsl::find(<&'m M as HasTable>::table(), model.id())
}
