//! [`LeaseBackend`]: what leases ask of a backend.

pub(crate) mod sql;

use diesel::backend::Backend;
use diesel::connection::LoadConnection;
use diesel::result::QueryResult;

use self::sql::{LeaseRow, OverrideRow, Statement};

/// What the lease statements need from a backend.
///
/// It can't be implemented outside of this crate.
pub trait LeaseBackend: Backend {
    /// Creates the tables.
    #[doc(hidden)]
    const CREATE_LEASES: &'static str;

    /// The server's clock, in microseconds since 1970.
    #[doc(hidden)]
    const NOW: &'static str;

    /// The time at which the call was made, by the same clock, however long it waited for a lock
    /// since.
    #[doc(hidden)]
    const ASKED: &'static str = Self::NOW;

    /// The calls that the backend can make as one statement.
    #[doc(hidden)]
    const AT_ONCE: Option<AtOnce> = None;

    /// Inserts a row without a holder, unless the row exists; another session that inserts it
    /// waits.
    #[doc(hidden)]
    const ENSURE_ROW: &'static str;

    /// What locks the row of a `SELECT`.
    #[doc(hidden)]
    const FOR_UPDATE: &'static str;

    /// Behind it: what makes it fail instead of wait.
    #[doc(hidden)]
    const NO_WAIT: &'static str = "";

    /// The function that returns the greatest of its arguments.
    #[doc(hidden)]
    const GREATEST: &'static str;

    /// Locks and returns up to 500 leases that ended more than the time to live ago. It skips rows
    /// that another session has locked.
    #[doc(hidden)]
    const ENDED: &'static str;

    /// Sets the isolation level of the next transaction, where the session's may be too strict.
    #[doc(hidden)]
    const READ_COMMITTED: Option<&'static str> = None;

    #[doc(hidden)]
    fn execute<C>(conn: &mut C, statement: &Statement<'_>) -> QueryResult<usize>
    where
        C: LoadConnection<Backend = Self>;

    #[doc(hidden)]
    fn leases<C>(conn: &mut C, statement: &Statement<'_>) -> QueryResult<Vec<LeaseRow>>
    where
        C: LoadConnection<Backend = Self>;

    #[doc(hidden)]
    fn overrides<C>(conn: &mut C, statement: &Statement<'_>) -> QueryResult<Vec<OverrideRow>>
    where
        C: LoadConnection<Backend = Self>;
}

/// Calls that are one statement each. The first two return no row when they had to insert it, and
/// then run again.
#[derive(Debug, Clone, Copy)]
pub struct AtOnce {
    /// Returns the lease and whether it was acquired just now.
    pub(crate) acquire: &'static str,
    /// Returns the lease.
    pub(crate) take_over: &'static str,
    /// Changes one row if the lease is still held.
    pub(crate) renew: &'static str,
}

/// What runs the statements: the same for each backend, but Diesel's bounds can't say so for all of
/// them at once.
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
macro_rules! run_statements {
    () => {
        fn execute<C>(
            conn: &mut C,
            statement: &crate::backend::lease::sql::Statement<'_>,
        ) -> diesel::result::QueryResult<usize>
        where
            C: diesel::connection::LoadConnection<Backend = Self>,
        {
            conn.execute_returning_count(statement)
        }

        fn leases<C>(
            conn: &mut C,
            statement: &crate::backend::lease::sql::Statement<'_>,
        ) -> diesel::result::QueryResult<Vec<crate::backend::lease::sql::LeaseRow>>
        where
            C: diesel::connection::LoadConnection<Backend = Self>,
        {
            use diesel::RunQueryDsl;
            statement
                .returning::<crate::backend::lease::sql::LeaseTypes>()
                .load(conn)
        }

        fn overrides<C>(
            conn: &mut C,
            statement: &crate::backend::lease::sql::Statement<'_>,
        ) -> diesel::result::QueryResult<Vec<crate::backend::lease::sql::OverrideRow>>
        where
            C: diesel::connection::LoadConnection<Backend = Self>,
        {
            use diesel::RunQueryDsl;
            statement
                .returning::<crate::backend::lease::sql::OverrideTypes>()
                .load(conn)
        }
    };
}
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub(crate) use run_statements;
