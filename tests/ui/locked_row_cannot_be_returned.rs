#[path = "support/mod.rs"]
mod support;
use support::*;

fn account(conn: &mut PgConnection, id: i32) -> Result<i64, LockError> {
    let account = with_row_lock(conn, accounts::table.find(id), |_, account: Locked<Account>| {
        Ok::<_, LockError>(account)
    })?;
    Ok(account.balance)
}

fn main() {}
