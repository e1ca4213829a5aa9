//! MySQL and MariaDB implementation of [`WaitsBackend`].

use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::LoadConnection;
use diesel::dsl::sql;
use diesel::mysql::Mysql;
use diesel::result::{Error as DieselError, QueryResult};
use diesel::sql_types::{BigInt, Text};
use diesel::RunQueryDsl;

use crate::waits::backend::{Seen, WaitTypes, WaitsBackend};

/// The direct blockers. One statement for both servers, by the conditional comments of `clause.rs`:
/// each has its own tables of waits.
///
/// Both list a waiter with every session ahead in the line, so a line of `n` waiters has `n * n /
/// 2` pairs. Here a waiter is paired with the *holders* of the lock that it waits for. Where a lock
/// has several holders, the first waiter in each mode is paired with all of them (`place`), and the
/// others with one (`nth`): every holder is in the list, and the list stays linear. A waiter that
/// no holder blocks stands behind a conflicting request, and is paired with that one.
///
/// - MariaDB: a lock is a request while its transaction waits for it. Transactions that hold shared
///   locks only all have the id 0, so any of them that has a lock is taken for the holder. A
///   transaction's times are those of the server's time zone, whatever the session's is.
/// - MySQL: not `innodb_trx` or `processlist`, which fail as a whole while any session runs a
///   statement with a character of four bytes. So the time is that of the statement.
///   A lock of an XA transaction that is prepared still names the session that has made it. It is
///   that session's no more when its current transaction is prepared or has begun after the lock.
const WAITS: &str = "/*M! WITH holders AS ( \
        SELECT w.requested_lock_id AS request, b.trx_mysql_thread_id AS blocker \
        FROM information_schema.innodb_lock_waits w \
        JOIN information_schema.innodb_trx b ON b.trx_id = w.blocking_trx_id \
            AND NOT b.trx_requested_lock_id <=> w.blocking_lock_id \
            AND (b.trx_id <> 0 OR b.trx_lock_structs > 0)), \
    blockers AS (SELECT * FROM holders UNION \
        SELECT w.requested_lock_id, MIN(b.trx_mysql_thread_id) \
        FROM information_schema.innodb_lock_waits w \
        JOIN information_schema.innodb_trx b ON b.trx_requested_lock_id = w.blocking_lock_id \
        WHERE w.requested_lock_id NOT IN (SELECT request FROM holders) \
        GROUP BY w.requested_lock_id), \
    ranked AS (SELECT b.*, l.lock_table, \
            DENSE_RANK() OVER (PARTITION BY l.lock_type, l.lock_table, l.lock_space, l.lock_page, \
                l.lock_rec, l.lock_mode ORDER BY b.request) AS place, \
            ROW_NUMBER() OVER (PARTITION BY b.request ORDER BY b.blocker) AS nth \
        FROM blockers b \
        JOIN information_schema.innodb_locks l ON l.lock_id = b.request) \
    SELECT DISTINCT CAST(r.trx_mysql_thread_id AS SIGNED), NULL, r.trx_query, \
        CAST(l.blocker AS SIGNED), NULL, p.info, \
        COALESCE(p.command = 'Sleep', FALSE), REPLACE(l.lock_table, '`', ''), \
        CAST(COALESCE(TIMESTAMPDIFF(MICROSECOND, \
            CONVERT_TZ(r.trx_wait_started, 'SYSTEM', '+00:00'), UTC_TIMESTAMP()), 0) AS SIGNED) \
    FROM ranked l \
    JOIN information_schema.innodb_trx r ON r.trx_requested_lock_id = l.request \
    LEFT JOIN information_schema.processlist p ON p.id = l.blocker \
    WHERE l.place = 1 OR l.nth = 1 */ \
    /*!80001 WITH holders AS ( \
        SELECT requesting_engine_lock_id AS request, blocking_engine_lock_id AS lock_id \
        FROM performance_schema.data_lock_waits WHERE blocking_engine_lock_id IN ( \
            SELECT engine_lock_id FROM performance_schema.data_locks \
            WHERE lock_status = 'GRANTED')), \
    blockers AS (SELECT * FROM holders UNION \
        SELECT requesting_engine_lock_id, MIN(blocking_engine_lock_id) \
        FROM performance_schema.data_lock_waits \
        WHERE requesting_engine_lock_id NOT IN (SELECT request FROM holders) \
        GROUP BY requesting_engine_lock_id), \
    ranked AS (SELECT b.*, r.thread_id, r.object_schema, r.object_name, \
            DENSE_RANK() OVER (PARTITION BY r.lock_type, r.object_schema, r.object_name, \
                r.partition_name, r.subpartition_name, r.index_name, r.lock_data, r.lock_mode \
                ORDER BY b.request) AS place, \
            ROW_NUMBER() OVER (PARTITION BY b.request ORDER BY b.lock_id) AS nth \
        FROM blockers b \
        JOIN performance_schema.data_locks r ON r.engine_lock_id = b.request), \
    pairs AS (SELECT l.*, \
            IF(e.xa_state <=> 'PREPARED' OR COALESCE(e.event_id > h.event_id, FALSE), \
                NULL, h.thread_id) AS blocker \
        FROM ranked l \
        JOIN performance_schema.data_locks h ON h.engine_lock_id = l.lock_id \
        LEFT JOIN performance_schema.events_transactions_current e ON e.thread_id = h.thread_id \
        WHERE l.place = 1 OR l.nth = 1) \
    SELECT DISTINCT CAST(COALESCE(r.processlist_id, 0) AS SIGNED), NULL, r.processlist_info, \
        CAST(COALESCE(b.processlist_id, 0) AS SIGNED), NULL, b.processlist_info, \
        COALESCE(b.processlist_command = 'Sleep', FALSE), \
        CONCAT(l.object_schema, '.', l.object_name), \
        CAST(COALESCE((SELECT MAX(s.timer_wait) DIV 1000000 \
                FROM performance_schema.events_statements_current s \
                WHERE s.thread_id = r.thread_id AND s.end_event_id IS NULL), \
            r.processlist_time * 1000000, 0) AS SIGNED) \
    FROM pairs l \
    JOIN performance_schema.threads r ON r.thread_id = l.thread_id \
    LEFT JOIN performance_schema.threads b ON b.thread_id = l.blocker */";

