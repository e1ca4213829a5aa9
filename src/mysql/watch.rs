//! Who waits for whom on MySQL and MariaDB.

use std::thread;
use std::time::Duration;

use diesel::connection::LoadConnection;
use diesel::dsl::sql;
use diesel::mysql::Mysql;
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::{OptionalExtension, RunQueryDsl};

use crate::race::{Seen, Watch};

impl Watch for Mysql {
    const PAUSE: Duration = Duration::from_millis(5);

    fn session<C>(conn: &mut C) -> QueryResult<i64>
    where
        C: LoadConnection<Backend = Self>,
    {
        sql::<BigInt>("SELECT CAST(connection_id() AS SIGNED)").get_result(conn)
    }

    fn waits_for<C>(watcher: &mut C, who: &Seen, others: &[Seen]) -> QueryResult<Vec<i64>>
    where
        C: LoadConnection<Backend = Self>,
    {
        let session = who.session;
        let state =
            format!("SELECT state FROM information_schema.processlist WHERE id = {session}");
        let state = sql::<Nullable<Text>>(&state)
            .get_result::<Option<String>>(watcher)
            .optional()?
            .flatten();
        let others = others.iter().map(|other| other.session);
        if state.is_some_and(|state| is_wait_for_table(&state)) {
            // The server does not say for whom.
            return Ok(others.collect());
        }
        let blockers = row_blockers(watcher, session)?;
        Ok(others.filter(|other| blockers.contains(other)).collect())
    }

    fn end_session<C>(watcher: &mut C, session: i64) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        watcher.batch_execute(&format!("KILL {session}"))
    }
}

/// The sessions that hold the row lock which this one waits for; none as long as that can't be told.
///
/// The server renews the list only when nobody has read it for 100 ms, so those who ask take turns, by
/// a lock of the server's: they may be in different processes.
fn row_blockers<C>(watcher: &mut C, session: i64) -> QueryResult<Vec<i64>>
where
    C: LoadConnection<Backend = Mysql>,
{
    let turn = "SELECT CAST(COALESCE(GET_LOCK('diesel_row_lock.watch', 5), 0) AS SIGNED)";
    if sql::<BigInt>(turn).get_result::<i64>(watcher)? == 0 {
        return Ok(Vec::new());
    }
    thread::sleep(Duration::from_millis(110));
    // The conditional comments of `clause.rs`: the waits are in a table of another name on MySQL.
    let blockers = sql::<BigInt>(&format!(
        "SELECT CAST(b.trx_mysql_thread_id AS SIGNED) FROM information_schema.innodb_trx r \
         /*M! JOIN information_schema.innodb_lock_waits w ON w.requesting_trx_id = r.trx_id */ \
         /*!80001 JOIN performance_schema.data_lock_waits w \
           ON w.requesting_engine_transaction_id = r.trx_id */ \
         JOIN information_schema.innodb_trx b \
           ON b.trx_id = /*M! w.blocking_trx_id */ /*!80001 w.blocking_engine_transaction_id */ \
         WHERE r.trx_mysql_thread_id = {session}"
    ))
    .load(watcher);
    let next = "SELECT CAST(RELEASE_LOCK('diesel_row_lock.watch') AS SIGNED)";
    sql::<BigInt>(next).execute(watcher)?;
    blockers
}

/// `Waiting for table metadata lock` and its like; `User lock` is `GET_LOCK`.
fn is_wait_for_table(state: &str) -> bool {
    (state.starts_with("Waiting for ") && state.ends_with(" lock")) || state == "User lock"
}
