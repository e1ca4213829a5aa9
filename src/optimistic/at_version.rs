//! [`AtVersion`]: lock a row, and see that it is still what the caller has seen.

use diesel::query_builder::AsQuery;
use diesel::query_dsl::methods::LoadQuery;

use super::Versioned;
use crate::connection::LockConnection;
use crate::error::LockError;
use crate::hold::{Hold, LockHold};
use crate::locked::Locked;
use crate::retry::Failure;
use crate::row_lock::RowLock;
use crate::sql::clause::{LockStrength, LockTables, LockWait, LockingSelect};
use crate::sql::key::{KeyValue, KeyedBy};
use crate::sql::lockable::Lockable;

/// A [`RowLock`] for a row of a version that the caller has seen, from [`RowLock::at_version`].
#[derive(Debug, Clone, Copy)]
#[must_use = "it locks nothing until `with`"]
pub struct AtVersion<S, W, T, H> {
    lock: RowLock<S, W, T, H>,
    version: i64,
}

impl<S, W: Copy, T: Copy, H: Copy> RowLock<S, W, T, H> {
    /// Lock the row, and go on only if it is still of this version: lock and check in one statement,
    /// the one that locks.
    ///
    /// For a user who has looked at the row in an earlier transaction. In the closure
    /// [`save_versioned`](crate::save_versioned) then can't fail as stale.
    ///
    /// # Example
    ///
    /// ```
    /// # include!("../doctest_setup.rs");
    /// use diesel_row_lock::{save_versioned, LockError, Locked, RowLock, Versioned};
    ///
    /// # diesel::table! { pages { id -> Integer, text -> Text, version -> Integer } }
    /// # #[derive(Debug, Queryable, Identifiable, AsChangeset)]
    /// # struct Page {
    /// #     id: i32,
    /// #     text: String,
    /// #     #[diesel(skip_update)]
    /// #     version: i32,
    /// # }
    /// # impl Versioned for Page {
    /// #     type Column = pages::version;
    /// #     fn version(&self) -> i32 { self.version }
    /// # }
    /// # fn main() -> Result<(), LockError> {
    /// # use diesel::connection::SimpleConnection;
    /// # let conn = &mut establish_connection();
    /// # conn.batch_execute(
    /// #     "CREATE TABLE pages (id INTEGER PRIMARY KEY, text TEXT NOT NULL, version INTEGER NOT NULL);
    /// #      INSERT INTO pages VALUES (1, '', 1)",
    /// # )?;
    /// let seen: Page = pages::table.find(1).first(conn)?;
    /// for outcome in ["saved", "stale"] {
    ///     let lock = RowLock::for_update().at_version(seen.version);
    ///     let result = lock.with(conn, pages::table.find(1), |conn, mut page: Locked<Page>| {
    ///         page.text = "Ada".to_owned();
    ///         save_versioned(conn, &*page)
    ///     });
    ///     match outcome {
    ///         "saved" => assert_eq!(result?, 2),
    ///         _ => assert!(matches!(result, Err(LockError::StaleRow { expected: 1, .. }))),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn at_version(self, version: impl Into<i64>) -> AtVersion<S, W, T, H> {
        AtVersion {
            lock: self,
            version: version.into(),
        }
    }
}

impl<S, W: Copy, T: Copy, H: Hold> AtVersion<S, W, T, H> {
    /// As [`RowLock::with`], but `f` runs only if the locked row is of the version.
    ///
    /// Executes the SQL of [`RowLock::with`].
    ///
    /// # Errors
    ///
    /// Those of [`RowLock::with`], and
    ///
    /// - [`StaleRow`](LockError::StaleRow): the row is of another version.
    ///
    /// # Panics
    ///
    /// Only if `f` does.
    #[track_caller]
    pub fn with<'q, C, Q, M, K, Kind, R, E, F, Form>(
        self,
        conn: &mut C,
        query: Q,
        f: F,
    ) -> Result<R, E>
    where
        C: LockConnection,
        S: LockStrength<C::Backend>,
        W: LockWait<C::Backend>,
        T: LockTables<C::Backend>,
        H: LockHold<C::Backend>,
        Q: AsQuery<Query: Lockable<C::Backend, Form>>,
        LockingSelect<Q::Query, S, W, T>: LoadQuery<'q, C, M>,
        M: Versioned + KeyedBy<K>,
        K: KeyValue<<M::Table as diesel::Table>::PrimaryKey, C::Backend, Kind>,
        F: for<'tx> FnOnce(&mut C, Locked<'tx, M>) -> Result<R, E>,
        E: From<LockError>,
    {
        let call = self.lock.call::<C, Q::Query>();
        let checked = |conn: &mut C, row: Locked<'_, M>| {
            if row.version().into() == self.version {
                f(conn, row).map_err(Failure::Own)
            } else {
                Err(Failure::Lock(LockError::StaleRow {
                    key: format!("{:?}", row.key()),
                    expected: self.version,
                }))
            }
        };
        let result = self.lock.attempt(&call, conn, query, checked);
        result.map_err(|failure| {
            if let Failure::Lock(error) = &failure {
                call.closure_failed(error);
            }
            failure.into_error()
        })
    }
}
