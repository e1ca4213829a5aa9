//! MySQL's and MariaDB's words for who waits for whom.

use std::thread;
use std::time::Duration;

use diesel::connection::LoadConnection;
use diesel::dsl::sql;
use diesel::mysql::Mysql;
use diesel::result::{Error as DieselError, QueryResult};
use diesel::sql_types::BigInt;
use diesel::RunQueryDsl;

use crate::waits::backend::{WaitRow, WaitTypes, WaitsBackend};

/// With the conditional comments of `clause.rs`: the waits are in tables of other names on MySQL.
///
/// A transaction's times are those of the server's time zone, whatever the session's is.
const WAITS: &str = "SELECT DISTINCT CAST(r.trx_mysql_thread_id AS SIGNED), NULL, r.trx_query, \
        CAST(b.trx_mysql_thread_id AS SIGNED), NULL, COALESCE(b.trx_query, p.info), \
        COALESCE(p.command = 'Sleep', FALSE), \
        /*M! REPLACE(l.lock_table, '`', '') */ \
        /*!80001 CONCAT(l.object_schema, '.', l.object_name) */, \
        CAST(COALESCE(TIMESTAMPDIFF(MICROSECOND, \
            CONVERT_TZ(r.trx_wait_started, 'SYSTEM', '+00:00'), UTC_TIMESTAMP()), 0) AS SIGNED) \
    FROM information_schema.innodb_trx r \
    /*M! JOIN information_schema.innodb_lock_waits w ON w.requesting_trx_id = r.trx_id \
        JOIN information_schema.innodb_locks l ON l.lock_id = w.requested_lock_id */ \
    /*!80001 JOIN performance_schema.data_lock_waits w \
            ON w.requesting_engine_transaction_id = r.trx_id \
        JOIN performance_schema.data_locks l \
            ON l.engine_lock_id = w.requesting_engine_lock_id */ \
    JOIN information_schema.innodb_trx b \
        ON b.trx_id = /*M! w.blocking_trx_id */ /*!80001 w.blocking_engine_transaction_id */ \
    LEFT JOIN information_schema.processlist p ON p.id = b.trx_mysql_thread_id";

impl WaitsBackend for Mysql {
    fn session<C>(conn: &mut C) -> QueryResult<i64>
    where
        C: LoadConnection<Backend = Self>,
    {
        sql::<BigInt>("SELECT CAST(connection_id() AS SIGNED)").get_result(conn)
    }

    fn waits<C>(conn: &mut C) -> QueryResult<Vec<WaitRow>>
    where
        C: LoadConnection<Backend = Self>,
    {
        match waits_in_turn(conn)? {
            Some(waits) => Ok(waits),
            // Somebody keeps the turn. Better an old answer than none.
            None => sql::<WaitTypes>(WAITS).load(conn),
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

/// Who waits for whom; `None` if the turn to ask did not come.
///
/// The server renews the list only when nobody has read it for 100 ms, so those who ask take turns, by
/// a lock of the server's: they may be in different processes.
pub(super) fn waits_in_turn<C>(conn: &mut C) -> QueryResult<Option<Vec<WaitRow>>>
where
    C: LoadConnection<Backend = Mysql>,
{
    let turn = "SELECT CAST(COALESCE(GET_LOCK('diesel_row_lock.watch', 5), 0) AS SIGNED)";
    if sql::<BigInt>(turn).get_result::<i64>(conn)? == 0 {
        return Ok(None);
    }
    thread::sleep(Duration::from_millis(110));
    let waits = sql::<WaitTypes>(WAITS).load(conn);
    let next = "SELECT CAST(RELEASE_LOCK('diesel_row_lock.watch') AS SIGNED)";
    sql::<BigInt>(next).execute(conn)?;
    waits.map(Some)
}

/// An error means that there is no such session, or that this user may not end it.
fn kill<C>(conn: &mut C, what: &str, session: i64) -> QueryResult<bool>
where
    C: LoadConnection<Backend = Mysql>,
{
    match conn.batch_execute(&format!("KILL {what} {session}")) {
        Ok(()) => Ok(true),
        Err(DieselError::DatabaseError(..)) if is_gone(conn, session) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether it is sure that there is no such session: only who has the privilege that `innodb_trx` asks
/// for is shown all of them.
fn is_gone<C>(conn: &mut C, session: i64) -> bool
where
    C: LoadConnection<Backend = Mysql>,
{
    let sessions = sql::<BigInt>(&format!(
        "SELECT COUNT(*) FROM information_schema.processlist \
         WHERE id = {session} AND (SELECT COUNT(*) FROM information_schema.innodb_trx) >= 0"
    ));
    matches!(sessions.get_result::<i64>(conn), Ok(0))
}
