//! SQLite.

#[path = "../operations.rs"]
mod operations;

use std::thread::sleep;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::migration::Result as MigrationResult;
use diesel::prelude::*;
use diesel::sql_types::Integer;
use diesel::ConnectionError;
use diesel_migrations::{embed_migrations, EmbeddedMigrations, MigrationHarness};
use diesel_row_lock::migrations;
use diesel_row_lock::waits::LockWait;
use diesel_row_lock::LockError;

use crate::error::BankError;
use crate::model::{accounts, NewAccount};

/// The bank's own tables.
const MIGRATIONS: EmbeddedMigrations = embed_migrations!("examples/bank/migrations/sqlite");

/// How long to wait for the write lock; SQLite's own default is not at all.
const PATIENCE: Duration = Duration::from_secs(10);

type Conn = SqliteConnection;

pub(super) fn connect(file: &str) -> ConnectionResult<Conn> {
    let mut conn = Conn::establish(file)?;
    configure(&mut conn).map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}

fn configure(conn: &mut Conn) -> QueryResult<()> {
    conn.batch_execute(&format!(
        "PRAGMA busy_timeout = {}; PRAGMA foreign_keys = ON",
        PATIENCE.as_millis()
    ))?;
    // With the write-ahead log, readers and the writer don't wait for each other. Of two
    // connections that turn it on in a fresh file at once, one is refused without waiting,
    // whatever the timeout.
    let start = Instant::now();
    loop {
        match conn.batch_execute("PRAGMA journal_mode = WAL") {
            Err(error) if start.elapsed() < PATIENCE => match LockError::from(error) {
                busy if busy.is_contention() => sleep(Duration::from_millis(5)),
                other => return Err(other.into()),
            },
            done => return done,
        }
    }
}

/// In one transaction that has the write lock from its beginning.
fn migrate(conn: &mut Conn) -> MigrationResult<()> {
    conn.immediate_transaction(|conn| {
        conn.run_pending_migrations(MIGRATIONS)?;
        conn.run_pending_migrations(migrations::SQLITE)?;
        Ok(())
    })
}

/// There is no server, hence nobody to ask.
fn waits(_: &mut Conn) -> Result<Option<Vec<LockWait>>, BankError> {
    Ok(None)
}

fn insert_account(conn: &mut Conn, account: &NewAccount<'_>) -> QueryResult<i32> {
    diesel::insert_into(accounts::table)
        .values(account)
        .execute(conn)?;
    diesel::select(sql::<Integer>("last_insert_rowid()")).get_result(conn)
}
