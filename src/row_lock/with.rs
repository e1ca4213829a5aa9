//! What a [`RowLock`] ends in: [`with`](RowLock::with), and its two short forms for rows that are
//! witnesses each.

use super::target::{All, Keys, Target};
use super::RowLock;
use crate::connection::LockConnection;
use crate::error::LockError;
use crate::hold::Hold;
use crate::locked::Locked;
use crate::sql::clause::{Strength, Wait};

impl<S: Strength, W: Wait, T: Copy, H: Hold> RowLock<S, W, T, H> {
    /// Locks the rows of `target`, hands them to `f` as they are now, and commits when `f` returns
    /// `Ok`.
    ///
    /// A [target](Target) is a query (one row, `Locked<M>`), [`all(query)`](crate::all) or
    /// [`keys([..])`](crate::keys) (`Locked<Vec<M>>`), or [`at_version(target,
    /// v)`](crate::at_version).
    ///
    /// The model is what the locking statement itself returned. If a query matches more than one
    /// row, all of them are locked and `f` gets the first, as with Diesel's `get_result`. When `f`
    /// returns `Err` or panics, everything is rolled back and the lock is free before the call
    /// returns or unwinds.
    ///
    /// Executes, on PostgreSQL: `BEGIN; DECLARE row_lock_guard …; DECLARE row_lock_witness …` (two
    /// cursors), `SELECT … FOR UPDATE`, the statements of `f`, `CLOSE row_lock_guard; CLOSE
    /// row_lock_witness; COMMIT`. Each of them is one round trip: as many as `conn.transaction`
    /// takes. On MySQL and MariaDB the guard is a savepoint and `autocommit` is off meanwhile.
    /// MariaDB takes two round trips fewer than `conn.transaction`, MySQL three more: it can't
    /// prepare statements about savepoints. On SQLite the guard is a savepoint in a `BEGIN
    /// IMMEDIATE`.
    ///
    /// # What is locked
    ///
    /// The rows of the tables that the query itself names; not those of a subquery. On MySQL and
    /// MariaDB the server **locks nothing, and reports no error**, where the query reads from
    ///
    /// - a view that is materialized: with `DISTINCT`, `GROUP BY`, `UNION` or
    ///   `ALGORITHM = TEMPTABLE`;
    /// - a common table expression in raw SQL that is;
    /// - a table of MyISAM, Aria or MEMORY. Nothing is rolled back there, either.
    ///
    /// Test each such query with [`check`](Self::check). Two queries combined by `UNION`,
    /// `INTERSECT` or `EXCEPT` are refused: by the types, and in raw SQL by
    /// [`Unsupported`](LockError::Unsupported). A query type of your own implements
    /// [`LockableQuery`](crate::bounds::LockableQuery).
    ///
    /// # Nesting
    ///
    /// Inside an open transaction the call is a savepoint, also when a failed `f` is rolled back.
    /// The lock then lasts until the outermost transaction ends, on PostgreSQL until the savepoint
    /// is rolled back. On SQLite the open transaction must hold the write lock: begun by a locked
    /// call or by `immediate_transaction`.
    ///
    /// On MySQL and MariaDB a deadlock ends the outer transaction too. From then on it can't
    /// commit, and each further call in it is [`Aborted`](LockError::Aborted). An outer locked call
    /// restores the connection at its end. If the outer transaction is Diesel's, Diesel holds the
    /// connection to be broken, and a pool replaces it; a call with [`outermost`](Self::outermost)
    /// restores it.
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
    ///   [`outermost`](Self::outermost), in a deferred transaction on SQLite, or in one that Diesel
    ///   does not know of (XA on MySQL and MariaDB, a raw `BEGIN` on SQLite);
    /// - [`HoldExpired`](LockError::HoldExpired): with [`hold_at_most`](Self::hold_at_most);
    /// - [`Unsupported`](LockError::Unsupported): [`of`](Self::of) on MariaDB, combined queries in
    ///   raw SQL on MySQL and MariaDB;
    /// - [`CommitUnknown`](LockError::CommitUnknown): the connection was lost at `COMMIT`, or the
    ///   answer to it is none by which the server refuses a `COMMIT`;
    /// - [`ConnectionLost`](LockError::ConnectionLost): it was lost before;
    /// - [`Database`](LockError::Database): any other error of Diesel;
    /// - what the target adds: see [`keys`](crate::keys), [`at_version`](crate::at_version);
    /// - any error of `f` itself, as it is.
    ///
    /// # Panics
    ///
    /// Only if `f` does.
    ///
    /// # Example
    ///
    /// ```
    /// # include!("../doctest_setup.rs");
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
    #[track_caller]
    pub fn with<'q, C, G, Rows, Kind, R, E, F>(self, conn: &mut C, target: G, f: F) -> Result<R, E>
    where
        C: LockConnection,
        G: Target<'q, C, Self, Rows, Kind>,
        F: for<'tx> FnOnce(&mut C, Locked<'tx, Rows>) -> Result<R, E>,
        E: From<LockError>,
    {
        self.call().with(conn, target, f)
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
    /// # include!("../doctest_setup.rs");
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
    #[track_caller]
    pub fn with_all<'q, C, Q, M, Kind, R, E, F>(self, conn: &mut C, query: Q, f: F) -> Result<R, E>
    where
        C: LockConnection,
        All<Q>: Target<'q, C, Self, Vec<M>, Kind>,
        F: for<'tx> FnOnce(&mut C, Vec<Locked<'tx, M>>) -> Result<R, E>,
        E: From<LockError>,
    {
        self.call().with_all(conn, query, f)
    }

    /// Locks the rows with these primary keys, hands them to `f` in the order asked for, and
    /// commits when `f` returns `Ok`.
    ///
    /// As [`with_row_locks`](crate::with_row_locks), with any number of keys up to what one
    /// statement can bind (65,535 values on PostgreSQL, MySQL and MariaDB, 32,766 on SQLite).
    /// Without keys, `f` runs in the transaction with an empty `Vec`.
    ///
    /// MySQL and MariaDB lock each row that they read. Where the keys are a large part of the
    /// table, they may read, and lock, all of it: MariaDB 11 from about a fifth of the rows on.
    ///
    /// Executes the SQL of [`with_row_locks`](crate::with_row_locks), and like [`with`](Self::with)
    /// is a savepoint in an open transaction.
    ///
    /// # Errors
    ///
    /// Those of [`with_row_locks`](crate::with_row_locks).
    ///
    /// # Panics
    ///
    /// Only if `f` does.
    ///
    /// # Example
    ///
    /// ```
    /// # include!("../doctest_setup.rs");
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
    #[track_caller]
    pub fn with_many<'q, C, M, I, Kind, R, E, F>(self, conn: &mut C, ids: I, f: F) -> Result<R, E>
    where
        C: LockConnection,
        I: IntoIterator,
        Keys<I::Item>: Target<'q, C, Self, Vec<M>, Kind>,
        F: for<'tx> FnOnce(&mut C, Vec<Locked<'tx, M>>) -> Result<R, E>,
        E: From<LockError>,
    {
        self.call().with_many(conn, ids, f)
    }
}
