//! Versioned saves of more than `update_versioned` writes, which is one row: in a transaction, with
//! a loop by hand.

use backon::{BlockingRetryable, ExponentialBuilder};
use diesel::prelude::*;
use diesel_row_lock::{save_versioned, LockError};

use super::{accounts, enter, Account, Conn, LONGEST, LONGEST_PAUSE, SHORTEST_PAUSE};
use crate::strategy::{Manner, Order, Receipt};

pub(super) fn together(
    conn: &mut Conn,
    order: Order,
    manner: Manner,
) -> Result<Receipt, LockError> {
    let mut retries = 0;
    let pauses = ExponentialBuilder::new()
        .with_jitter()
        .with_min_delay(SHORTEST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .with_total_delay(Some(LONGEST));
    let mut receipt = (|| attempt(conn, order, manner))
        .retry(pauses)
        .sleep(std::thread::sleep)
        .when(LockError::is_transient)
        .notify(|_, _| retries += 1)
        .call()?;
    receipt.retries = retries;
    Ok(receipt)
}

fn attempt(conn: &mut Conn, order: Order, manner: Manner) -> Result<Receipt, LockError> {
    let rows = order.changes().map(|(row, _)| row);
    // Before the transaction: on SQLite this must begin with a write, or it can't wait for one.
    let seen: Vec<Account> = accounts::table
        .filter(accounts::id.eq_any(rows))
        .order(accounts::id)
        .load(conn)?;
    let read = manner.think();
    conn.transaction(|conn| {
        for mut account in seen {
            let amount = order.change_of(account.id);
            account.balance += amount;
            let version = save_versioned(conn, &account)?;
            if manner.journal {
                enter(conn, account.id, version, amount, account.balance)?;
            }
        }
        Ok::<_, LockError>(())
    })?;
    Ok(Receipt::of(order, read))
}
