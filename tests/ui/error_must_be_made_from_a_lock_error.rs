#[path = "support/mod.rs"]
mod support;
use support::*;

#[derive(Debug)]
enum BankError {
    InsufficientFunds,
    Database(diesel::result::Error),
}

fn withdraw(conn: &mut PgConnection, id: i32) -> Result<(), BankError> {
    with_row_lock(conn, accounts::table.find(id), |_, account: Locked<Account>| {
        if account.balance < 100 {
            return Err(BankError::InsufficientFunds);
        }
        Ok(())
    })
}

fn main() {}
