//! MySQL and MariaDB.

#[path = "../operations.rs"]
mod operations;

use diesel::dsl::sql;
use diesel::migration::Result as MigrationResult;
use diesel::prelude::*;
use diesel::sql_types::{Integer, Nullable};
use diesel_migrations::{embed_migrations, EmbeddedMigrations, MigrationHarness};
use diesel_row_lock::migrations;
use diesel_row_lock::waits::{lock_waits, LockWait};

use crate::error::BankError;
use crate::model::{accounts, NewAccount};

/// The bank's own tables.
const MIGRATIONS: EmbeddedMigrations = embed_migrations!("examples/bank/migrations/mysql");

type Conn = MysqlConnection;

pub(super) fn connect(url: &str) -> ConnectionResult<Conn> {
    Conn::establish(url)
}

/// Under a named lock, because MySQL commits every CREATE TABLE by itself. The lock is the
/// server's, not the database's; it is free again when the connection is closed.
fn migrate(conn: &mut Conn) -> MigrationResult<()> {
    let locked = diesel::select(sql::<Nullable<Integer>>("GET_LOCK('bank_migrations', 60)"));
    if locked.get_result::<Option<i32>>(conn)? != Some(1) {
        return Err("another process has been at it for a minute".into());
    }
    conn.run_pending_migrations(MIGRATIONS)?;
    conn.run_pending_migrations(migrations::MYSQL)?;
    diesel::select(sql::<Nullable<Integer>>("RELEASE_LOCK('bank_migrations')"))
        .get_result::<Option<i32>>(conn)?;
    Ok(())
}

fn waits(conn: &mut Conn) -> Result<Option<Vec<LockWait>>, BankError> {
    Ok(Some(lock_waits(conn)?))
}

fn insert_account(conn: &mut Conn, account: &NewAccount<'_>) -> QueryResult<i32> {
    diesel::insert_into(accounts::table)
        .values(account)
        .execute(conn)?;
    diesel::select(sql::<Integer>("CAST(LAST_INSERT_ID() AS SIGNED)")).get_result(conn)
}
