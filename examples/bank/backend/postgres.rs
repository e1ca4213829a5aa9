//! PostgreSQL.

#[path = "../operations.rs"]
mod operations;

use diesel::migration::Result as MigrationResult;
use diesel::prelude::*;
use diesel::sql_query;
use diesel_migrations::{embed_migrations, EmbeddedMigrations, MigrationHarness};
use diesel_row_lock::migrations;
use diesel_row_lock::waits::{lock_waits, LockWait};

use crate::error::BankError;
use crate::model::{accounts, NewAccount};

/// The bank's own tables.
const MIGRATIONS: EmbeddedMigrations = embed_migrations!("examples/bank/migrations/postgres");

type Conn = PgConnection;

pub(super) fn connect(url: &str) -> ConnectionResult<Conn> {
    Conn::establish(url)
}

/// In one transaction, under a lock that ends with it. The number is any that no other program
/// uses in the same database.
fn migrate(conn: &mut Conn) -> MigrationResult<()> {
    conn.transaction(|conn| {
        sql_query("SELECT pg_advisory_xact_lock(7223372036854)").execute(conn)?;
        conn.run_pending_migrations(MIGRATIONS)?;
        conn.run_pending_migrations(migrations::POSTGRES)?;
        Ok(())
    })
}

fn waits(conn: &mut Conn) -> Result<Option<Vec<LockWait>>, BankError> {
    Ok(Some(lock_waits(conn)?))
}

fn insert_account(conn: &mut Conn, account: &NewAccount<'_>) -> QueryResult<i32> {
    diesel::insert_into(accounts::table)
        .values(account)
        .returning(accounts::id)
        .get_result(conn)
}
