#[path = "support/mod.rs"]
mod support;
use support::*;

fn close(conn: &mut PgConnection, id: i32) -> Result<(), LockError> {
    with_row_lock(conn, accounts::table.find(id), |conn, account: Locked<Account>| {
        diesel::delete(accounts::table.find(account.id)).execute(conn)?;
        Ok(())
    })?;
    Ok(())
}

fn main() {}
