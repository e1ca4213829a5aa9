#[path = "support/mod.rs"]
mod support;
use support::*;

fn main() {
    let conn = &mut SqliteConnection::establish(":memory:").unwrap();
    let mut escaped = None;
    let _ = with_row_lock(conn, accounts::table.find(1), |_, account: Locked<Account>| {
        escaped = Some(account);
        Ok::<_, LockError>(())
    });
}
