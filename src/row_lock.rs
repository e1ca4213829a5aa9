//! [`RowLock`] and the free functions: lock rows, hand them over fresh, commit.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;
use std::time::Duration;

use diesel::associations::{HasTable, Identifiable};
use diesel::dsl::Find;
use diesel::query_builder::AsQuery;
use diesel::query_dsl::methods::{FindDsl, LoadQuery};
use diesel::query_source::Table;
use diesel::result::{Error as DieselError, QueryResult};
use diesel::RunQueryDsl;

use crate::backend::{classify, LockBackend};
use crate::connection::LockConnection;
use crate::error::LockError;
use crate::locked::Locked;
use crate::select::by_key::SelectByKeys;
use crate::select::clause::{
    Block, EveryTable, ForKeyShare, ForNoKeyUpdate, ForShare, ForUpdate, LockStrength, LockTables,
    LockWait, LockingSelect, NoWait, Of, SkipLocked, Timeout, Wait,
};
use crate::select::key::{KeyValue, KeyedBy};
use crate::transaction::{run, Request};

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
/// # include!("doctest_setup.rs");
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
pub fn with_row_lock<'q, C, Q, M, R, E, F>(conn: &mut C, query: Q, f: F) -> Result<R, E>
where
    C: LockConnection,
    ForUpdate: LockStrength<C::Backend>,
    Block: LockWait<C::Backend>,
    Q: AsQuery,
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
/// Executes, on PostgreSQL: `SELECT … FROM accounts WHERE id IN ($1, $2) ORDER BY id FOR UPDATE`.
///
/// # Errors
///
/// Those of [`RowLock::with`], and
///
/// - [`NotFound`](LockError::NotFound), naming the first key that no row has;
/// - [`DuplicateKey`](LockError::DuplicateKey) when a key is asked for twice; nothing is sent.
///
/// # Example
///
/// ```
/// # include!("doctest_setup.rs");
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
/// # include!("doctest_setup.rs");
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

/// How to lock: how strong, and how long to wait.
///
/// It begins with the strength ([`for_update`](Self::for_update) and its weaker sisters), goes on
/// with options, and ends in [`with`](Self::with) (one row), [`with_many`](Self::with_many) (rows
/// by primary key) or [`with_all`](Self::with_all) (all rows of a query). It is `Copy` and may be a
/// constant. What a backend does not have does not compile there.
///
/// | | PostgreSQL | MySQL | MariaDB | SQLite |
/// |---|---|---|---|---|
/// | `for_update` | yes | yes | yes | the whole database |
/// | `for_share` | yes | yes | yes | |
/// | `for_no_key_update`, `for_key_share` | yes | | | |
/// | `no_wait` | yes | 8.0 | yes | yes |
/// | `skip_locked` | yes | 8.0 | 10.6 | |
/// | `timeout` | 1 ms | 1 s | 1 s | 1 ms |
/// | `of` | yes | 8.0 | `Unsupported` | |
///
/// # Example
///
/// A queue of jobs, from which each worker claims what no other holds:
///
/// ```no_run
/// # #[cfg(feature = "postgres")] mod with_server {
/// # use diesel::prelude::*;
/// use diesel_row_lock::{LockError, Locked, RowLock};
///
/// # diesel::table! { jobs { id -> Integer, done -> Bool } }
/// # #[derive(Queryable)] struct Job { id: i32, done: bool }
/// # fn work(_: &Job) {}
/// # fn run(conn: &mut PgConnection) -> Result<(), LockError> {
/// let open_jobs = jobs::table.filter(jobs::done.eq(false)).order(jobs::id).limit(10);
/// RowLock::for_update().skip_locked().with_all(conn, open_jobs, |conn, claimed: Vec<Locked<Job>>| {
///     for job in &claimed {
///         work(job);
///         diesel::update(jobs::table.find(job.id)).set(jobs::done.eq(true)).execute(conn)?;
///     }
///     Ok::<_, LockError>(())
/// })
/// # }
/// # }
/// # fn main() {}
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use = "a `RowLock` locks nothing until `with`, `with_many` or `with_all`"]
pub struct RowLock<S, W = Block, T = EveryTable> {
    strength: PhantomData<S>,
    wait: W,
    tables: T,
    outermost: bool,
}

