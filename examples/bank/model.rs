//! The tables, their models, and the rules of the bank. Nothing here knows of a connection.

use diesel::prelude::*;
use diesel_row_lock::Versioned;

use crate::error::BankError;

diesel::table! {
    accounts (id) {
        id -> Integer,
        owner -> Text,
        balance -> BigInt,
        version -> BigInt,
    }
}

diesel::table! {
    journal (id) {
        id -> BigInt,
        account_id -> Integer,
        amount -> BigInt,
        balance_before -> BigInt,
        balance_after -> BigInt,
    }
}

#[derive(Debug, Queryable, Identifiable, AsChangeset)]
pub(crate) struct Account {
    pub(crate) id: i32,
    pub(crate) owner: String,
    pub(crate) balance: i64,
    /// Counts the saves, for those who save without a lock.
    #[diesel(skip_update)]
    version: i64,
}

impl Versioned for Account {
    type Column = accounts::version;

    fn version(&self) -> i64 {
        self.version
    }
}

#[derive(Debug, Insertable)]
#[diesel(table_name = accounts)]
pub(crate) struct NewAccount<'a> {
    pub(crate) owner: &'a str,
    pub(crate) balance: i64,
}

/// A row of the journal, written in the same transaction as the balance that it explains.
#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = journal)]
pub(crate) struct Entry {
    account_id: i32,
    amount: i64,
    balance_before: i64,
    balance_after: i64,
}

impl Account {
    /// Pays in. The account is changed in memory only; the entry is for the journal.
    pub(crate) fn deposit(&mut self, amount: i64) -> Result<Entry, BankError> {
        refuse_not_positive(amount)?;
        let balance = self.balance;
        match balance.checked_add(amount) {
            Some(after) => Ok(self.book(amount, after)),
            None => Err(BankError::Overflow { balance, amount }),
        }
    }

    /// Takes out. The account is changed in memory only; the entry is for the journal.
    pub(crate) fn withdraw(&mut self, amount: i64) -> Result<Entry, BankError> {
        refuse_not_positive(amount)?;
        let balance = self.balance;
        match balance.checked_sub(amount) {
            Some(after) if after >= 0 => Ok(self.book(-amount, after)),
            _ => Err(BankError::InsufficientFunds { balance, amount }),
        }
    }

    fn book(&mut self, amount: i64, after: i64) -> Entry {
        let before = self.balance;
        self.balance = after;
        Entry {
            account_id: self.id,
            amount,
            balance_before: before,
            balance_after: after,
        }
    }
}

impl Entry {
    /// The first entry of an account.
    pub(crate) fn opening(account_id: i32, balance: i64) -> Self {
        Self {
            account_id,
            amount: balance,
            balance_before: 0,
            balance_after: balance,
        }
    }
}

/// An account against its journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Books {
    /// What the account says.
    pub(crate) balance: i64,
    /// What its journal adds up to; wide, because the journal of a broken account may add up to
    /// more than an account can hold.
    pub(crate) journal: i128,
    /// The number of entries.
    pub(crate) entries: u64,
    /// Entries that do not continue the one before: they overwrote it.
    pub(crate) breaks: u64,
}

impl Books {
    /// From the account and its entries, oldest first.
    pub(crate) fn of(account: &Account, entries: &[Entry]) -> Self {
        let mut books = Self {
            balance: account.balance,
            journal: 0,
            entries: 0,
            breaks: 0,
        };
        let mut balance = 0;
        for entry in entries {
            books.journal += i128::from(entry.amount);
            books.entries += 1;
            books.breaks += u64::from(entry.balance_before != balance);
            balance = entry.balance_after;
        }
        books
    }

    pub(crate) fn are_in_order(&self) -> bool {
        self.breaks == 0 && i128::from(self.balance) == self.journal
    }
}

fn refuse_not_positive(amount: i64) -> Result<(), BankError> {
    if amount > 0 {
        Ok(())
    } else {
        Err(BankError::AmountNotPositive { amount })
    }
}
