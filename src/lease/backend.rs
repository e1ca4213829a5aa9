//! [`LeaseBackend`]: what leases ask of a backend.

use diesel::backend::Backend;
use diesel::connection::LoadConnection;
use diesel::result::QueryResult;

use super::sql::{LeaseRow, OverrideRow, Statement};

/// The words of a backend for leases.
///
/// It can't be implemented outside of this crate.
pub trait LeaseBackend: Backend {
    /// Creates the tables.
    #[doc(hidden)]
    const CREATE_LEASES: &'static str;

    /// The server's clock, in microseconds since 1970.
    #[doc(hidden)]
    const NOW: &'static str;

    /// Acquires, or overrides, as one statement, where the backend has such a one.
    #[doc(hidden)]
    const AT_ONCE: Option<AtOnce> = None;

    /// Inserts a row that nobody holds, unless there is one; whoever else inserts it waits.
    #[doc(hidden)]
    const ENSURE_ROW: &'static str;

    /// What locks the row of a `SELECT`.
    #[doc(hidden)]
    const FOR_UPDATE: &'static str;

    /// Behind it: what makes it fail instead of wait.
    #[doc(hidden)]
    const NO_WAIT: &'static str = "";

    /// Keeps tokens from being given out while old ones are deleted.
    #[doc(hidden)]
    const BEFORE_PURGE: Option<&'static str> = None;

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

/// The statements that do all at once.
#[derive(Debug, Clone, Copy)]
pub struct AtOnce {
    /// Returns the lease and whether it was acquired just now.
    pub(crate) acquire: &'static str,
    /// Returns the lease.
    pub(crate) take_over: &'static str,
}

/// What runs the statements: the same for each backend, but Diesel's bounds can't say so for all of
/// them at once.
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
macro_rules! run_statements {
    () => {
        fn execute<C>(
            conn: &mut C,
            statement: &crate::lease::sql::Statement<'_>,
        ) -> diesel::result::QueryResult<usize>
        where
            C: diesel::connection::LoadConnection<Backend = Self>,
        {
            conn.execute_returning_count(statement)
        }

        fn leases<C>(
            conn: &mut C,
            statement: &crate::lease::sql::Statement<'_>,
        ) -> diesel::result::QueryResult<Vec<crate::lease::sql::LeaseRow>>
        where
            C: diesel::connection::LoadConnection<Backend = Self>,
        {
            use diesel::RunQueryDsl;
            statement
                .returning::<crate::lease::sql::LeaseTypes>()
                .load(conn)
        }

        fn overrides<C>(
            conn: &mut C,
            statement: &crate::lease::sql::Statement<'_>,
        ) -> diesel::result::QueryResult<Vec<crate::lease::sql::OverrideRow>>
        where
            C: diesel::connection::LoadConnection<Backend = Self>,
        {
            use diesel::RunQueryDsl;
            statement
                .returning::<crate::lease::sql::OverrideTypes>()
                .load(conn)
        }
    };
}
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub(crate) use run_statements;
