//! Questions and orders to a server that come from outside of the connection under test, in plain
//! SQL that the crate has no part in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::dsl::sql;
use diesel::prelude::*;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use diesel::sql_types::BigInt;
use diesel::sql_types::Integer;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use rand::seq::IndexedRandom;

use super::sqlite;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use super::wait_until;

/// Every statement that `conn` sends from now on.
pub(crate) fn statements_of<C: Connection>(conn: &mut C) -> Arc<Mutex<Vec<String>>> {
    let statements: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&statements);
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push(query.to_string());
        }
    });
    statements
}

macro_rules! server_probes {
    (
    $backend:ident, session: $session:literal, timeout: $timeout:expr, cancel: $cancel:literal,
    kill: $kill:literal, unusual: $unusual:literal,
    survive: $survive:literal, touch: $touch:literal, brief: $brief:literal,
    unlimited: $unlimited:literal, slow: $slow:literal,
    sessions: $sessions:literal, idle: $idle:literal, others: $others:literal,
    more: [$more:literal, $more_back:literal], fewer: [$fewer:literal, $fewer_back:literal]
) => {
        impl super::$backend::Db {
            /// The ids of this table whose rows nobody holds, in order.
            pub(crate) fn free(&self, table: &str) -> Vec<i32> {
                let conn = &mut self.connect();
                let ids: Vec<i32> = sql::<Integer>(&format!("SELECT id FROM {table} ORDER BY id"))
                    .load(conn)
                    .unwrap();
                ids.into_iter()
                    .filter(|id| {
                        sql::<Integer>(&format!(
                            "SELECT id FROM {table} WHERE id = {id} FOR UPDATE SKIP LOCKED"
                        ))
                        .get_result::<i32>(conn)
                        .optional()
                        .unwrap()
                        .is_some()
                    })
                    .collect()
            }

            /// Sets what a locked call touches to values that are not the default.
            pub(crate) const UNUSUAL: &str = $unusual;

            /// Lets no statement of this session take long.
            pub(crate) const BRIEF_STATEMENTS: &str = $brief;

            /// Lets each statement of this session take its time again.
            pub(crate) const UNLIMITED_STATEMENTS: &str = $unlimited;

            /// Ends this session when a transaction of it idles.
            pub(crate) const END_IF_IDLE: &str = $idle;

            /// A statement that takes long.
            pub(crate) const SLOW_STATEMENT: &str = $slow;

            /// How many round trips a locked call takes more than the same by hand.
            pub(crate) const MORE_ROUND_TRIPS: usize = $more;

            /// How many it takes less.
            pub(crate) const FEWER_ROUND_TRIPS: usize = $fewer;

            /// The same of a call that is rolled back.
            pub(crate) const MORE_IN_A_ROLLBACK: usize = $more_back;
            pub(crate) const FEWER_IN_A_ROLLBACK: usize = $fewer_back;

            /// Makes a session the one that survives a deadlock, as far as a setting can.
            pub(crate) const SURVIVE: &str = $survive;

            /// From now on an `UPDATE` of accounts changes the seats too.
            pub(crate) const UPDATE_OF_ACCOUNTS_TOUCHES_SEATS: &str = $touch;

            /// By what name the server knows this connection.
            pub(crate) fn session(conn: &mut super::$backend::Conn) -> i32 {
                sql::<Integer>($session).get_result(conn).unwrap()
            }

            /// The statement that makes this session wait for a lock at most this long.
            pub(crate) fn session_timeout(time: Duration) -> String {
                $timeout(time)
            }

            /// Cancels what the session does.
            pub(crate) fn cancel(&self, session: i32) {
                self.connect()
                    .batch_execute(&format!($cancel, session))
                    .unwrap();
            }

            /// Waits until the server has ended the session.
            pub(crate) fn wait_for_end_of(&self, session: i32) {
                let conn = &mut self.connect();
                wait_until("the session ends", Duration::from_millis(20), || {
                    sql::<BigInt>(&format!($sessions, session))
                        .get_result::<i64>(conn)
                        .unwrap()
                        == 0
                });
            }

            /// Ends one of this test's sessions, by lot; says whether there was one.
            pub(crate) fn kill_any(&self) -> bool {
                let conn = &mut self.connect();
                let sessions: Vec<i32> = sql::<Integer>(&format!($others, self.name()))
                    .load(conn)
                    .unwrap();
                let Some(session) = sessions.choose(&mut rand::rng()) else {
                    return false;
                };
                // It may have ended by itself in this moment.
                conn.batch_execute(&format!($kill, session)).is_ok()
            }

            /// Ends the session.
            pub(crate) fn kill(&self, session: i32) {
                self.connect()
                    .batch_execute(&format!($kill, session))
                    .unwrap();
            }
        }
    };
}

