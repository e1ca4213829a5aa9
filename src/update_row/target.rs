//! [`UpdateTarget`]: the row that `update_row` and a queue change.

use std::fmt::Debug;
use std::hash::Hash;

use diesel::query_source::Table;
use diesel::result::QueryResult;

use crate::backend::stamp::StampBackend;
use crate::connection::LockConnection;
use crate::error::LockError;
use crate::row_lock::{OneByKey, Target};
use crate::sql::key::{KeyValue, KeyedBy};
use crate::sql::save::Savable;
use crate::sql::stamped::{Rewritten, Stamped};

/// A primary key, for a row of the model `M` that is locked by `L` or written by its stamp.
///
/// `Kind` is inferred. It can't be implemented outside of this crate.
#[diagnostic::on_unimplemented(
    message = "a row of `{M}` can't be updated by `{Self}` on `{C}`",
    label = "not a primary key of this model",
    note = "the model derives `Queryable`, `Identifiable` and `AsChangeset`"
)]
pub trait UpdateTarget<C: LockConnection, L, M, Kind>: Clone + Eq + Hash + Debug {
    /// The row, locked.
    #[doc(hidden)]
    type Locked<'k>: Target<'k, C, L, M, ()>
    where
        Self: 'k;

    #[doc(hidden)]
    fn locked(&self) -> Self::Locked<'_>;

    /// The rows with this key, each with its stamp.
    #[doc(hidden)]
    fn read(&self, conn: &mut C) -> QueryResult<Vec<(M, <C::Backend as StampBackend>::Stamp)>>;

    /// The key of the row.
    #[doc(hidden)]
    fn of(row: &M) -> Self;

    /// The `SET` clause of [`save`](Self::save). `None` if it can't be rendered.
    #[doc(hidden)]
    fn set_clause(row: &M) -> Option<String>;

    /// Whether a save of the row would change nothing.
    #[doc(hidden)]
    fn is_noop(row: &M) -> QueryResult<bool>;

    /// Writes the row if it is of this stamp. How many rows that were.
    #[doc(hidden)]
    fn write(
        &self,
        row: &M,
        stamp: &<C::Backend as StampBackend>::Stamp,
        conn: &mut C,
    ) -> QueryResult<usize>;

    /// The same, and reads the row back with its next stamp.
    #[doc(hidden)]
    fn rewrite(
        &self,
        row: &M,
        stamp: &<C::Backend as StampBackend>::Stamp,
        conn: &mut C,
    ) -> QueryResult<Rewritten<M, C::Backend>>;

    /// Writes the row, which is locked.
    #[doc(hidden)]
    fn save(&self, row: &M, conn: &mut C) -> Result<(), LockError>;
}

#[diagnostic::do_not_recommend]
impl<C, L, M, K, Kind> UpdateTarget<C, L, M, Kind> for K
where
    C: LockConnection,
    M: KeyedBy<K> + Savable<K, Kind, C::Backend> + Stamped<K, Kind, C::Backend>,
    K: KeyValue<<M::Table as Table>::PrimaryKey, C::Backend, Kind>,
    for<'k> OneByKey<'k, K>: Target<'k, C, L, M, ()>,
{
    type Locked<'k>
        = OneByKey<'k, K>
    where
        K: 'k;

    fn locked(&self) -> OneByKey<'_, K> {
        OneByKey(self)
    }

    fn read(&self, conn: &mut C) -> QueryResult<Vec<(M, <C::Backend as StampBackend>::Stamp)>> {
        M::read(self, conn)
    }

    fn of(row: &M) -> K {
        row.key()
    }

    fn set_clause(row: &M) -> Option<String> {
        row.set_clause()
    }

    fn is_noop(row: &M) -> QueryResult<bool> {
        row.is_noop()
    }

    fn write(
        &self,
        row: &M,
        stamp: &<C::Backend as StampBackend>::Stamp,
        conn: &mut C,
    ) -> QueryResult<usize> {
        M::write(row, self, stamp, conn)
    }

    fn rewrite(
        &self,
        row: &M,
        stamp: &<C::Backend as StampBackend>::Stamp,
        conn: &mut C,
    ) -> QueryResult<Rewritten<M, C::Backend>> {
        row.rewrite(self, stamp, conn)
    }

    fn save(&self, row: &M, conn: &mut C) -> Result<(), LockError> {
        if Savable::save(row, self, conn)? {
            return Ok(());
        }
        // The row is locked, so it is there: a trigger or a policy has refused the write in
        // silence, or MariaDB 11.8 has cancelled it.
        Err(LockError::Aborted { source: None })
    }
}
