//! The operations of the bank, where rows are locked.
//!
//! Each module of `backend/` includes this file with a connection type of its own as
//! `super::Conn`. So it is written once, in plain Diesel, without a trait bound. In a program
//! with a single database `Conn` would be that database's connection.
#![allow(
    elided_lifetimes_in_paths,
    reason = "`Locked<Account>` reads better, and its lifetime can't be named anyway"
)]

use std::time::Duration;

use diesel::prelude::*;
use diesel_row_lock::lease::Holder;
use diesel_row_lock::waits::LockWait;
use diesel_row_lock::{save_versioned, with_row_lock, with_row_locks, HeldLease, Lease, Locked};

use super::Conn;
use crate::bank::Bank;
use crate::error::BankError;
use crate::model::{accounts, journal, Account, Books, Entry, NewAccount};

impl Bank for Conn {
    fn deposit(&mut self, id: i32, amount: i64) -> Result<i64, BankError> {
        let row = accounts::table.find(id);
        with_row_lock(self, row, |conn, mut account: Locked<Account>| {
            let entry = account.deposit(amount)?;
            save(conn, &account, &entry)
        })
    }

    fn withdraw(&mut self, id: i32, amount: i64) -> Result<i64, BankError> {
        let row = accounts::table.find(id);
        with_row_lock(self, row, |conn, mut account: Locked<Account>| {
            let entry = account.withdraw(amount)?;
            save(conn, &account, &entry)
        })
    }

    // Two transfers in opposite directions can't deadlock: `with_row_locks` locks the rows in the
    // order of their keys, whatever order they are asked for in.
    fn transfer(&mut self, from: i32, to: i32, amount: i64) -> Result<i64, BankError> {
        with_row_locks(self, [from, to], |conn, pair: [Locked<Account>; 2]| {
            let [mut from, mut to] = pair;
            let (taken, paid) = (from.withdraw(amount)?, to.deposit(amount)?);
            save(conn, &to, &paid)?;
            save(conn, &from, &taken)
        })
    }

    // The lock keeps bookings away between the reads of the account and of its journal.
    fn books(&mut self, id: i32) -> Result<Books, BankError> {
        let row = accounts::table.find(id);
        with_row_lock(self, row, |conn, account: Locked<Account>| {
            let entries = journal::table
                .filter(journal::account_id.eq(id))
                .select(Entry::as_select())
                .order(journal::id)
                .load(conn)?;
            Ok(Books::of(&account, &entries))
        })
    }

    // Nobody else can know of an account that is not committed: no lock.
    fn open(&mut self, owner: &str, balance: i64) -> Result<i32, BankError> {
        if balance < 0 {
            return Err(BankError::NegativeOpeningBalance);
        }
        self.transaction(|conn| {
            let id = super::insert_account(conn, &NewAccount { owner, balance })?;
            diesel::insert_into(journal::table)
                .values(Entry::opening(id, balance))
                .execute(conn)?;
            Ok(id)
        })
    }

    // A single read needs no lock: it sees what is committed, which is old the moment it arrives.
    fn balance(&mut self, id: i32) -> Result<i64, BankError> {
        let account = accounts::table.find(id);
        Ok(account.select(accounts::balance).first(self)?)
    }

    fn accounts(&mut self) -> Result<Vec<i32>, BankError> {
        let ids = accounts::table.select(accounts::id);
        Ok(ids.order(accounts::id).load(self)?)
    }

    fn deposit_by_hand(&mut self, id: i32, amount: i64) -> Result<i64, BankError> {
        by_hand(self, id, |account| account.deposit(amount))
    }

    fn withdraw_by_hand(&mut self, id: i32, amount: i64) -> Result<i64, BankError> {
        by_hand(self, id, |account| account.withdraw(amount))
    }

    fn deposit_by_version(&mut self, id: i32, amount: i64) -> Result<i64, BankError> {
        by_version(self, id, |account| account.deposit(amount))
    }

