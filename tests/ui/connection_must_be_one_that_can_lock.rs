#[path = "support/mod.rs"]
mod support;
use support::*;

fn main() {
    let conn = &mut "not a connection";
    let _ = with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
        Ok::<_, LockError>(())
    });
}
