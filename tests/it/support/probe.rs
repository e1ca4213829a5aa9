//! Questions and orders to a server that come from outside of the connection under test, in plain
//! SQL that the crate has no part in.

use std::sync::{Arc, Mutex, PoisonError};

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Integer;

use super::sqlite;

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
    ($(($backend:ident, $session:literal, $cancel:literal, $kill:literal))+) => {$(
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

            /// By what name the server knows this connection.
            pub(crate) fn session(conn: &mut super::$backend::Conn) -> i32 {
                sql::<Integer>($session).get_result(conn).unwrap()
            }

            /// Cancels what the session does.
            pub(crate) fn cancel(&self, session: i32) {
                self.connect().batch_execute(&format!($cancel, session)).unwrap();
            }

            /// Ends the session.
            pub(crate) fn kill(&self, session: i32) {
                self.connect().batch_execute(&format!($kill, session)).unwrap();
            }
        }
    )+};
}

#[cfg(feature = "postgres")]
server_probes! {
    (postgres, "SELECT pg_backend_pid()", "SELECT pg_cancel_backend({})", "SELECT pg_terminate_backend({})")
}

#[cfg(feature = "mysql")]
server_probes! {
    (mysql, "SELECT CAST(connection_id() AS INTEGER)", "KILL QUERY {}", "KILL CONNECTION {}")
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
}
