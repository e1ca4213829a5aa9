#[path = "support/mod.rs"]
mod support;
use support::*;

fn deposit(conn: &mut PgConnection, id: i32) -> Result<i64, LockError> {
    with_row_lock(conn, accounts::table.find(id), |_, mut account: Locked<Account>| {
        account.balance += 100;
        Ok(account.save_changes::<Account>(conn)?.balance)
    })
}

fn main() {}
