#[path = "support/mod.rs"]
mod support;
use support::*;

#[derive(diesel::MultiConnection)]
enum AnyConnection {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

fn balance(conn: &mut AnyConnection, id: i32) -> Result<i64, LockError> {
    with_row_lock(conn, accounts::table.find(id), |_, account: Locked<Account>| Ok(account.balance))
}

fn main() {}
