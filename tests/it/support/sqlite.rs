//! A database file of its own, in a folder of its own.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;

use super::{schema, shared_methods};

pub(crate) type Conn = SqliteConnection;

pub(crate) struct Db {
    folder: tempfile::TempDir,
    waiters: Arc<AtomicI64>,
}

impl Db {
    pub(crate) const STAMP: &str = "sqlite";
    const PAUSE: Duration = Duration::from_millis(1);

    pub(crate) fn new(_law: &str) -> Self {
        let db = Self {
            folder: tempfile::tempdir().unwrap(),
            waiters: Arc::default(),
        };
        let mut conn = db.connect();
        conn.batch_execute("PRAGMA journal_mode = WAL").unwrap();
        conn.batch_execute(schema::TABLES).unwrap();
        db
    }

    pub(crate) fn url(&self) -> String {
        self.folder.path().join("bank.db").display().to_string()
    }

    /// Waits up to 20 s for the write lock, and counts as a waiter while it is inside of
    /// `BEGIN IMMEDIATE`.
    pub(crate) fn connect(&self) -> Conn {
        let mut conn = SqliteConnection::establish(&self.url()).unwrap();
        conn.batch_execute("PRAGMA busy_timeout = 20000; PRAGMA foreign_keys = ON")
            .unwrap();
        let waiters = Arc::clone(&self.waiters);
        conn.set_instrumentation(move |event: InstrumentationEvent<'_>| match event {
            InstrumentationEvent::StartQuery { query, .. } if is_begin(&query.to_string()) => {
                waiters.fetch_add(1, Ordering::SeqCst);
            }
            InstrumentationEvent::FinishQuery { query, .. } if is_begin(&query.to_string()) => {
                waiters.fetch_sub(1, Ordering::SeqCst);
            }
            _ => {}
        });
        conn
    }

    /// How many connections of this test are inside of `BEGIN IMMEDIATE`. There is no server to
    /// ask; while another connection holds the write lock, to be inside is to wait.
    pub(crate) fn waiters(&self) -> i64 {
        self.waiters.load(Ordering::SeqCst)
    }

    /// Nothing to choose here, see MariaDB's.
    #[allow(clippy::unused_self)]
    pub(crate) fn loosen_snapshots(&self) {}

    shared_methods!();

    /// The settings that a locked call touches.
    pub(crate) fn settings(conn: &mut Conn) -> String {
        sql::<Text>(
            "SELECT (SELECT timeout FROM pragma_busy_timeout) || ' ' || \
             (SELECT foreign_keys FROM pragma_foreign_keys)",
        )
        .get_result(conn)
        .unwrap()
    }
}

fn is_begin(sql: &str) -> bool {
    sql.starts_with("BEGIN IMMEDIATE")
}
