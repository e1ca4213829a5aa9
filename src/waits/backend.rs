//! [`WaitsBackend`]: what is asked of a server about its sessions.

use std::time::Instant;

use diesel::connection::LoadConnection;
use diesel::result::QueryResult;

use crate::backend::LockBackend;

/// A backend whose server knows who waits for whom: PostgreSQL, MySQL and MariaDB.
///
/// It can't be implemented outside of this crate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be asked who waits for whom",
    note = "PostgreSQL, MySQL and MariaDB can; \
            SQLite has no server, and no sessions that could be cancelled"
)]
pub trait WaitsBackend: LockBackend {
    /// By what the server knows the connection.
    #[doc(hidden)]
    fn session<C>(conn: &mut C) -> QueryResult<i64>
    where
        C: LoadConnection<Backend = Self>;

    /// Names the server and all that changes the answer of [`waits`](Self::waits): connections with
    /// one name may use one answer.
    #[doc(hidden)]
    fn viewpoint<C>(conn: &mut C) -> QueryResult<String>
    where
        C: LoadConnection<Backend = Self>;

    /// Each waiter with its direct blockers.
    #[doc(hidden)]
    fn waits<C>(conn: &mut C) -> QueryResult<Seen>
    where
        C: LoadConnection<Backend = Self>;

    /// Whether there was such a session.
    #[doc(hidden)]
    fn cancel<C>(conn: &mut C, session: i64) -> QueryResult<bool>
    where
        C: LoadConnection<Backend = Self>;

    /// Whether there was such a session.
    #[doc(hidden)]
    fn terminate<C>(conn: &mut C, session: i64) -> QueryResult<bool>
    where
        C: LoadConnection<Backend = Self>;
}

/// The answer of a server.
#[derive(Debug)]
pub struct Seen {
    /// No later than the server's look at its locks.
    pub(crate) at: Instant,
    pub(crate) waits: Vec<WaitRow>,
}

/// Id, application and query of the waiter; the same of the blocker, and whether that is idle; the
/// table; the microseconds.
pub(crate) type WaitRow = (
    i64,
    Option<String>,
    Option<String>,
    i64,
    Option<String>,
    Option<String>,
    bool,
    Option<String>,
    i64,
);

/// [`WaitRow`] as SQL.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) type WaitTypes = (
    diesel::sql_types::BigInt,
    diesel::sql_types::Nullable<diesel::sql_types::Text>,
    diesel::sql_types::Nullable<diesel::sql_types::Text>,
    diesel::sql_types::BigInt,
    diesel::sql_types::Nullable<diesel::sql_types::Text>,
    diesel::sql_types::Nullable<diesel::sql_types::Text>,
    diesel::sql_types::Bool,
    diesel::sql_types::Nullable<diesel::sql_types::Text>,
    diesel::sql_types::BigInt,
);
