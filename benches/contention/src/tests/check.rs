//! The check of the books finds what is wrong with them.

use crate::check::{Books, Entry, Faults, Ledger};
use crate::strategy::Order;

const TRANSFER: Order = Order::Transfer { from: 2, to: 1 };

fn entry(account: i32, seq: i64, amount: i64, balance: i64) -> Entry {
    Entry {
        account,
        seq,
        amount,
        balance,
    }
}

/// A deposit and a transfer are acknowledged; this is in the books.
fn faults(balances: [i64; 2], journal: &[Entry]) -> Faults {
    let mut ledger = Ledger::of(2);
    ledger.book(Order::Deposit(1));
    ledger.book(TRANSFER);
    let books = Books {
        balances: balances.to_vec(),
        journal: journal.to_vec(),
    };
    ledger.faults(&books, true)
}

fn found(lost: u64, surplus: u64, broken: u64) -> Faults {
    Faults {
        lost,
        surplus,
        broken: Some(broken),
    }
}

#[test]
fn true_books_have_no_fault() {
    let journal = [entry(1, 1, 1, 1), entry(1, 2, 1, 2), entry(2, 1, -1, -1)];
    assert_eq!(faults([2, -1], &journal), found(0, 0, 0));
}

#[test]
fn a_lost_deposit_is_found() {
    let journal = [entry(1, 1, 1, 1), entry(1, 1, 1, 1), entry(2, 1, -1, -1)];
    assert_eq!(faults([1, -1], &journal), found(1, 0, 1));
}

#[test]
fn half_a_transfer_is_found() {
    let journal = [entry(1, 1, 1, 1), entry(1, 2, 1, 2)];
    assert_eq!(faults([2, 0], &journal), found(0, 1, 1));
}

#[test]
fn a_balance_that_no_entry_says_is_found() {
    let journal = [entry(1, 1, 1, 1), entry(2, 1, -1, -1)];
    // It is not what the last entry says, and an entry is missing.
    assert_eq!(faults([2, -1], &journal), found(0, 0, 2));
}

#[test]
fn an_entry_that_nobody_ordered_is_found() {
    let journal = [
        entry(1, 1, 1, 1),
        entry(1, 2, 1, 2),
        entry(2, 1, -1, -1),
        entry(2, 2, 0, -1),
    ];
    assert_eq!(faults([2, -1], &journal), found(0, 0, 1));
}
