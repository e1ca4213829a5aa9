//! SQLite implementation of the lease statements.

use diesel::sqlite::Sqlite;

use crate::backend::lease::{run_statements, LeaseBackend};

impl LeaseBackend for Sqlite {
    const CREATE_LEASES: &'static str =
        include_str!("../../migrations/sqlite/2026-11-22-000002_row_lock_leases/up.sql");

    /// SQLite counts milliseconds.
    const NOW: &'static str =
        "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000";

    /// The wait for the write lock is before the first statement. SQLite's clock is this process's.
    const ASKED: &'static str = "{asked}";

    const ENSURE_ROW: &'static str = "INSERT OR IGNORE INTO row_lock_leases \
         (name, note, token, nonce, acquired_at, expires_at, ttl) \
         VALUES ({name}, '', 0, 0, 0, 0, 0)";

    const GREATEST: &'static str = "MAX";

    /// The transaction itself is the lock.
    const FOR_UPDATE: &'static str = "";

    const ENDED: &'static str = "SELECT name, owner, note, token, acquired_at, expires_at, TRUE \
         FROM row_lock_leases WHERE expires_at < {now} - {ttl} LIMIT 500";

    run_statements!();
}
