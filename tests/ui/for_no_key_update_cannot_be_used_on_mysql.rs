#[path = "support/mod.rs"]
mod support;
use support::*;

fn main() {
    let conn = &mut MysqlConnection::establish("").unwrap();
    let _ = RowLock::for_no_key_update().with(
        conn,
        accounts::table.find(1),
        |_, _: Locked<Account>| Ok::<_, LockError>(()),
    );
}
