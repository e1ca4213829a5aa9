#[path = "support/mod.rs"]
mod support;
use support::*;

fn main() {
    let conn = &mut PgConnection::establish("").unwrap();
    let both = accounts::table.find(1).intersect(accounts::table);
    let _ = with_row_lock(conn, both, |_, _: Locked<Account>| Ok::<_, LockError>(()));
}
