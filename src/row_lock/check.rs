//! [`RowLock::check`]: whether a query locks its rows.

use std::marker::PhantomData;

use super::builder::TransactionOptions;
use super::target::{all, All, Target};
use super::RowLock;
use crate::connection::LockConnection;
use crate::error::LockError;
use crate::hold::{Hold, Unlimited};
use crate::locked::Locked;
use crate::sql::clause::{ForUpdate, SkipLocked, Strength, Wait};

impl<S: Strength, W: Wait, T: Copy, H: Hold> RowLock<S, W, T, H> {
    /// Locks the rows of `query` and checks, on a second connection, that the server has locked
    /// each of them; returns the rows. For a test of each query that production code locks.
    ///
    /// On MySQL and MariaDB a locking clause locks nothing, and reports no error, behind a view or
    /// a common table expression that is materialized (`DISTINCT`, `GROUP BY`, `UNION`, `ALGORITHM
    /// = TEMPTABLE`), and in a table of MyISAM, Aria or MEMORY. No type shows that, and a question
    /// for each call would cost a round trip.
    ///
    /// Executes the SQL of [`with_all`](Self::with_all), and meanwhile on `other` the same query
    /// with `FOR UPDATE SKIP LOCKED`: a row that this returns is not locked. Both transactions end
    /// before the call returns. Nothing is changed.
    ///
    /// # Backends
    ///
    /// PostgreSQL, MySQL and MariaDB. On SQLite the transaction is the lock.
    ///
    /// # Errors
    ///
    /// Those of [`with_all`](Self::with_all), and
    ///
    /// - [`Unsupported`](LockError::Unsupported): a row is not locked;
    /// - [`NotFound`](LockError::NotFound): no row matches, so there is nothing to check.
    ///
    /// A row that another session has locked meanwhile passes. The query has to return rows of
    /// tables: a sum or a count is a row that is never locked.
    ///
    /// # Example
    ///
    /// ```
    /// # use diesel::prelude::*;
    /// use diesel_row_lock::{LockError, RowLock};
    ///
    /// # diesel::table! { accounts (id) { id -> Integer, balance -> BigInt, } }
    /// # #[cfg(feature = "mysql")]
    /// fn accounts_are_locked(
    ///     conn: &mut MysqlConnection,
    ///     other: &mut MysqlConnection,
    /// ) -> Result<(), LockError> {
    ///     let query = accounts::table.filter(accounts::id.lt(10));
    ///     let rows: Vec<(i32, i64)> = RowLock::for_update().check(conn, other, query)?;
    ///     assert!(!rows.is_empty());
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    #[track_caller]
    pub fn check<'q, C, Q, M, Kind>(
        self,
        conn: &mut C,
        other: &mut C,
        query: Q,
    ) -> Result<Vec<M>, LockError>
    where
        C: LockConnection,
        All<Q>: Target<'q, C, Self, Vec<M>, Kind>
            + Target<'q, C, RowLock<ForUpdate, SkipLocked, T>, Vec<M>, Kind>
            + Clone,
    {
        // What this one gets, the first one has not locked.
        let probe = RowLock::<ForUpdate, _, _> {
            strength: PhantomData,
            wait: SkipLocked,
            tables: self.tables,
            hold: Unlimited,
            transaction: TransactionOptions::DEFAULT,
        };
        let target = all(query);
        self.with(conn, target.clone(), |_, rows: Locked<'_, Vec<M>>| {
            if rows.is_empty() {
                return Err(LockError::NotFound { key: None });
            }
            let count = |_: &mut C, free: Locked<'_, Vec<M>>| Ok::<_, LockError>(free.len());
            let free = probe.with(other, target, count)?;
            if free > 0 {
                let all = rows.len();
                return Err(LockError::Unsupported {
                    what: format!(
                        "{free} of the {all} rows of the query are not locked by its locking clause"
                    ),
                    source: None,
                });
            }
            Ok(rows.into_inner())
        })
    }
}
