//! [`Target`]: what a locked call locks, and what its closure gets. The bounds of a locked call are
//! stated here, once.

mod keys;
mod order;

use diesel::query_builder::AsQuery;
use diesel::query_dsl::methods::LoadQuery;
use diesel::RunQueryDsl;

pub use self::keys::{keys, Keys, OneByKey};
use super::lock::LockOn;
use crate::connection::LockConnection;
use crate::error::LockError;
use crate::sql::lockable::Lockable;
use crate::telemetry::table_in;

/// What the lock `L` locks over the connection `C`. The closure gets a `Locked<Rows>`.
///
/// | target | locks | the closure gets |
/// |---|---|---|
/// | a query | its rows | the first one: `Locked<M>` |
/// | [`all(query)`](all) | its rows | all of them: `Locked<Vec<M>>` |
/// | [`keys(ids)`](keys) | the rows with these primary keys, in the order of the keys | `Locked<Vec<M>>`, in the order asked for |
/// | [`at_version(target, v)`](crate::at_version) | the row of another target | `Locked<M>`, if it is of this version |
///
/// `Kind` tells apart queries and keys of different kinds; it is inferred.
///
/// It can't be implemented outside of this crate: the rows of a call are a proof that they are
/// locked.
///
/// ```compile_fail,E0603
/// use diesel_row_lock::bounds::Target;
/// use diesel_row_lock::{LockConnection, LockError};
///
/// struct Unlocked;
///
/// impl<C: LockConnection, L> Target<'_, C, L, i32, ()> for Unlocked {
///     type Statement = ();
///
///     fn table() -> Option<&'static str> {
///         None
///     }
///     fn prepare(self) -> Result<(), LockError> {
///         Ok(())
///     }
///     fn acquire(
///         _: (),
///         _: &L,
///         _: &mut C,
///         _: diesel_row_lock::row_lock::Seal,
///     ) -> Result<i32, LockError> {
///         Ok(7)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be locked as `{Rows}` on `{C}`",
    label = "not a target of this locked call",
    note = "the closure gets `Locked<Model>` of a query, \
            `Locked<Vec<Model>>` of `all(query)` and `keys([a, b])`",
    note = "a UNION, INTERSECT or EXCEPT can't be locked: \
            lock each query on its own, or filter by both conditions"
)]
pub trait Target<'q, C: LockConnection, L, Rows, Kind> {
    #[doc(hidden)]
    type Statement;

    /// The table, for the telemetry.
    #[doc(hidden)]
    fn table() -> Option<&'static str>;

    /// Refuses what can't be locked, before anything is sent.
    #[doc(hidden)]
    fn prepare(self) -> Result<Self::Statement, LockError>;

    /// Runs the locking statement.
    #[doc(hidden)]
    fn acquire(
        statement: Self::Statement,
        lock: &L,
        conn: &mut C,
        seal: Seal,
    ) -> Result<Rows, LockError>;
}

/// A type without a name outside of this crate, so that no other crate can implement [`Target`]: a
/// `Locked` is a proof only as long as all rows come from a locking statement.
#[derive(Debug, Clone, Copy)]
pub struct Seal(());

impl Seal {
    pub(super) const SEALED: Self = Self(());
}

impl<'q, C, L, Q, M, Kind> Target<'q, C, L, M, Kind> for Q
where
    C: LockConnection,
    L: LockOn<C::Backend>,
    Q: AsQuery<Query: Lockable<C::Backend, Kind>>,
    L::Select<Q::Query>: LoadQuery<'q, C, M>,
{
    type Statement = Q::Query;

    fn table() -> Option<&'static str> {
        table_in::<Q::Query>()
    }

    fn prepare(self) -> Result<Q::Query, LockError> {
        checked(self)
    }

    fn acquire(query: Q::Query, lock: &L, conn: &mut C, _: Seal) -> Result<M, LockError> {
        lock.acquired(lock.select(query).get_result(conn))
    }
}

/// The statement of a query whose rows the backend `DB` can lock.
fn checked<Q, DB, Kind>(query: Q) -> Result<Q::Query, LockError>
where
    Q: AsQuery<Query: Lockable<DB, Kind>>,
{
    let query = query.as_query();
    query.check()?;
    Ok(query)
}

/// Every row of a query, from [`all`].
#[derive(Debug, Clone, Copy)]
pub struct All<Q>(Q);

/// The [target](Target) of every row of `query`: the closure gets a `Locked<Vec<M>>`, in the order
/// of the query.
///
/// With [`skip_locked`](crate::RowLock::skip_locked) and a `limit` this claims jobs from a queue.
/// No row is no error: the `Vec` is then empty. Two callers whose queries return the same rows in
/// different orders can deadlock. Give the query an order, or use [`keys`].
///
/// Executes the SQL of [`RowLock::with`](crate::RowLock::with).
///
/// # Errors
///
/// A call returns those of [`RowLock::with`](crate::RowLock::with), but for
/// [`NotFound`](LockError::NotFound).
///
/// # Example
///
/// ```
/// # include!("../../doctest_setup.rs");
/// use diesel_row_lock::{all, LockError, Locked, RowLock};
///
/// # fn main() -> Result<(), LockError> {
/// # let conn = &mut establish_connection();
/// let poor = accounts::table.filter(accounts::balance.lt(1_000)).order(accounts::id);
/// let names = RowLock::for_update().with(conn, all(poor), |_, rows: Locked<Vec<Account>>| {
///     Ok::<_, LockError>(rows.iter().map(|account| account.owner.clone()).collect::<Vec<_>>())
/// })?;
/// assert_eq!(names, ["Grace"]);
/// # Ok(())
/// # }
/// ```
pub fn all<Q>(query: Q) -> All<Q> {
    All(query)
}

impl<'q, C, L, Q, M, Kind> Target<'q, C, L, Vec<M>, Kind> for All<Q>
where
    C: LockConnection,
    L: LockOn<C::Backend>,
    Q: AsQuery<Query: Lockable<C::Backend, Kind>>,
    L::Select<Q::Query>: LoadQuery<'q, C, M>,
{
    type Statement = Q::Query;

    fn table() -> Option<&'static str> {
        table_in::<Q::Query>()
    }

    fn prepare(self) -> Result<Q::Query, LockError> {
        checked(self.0)
    }

    fn acquire(query: Q::Query, lock: &L, conn: &mut C, _: Seal) -> Result<Vec<M>, LockError> {
        lock.acquired(lock.select(query).load(conn))
    }
}
