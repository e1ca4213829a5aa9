//! PostgreSQL's words for leases: each call is one statement, hence one round trip.

use diesel::pg::Pg;

use crate::lease::backend::{run_statements, AtOnce, LeaseBackend};

impl LeaseBackend for Pg {
    const CREATE_LEASES: &'static str =
        include_str!("../../migrations/postgres/2026-11-22-000002_row_lock_leases/up.sql");

    /// Not `now()`, which stands still in a transaction, and not the start of the statement, which may
    /// have waited for a lock since.
    const NOW: &'static str = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";

    const AT_ONCE: Option<AtOnce> = Some(AtOnce {
        acquire: ACQUIRE,
        take_over: TAKE_OVER,
    });

    const ENSURE_ROW: &'static str = "";
    const FOR_UPDATE: &'static str = " FOR UPDATE";

    /// Who acquires a lease takes its token a moment before its row is there, and holds a lock on the
    /// table meanwhile. A row that is deleted in that moment could have had a higher one.
    const BEFORE_PURGE: Option<&'static str> =
        Some("LOCK TABLE row_lock_leases IN SHARE ROW EXCLUSIVE MODE");

    run_statements!();
}

/// `seen` and `free` keep it from waiting for a holder whose guarded transaction has the row locked:
/// `ON CONFLICT DO UPDATE` locks first and asks then. The token is taken under the lock of the row, or
/// a caller that waited could get one older than that of the holder before it.
const ACQUIRE: &str = "WITH \
    seen AS (SELECT FROM row_lock_leases WHERE name = {name}), \
    free AS (SELECT FROM row_lock_leases WHERE name = {name} AND {free} FOR UPDATE SKIP LOCKED), \
    taken AS ( \
        INSERT INTO row_lock_leases AS l \
        (name, owner, note, token, acquired_at, expires_at, ttl) \
        SELECT {name}, {owner}, {note}, nextval('row_lock_lease_tokens'), \
            {now}, {now} + {ttl}, {ttl} \
        WHERE NOT EXISTS (SELECT FROM seen) OR EXISTS (SELECT FROM free) \
        ON CONFLICT (name) DO UPDATE SET owner = EXCLUDED.owner, note = EXCLUDED.note, \
            token = nextval('row_lock_lease_tokens'), acquired_at = {now}, \
            expires_at = {now} + EXCLUDED.ttl, ttl = EXCLUDED.ttl \
        WHERE l.owner IS NULL OR l.expires_at <= {now} OR l.expires_at > {now} + l.ttl \
        RETURNING name, owner, note, token, acquired_at, expires_at) \
    SELECT *, TRUE FROM taken \
    UNION ALL \
    SELECT name, owner, note, token, acquired_at, expires_at, FALSE \
    FROM row_lock_leases WHERE name = {name} AND NOT EXISTS (SELECT FROM taken)";

/// `l.owner` is whoever had it when its row was locked; what a `SELECT` before it sees may be older.
const TAKE_OVER: &str = "WITH \
    taken AS ( \
        INSERT INTO row_lock_leases AS l \
        (name, owner, note, token, acquired_at, expires_at, ttl) \
        SELECT {name}, {owner}, {note}, nextval('row_lock_lease_tokens'), \
            {now}, {now} + {ttl}, {ttl} \
        ON CONFLICT (name) DO UPDATE SET owner = EXCLUDED.owner, note = EXCLUDED.note, \
            token = nextval('row_lock_lease_tokens'), acquired_at = {now}, \
            expires_at = {now} + EXCLUDED.ttl, ttl = EXCLUDED.ttl, \
            ousted = l.owner, \
            ousted_token = CASE WHEN l.owner IS NOT NULL THEN l.token END \
        RETURNING *), \
    audit AS ( \
        INSERT INTO row_lock_overrides \
        (name, admin, reason, token, ousted, ousted_token, overridden_at) \
        SELECT name, owner, {reason}, token, ousted, ousted_token, acquired_at FROM taken) \
    SELECT name, owner, note, token, acquired_at, expires_at, TRUE FROM taken";
