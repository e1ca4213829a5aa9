#[path = "support/mod.rs"]
mod support;
use support::*;

fn total(conn: &mut PgConnection) -> Result<i64, LockError> {
    let lock = RowLock::for_update();
    lock.with(conn, all(accounts::table), |_, account: Locked<Account>| Ok(account.balance))
}

fn main() {}