#[cfg(feature = "postgres")]
server_probes! {
    postgres,
    session: "SELECT pg_backend_pid()",
    timeout: |time: Duration| format!("SET lock_timeout = {}", time.as_millis()),
    cancel: "SELECT pg_cancel_backend({})",
    kill: "SELECT pg_terminate_backend({})",
    unusual: "SET lock_timeout = '7s'; SET statement_timeout = '70s'; \
              SET idle_in_transaction_session_timeout = '77s'",
    survive: "SET deadlock_timeout = '60s'",
    touch: "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
            UPDATE seats SET taken_by = 'toucher'; RETURN NULL; END $$; \
            CREATE TRIGGER touch AFTER UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION touch()",
    brief: "SET statement_timeout = '1s'",
    unlimited: "SET statement_timeout = 0",
    slow: "SELECT pg_sleep(20)",
    sessions: "SELECT count(*) FROM pg_stat_activity WHERE pid = {}",
    idle: "SET idle_in_transaction_session_timeout = '50ms'",
    others: "SELECT pid FROM pg_stat_activity \
             WHERE application_name = '{}' AND pid <> pg_backend_pid()",
    more: [0, 0],
    fewer: [0, 0]
}

#[cfg(feature = "mysql")]
server_probes! {
    mariadb,
    session: "SELECT CAST(connection_id() AS SIGNED)",
    timeout: |time: Duration| format!("SET innodb_lock_wait_timeout = {}", time.as_secs().max(1)),
    cancel: "KILL QUERY {}",
    kill: "KILL CONNECTION {}",
    unusual: "SET innodb_lock_wait_timeout = 7; SET idle_transaction_timeout = 77",
    survive: "DO 1",
    touch: "CREATE TRIGGER touch AFTER UPDATE ON accounts FOR EACH ROW \
            UPDATE seats SET taken_by = 'toucher'",
    brief: "SET max_statement_time = 1",
    unlimited: "SET max_statement_time = 0",
    slow: "UPDATE accounts SET owner = sleep(20)",
    sessions: "SELECT count(*) FROM information_schema.processlist WHERE id = {}",
    idle: "SET idle_transaction_timeout = 1",
    others: "SELECT CAST(id AS SIGNED) FROM information_schema.processlist \
             WHERE db = '{}' AND id <> connection_id()",
    // Begin and end are prepared statements; those by hand are asked for as batches.
    more: [0, 0],
    fewer: [2, 1]
}

#[cfg(feature = "mysql")]
server_probes! {
    mysql,
    session: "SELECT CAST(connection_id() AS SIGNED)",
    timeout: |time: Duration| format!("SET innodb_lock_wait_timeout = {}", time.as_secs().max(1)),
    cancel: "KILL QUERY {}",
    kill: "KILL CONNECTION {}",
    unusual: "SET innodb_lock_wait_timeout = 7; SET wait_timeout = 777",
    survive: "DO 1",
    touch: "CREATE TRIGGER touch AFTER UPDATE ON accounts FOR EACH ROW \
            UPDATE seats SET taken_by = 'toucher'",
    brief: "SET max_execution_time = 1000",
    unlimited: "SET max_execution_time = 0",
    // Of this kind only: the limit is for `SELECT`.
    slow: "SELECT 1 FROM accounts WHERE sleep(20)",
    sessions: "SELECT count(*) FROM performance_schema.threads WHERE processlist_id = {}",
    idle: "SET wait_timeout = 1",
    others: "SELECT CAST(processlist_id AS SIGNED) FROM performance_schema.threads \
             WHERE processlist_db = '{}' AND processlist_id <> connection_id()",
    // MySQL can't prepare what is about savepoints.
    // The error of the closure's last statement is asked for before a rollback.
    more: [3, 7],
    fewer: [0, 0]
}

impl sqlite::Db {
    /// The ids of this table if nobody holds the write lock, otherwise none.
    pub(crate) fn free(&self, table: &str) -> Vec<i32> {
        let conn = &mut self.connect();
        conn.batch_execute("PRAGMA busy_timeout = 0").unwrap();
        match conn.batch_execute("BEGIN IMMEDIATE; ROLLBACK") {
            Ok(()) => sql::<Integer>(&format!("SELECT id FROM {table} ORDER BY id"))
                .load(conn)
                .unwrap(),
            Err(_) => Vec::new(),
        }
    }

    /// The statement that makes this session wait for a lock at most this long.
    pub(crate) fn session_timeout(time: Duration) -> String {
        format!("PRAGMA busy_timeout = {}", time.as_millis())
    }

    /// Sets what a locked call touches to values that are not the default.
    pub(crate) const UNUSUAL: &str = "PRAGMA busy_timeout = 7000; PRAGMA foreign_keys = OFF";
}
