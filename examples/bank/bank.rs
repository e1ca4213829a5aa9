//! [`Bank`]: what a bank can do, on any database.

use diesel_row_lock::lease::Holder;
use diesel_row_lock::waits::LockWait;

use crate::error::BankError;
use crate::model::Books;

/// Implemented by the three connection types (in `operations.rs`, once for all of them).
pub(crate) trait Bank: Send {
    /// Creates the tables if they are missing. Any number of processes may do so at once.
    fn migrate(&mut self) -> Result<(), BankError>;

    /// Opens an account and returns its id.
    fn open(&mut self, owner: &str, balance: i64) -> Result<i32, BankError>;

    /// Pays in and returns the new balance.
    fn deposit(&mut self, id: i32, amount: i64) -> Result<i64, BankError>;

    /// Takes out and returns the new balance.
    fn withdraw(&mut self, id: i32, amount: i64) -> Result<i64, BankError>;

    /// Moves money and returns the new balance of `from`.
    fn transfer(&mut self, from: i32, to: i32, amount: i64) -> Result<i64, BankError>;

    /// The balance as it is committed now.
    fn balance(&mut self, id: i32) -> Result<i64, BankError>;

    /// Pays in without a lock: it fails, as a stale row, when others have booked meanwhile.
    fn deposit_by_version(&mut self, id: i32, amount: i64) -> Result<i64, BankError>;

    /// Takes out without a lock: it fails, as a stale row, when others have booked meanwhile.
    fn withdraw_by_version(&mut self, id: i32, amount: i64) -> Result<i64, BankError>;

    /// Pays in without a lock: **loses money** when others book on the same account.
    fn deposit_by_hand(&mut self, id: i32, amount: i64) -> Result<i64, BankError>;

    /// Takes out without a lock: **loses money** when others book on the same account.
    fn withdraw_by_hand(&mut self, id: i32, amount: i64) -> Result<i64, BankError>;

    /// Gives the account the owner that `ask` returns, who is told the present one and may take
    /// minutes: meanwhile the operator holds a lease. `None` leaves the account as it is.
    fn edit_owner(
        &mut self,
        id: i32,
        operator: &str,
        ask: &mut dyn FnMut(&str) -> Result<Option<String>, BankError>,
    ) -> Result<(), BankError>;

    /// Who holds a lease.
    fn editors(&mut self) -> Result<Vec<Holder>, BankError>;

    /// Who waits for whom; `None` where there is no server that would know.
    fn waits(&mut self) -> Result<Option<Vec<LockWait>>, BankError>;

    /// The account against its journal, at one moment.
    fn books(&mut self, id: i32) -> Result<Books, BankError>;

    /// The ids of all accounts.
    fn accounts(&mut self) -> Result<Vec<i32>, BankError>;
}
