//! The face: lock rows, hand them over fresh, commit.

mod attempt;
mod builder;
mod calls;
mod check;
mod keys;
mod naming;
mod retrying;

use diesel::associations::{HasTable, Identifiable};
use diesel::dsl::Find;
use diesel::query_builder::AsQuery;
use diesel::query_dsl::methods::{FindDsl, LoadQuery};
use diesel::query_source::Table;

pub(crate) use self::attempt::QueryByKey;
pub use self::builder::RowLock;
pub use self::naming::NamingRowLock;
pub use self::retrying::{ByTrait, Decide, RetryingRowLock};
use crate::connection::LockConnection;
use crate::error::LockError;
use crate::locked::Locked;
use crate::sql::by_key::SelectByKeys;
use crate::sql::clause::{Block, EveryTable, ForUpdate, LockStrength, LockWait, LockingSelect};
use crate::sql::key::{KeyValue, KeyedBy};
use crate::sql::lockable::Lockable;

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
pub fn with_row_lock<'q, C, Q, M, R, E, F, Form>(conn: &mut C, query: Q, f: F) -> Result<R, E>
where
    C: LockConnection,
    ForUpdate: LockStrength<C::Backend>,
    Block: LockWait<C::Backend>,
    Q: AsQuery<Query: Lockable<C::Backend, Form>>,
    LockingSelect<Q::Query, ForUpdate, Block, EveryTable>: LoadQuery<'q, C, M>,
    F: for<'tx> FnOnce(&mut C, Locked<'tx, M>) -> Result<R, E>,
    E: From<LockError>,
{
    RowLock::for_update().with(conn, query, f)
}

/// Locks the rows with these primary keys, hands them to `f` in the order asked for, and commits
/// when `f` returns `Ok`.
///
/// The table is the model's. The rows are locked by one statement, in the order of their primary
/// keys, so that callers who name the same rows in different orders can't deadlock.
///
/// Executes, on PostgreSQL: `SELECT … FROM accounts WHERE id IN ($1, $2) ORDER BY id FOR UPDATE`,
/// with the last key repeated up to a power of two. A row that comes with another key than the one
/// asked for, by Rust's `==`, is asked for once more by its own statement: the database may write the
/// key in another way (padded, rounded, in other letters), and only the database knows.
///
/// # Backends
///
/// On MariaDB, callers can deadlock on a partitioned table: the server reads one partition after the
/// other, and locks the rows of three keys or more in that order, not in the order of the keys. Add
/// [`retry`](RowLock::retry) there.
///
/// # Errors
///
/// Those of [`RowLock::with`], and
///
/// - [`NotFound`](LockError::NotFound), naming the first key that no row has;
/// - [`WrongRow`](LockError::WrongRow) when the server returned a row with another key;
/// - [`DuplicateKey`](LockError::DuplicateKey) when a key is asked for twice; nothing is sent. Two
///   keys that only the database takes for the same are that, or `NotFound`;
/// - [`AmbiguousKey`](LockError::AmbiguousKey) when two rows have the same key, as tables that
///   inherit from another one (PostgreSQL) allow.
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
pub fn with_row_locks<C, M, K, Kind, R, E, F, const N: usize>(
    conn: &mut C,
    keys: [K; N],
    f: F,
) -> Result<R, E>
where
    C: LockConnection,
    ForUpdate: LockStrength<C::Backend>,
    Block: LockWait<C::Backend>,
    M: KeyedBy<K>,
    K: KeyValue<<M::Table as Table>::PrimaryKey, C::Backend, Kind>,
    for<'q> LockingSelect<SelectByKeys<'q, M::Table, K, Kind>, ForUpdate, Block, EveryTable>:
        LoadQuery<'q, C, M>,
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
