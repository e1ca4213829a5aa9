#[path = "support/mod.rs"]
mod support;
use support::*;

fn main() {
    let conn = &mut SqliteConnection::establish(":memory:").unwrap();
    let _ = RowLock::for_update().skip_locked().with_all(
        conn,
        accounts::table.limit(1),
        |_, _: Vec<Locked<Account>>| Ok::<_, LockError>(()),
    );
}
