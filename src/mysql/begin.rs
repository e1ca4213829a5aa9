//! What this crate asks of MySQL and MariaDB, but for their transactions.

use std::borrow::Cow;

use diesel::connection::{CacheSize, LoadConnection};
use diesel::mysql::Mysql;

use super::cache;
use super::settings::seconds;
use crate::backend::{LockBackend, Waiting};

impl LockBackend for Mysql {
    const SYSTEM: &'static str = "mysql";
    const CONNECTIONS_PER_ROW: usize = 2;
    const ROW_VALUES: &'static str = "";
    const BINDS: usize = 65_535;
    const CREATE_COMMITS: &'static str =
        include_str!("../../migrations/mysql/2026-11-22-000001_row_lock_commits/up.sql");

    fn seconds_ago(seconds: u32) -> String {
        format!("CURRENT_TIMESTAMP - INTERVAL {seconds} SECOND")
    }

    /// MariaDB takes the time in the clause, in whole seconds; MySQL as a setting of the session.
    fn wait_sql(waiting: Waiting) -> Cow<'static, str> {
        match waiting {
            Waiting::Session => "".into(),
            Waiting::Never => " NOWAIT".into(),
            Waiting::Skip => " SKIP LOCKED".into(),
            Waiting::AtMost(time) => format!(" /*M! WAIT {} */", seconds(time)).into(),
        }
    }

    /// A prepared `SELECT` that failed behind its first answer, as one of several rows does when a
    /// later one is locked, would wait for the rest of it for ever when it is executed again
    /// (libmariadb 3.3). So none of those in Diesel's cache is.
    fn forget_statements<C>(conn: &mut C)
    where
        C: LoadConnection<Backend = Self>,
    {
        if cache::is_on(conn) {
            // To disable the cache is the only way to empty it; the user had it on.
            conn.set_prepared_statement_cache_size(CacheSize::Disabled);
            conn.set_prepared_statement_cache_size(CacheSize::Unbounded);
        }
    }
}
