//! [`AtVersion`]: a row that must still be what the caller has seen.

use std::fmt::Debug;

use diesel::associations::Identifiable;

use super::Versioned;
use crate::connection::LockConnection;
use crate::error::LockError;
use crate::row_lock::{Seal, Target};

/// A row that must still be of a version, from [`at_version`].
#[derive(Debug, Clone, Copy)]
pub struct AtVersion<G> {
    target: G,
    version: i64,
}

/// The [target](crate::bounds::Target) of the row of `target`, which must still be of this version.
/// The lock and the check are one statement, the one that locks.
///
/// For a user who has looked at the row in an earlier transaction. In the closure
/// [`save_versioned`](crate::save_versioned) then can't fail as stale.
///
/// Executes the SQL of [`RowLock::with`](crate::RowLock::with).
///
/// # Errors
///
/// A call returns those of [`RowLock::with`](crate::RowLock::with), and
///
/// - [`StaleRow`](LockError::StaleRow): the row is of another version; the closure does not run.
///
/// # Example
///
/// ```
/// # include!("../doctest_setup.rs");
/// use diesel_row_lock::{at_version, save_versioned, with_row_lock, LockError, Locked, Versioned};
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
/// #     "CREATE TABLE pages (
/// #          id INTEGER PRIMARY KEY, text TEXT NOT NULL, version INTEGER NOT NULL);
/// #      INSERT INTO pages VALUES (1, '', 1)",
/// # )?;
/// let seen: Page = pages::table.find(1).first(conn)?;
/// for outcome in ["saved", "stale"] {
///     let page = at_version(pages::table.find(1), seen.version);
///     let result = with_row_lock(conn, page, |conn, mut page: Locked<Page>| {
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
pub fn at_version<G>(target: G, version: impl Into<i64>) -> AtVersion<G> {
    AtVersion {
        target,
        version: version.into(),
    }
}

/// A model whose primary key an error can show: every `Identifiable` one.
///
/// A trait of its own, because the compiler can't infer the model through the bound on references.
pub trait ShowKey {
    #[doc(hidden)]
    fn shown_key(&self) -> String;
}

impl<M> ShowKey for M
where
    for<'m> &'m M: Identifiable<Id: Debug>,
{
    fn shown_key(&self) -> String {
        format!("{:?}", self.id())
    }
}

impl<'q, C, L, G, M, Kind> Target<'q, C, L, M, Kind> for AtVersion<G>
where
    C: LockConnection,
    G: Target<'q, C, L, M, Kind>,
    M: Versioned + ShowKey,
{
    type Statement = (G::Statement, i64);

    fn table() -> Option<&'static str> {
        G::table()
    }

    fn prepare(self) -> Result<Self::Statement, LockError> {
        Ok((self.target.prepare()?, self.version))
    }

    fn acquire(
        (target, version): Self::Statement,
        lock: &L,
        conn: &mut C,
        seal: Seal,
    ) -> Result<M, LockError> {
        let row = G::acquire(target, lock, conn, seal)?;
        // Compared behind the lock, so it can't change any more before the closure saves.
        if row.version().into() == version {
            return Ok(row);
        }
        Err(LockError::StaleRow {
            key: row.shown_key(),
            expected: version,
        })
    }
}
