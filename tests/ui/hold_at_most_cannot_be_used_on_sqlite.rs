#[path = "support/mod.rs"]
mod support;
use support::*;

fn main() {
    let conn = &mut SqliteConnection::establish(":memory:").unwrap();
    let _ = RowLock::for_update().hold_at_most(std::time::Duration::from_secs(1)).with(
        conn,
        accounts::table.find(1),
        |_, _: Locked<Account>| Ok::<_, LockError>(()),
    );
}
