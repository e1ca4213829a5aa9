#[path = "support/mod.rs"]
mod support;
use support::*;

fn balance(conn: &mut PgConnection, id: i32) -> Result<i64, LockError> {
    with_row_lock(conn, accounts::table.find(id), |account: Locked<Account>| Ok(account.balance))
}

fn main() {}