    fn withdraw_by_version(&mut self, id: i32, amount: i64) -> Result<i64, BankError> {
        by_version(self, id, |account| account.withdraw(amount))
    }

    // Nobody is kept from booking meanwhile: a lease only keeps away those who ask for it.
    // `guarded` refuses the name of an operator who took longer than the lease lasts.
    fn edit_owner(
        &mut self,
        id: i32,
        operator: &str,
        ask: &mut dyn FnMut(&str) -> Result<Option<String>, BankError>,
    ) -> Result<(), BankError> {
        let account: Account = accounts::table.find(id).first(self)?;
        let lease = Lease::on(&account).ttl(EDIT).note("editing the owner");
        let held = lease.try_acquire(self, operator)?;
        let edited = edit(self, id, &held, ask);
        let released = held.release(self);
        edited?;
        released?;
        Ok(())
    }

    fn editors(&mut self) -> Result<Vec<Holder>, BankError> {
        Ok(Lease::holders(self)?)
    }

    fn waits(&mut self) -> Result<Option<Vec<LockWait>>, BankError> {
        super::waits(self)
    }

    fn migrate(&mut self) -> Result<(), BankError> {
        super::migrate(self).map_err(|error| BankError::Migration(error.to_string()))
    }
}

/// How long an operator may think.
const EDIT: Duration = Duration::from_secs(600);

fn edit(
    conn: &mut Conn,
    id: i32,
    held: &HeldLease,
    ask: &mut dyn FnMut(&str) -> Result<Option<String>, BankError>,
) -> Result<(), BankError> {
    // Now, and not before the lease was had: until then another operator may have been at it.
    let account: Account = accounts::table.find(id).first(conn)?;
    match ask(&account.owner)? {
        Some(owner) => held.guarded(conn, |conn| rename(conn, id, &owner)),
        None => Ok(()),
    }
}

fn rename(conn: &mut Conn, id: i32, owner: &str) -> Result<(), BankError> {
    let renamed = (
        accounts::owner.eq(owner),
        accounts::version.eq(accounts::version + 1),
    );
    diesel::update(accounts::table.find(id))
        .set(renamed)
        .execute(conn)?;
    Ok(())
}

/// Writes the account and what happened to it; returns the new balance. The version counts up for
/// those who save without a lock.
fn save(conn: &mut Conn, account: &Account, entry: &Entry) -> Result<i64, BankError> {
    diesel::update(account)
        .set((account, accounts::version.eq(accounts::version + 1)))
        .execute(conn)?;
    note(conn, entry)?;
    Ok(account.balance)
}

fn note(conn: &mut Conn, entry: &Entry) -> QueryResult<()> {
    diesel::insert_into(journal::table)
        .values(entry)
        .execute(conn)?;
    Ok(())
}

/// Without a lock until the write, which fails if somebody has booked since the read. Not by
/// `update_versioned`, whose only statement is that write: the journal belongs to the same
/// transaction.
fn by_version(
    conn: &mut Conn,
    id: i32,
    book: impl FnOnce(&mut Account) -> Result<Entry, BankError>,
) -> Result<i64, BankError> {
    let mut account: Account = accounts::table.find(id).first(conn)?;
    let entry = book(&mut account)?;
    conn.transaction(|conn| {
        save_versioned(conn, &account)?;
        note(conn, &entry)?;
        Ok(account.balance)
    })
}

/// How not to do it: what others book between the read and the write is overwritten. That the
/// write is a transaction does not help.
fn by_hand(
    conn: &mut Conn,
    id: i32,
    book: impl FnOnce(&mut Account) -> Result<Entry, BankError>,
) -> Result<i64, BankError> {
    let mut account: Account = accounts::table.find(id).first(conn)?;
    let entry = book(&mut account)?;
    conn.transaction(|conn| save(conn, &account, &entry))
}
