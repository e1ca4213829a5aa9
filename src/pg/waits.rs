//! PostgreSQL implementation of [`WaitsBackend`].

use std::time::Instant;

use diesel::connection::LoadConnection;
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::result::QueryResult;
use diesel::sql_types::{Bool, Integer, Text};
use diesel::RunQueryDsl;

use crate::waits::backend::{Seen, WaitTypes, WaitsBackend};

/// The direct blockers, from `pg_locks`.
///
/// `pg_blocking_pids` lists every session ahead in the line, so the answer for a line of `n`
/// waiters has `n * n / 2` pairs. Here a waiter is paired with the *holders* of the lock that it
/// waits for. Where a lock has several holders, the first waiter in each mode is paired with all of
/// them, and the others with one: every holder is in the list, and the list stays linear. Only a
/// waiter that no holder blocks is asked for with `pg_blocking_pids`: it stands behind a
/// conflicting request.
///
/// - A waiter for a row waits for the transaction that holds it, and keeps its place in the row's
///   line by a lock on the tuple, which names the table. The others wait for that place.
/// - A prepared transaction has no process, and its id is 0. It holds the lock on its own
///   transaction id under the same virtual id as its other locks, which leads to its name.
/// - A parallel worker belongs to the session of its leader. A role that may not see other roles'
///   sessions sees no leader there.
/// - A transaction keeps the `pg_stat_activity` of its first look, hence `pg_stat_clear_snapshot`.
///   The lateral join and `OFFSET 0` make it run first.
const WAITS: &str = "WITH conflicts (mode, other) AS (VALUES \
        ('AccessShareLock', CAST('{AccessExclusiveLock}' AS TEXT[])), \
        ('RowShareLock', '{ExclusiveLock,AccessExclusiveLock}'), \
        ('RowExclusiveLock', \
            '{ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'), \
        ('ShareUpdateExclusiveLock', '{ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,\
            ExclusiveLock,AccessExclusiveLock}'), \
        ('ShareLock', '{RowExclusiveLock,ShareUpdateExclusiveLock,ShareRowExclusiveLock,\
            ExclusiveLock,AccessExclusiveLock}'), \
        ('ShareRowExclusiveLock', '{RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,\
            ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'), \
        ('ExclusiveLock', '{RowShareLock,RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,\
            ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'), \
        ('AccessExclusiveLock', '{AccessShareLock,RowShareLock,RowExclusiveLock,\
            ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,\
            AccessExclusiveLock}')), \
    sessions AS MATERIALIZED (SELECT a.*, \
            CASE a.backend_type WHEN 'parallel worker' THEN a.leader_pid END AS leader \
        FROM (SELECT pg_stat_clear_snapshot() AS cleared OFFSET 0) fresh \
        CROSS JOIN LATERAL \
            (SELECT * FROM pg_stat_activity WHERE fresh.cleared IS NOT NULL OFFSET 0) a), \
    locks AS MATERIALIZED (SELECT l.*, COALESCE(s.leader, l.pid, 0) AS session, \
            CAST(ROW(l.locktype, l.database, l.relation, l.page, l.tuple, l.virtualxid, \
                l.transactionid, l.classid, l.objid, l.objsubid) AS TEXT) AS object \
        FROM pg_locks l LEFT JOIN sessions s ON s.pid = l.pid), \
    waiters AS MATERIALIZED (SELECT l.*, \
            ROW_NUMBER() OVER (PARTITION BY object, mode ORDER BY waitstart, pid) AS place \
        FROM locks l WHERE NOT granted), \
    holders AS MATERIALIZED (SELECT w.object, w.mode, ARRAY_AGG(DISTINCT h.session) AS pids \
        FROM waiters w JOIN conflicts c ON c.mode = w.mode \
        JOIN locks h ON h.object = w.object AND h.granted AND h.mode = ANY (c.other) \
        WHERE w.place = 1 GROUP BY w.object, w.mode), \
    held AS MATERIALIZED (SELECT w.*, ARRAY_REMOVE(h.pids, w.session) AS pids \
        FROM waiters w LEFT JOIN holders h ON h.object = w.object AND h.mode = w.mode), \
    blocked AS MATERIALIZED (SELECT DISTINCT w.pid, w.session, w.object, w.waitstart, blocker \
        FROM held w CROSS JOIN LATERAL UNNEST(CASE \
            WHEN w.pids <> '{}' AND w.place = 1 THEN w.pids \
            WHEN w.pids <> '{}' THEN w.pids[1:1] \
            ELSE (ARRAY_REMOVE(pg_blocking_pids(w.pid), w.session))[1:1] END) AS blocker) \
    SELECT CAST(l.session AS BIGINT), NULLIF(w.application_name, ''), NULLIF(w.query, ''), \
        CAST(l.blocker AS BIGINT), NULLIF(b.application_name, ''), \
        COALESCE(NULLIF(b.query, ''), (SELECT 'PREPARE TRANSACTION ' || quote_literal(p.gid) \
            FROM locks h \
            JOIN locks x ON x.virtualtransaction = h.virtualtransaction AND x.pid IS NULL \
            JOIN pg_prepared_xacts p ON p.transaction = x.transactionid \
            WHERE l.blocker = 0 AND h.object = l.object AND h.granted AND h.pid IS NULL LIMIT 1)), \
        COALESCE(b.state LIKE 'idle%', FALSE), \
        (SELECT CAST(CAST(t.relation AS regclass) AS TEXT) FROM locks t \
            WHERE t.pid = l.pid AND t.relation IS NOT NULL \
                AND (t.locktype = 'tuple' OR NOT t.granted) \
                AND t.database IN \
                    (0, (SELECT oid FROM pg_database WHERE datname = current_database())) \
            LIMIT 1), \
        COALESCE(CAST(EXTRACT(EPOCH FROM \
            clock_timestamp() - COALESCE(l.waitstart, w.query_start)) * 1000000 AS BIGINT), 0) \
    FROM blocked l \
    JOIN sessions w ON w.pid = l.session \
    LEFT JOIN sessions b ON b.pid = l.blocker";

