#[path = "support/mod.rs"]
mod support;
use support::*;

#[derive(Identifiable)]
#[diesel(table_name = accounts)]
struct Balance {
    id: i32,
    balance: i64,
}

fn balance(conn: &mut PgConnection, id: i32) -> Result<i64, LockError> {
    with_row_lock(conn, accounts::table.find(id), |_, account: Locked<Balance>| Ok(account.balance))
}

fn main() {}
