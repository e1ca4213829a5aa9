//! A database of its own on the MySQL or MariaDB server at `MYSQL_URL`.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::{database_name, schema, server_of, server_url, shared_methods};

pub(crate) type Conn = MysqlConnection;

pub(crate) struct Db {
    name: String,
}

impl Db {
    pub(crate) const BACKEND: &str = "mysql";
    const PAUSE: Duration = Duration::ZERO;

    pub(crate) fn new(law: &str) -> Self {
        let name = database_name(law);
        server()
            .batch_execute(&format!(
                "DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}"
            ))
            .unwrap();
        let db = Self { name };
        db.connect().batch_execute(schema::TABLES).unwrap();
        db
    }

    pub(crate) fn url(&self) -> String {
        let url = server_url("MYSQL_URL");
        let (server, _) = url.rsplit_once('/').expect("MYSQL_URL names a database");
        format!("{server}/{}", self.name)
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
        MysqlConnection::establish(&self.url()).unwrap()
    }

    /// How many connections of this test wait for a lock, by the server's word.
    ///
    /// The server renews its list only when nobody has read it for 100 ms, so the tests of this
    /// process take turns.
    pub(crate) fn waiters(&self) -> i64 {
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        thread::park_timeout(Duration::from_millis(120));
        sql::<BigInt>(&format!(
            "SELECT count(*) FROM information_schema.innodb_trx t \
             JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
             WHERE t.trx_state = 'LOCK WAIT' AND p.db = '{}'",
            self.name
        ))
        .get_result(&mut server())
        .unwrap()
    }

    shared_methods!();

    /// The settings that a locked call touches.
    pub(crate) fn settings(conn: &mut Conn) -> String {
        sql::<Text>(
            "SELECT concat_ws(' ', @@autocommit, @@innodb_lock_wait_timeout, @@tx_isolation, \
             @@in_transaction)",
        )
        .get_result(conn)
        .unwrap()
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        // Connections that a failed test left behind must not make this wait.
        let _ = server().batch_execute(&format!(
            "SET lock_wait_timeout = 5; DROP DATABASE {}",
            self.name
        ));
    }
}

fn server() -> Conn {
    MysqlConnection::establish(&server_url("MYSQL_URL")).unwrap()
}
