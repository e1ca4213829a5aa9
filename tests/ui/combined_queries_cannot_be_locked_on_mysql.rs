#[path = "support/mod.rs"]
mod support;
use support::*;

fn main() {
    let conn = &mut MysqlConnection::establish("").unwrap();
    let few = accounts::table.filter(accounts::balance.lt(10));
    let both = accounts::table.find(1).union(few);
    let _ = RowLock::for_update().with_all(conn, both, |_, _: Vec<Locked<Account>>| {
        Ok::<_, LockError>(())
    });
}
