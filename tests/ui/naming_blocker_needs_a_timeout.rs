#[path = "support/mod.rs"]
mod support;
use support::*;

use diesel_row_lock::waits::SessionId;

fn balance(conn: &mut PgConnection, second: &mut PgConnection) -> Result<i64, LockError> {
    let session = SessionId::of(conn)?;
    let lock = RowLock::for_update().naming_blocker(second, session);
    lock.with(conn, accounts::table.find(1), |_, account: Locked<Account>| Ok(account.balance))
}

fn main() {}
