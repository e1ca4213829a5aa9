//! PostgreSQL implementation of the lease statements: each call is one statement, hence one round
//! trip.

use diesel::pg::Pg;

use crate::backend::lease::{run_statements, AtOnce, LeaseBackend};

impl LeaseBackend for Pg {
    const CREATE_LEASES: &'static str =
        include_str!("../../migrations/postgres/2026-11-22-000002_row_lock_leases/up.sql");

    /// Not `now()`, which stands still in a transaction, and not the start of the statement, which
    /// may have waited for a lock since.
    const NOW: &'static str = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";

    const ASKED: &'static str =
        "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000000 AS BIGINT)";

    const AT_ONCE: Option<AtOnce> = Some(AtOnce {
        acquire: ACQUIRE,
        take_over: TAKE_OVER,
        renew: RENEW,
    });

    const ENSURE_ROW: &'static str = "";
    const GREATEST: &'static str = "GREATEST";
    const FOR_UPDATE: &'static str = " FOR UPDATE";

    const ENDED: &'static str = "SELECT name, owner, note, token, acquired_at, expires_at, TRUE \
         FROM row_lock_leases WHERE expires_at < {now} - {ttl} LIMIT 500 FOR UPDATE SKIP LOCKED";

    run_statements!();
}

/// `SKIP LOCKED` keeps it from waiting for a holder whose guarded transaction has the row locked.
///
/// The token is computed from the row under its lock. A row that does not exist is inserted without
/// a holder, and the caller runs the statement again: a token that is computed before the insert
/// could be lower than that of a holder whose row was purged in between.
const ACQUIRE: &str = "WITH \
    free AS MATERIALIZED ( \
        SELECT name FROM row_lock_leases WHERE name = {name} AND {free} FOR UPDATE SKIP LOCKED), \
    taken AS ( \
        UPDATE row_lock_leases AS l SET owner = {owner}, note = {note}, \
            token = {next}, nonce = {nonce}, \
            acquired_at = {now}, expires_at = {now} + {ttl}, ttl = {ttl} \
        FROM free WHERE l.name = free.name \
        RETURNING l.name, l.owner, l.note, l.token, l.acquired_at, l.expires_at), \
    made AS ( \
        INSERT INTO row_lock_leases (name, note, token, nonce, acquired_at, expires_at, ttl) \
        SELECT {name}, '', 0, 0, 0, 0, 0 \
        WHERE NOT EXISTS (SELECT FROM row_lock_leases WHERE name = {name}) \
        ON CONFLICT DO NOTHING) \
    SELECT *, TRUE FROM taken \
    UNION ALL \
    SELECT name, owner, note, token, acquired_at, expires_at, FALSE \
    FROM row_lock_leases WHERE name = {name} AND NOT EXISTS (SELECT FROM taken)";

/// `held` is the row as it was when it was locked; what a `SELECT` before it sees may be older. As
/// in [`ACQUIRE`], a row that does not exist is inserted first.
const TAKE_OVER: &str = "WITH \
    held AS MATERIALIZED ( \
        SELECT name, owner AS ousted, token AS ousted_token \
        FROM row_lock_leases WHERE name = {name} FOR UPDATE), \
    taken AS ( \
        UPDATE row_lock_leases AS l SET owner = {owner}, note = {note}, \
            token = {next}, nonce = {nonce}, \
            acquired_at = {now}, expires_at = {now} + {ttl}, ttl = {ttl} \
        FROM held WHERE l.name = held.name \
        RETURNING l.*, held.ousted, held.ousted_token), \
    made AS ( \
        INSERT INTO row_lock_leases (name, note, token, nonce, acquired_at, expires_at, ttl) \
        SELECT {name}, '', 0, 0, 0, 0, 0 \
        WHERE NOT EXISTS (SELECT FROM row_lock_leases WHERE name = {name}) \
        ON CONFLICT DO NOTHING), \
    audit AS ( \
        INSERT INTO row_lock_overrides \
        (name, admin, reason, token, ousted, ousted_token, overridden_at) \
        SELECT name, owner, {reason}, token, \
            ousted, CASE WHEN ousted IS NOT NULL THEN ousted_token END, acquired_at FROM taken) \
    SELECT name, owner, note, token, acquired_at, expires_at, TRUE FROM taken";

/// Locks first and reads the clock then. An `UPDATE` alone computes its values before it waits for
/// the row, and would write an end that is over when the wait is.
const RENEW: &str = "WITH mine AS MATERIALIZED ( \
        SELECT name FROM row_lock_leases WHERE {mine} FOR UPDATE) \
    UPDATE row_lock_leases AS l SET expires_at = {now} + {ttl}, ttl = {ttl} \
    FROM mine WHERE l.name = mine.name";
