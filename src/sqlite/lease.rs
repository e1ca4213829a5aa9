//! SQLite's words for leases.

use diesel::connection::LoadConnection;
use diesel::result::QueryResult;
use diesel::sqlite::Sqlite;
use diesel::RunQueryDsl;

use crate::lease::backend::LeaseBackend;
use crate::lease::sql::{LeaseRow, LeaseTypes, OverrideRow, OverrideTypes, Statement};

impl LeaseBackend for Sqlite {
    const CREATE_LEASES: &'static str =
        include_str!("../../migrations/sqlite/2026-11-22-000002_row_lock_leases/up.sql");

    /// SQLite counts milliseconds.
    const NOW: &'static str =
        "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000";

    const ENSURE_ROW: &'static str = "INSERT OR IGNORE INTO row_lock_leases \
         (name, note, token, acquired_at, expires_at, ttl) VALUES ({name}, '', 0, 0, 0, 0)";

    /// The transaction itself is the lock.
    const FOR_UPDATE: &'static str = "";

    fn execute<C>(conn: &mut C, statement: &Statement<'_>) -> QueryResult<usize>
    where
        C: LoadConnection<Backend = Self>,
    {
        conn.execute_returning_count(statement)
    }

    fn leases<C>(conn: &mut C, statement: &Statement<'_>) -> QueryResult<Vec<LeaseRow>>
    where
        C: LoadConnection<Backend = Self>,
    {
        statement.returning::<LeaseTypes>().load(conn)
    }

    fn overrides<C>(conn: &mut C, statement: &Statement<'_>) -> QueryResult<Vec<OverrideRow>>
    where
        C: LoadConnection<Backend = Self>,
    {
        statement.returning::<OverrideTypes>().load(conn)
    }
}
