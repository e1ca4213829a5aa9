//! A schema of its own on the PostgreSQL server at `PG_URL`.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::{database_name, schema, server_of, server_url, shared_methods};

pub(crate) type Conn = PgConnection;

pub(crate) struct Db {
    name: String,
}

impl Db {
    pub(crate) const STAMP: &str = "postgres";
    const PAUSE: Duration = Duration::from_millis(5);

    pub(crate) fn new(law: &str) -> Self {
        let name = database_name(law);
        server()
            .batch_execute(&format!(
                "DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}"
            ))
            .unwrap();
        let db = Self { name };
        db.connect().batch_execute(schema::TABLES).unwrap();
        db
    }

    /// Every connection names its test, so that the server can be asked about them, and waits no
    /// longer than that a test which is stuck fails.
    pub(crate) fn url(&self) -> String {
        let url = server_url("PG_URL");
        let sign = if url.contains('?') { '&' } else { '?' };
        let name = &self.name;
        format!(
            "{url}{sign}application_name={name}\
             &options=-csearch_path%3D{name}%20-clock_timeout%3D40s"
        )
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The `host:port` of the server.
    pub(crate) fn server(&self) -> String {
        server_of(&self.url())
    }

    /// The URL with another `host:port`.
    pub(crate) fn url_at(&self, address: &str) -> String {
        self.url().replacen(&self.server(), address, 1)
    }

    pub(crate) fn connect(&self) -> Conn {
        PgConnection::establish(&self.url()).unwrap()
    }

    /// A connection of a role that has no rights.
    pub(crate) fn connect_as_stranger(&self) -> Conn {
        let mut conn = self.connect();
        let name = &self.name;
        conn.batch_execute(&format!("CREATE ROLE {name}; SET ROLE {name}"))
            .unwrap();
        conn
    }

    pub(crate) fn drop_stranger(&self) {
        let drop = format!("DROP ROLE {}", self.name);
        self.connect().batch_execute(&drop).unwrap();
    }

    /// How many connections of this test wait for a lock, by the server's word.
    pub(crate) fn waiters(&self) -> i64 {
        sql::<BigInt>(&format!(
            "SELECT count(*) FROM pg_stat_activity \
             WHERE application_name = '{}' AND cardinality(pg_blocking_pids(pid)) > 0",
            self.name
        ))
        .get_result(&mut server())
        .unwrap()
    }

    /// A session of this test that waits for a lock.
    pub(crate) fn waiting_session(&self) -> i32 {
        sql::<diesel::sql_types::Integer>(&format!(
            "SELECT pid FROM pg_stat_activity \
             WHERE application_name = '{}' AND cardinality(pg_blocking_pids(pid)) > 0",
            self.name
        ))
        .get_result(&mut server())
        .unwrap()
    }

    /// Nothing to choose here, see MariaDB's.
    #[allow(clippy::unused_self)]
    pub(crate) fn loosen_snapshots(&self) {}

    shared_methods!();

    /// The settings that a locked call touches.
    pub(crate) fn settings(conn: &mut Conn) -> String {
        sql::<diesel::sql_types::Text>(
            "SELECT concat_ws(' ', current_setting('lock_timeout'), \
             current_setting('statement_timeout'), current_setting('transaction_isolation'), \
             current_setting('idle_in_transaction_session_timeout'), \
             current_setting('transaction_timeout', true), \
             (SELECT count(*) FROM pg_cursors WHERE NOT is_holdable AND name <> ''))",
        )
        .get_result(conn)
        .unwrap()
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        // Connections that a failed test left behind must not make this wait.
        let _ = server().batch_execute(&format!(
            "SET lock_timeout = '5s'; DROP SCHEMA {} CASCADE",
            self.name
        ));
    }
}

fn server() -> Conn {
    PgConnection::establish(&server_url("PG_URL")).unwrap()
}
