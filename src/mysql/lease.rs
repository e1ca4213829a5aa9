//! MySQL's and MariaDB's words for leases.

use diesel::mysql::Mysql;

use crate::lease::backend::{run_statements, LeaseBackend};

impl LeaseBackend for Mysql {
    const CREATE_LEASES: &'static str =
        include_str!("../../migrations/mysql/2026-11-22-000002_row_lock_leases/up.sql");

    /// Not `NOW(6)`, which depends on the session's time zone and repeats an hour each autumn.
    const NOW: &'static str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))";

    /// Not `INSERT IGNORE`: of a row that is there it takes a shared lock, and two callers who then
    /// want it for themselves deadlock.
    const ENSURE_ROW: &'static str = "INSERT INTO row_lock_leases \
         (name, note, token, acquired_at, expires_at, ttl) VALUES ({name}, '', 0, 0, 0, 0) \
         ON DUPLICATE KEY UPDATE ttl = ttl";

    const FOR_UPDATE: &'static str = " FOR UPDATE";
    const NO_WAIT: &'static str = " NOWAIT";

    run_statements!();
}