/// Names the server.
macro_rules! server {
    () => {
        "CAST(CONCAT_WS('|', /*M! @@server_uid */ /*!80001 @@server_uuid */, \
         @@hostname, @@port, @@datadir) AS CHAR)"
    };
}

/// The server, the user and the role, which decide what a connection may see, and the database.
const VIEWPOINT: &str = concat!(
    "SELECT CAST(CONCAT_WS('|', ",
    server!(),
    ", CURRENT_USER(), CURRENT_ROLE(), DATABASE()) AS CHAR)"
);

/// The same without what decides only what else is shown.
#[cfg(feature = "race")]
pub(super) const SERVER: &str = server!();

impl WaitsBackend for Mysql {
    fn session<C>(conn: &mut C) -> QueryResult<i64>
    where
        C: LoadConnection<Backend = Self>,
    {
        sql::<BigInt>("SELECT CAST(connection_id() AS SIGNED)").get_result(conn)
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
        match waits_in_turn(conn)? {
            Some(seen) => Ok(seen),
            // Another session keeps the turn. An old answer is better than none.
            None => look(conn),
        }
    }

    fn cancel<C>(conn: &mut C, session: i64) -> QueryResult<bool>
    where
        C: LoadConnection<Backend = Self>,
    {
        kill(conn, "QUERY", session)
    }

    fn terminate<C>(conn: &mut C, session: i64) -> QueryResult<bool>
    where
        C: LoadConnection<Backend = Self>,
    {
        kill(conn, "CONNECTION", session)
    }
}

fn look<C>(conn: &mut C) -> QueryResult<Seen>
where
    C: LoadConnection<Backend = Mysql>,
{
    let at = Instant::now();
    let waits = sql::<WaitTypes>(WAITS).load(conn)?;
    Ok(Seen { at, waits })
}

/// What the server says now; `None` if the turn to ask did not come.
///
/// MariaDB renews its list only when no session has read it for 100 ms, so sessions take turns, by
/// a lock of the server: they may be in different processes. MySQL has its answer ready at any
/// time.
pub(super) fn waits_in_turn<C>(conn: &mut C) -> QueryResult<Option<Seen>>
where
    C: LoadConnection<Backend = Mysql>,
{
    const NO_TURN_NEEDED: i64 = 2;
    let turn = "SELECT /*M! CAST(COALESCE(GET_LOCK('diesel_row_lock.watch', 5), 0) AS SIGNED) */ \
        /*!80001 2 */";
    match sql::<BigInt>(turn).get_result::<i64>(conn)? {
        0 => return Ok(None),
        NO_TURN_NEEDED => return look(conn).map(Some),
        _ => thread::sleep(Duration::from_millis(110)),
    }
    // The result is looked at when the turn is over: an error must not keep the turn.
    let seen = look(conn);
    let next = "SELECT CAST(RELEASE_LOCK('diesel_row_lock.watch') AS SIGNED)";
    let mut next = || sql::<BigInt>(next).execute(&mut *conn);
    // Once more if that was cancelled: the turn lasts as long as the session.
    next().or_else(|_| next())?;
    seen.map(Some)
}

/// An error means that there is no such session, or that this user may not end it.
fn kill<C>(conn: &mut C, what: &str, session: i64) -> QueryResult<bool>
where
    C: LoadConnection<Backend = Mysql>,
{
    match conn.batch_execute(&format!("KILL {what} {session}")) {
        Ok(()) => Ok(true),
        // Diesel keeps no error number, and the servers translate the text. So the list of sessions
        // decides.
        Err(DieselError::DatabaseError(..)) if is_gone(conn, session) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether it is sure that there is no such session: only who has the privilege that `innodb_trx`
/// asks for is shown all of them.
fn is_gone<C>(conn: &mut C, session: i64) -> bool
where
    C: LoadConnection<Backend = Mysql>,
{
    let sessions = sql::<BigInt>(&format!(
        "SELECT COUNT(*) /*M! FROM information_schema.processlist WHERE id = {session} \
             AND (SELECT COUNT(*) FROM information_schema.innodb_trx) >= 0 */ \
         /*!80001 FROM performance_schema.threads WHERE processlist_id = {session} */"
    ));
    matches!(sessions.get_result::<i64>(conn), Ok(0))
}