/// The server by its start, and the parts of a connection that change its answer: the role decides
/// which queries it sees, database and `search_path` decide the names of tables.
const VIEWPOINT: &str = "SELECT CAST(ROW(pg_postmaster_start_time(), inet_server_addr(), \
        inet_server_port(), current_user, current_database(), current_setting('search_path')) \
    AS TEXT)";

impl WaitsBackend for Pg {
    fn session<C>(conn: &mut C) -> QueryResult<i64>
    where
        C: LoadConnection<Backend = Self>,
    {
        sql::<Integer>("SELECT pg_backend_pid()")
            .get_result::<i32>(conn)
            .map(i64::from)
    }

    fn viewpoint<C>(conn: &mut C) -> QueryResult<String>
    where
        C: LoadConnection<Backend = Self>,
    {
        sql::<Text>(VIEWPOINT).get_result(conn)
    }

    fn waits<C>(conn: &mut C) -> QueryResult<Seen>
    where
        C: LoadConnection<Backend = Self>,
    {
        let at = Instant::now();
        let waits = sql::<WaitTypes>(WAITS).load(conn)?;
        Ok(Seen { at, waits })
    }

    fn cancel<C>(conn: &mut C, session: i64) -> QueryResult<bool>
    where
        C: LoadConnection<Backend = Self>,
    {
        signal(conn, "pg_cancel_backend", session)
    }

    fn terminate<C>(conn: &mut C, session: i64) -> QueryResult<bool>
    where
        C: LoadConnection<Backend = Self>,
    {
        signal(conn, "pg_terminate_backend", session)
    }
}

fn signal<C>(conn: &mut C, function: &str, session: i64) -> QueryResult<bool>
where
    C: LoadConnection<Backend = Pg>,
{
    match i32::try_from(session) {
        Ok(pid) => sql::<Bool>(&format!("SELECT {function}({pid})")).get_result(conn),
        // No process has such a number.
        Err(_) => Ok(false),
    }
}
