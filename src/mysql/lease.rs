//! MySQL and MariaDB implementation of the lease statements.

use diesel::mysql::Mysql;

use crate::backend::lease::{run_statements, LeaseBackend};

impl LeaseBackend for Mysql {
    const CREATE_LEASES: &'static str =
        include_str!("../../migrations/mysql/2026-11-22-000002_row_lock_leases/up.sql");

    /// Not `NOW(6)`, which depends on the session's time zone and repeats an hour each autumn. It
    /// is the time at which the statement began, so a statement that waits for a lock must not
    /// write it.
    const NOW: &'static str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))";

    /// Not `INSERT IGNORE`: that takes a shared lock on a row that exists, and two callers who then
    /// upgrade it deadlock.
    const ENSURE_ROW: &'static str = "INSERT INTO row_lock_leases \
         (name, note, token, nonce, acquired_at, expires_at, ttl) \
         VALUES ({name}, '', 0, 0, 0, 0, 0) ON DUPLICATE KEY UPDATE ttl = ttl";

    const GREATEST: &'static str = "GREATEST";
    const FOR_UPDATE: &'static str = " FOR UPDATE";
    const NO_WAIT: &'static str = " NOWAIT";

    /// The derived table is read without locks; only its rows are then locked, by key. A locking
    /// scan would lock each row of the table on its way, and another session would find a lease
    /// busy that is not purged.
    const ENDED: &'static str =
        "SELECT l.name, l.owner, l.note, l.token, l.acquired_at, l.expires_at, TRUE \
         FROM (SELECT name FROM row_lock_leases \
             WHERE expires_at < {now} - {ttl} LIMIT 5000) AS ended \
         STRAIGHT_JOIN row_lock_leases AS l ON l.name = ended.name \
         WHERE l.expires_at < {now} - {ttl} LIMIT 500 FOR UPDATE SKIP LOCKED";

    /// Under REPEATABLE READ, MariaDB from 11.6 on refuses to lock a row that has changed since the
    /// transaction's first look (error 1020). Under SERIALIZABLE each look takes a shared lock, and
    /// two callers keep each other from a lease that is free.
    const READ_COMMITTED: Option<&'static str> =
        Some("SET TRANSACTION ISOLATION LEVEL READ COMMITTED");

    run_statements!();
}