impl<S> RowLock<S> {
    const fn new() -> Self {
        Self {
            strength: PhantomData,
            wait: Block,
            tables: EveryTable,
            outermost: false,
        }
    }
}

impl RowLock<ForUpdate> {
    /// `FOR UPDATE`: nobody else can lock, change or delete the row. On SQLite, the write lock of
    /// the whole database (`BEGIN IMMEDIATE`).
    pub const fn for_update() -> Self {
        Self::new()
    }
}

impl RowLock<ForNoKeyUpdate> {
    /// `FOR NO KEY UPDATE`: as `FOR UPDATE`, but rows that reference this one by a foreign key can
    /// still be inserted. Right for every change that leaves the key alone. Only PostgreSQL.
    pub const fn for_no_key_update() -> Self {
        Self::new()
    }
}

impl RowLock<ForShare> {
    /// `FOR SHARE`: others may hold the same lock, nobody can change or delete the row. Not
    /// available on SQLite. On MariaDB it reads `LOCK IN SHARE MODE`.
    pub const fn for_share() -> Self {
        Self::new()
    }
}

impl RowLock<ForKeyShare> {
    /// `FOR KEY SHARE`: others may change the row, but not delete it nor change its key. Only
    /// PostgreSQL.
    pub const fn for_key_share() -> Self {
        Self::new()
    }
}

impl<S, T> RowLock<S, Block, T> {
    fn wait<W>(self, wait: W) -> RowLock<S, W, T> {
        RowLock {
            strength: self.strength,
            wait,
            tables: self.tables,
            outermost: self.outermost,
        }
    }

    /// Fail with [`LockError::Busy`] instead of waiting: `NOWAIT`; on SQLite a `busy_timeout` of
    /// zero, for the `BEGIN` only.
    pub fn no_wait(self) -> RowLock<S, NoWait, T> {
        self.wait(NoWait)
    }

    /// Leave out the rows that somebody else holds: `SKIP LOCKED`. Not available on SQLite.
    ///
    /// A single row that is skipped is [`LockError::NotFound`].
    pub fn skip_locked(self) -> RowLock<S, SkipLocked, T> {
        self.wait(SkipLocked)
    }

    /// Wait for the lock at most this long, then fail with [`LockError::Timeout`].
    ///
    /// Zero is [`no_wait`](Self::no_wait) everywhere. Rounded up to whole milliseconds on
    /// PostgreSQL and SQLite, to whole seconds on MySQL and MariaDB; longer than the server can
    /// count is as long as it can.
    ///
    /// PostgreSQL: `SET LOCAL lock_timeout`, in the round trip of the `BEGIN`; it applies to all
    /// lock waits of the transaction, as do MySQL's `innodb_lock_wait_timeout` (untested) but
    /// neither MariaDB's `WAIT n` nor SQLite's `busy_timeout`, which is set for the `BEGIN` only.
    /// After the call the session's settings are what they were.
    ///
    /// The time is for one wait. A transaction that waits for several rows waits so long for each.
    pub fn timeout(self, time: Duration) -> RowLock<S, Timeout, T> {
        self.wait(Timeout(time))
    }
}

impl<S, W> RowLock<S, W, EveryTable> {
    /// Lock only the rows of this table of a join: `FOR UPDATE OF table`.
    ///
    /// On PostgreSQL and MySQL. MariaDB has no such thing; there the call returns
    /// [`LockError::Unsupported`]. Not available on SQLite.
    pub fn of<T>(self, table: T) -> RowLock<S, W, Of<T>> {
        RowLock {
            strength: self.strength,
            wait: self.wait,
            tables: Of(table),
            outermost: self.outermost,
        }
    }
}

