//! A database of its own on a server of MySQL's family. [`mysql`](super::mysql) and
//! [`mariadb`](super::mariadb) say where the servers differ.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;

use super::{database_name, schema, server_of, server_url, shared_methods};

pub(crate) type Conn = MysqlConnection;

/// One of the servers.
pub(crate) trait Server {
    /// The stamp of the laws that run on it.
    const STAMP: &str;
    /// The environment variable with its URL.
    const VARIABLE: &str;
    /// A text of the settings that a locked call touches.
    const SETTINGS: &str;
    /// The start of a query for the ids of the sessions in a database.
    const SESSIONS_OF_DATABASE: &str;
    /// Lets a transaction lock rows that are newer than its snapshot, where the server has a
    /// choice.
    const LOOSE_SNAPSHOTS: &str;
}

pub(crate) struct Db<S: Server> {
    name: String,
    loose: AtomicBool,
    server: PhantomData<fn() -> S>,
}

impl<S: Server> Db<S> {
    pub(crate) const STAMP: &str = S::STAMP;
    const PAUSE: Duration = Duration::from_millis(5);

    pub(crate) fn new(law: &str) -> Self {
        let name = database_name(law);
        server::<S>()
            .batch_execute(&format!(
                "DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}"
            ))
            .unwrap();
        let db = Self {
            name,
            loose: AtomicBool::new(false),
            server: PhantomData,
        };
        db.connect().batch_execute(schema::TABLES).unwrap();
        db
    }

    pub(crate) fn url(&self) -> String {
        let url = server_url(S::VARIABLE);
        let (server, _) = url.rsplit_once('/').expect("the URL names a database");
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
        let mut conn = MysqlConnection::establish(&self.url()).unwrap();
        if self.loose.load(Ordering::Relaxed) {
            conn.batch_execute(S::LOOSE_SNAPSHOTS).unwrap();
        }
        conn
    }

    /// From now on, connections may lock rows that are newer than their snapshot, whatever the
    /// server does by default.
    pub(crate) fn loosen_snapshots(&self) {
        self.loose.store(true, Ordering::Relaxed);
    }

    /// A connection of a user that has no rights but to this database.
    pub(crate) fn connect_as_stranger(&self) -> Conn {
        let name = &self.name;
        let grant = format!("CREATE USER {name}; GRANT SELECT ON {name}.* TO {name}");
        self.connect().batch_execute(&grant).unwrap();
        let server = self.server();
        MysqlConnection::establish(&format!("mysql://{name}@{server}/{name}")).unwrap()
    }

    pub(crate) fn drop_stranger(&self) {
        let drop = format!("DROP USER {}", self.name);
        self.connect().batch_execute(&drop).unwrap();
    }

    /// How many connections of this test wait for a row, by the server's word.
    pub(crate) fn waiters(&self) -> i64 {
        i64::try_from(self.waiting_sessions().len()).unwrap()
    }

    /// A session of this test that waits for a row.
    pub(crate) fn waiting_session(&self) -> i32 {
        self.waiting_sessions()[0]
    }

    /// Not by `information_schema.innodb_trx`: the server renews that only when nobody has read it
    /// for 100 ms. Diesel can't run the statement that says what is now.
    fn waiting_sessions(&self) -> Vec<i32> {
        let answer = servers::mysql::query(
            &server_url(S::VARIABLE),
            &format!(
                "SHOW ENGINE INNODB STATUS; {} = '{}'",
                S::SESSIONS_OF_DATABASE,
                self.name
            ),
        );
        let answer = answer.unwrap();
        let mut lines = answer.lines();
        let status = lines.next().unwrap_or_default();
        let waits = |session: &i32| {
            let name = format!(" thread id {session},");
            let mut transactions = status.split("---TRANSACTION ");
            transactions
                .any(|transaction| transaction.contains("LOCK WAIT") && transaction.contains(&name))
        };
        lines.map(|id| id.parse().unwrap()).filter(waits).collect()
    }

    shared_methods!();

    /// The settings that a locked call touches.
    pub(crate) fn settings(conn: &mut Conn) -> String {
        sql::<Text>(S::SETTINGS).get_result(conn).unwrap()
    }
}

impl<S: Server> Drop for Db<S> {
    fn drop(&mut self) {
        // Connections that a failed test left behind must not make this wait.
        let _ = server::<S>().batch_execute(&format!(
            "SET lock_wait_timeout = 5; DROP DATABASE {}",
            self.name
        ));
    }
}

fn server<S: Server>() -> Conn {
    MysqlConnection::establish(&server_url(S::VARIABLE)).unwrap()
}
