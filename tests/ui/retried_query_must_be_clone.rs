#[path = "support/mod.rs"]
mod support;
use support::*;

fn balance(conn: &mut PgConnection, rich: bool) -> Result<i64, LockError> {
    let mut query = accounts::table.into_boxed();
    if rich {
        query = query.filter(accounts::balance.gt(1_000));
    }
    let lock = RowLock::for_update().retry(Retry::new());
    lock.with(conn, query, |_, account: Locked<Account>| Ok(account.balance))
}

fn main() {}
