//! SQLite's words for leases.

use diesel::sqlite::Sqlite;

use crate::lease::backend::{run_statements, LeaseBackend};

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

    run_statements!();
}
