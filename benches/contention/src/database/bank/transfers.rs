//! A transfer between two rows, by every strategy that can do it safely (and by the one that
//! can't).

use std::ops::Deref;
use std::sync::atomic::Ordering;

use diesel::prelude::*;
use diesel_row_lock::{with_row_locks, LockError, Locked, RowLock};

use super::{
    accounts, add, by_hand, carry_over, connection, optimistic, patience, Account, Conn,
    Connections, NO_WAIT_OF_TWO,
};
use crate::strategy::{Manner, Order, Receipt, Strategy, Teller};

pub(super) fn teller(
    pool: Connections,
    strategy: Strategy,
    manner: Manner,
) -> Option<Box<dyn Teller>> {
    type Transfer = fn(&mut Conn, [i32; 2], Order, Manner) -> Result<Receipt, LockError>;
    let transfer: Transfer = match strategy {
        Strategy::None => unlocked,
        Strategy::Diesel => by_hand::transfer,
        Strategy::WithRowLock => locked,
        Strategy::NoWait if NO_WAIT_OF_TWO => no_wait,
        Strategy::SingleUpdate => |conn, _, order, manner| updates(conn, order, manner),
        Strategy::Optimistic => |conn, _, order, manner| optimistic::together(conn, order, manner),
        _ => return None,
    };
    Some(Box::new(move |order| match order {
        Order::Transfer { from, to } => {
            transfer(&mut *connection(&pool)?, [from, to], order, manner)
        }
        Order::Deposit(_) | Order::Refused => unreachable!("a workload has orders of one kind"),
    }))
}

fn unlocked(
    conn: &mut Conn,
    rows: [i32; 2],
    order: Order,
    manner: Manner,
) -> Result<Receipt, LockError> {
    let both: Vec<Account> = accounts::table
        .filter(accounts::id.eq_any(rows))
        .order(accounts::id)
        .load(conn)?;
    carry_over(conn, &both, order, manner)
}

fn locked(
    conn: &mut Conn,
    rows: [i32; 2],
    order: Order,
    manner: Manner,
) -> Result<Receipt, LockError> {
    with_row_locks(conn, rows, |conn, both: [Locked<'_, Account>; 2]| {
        carry_over(conn, both.iter().map(Deref::deref), order, manner)
    })
}

fn no_wait(
    conn: &mut Conn,
    rows: [i32; 2],
    order: Order,
    manner: Manner,
) -> Result<Receipt, LockError> {
    let (policy, retries) = patience();
    let mut receipt = RowLock::for_update().no_wait().retry(policy).with_many(
        conn,
        rows,
        |conn, both: Vec<Locked<'_, Account>>| {
            carry_over(conn, both.iter().map(Deref::deref), order, manner)
        },
    )?;
    receipt.retries = retries.load(Ordering::Relaxed);
    Ok(receipt)
}

/// One after the other in the order of the rows: within one statement it would be the plan's.
fn updates(conn: &mut Conn, order: Order, manner: Manner) -> Result<Receipt, LockError> {
    let begin = manner.think();
    conn.transaction(|conn| {
        order
            .changes()
            .try_for_each(|(row, amount)| add(conn, row, amount, manner))
    })?;
    Ok(Receipt::of(order, begin))
}
