#[path = "support/mod.rs"]
mod support;
use support::*;

fn main() {
    let conn = &mut SqliteConnection::establish(":memory:").unwrap();
    let _ = with_row_locks(conn, ["1", "2"], |_, _: [Locked<Account>; 2]| {
        Ok::<_, LockError>(())
    });
}
