#[path = "support/mod.rs"]
mod support;
use support::*;

fn rename(conn: &mut PgConnection, id: i32) -> Result<(), LockError> {
    with_row_lock(conn, accounts::table.find(id), |_, _: Locked<Customer>| Ok(()))
}

fn main() {}
