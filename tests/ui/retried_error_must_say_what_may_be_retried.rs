#[path = "support/mod.rs"]
mod support;
use support::*;

#[derive(Debug)]
enum BankError {
    InsufficientFunds,
    Lock(LockError),
}

impl From<LockError> for BankError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

fn withdraw(conn: &mut PgConnection, id: i32) -> Result<(), BankError> {
    let lock = RowLock::for_update().retry(Retry::new());
    lock.with(conn, accounts::table.find(id), |_, account: Locked<Account>| {
        if account.balance < 100 {
            return Err(BankError::InsufficientFunds);
        }
        Ok(())
    })
}

fn main() {}