impl<S, W, T> RowLock<S, W, T> {
    /// Refuse to run inside an open transaction ([`LockError::AlreadyInTransaction`]), where the
    /// lock would last longer than the call and `Ok` would not mean committed.
    pub fn outermost(self) -> Self {
        Self {
            outermost: true,
            ..self
        }
    }

    /// Locks the row of `query`, hands it to `f` as it is now, and commits when `f` returns `Ok`.
    ///
    /// The model is what the locking statement itself returned. If the query matches more than one
    /// row, all of them are locked and `f` gets the first, as with Diesel's `get_result`. When `f`
    /// returns `Err` or panics, everything is rolled back and the lock is free before the call
    /// returns or unwinds.
    ///
    /// Executes, on PostgreSQL:
    /// `BEGIN; DECLARE row_lock_guard CURSOR FOR SELECT`, `SELECT … FOR UPDATE`, the statements of
    /// `f`, `CLOSE row_lock_guard; COMMIT`. Each of them is one round trip: as many as
    /// `conn.transaction` needs. On MySQL and MariaDB the guard is a savepoint and `autocommit` is
    /// off meanwhile; on SQLite it is a savepoint in a `BEGIN IMMEDIATE`.
    ///
    /// # Nesting
    ///
    /// Inside an open transaction the call is a savepoint, also when a failed `f` is rolled back.
    /// The lock then lasts until the outermost transaction ends, on PostgreSQL until the savepoint
    /// is rolled back. On SQLite the open transaction must hold the write lock: begun by a locked
    /// call or by `immediate_transaction`. On MySQL and MariaDB a deadlock ends the outer
    /// transaction too; Diesel then holds the connection to be broken, so that the outer one can't
    /// be committed by mistake, until a locked call has rolled it back.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](LockError::NotFound): no row matches (any more);
    /// - [`Busy`](LockError::Busy), [`Timeout`](LockError::Timeout): somebody else holds it;
    /// - [`Deadlock`](LockError::Deadlock),
    ///   [`SerializationFailure`](LockError::SerializationFailure): this transaction was chosen to
    ///   lose;
    /// - [`StatementTimeout`](LockError::StatementTimeout), [`Cancelled`](LockError::Cancelled):
    ///   the statement was ended by the session's settings or by somebody;
    /// - [`Aborted`](LockError::Aborted): `f` returned `Ok` after a failed statement that made the
    ///   server give up the transaction;
    /// - [`Escaped`](LockError::Escaped): `f` ended the transaction itself;
    /// - [`AlreadyInTransaction`](LockError::AlreadyInTransaction): with
    ///   [`outermost`](Self::outermost), or in a deferred transaction on SQLite;
    /// - [`Unsupported`](LockError::Unsupported): [`of`](Self::of) on MariaDB;
    /// - [`CommitUnknown`](LockError::CommitUnknown): the connection was lost at `COMMIT`;
    /// - [`ConnectionLost`](LockError::ConnectionLost): it was lost before;
    /// - [`Database`](LockError::Database): any other error of Diesel;
    /// - any error of `f` itself, as it is.
    ///
    /// # Panics
    ///
    /// Only if `f` does.
    ///
    /// # Example
    ///
    /// ```
    /// # include!("doctest_setup.rs");
    /// use std::time::Duration;
    /// use diesel_row_lock::{LockError, Locked, RowLock};
    ///
    /// # fn main() -> Result<(), LockError> {
    /// # let conn = &mut establish_connection();
    /// let patient = RowLock::for_update().timeout(Duration::from_secs(2)).outermost();
    /// let owner = patient.with(conn, accounts::table.find(1), |_, account: Locked<Account>| {
    ///     Ok::<_, LockError>(account.owner.clone())
    /// })?;
    /// assert_eq!(owner, "Ada");
    /// # Ok(())
    /// # }
    /// ```
    pub fn with<'q, C, Q, M, R, E, F>(self, conn: &mut C, query: Q, f: F) -> Result<R, E>
    where
        C: LockConnection,
        S: LockStrength<C::Backend>,
        W: LockWait<C::Backend>,
        T: LockTables<C::Backend>,
        Q: AsQuery,
        LockingSelect<Q::Query, S, W, T>: LoadQuery<'q, C, M>,
        F: for<'tx> FnOnce(&mut C, Locked<'tx, M>) -> Result<R, E>,
        E: From<LockError>,
    {
        let select = self.select(query.as_query());
        run(
            conn,
            self.request(),
            |conn| self.acquired::<C, _>(select.get_result(conn)),
            |conn, row| f(conn, Locked::new(row)),
        )
    }

    /// Locks every row of `query`, hands them to `f` in the query's order, and commits when `f`
    /// returns `Ok`.
    ///
    /// With [`skip_locked`](Self::skip_locked) and a `limit` this claims jobs from a queue. No row
    /// is no error: `f` then gets an empty `Vec`. Two callers whose queries return the same rows
    /// in different orders can deadlock: give the query an order, or use
    /// [`with_many`](Self::with_many).
    ///
    /// Executes the SQL of [`with`](Self::with), and like it is a savepoint in an open transaction.
    ///
    /// # Errors
    ///
    /// Those of [`with`](Self::with), but for `NotFound`.
    ///
    /// # Panics
    ///
    /// Only if `f` does.
    ///
    /// # Example
    ///
    /// ```
    /// # include!("doctest_setup.rs");
    /// use diesel_row_lock::{LockError, Locked, RowLock};
    ///
    /// # fn main() -> Result<(), LockError> {
    /// # let conn = &mut establish_connection();
    /// let poor = accounts::table.filter(accounts::balance.lt(1_000)).order(accounts::id);
    /// let names = RowLock::for_update().with_all(conn, poor, |_, rows: Vec<Locked<Account>>| {
    ///     Ok::<_, LockError>(rows.iter().map(|account| account.owner.clone()).collect::<Vec<_>>())
    /// })?;
    /// assert_eq!(names, ["Grace"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_all<'q, C, Q, M, R, E, F>(self, conn: &mut C, query: Q, f: F) -> Result<R, E>
    where
        C: LockConnection,
        S: LockStrength<C::Backend>,
        W: LockWait<C::Backend>,
        T: LockTables<C::Backend>,
        Q: AsQuery,
        LockingSelect<Q::Query, S, W, T>: LoadQuery<'q, C, M>,
        F: for<'tx> FnOnce(&mut C, Vec<Locked<'tx, M>>) -> Result<R, E>,
        E: From<LockError>,
    {
        let select = self.select(query.as_query());
        run(
            conn,
            self.request(),
            |conn| self.acquired::<C, _>(select.load(conn)),
            |conn, rows| f(conn, rows.into_iter().map(Locked::new).collect()),
        )
    }

    /// Locks the rows with these primary keys, hands them to `f` in the order asked for, and
    /// commits when `f` returns `Ok`.
    ///
    /// As [`with_row_locks`], with any number of keys up to what one statement can bind (65,535
    /// values on PostgreSQL, MySQL and MariaDB, 32,766 on SQLite). Without keys, `f` runs in the
    /// transaction with an empty `Vec`.
    ///
    /// Executes the SQL of [`with_row_locks`], and like [`with`](Self::with) is a savepoint in an
    /// open transaction.
    ///
    /// # Errors
    ///
    /// Those of [`with_row_locks`].
    ///
    /// # Panics
    ///
    /// Only if `f` does.
    ///
    /// # Example
    ///
    /// ```
    /// # include!("doctest_setup.rs");
    /// use diesel_row_lock::{LockError, Locked, RowLock};
    ///
    /// # fn main() -> Result<(), LockError> {
    /// # let conn = &mut establish_connection();
    /// let ids = vec![2, 1];
    /// let total = RowLock::for_update().with_many(conn, ids, |_, rows: Vec<Locked<Account>>| {
    ///     Ok::<_, LockError>(rows.iter().map(|account| account.balance).sum::<i64>())
    /// })?;
    /// assert_eq!(total, 1_500);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_many<C, M, I, K, Kind, R, E, F>(self, conn: &mut C, keys: I, f: F) -> Result<R, E>
    where
        C: LockConnection,
        S: LockStrength<C::Backend>,
        W: LockWait<C::Backend>,
        T: LockTables<C::Backend>,
        I: IntoIterator<Item = K>,
        M: KeyedBy<K>,
        K: KeyValue<<M::Table as Table>::PrimaryKey, C::Backend, Kind>,
        for<'q> LockingSelect<SelectByKeys<'q, M::Table, K, Kind>, S, W, T>: LoadQuery<'q, C, M>,
        F: for<'tx> FnOnce(&mut C, Vec<Locked<'tx, M>>) -> Result<R, E>,
        E: From<LockError>,
    {
        let keys: Vec<K> = keys.into_iter().collect();
        refuse_duplicates(&keys)?;
        run(
            conn,
            self.request(),
            |conn| {
                if keys.is_empty() {
                    return Ok(Vec::new());
                }
                let select = self.select(SelectByKeys::new(M::table(), &keys));
                let rows = self.acquired::<C, _>(select.load(conn))?;
                in_order_of(&keys, rows)
            },
            |conn, rows| f(conn, rows.into_iter().map(Locked::new).collect()),
        )
    }

    fn request(&self) -> Request
    where
        W: Wait,
    {
        Request {
            waiting: self.wait.waiting(),
            outermost: self.outermost,
        }
    }

    fn select<Q>(self, query: Q) -> LockingSelect<Q, S, W, T> {
        LockingSelect {
            query,
            strength: self.strength,
            wait: self.wait,
            tables: self.tables,
        }
    }

    /// The result of the locking statement, with its error by meaning.
    fn acquired<C, R>(&self, result: QueryResult<R>) -> Result<R, LockError>
    where
        C: LockConnection,
        W: LockWait<C::Backend>,
        T: LockTables<C::Backend>,
    {
        result.map_err(|error| match &error {
            DieselError::DatabaseError(_, info)
                if T::ARE_NAMED && C::Backend::has_no_of(info.message()) =>
            {
                LockError::Unsupported {
                    what: "this server has no `FOR UPDATE OF table`; without `.of(…)` the rows of \
                           every table of the query are locked"
                        .to_owned(),
                    source: Some(error),
                }
            }
            _ => classify::<C::Backend>(error, self.wait.waiting()),
        })
    }
}

fn refuse_duplicates<K: Eq + Hash + Debug>(keys: &[K]) -> Result<(), LockError> {
    let mut seen = HashSet::with_capacity(keys.len());
    match keys.iter().find(|key| !seen.insert(*key)) {
        Some(key) => Err(LockError::DuplicateKey {
            key: format!("{key:?}"),
        }),
        None => Ok(()),
    }
}

/// The rows in the order of the keys; the database returned them in an order of its own.
fn in_order_of<K, M>(keys: &[K], rows: Vec<M>) -> Result<Vec<M>, LockError>
where
    K: Eq + Hash + Debug,
    M: KeyedBy<K>,
{
    let mut rows: HashMap<K, M> = rows.into_iter().map(|row| (row.key(), row)).collect();
    keys.iter()
        .map(|key| {
            rows.remove(key).ok_or_else(|| LockError::NotFound {
                key: Some(format!("{key:?}")),
            })
        })
        .collect()
}
