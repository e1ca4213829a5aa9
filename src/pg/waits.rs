//! PostgreSQL's words for who waits for whom.

use diesel::connection::LoadConnection;
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::result::QueryResult;
use diesel::sql_types::{Bool, Integer};
use diesel::RunQueryDsl;

use crate::waits::backend::{WaitRow, WaitTypes, WaitsBackend};

/// From `pg_locks`, which everybody may read, and not from what `pg_stat_activity` says of waits.
///
/// Who waits for a row waits for a transaction, and holds its place in the row's line, which names the
/// table. A transaction that is prepared has the pid 0. `waitstart` is not there before PostgreSQL 14,
/// hence by way of JSON.
const WAITS: &str = "WITH locks AS (SELECT * FROM pg_locks) \
    SELECT CAST(w.pid AS BIGINT), NULLIF(w.application_name, ''), NULLIF(w.query, ''), \
        CAST(blocker.pid AS BIGINT), NULLIF(b.application_name, ''), \
        COALESCE(NULLIF(b.query, ''), 'PREPARE TRANSACTION ' || quote_literal(p.gid)), \
        COALESCE(b.state LIKE 'idle%', FALSE), \
        (SELECT CAST(CAST(t.relation AS regclass) AS TEXT) FROM locks t \
            WHERE t.pid = w.pid AND t.relation IS NOT NULL \
                AND (t.locktype = 'tuple' OR NOT t.granted) \
                AND t.database IN \
                    (0, (SELECT oid FROM pg_database WHERE datname = current_database())) \
            LIMIT 1), \
        COALESCE(CAST(EXTRACT(EPOCH FROM clock_timestamp() - COALESCE( \
            CAST(to_jsonb(l) ->> 'waitstart' AS TIMESTAMPTZ), w.query_start)) * 1000000 AS BIGINT), 0) \
    FROM locks l \
    JOIN pg_stat_activity w ON w.pid = l.pid \
    CROSS JOIN LATERAL (SELECT DISTINCT unnest(pg_blocking_pids(l.pid)) AS pid) blocker \
    LEFT JOIN pg_stat_activity b ON b.pid = blocker.pid \
    LEFT JOIN pg_prepared_xacts p ON blocker.pid = 0 AND p.transaction = l.transactionid \
    WHERE NOT l.granted";

impl WaitsBackend for Pg {
    fn session<C>(conn: &mut C) -> QueryResult<i64>
    where
        C: LoadConnection<Backend = Self>,
    {
        sql::<Integer>("SELECT pg_backend_pid()")
            .get_result::<i32>(conn)
            .map(i64::from)
    }

    fn waits<C>(conn: &mut C) -> QueryResult<Vec<WaitRow>>
    where
        C: LoadConnection<Backend = Self>,
    {
        sql::<WaitTypes>(WAITS).load(conn)
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
