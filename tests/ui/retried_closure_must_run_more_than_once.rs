#[path = "support/mod.rs"]
mod support;
use support::*;

fn rename(conn: &mut PgConnection, id: i32, name: String) -> Result<String, LockError> {
    let lock = RowLock::for_update().retry(Retry::new());
    lock.with(conn, accounts::table.find(id), |_, _: Locked<Account>| Ok(name))
}

fn main() {}
