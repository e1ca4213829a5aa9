//! A deposit, by every strategy.

use std::sync::atomic::Ordering;
use std::time::Instant;

use diesel::prelude::*;
use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::{update_row, update_versioned, with_row_lock, LockError, Locked, RowLock};
use rand::Rng;

use super::{
    accounts, add, by_hand, connection, optimistic, patience, pay_in, Account, Conn, Connections,
    LONGEST,
};
use crate::database::REFUSED;
use crate::strategy::{Manner, Order, Receipt, Strategy, Teller};

pub(super) fn teller(
    pool: Connections,
    strategy: Strategy,
    manner: Manner,
) -> Option<Box<dyn Teller>> {
    match strategy {
        Strategy::None => on(move |row| {
            let conn = &mut *connection(&pool)?;
            let account = accounts::table.find(row).first(conn)?;
            pay_in(conn, &account, manner)
        }),
        Strategy::Diesel => on(move |row| by_hand::deposit(&mut *connection(&pool)?, row, manner)),
        Strategy::WithRowLock => on(move |row| {
            with_row_lock(
                &mut *connection(&pool)?,
                accounts::table.find(row),
                |conn, account: Locked<'_, Account>| pay_in(conn, &account, manner),
            )
        }),
        Strategy::NoWait => on(move |row| {
            let (policy, retries) = patience();
            let mut receipt = RowLock::for_update().no_wait().retry(policy).with(
                &mut *connection(&pool)?,
                accounts::table.find(row),
                |conn, account: Locked<'_, Account>| pay_in(conn, &account, manner),
            )?;
            receipt.retries = retries.load(Ordering::Relaxed);
            Ok(receipt)
        }),
        Strategy::QueueWithRowLock => {
            let queue = RowQueue::<Conn, Account>::new(pool);
            on(move |row| queue.with_row_lock(row, |conn, account| pay_in(conn, &account, manner)))
        }
        Strategy::UpdateRow => {
            on(move |row| update_row(&mut *connection(&pool)?, row, one_more(row, manner)))
        }
        Strategy::QueueUpdate => {
            let queue = RowQueue::<Conn, Account>::new(pool);
            on(move |row| queue.update(row, one_more(row, manner)))
        }
        Strategy::QueueUpdateLocking => {
            let queue = RowQueue::<Conn, Account>::builder()
                .lock(RowLock::for_update().timeout(LONGEST))
                .build(pool);
            on(move |row| queue.update(row, one_more(row, manner)))
        }
        Strategy::QueueUpdateRefused => {
            let queue = RowQueue::<Conn, Account>::new(pool);
            on(move |row| {
                if !rand::rng().random_ratio(1, 100) {
                    return queue.update(row, one_more(row, manner));
                }
                let result = queue.update(row, move |account| {
                    account.balance = REFUSED;
                    Ok(Receipt::of(Order::Deposit(row), manner.think()))
                });
                match result {
                    Err(LockError::Database(_)) => Ok(Receipt::of(Order::Refused, Instant::now())),
                    // Accepted, it is a deposit that is missing in the books.
                    result => result,
                }
            })
        }
        Strategy::SingleUpdate => on(move |row| {
            let conn = &mut *connection(&pool)?;
            let begin = manner.think();
            if manner.journal {
                conn.transaction(|conn| add(conn, row, 1, manner))?;
            } else {
                add(conn, row, 1, manner)?;
            }
            Ok(Receipt::of(Order::Deposit(row), begin))
        }),
        Strategy::Optimistic if manner.journal => on(move |row| {
            optimistic::together(&mut *connection(&pool)?, Order::Deposit(row), manner)
        }),
        Strategy::Optimistic => on(move |row| {
            let (policy, retries) = patience();
            let mut receipt = update_versioned(
                &mut *connection(&pool)?,
                accounts::table.find(row),
                &policy,
                |account: &mut Account| {
                    account.balance += 1;
                    Ok::<_, LockError>(Receipt::of(Order::Deposit(row), manner.think()))
                },
            )?;
            receipt.retries = retries.load(Ordering::Relaxed);
            Ok(receipt)
        }),
        Strategy::SkipLocked => None,
    }
}

/// A deposit by a closure that changes the model alone.
fn one_more(
    row: i32,
    manner: Manner,
) -> impl FnMut(&mut Account) -> Result<Receipt, LockError> + Send + 'static {
    move |account| {
        account.balance += 1;
        Ok(Receipt::of(Order::Deposit(row), manner.think()))
    }
}

fn on(
    deposit: impl Fn(i32) -> Result<Receipt, LockError> + Sync + 'static,
) -> Option<Box<dyn Teller>> {
    Some(Box::new(move |order| match order {
        Order::Deposit(row) => deposit(row),
        Order::Transfer { .. } | Order::Refused => {
            unreachable!("a workload has orders of one kind")
        }
    }))
}
