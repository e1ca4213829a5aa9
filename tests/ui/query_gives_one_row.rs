#[path = "support/mod.rs"]
mod support;
use support::*;

fn total(conn: &mut PgConnection) -> Result<i64, LockError> {
    with_row_lock(conn, accounts::table, |_, rows: Locked<Vec<Account>>| {
        Ok(rows.iter().map(|account| account.balance).sum())
    })
}

fn main() {}
