//! [`Keys`]: rows by primary key.

use std::fmt::Debug;
use std::hash::Hash;

use diesel::associations::HasTable;
use diesel::dsl::Find;
use diesel::query_builder::AsQuery;
use diesel::query_dsl::methods::{FindDsl, LoadQuery};
use diesel::query_source::Table;
use diesel::RunQueryDsl;

use super::order::{in_order_of, refuse_duplicates};
use super::{Seal, Target};
use crate::connection::LockConnection;
use crate::error::LockError;
use crate::row_lock::lock::LockOn;
use crate::sql::by_key::SelectByKeys;
use crate::sql::key::{KeyValue, KeyedBy};
use crate::telemetry::table_in;

/// The rows with these primary keys, from [`keys`].
#[derive(Debug, Clone)]
pub struct Keys<K>(Vec<K>);

/// The [target](Target) of the rows with these primary keys: the closure gets a `Locked<Vec<M>>`,
/// in the order asked for.
///
/// The table is the model's. The rows are locked by one statement, in the order of their primary
/// keys, so that callers who name the same rows in different orders can't deadlock. There may be as
/// many keys as one statement can bind (65,535 values on PostgreSQL, MySQL and MariaDB, 32,766 on
/// SQLite). Without keys, the closure runs in the transaction with an empty `Vec`.
///
/// Executes, on PostgreSQL: `SELECT … FROM accounts WHERE id IN ($1, $2) ORDER BY id FOR UPDATE`,
/// with the last key repeated up to a power of two. A row that comes with another key than the one
/// asked for, by Rust's `==`, is asked for once more by its own statement: the database may write
/// the key in another way (padded, rounded, in other letters), and only the database knows.
///
/// # Backends
///
/// MySQL and MariaDB lock each row that they read. Where the keys are a large part of the table,
/// they may read, and lock, all of it: MariaDB 11 from about a fifth of the rows on.
///
/// On MariaDB, callers can deadlock on a partitioned table: the server reads one partition after
/// the other, and locks the rows of three keys or more in that order, not in the order of the keys.
/// Add [`retry`](crate::RowLock::retry) there.
///
/// # Errors
///
/// A call returns those of [`RowLock::with`](crate::RowLock::with), and
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
/// # include!("../../doctest_setup.rs");
/// use diesel_row_lock::{keys, LockError, Locked, RowLock};
///
/// # fn main() -> Result<(), LockError> {
/// # let conn = &mut establish_connection();
/// let ids = vec![2, 1];
/// let total = RowLock::for_update().with(conn, keys(ids), |_, rows: Locked<Vec<Account>>| {
///     Ok::<_, LockError>(rows.iter().map(|account| account.balance).sum::<i64>())
/// })?;
/// assert_eq!(total, 1_500);
/// # Ok(())
/// # }
/// ```
pub fn keys<K>(keys: impl IntoIterator<Item = K>) -> Keys<K> {
    Keys(keys.into_iter().collect())
}

impl<'q, C, L, M, K, Kind> Target<'q, C, L, Vec<M>, Kind> for Keys<K>
where
    C: LockConnection,
    L: LockOn<C::Backend>,
    M: KeyedBy<K>,
    K: KeyValue<<M::Table as Table>::PrimaryKey, C::Backend, Kind>,
    for<'k> L::Select<SelectByKeys<'k, M::Table, K, Kind>>: LoadQuery<'k, C, M>,
{
    type Statement = Vec<K>;

    fn table() -> Option<&'static str> {
        table_in::<M::Table>()
    }

    fn prepare(self) -> Result<Vec<K>, LockError> {
        refuse_duplicates(&self.0)?;
        Ok(self.0)
    }

    fn acquire(keys: Vec<K>, lock: &L, conn: &mut C, _: Seal) -> Result<Vec<M>, LockError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        // One statement, in the order of the keys: callers that name the same rows in other orders
        // wait for each other, and never each for what the other holds.
        let select = lock.select(SelectByKeys::new(M::table(), &keys));
        let rows = lock.acquired(select.load(conn))?;
        in_order_of(&keys, rows, |keys| {
            let again = lock.select_anew(SelectByKeys::in_order(M::table(), keys));
            lock.acquired(again.load(conn))
        })
    }
}

/// The query for the row of a model with a key.
type QueryByKey<M, K> = <Find<<M as HasTable>::Table, K> as AsQuery>::Query;

/// The row of a model with this key, which the queue knows.
#[derive(Debug)]
pub struct OneByKey<'k, K>(pub(crate) &'k K);

impl<C, L, M, K> Target<'_, C, L, M, ()> for OneByKey<'_, K>
where
    C: LockConnection,
    L: LockOn<C::Backend>,
    M: KeyedBy<K>,
    K: Clone + Eq + Hash + Debug,
    M::Table: FindDsl<K, Output: AsQuery>,
    for<'q> L::Select<QueryByKey<M, K>>: LoadQuery<'q, C, M>,
{
    type Statement = Self;

    fn table() -> Option<&'static str> {
        table_in::<M::Table>()
    }

    fn prepare(self) -> Result<Self, LockError> {
        Ok(self)
    }

    fn acquire(Self(key): Self, lock: &L, conn: &mut C, _: Seal) -> Result<M, LockError> {
        // `load` and not `first`: a second row of the same key must be seen, and behind a pooler
        // the row may be one that was not asked for.
        let find = || M::table().find(key.clone()).as_query();
        let rows = lock.acquired(lock.select(find()).load(conn))?;
        let rows = in_order_of(std::slice::from_ref(key), rows, |_| {
            lock.acquired(lock.select_anew(find()).load(conn))
        })?;
        let row = rows.into_iter().next();
        row.ok_or(LockError::NotFound { key: None })
    }
}
