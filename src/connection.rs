//! [`LockConnection`]: the connections that can lock, and what Diesel knows of their transaction.

use std::num::NonZeroU32;

use diesel::connection::{
    CacheSize, Connection, LoadConnection, TransactionDepthChange, TransactionManager,
    TransactionManagerStatus,
};
use diesel::result::{Error, QueryResult};

use crate::backend::LockBackend;

/// A connection that can lock rows.
///
/// Implemented for every Diesel connection to PostgreSQL, MySQL, MariaDB or SQLite whose backend
/// is compiled in: [`PgConnection`](diesel::PgConnection),
/// [`MysqlConnection`](diesel::MysqlConnection), [`SqliteConnection`](diesel::SqliteConnection)
/// and `r2d2`'s `PooledConnection` of each. It can't be implemented outside of this crate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a connection that can lock rows",
    label = "not a `PgConnection`, `MysqlConnection`, `SqliteConnection`, \
             or `PooledConnection` of one",
    note = "if it derives `MultiConnection`, `match` on it, and lock through the connection in it",
    note = "otherwise it needs a feature of diesel-row-lock: `postgres`, `mysql` or `sqlite`"
)]
pub trait LockConnection: LoadConnection<Backend: LockBackend> {
    /// Makes the connection safe behind a pooler that lends one server session to many clients, one
    /// transaction each (PgBouncer's `pool_mode = transaction`). Once, after the connection was
    /// made.
    ///
    /// Diesel names its prepared statements `__diesel_stmt_0`, `__diesel_stmt_1`, …, and so does
    /// every other client whose session it is next. Behind a pooler that does not know of them,
    /// statements fail, or worse: a `SELECT … FOR UPDATE` runs as what somebody else has prepared
    /// by that name, and locks a wrong row. This turns Diesel's cache off
    /// ([`CacheSize::Disabled`]), so that statements have no name. Each is then parsed anew.
    /// PgBouncer from 1.21 on can be told to keep track of names instead
    /// (`max_prepared_statements`).
    ///
    /// Besides, the calls that lock by primary key ([`with_row_locks`](crate::with_row_locks),
    /// [`with_many`](crate::RowLock::with_many)) compare the keys of the rows with those asked for
    /// on every connection ([`LockError::WrongRow`](crate::LockError::WrongRow)).
    ///
    /// On MySQL and MariaDB, whose statements belong to their session, it is not needed. There a
    /// locked call that fails empties the cache, if it is on, and leaves it on.
    ///
    /// # Example
    ///
    /// For each connection of a pool:
    ///
    /// ```
    /// use diesel::r2d2::{ConnectionManager, CustomizeConnection, Error, Pool};
    /// use diesel_row_lock::LockConnection;
    /// # type PgConnection = diesel::SqliteConnection;
    ///
    /// #[derive(Debug)]
    /// struct BehindPgBouncer;
    ///
    /// impl CustomizeConnection<PgConnection, Error> for BehindPgBouncer {
    ///     fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), Error> {
    ///         conn.pooler_safe();
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # fn pool(url: &str) -> Pool<ConnectionManager<PgConnection>> {
    /// Pool::builder()
    ///     .connection_customizer(Box::new(BehindPgBouncer))
    ///     .build_unchecked(ConnectionManager::new(url))
    /// # }
    /// # pool(":memory:").get().expect("a connection");
    /// ```
    fn pooler_safe(&mut self) -> &mut Self {
        self.set_prepared_statement_cache_size(CacheSize::Disabled);
        self
    }
}

#[diagnostic::do_not_recommend]
impl<C> LockConnection for C where C: LoadConnection<Backend: LockBackend> {}

/// What Diesel's transaction manager believes of the connection.
///
/// Diesel keeps it up to date from the client library's own knowledge where that has any
/// (libpq tells the state of the transaction with every answer), so reading it costs no round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    /// How many transactions are open, one in the other; `None` after an error that Diesel holds
    /// to be fatal for the connection.
    pub(crate) depth: Option<u32>,
    /// The server refuses to go on with the transaction until a rollback.
    pub(crate) must_roll_back: bool,
}

/// The depth alone.
pub(crate) fn depth<C: Connection>(conn: &mut C) -> Option<u32> {
    let status = C::TransactionManager::transaction_manager_status_mut(conn);
    let depth = status.transaction_depth().ok()?;
    Some(depth.map_or(0, NonZeroU32::get))
}

pub(crate) fn status<C: Connection>(conn: &mut C) -> Status {
    let depth = depth(conn);
    let status = C::TransactionManager::transaction_manager_status_mut(conn);
    Status {
        depth,
        // The field is private; its `Debug` form is the one way to it that needs no
        // unstable feature of Diesel. `tests/it/swallowed.rs` goes red if the form changes.
        must_roll_back: format!("{status:?}")
            .contains("requires_rollback_maybe_up_to_top_level: true"),
    }
}

/// Tells Diesel that a transaction or savepoint was opened by SQL of our own.
pub(crate) fn entered<C: Connection>(conn: &mut C) -> QueryResult<()> {
    match C::TransactionManager::transaction_manager_status_mut(conn) {
        TransactionManagerStatus::Valid(status) => {
            status.change_transaction_depth(TransactionDepthChange::IncreaseDepth)
        }
        TransactionManagerStatus::InError => Err(Error::BrokenTransactionManager),
    }
}

/// Tells Diesel that the innermost `depth - to` transactions are over.
pub(crate) fn left_to<C: Connection>(conn: &mut C, to: u32) {
    let status = C::TransactionManager::transaction_manager_status_mut(conn);
    if to == 0 {
        // Also mends a manager that was in error, and forgets a flag that belonged to the
        // transaction that is over.
        *status = TransactionManagerStatus::default();
    } else if let TransactionManagerStatus::Valid(status) = status {
        while status
            .transaction_depth()
            .is_some_and(|depth| depth.get() > to)
        {
            // Diesel refuses no such change above zero. Should it ever, a wrong depth is better
            // than a loop without an end.
            if status
                .change_transaction_depth(TransactionDepthChange::DecreaseDepth)
                .is_err()
            {
                break;
            }
        }
    }
}

/// Tells Diesel (and with it a pool) that the connection is not to be trusted any more.
pub(crate) fn mark_broken<C: Connection>(conn: &mut C) {
    C::TransactionManager::transaction_manager_status_mut(conn).set_in_error();
}
