//! The strategies, with the connection type `Conn` of the module that includes this file.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool, PooledConnection};
use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::{with_row_lock, LockError, Locked, Retry, RowLock};

use super::{by_hand, Conn, EMPTY, JOB_BY_HAND, JOB_SKIP_LOCKED, JOB_WAITING};
use crate::database::pool::Usage;
use crate::database::Bank;
use crate::strategy::{Deposit, Depositor, Strategy, Thought};
use crate::workload::Workload;

diesel::table! {
    accounts {
        id -> Integer,
        balance -> BigInt,
    }
}

#[derive(Clone, Queryable, Identifiable, AsChangeset)]
pub(super) struct Account {
    pub(super) id: i32,
    pub(super) balance: i64,
}

/// The `UPDATE` of every strategy that has read the row.
pub(super) fn save(conn: &mut Conn, account: &Account) -> QueryResult<usize> {
    diesel::update(accounts::table.find(account.id))
        .set(accounts::balance.eq(account.balance + 1))
        .execute(conn)
}

/// Thinks, then writes.
pub(super) fn pay_in(
    conn: &mut Conn,
    account: &Account,
    thought: Thought,
) -> Result<Deposit, LockError> {
    let read = thought.think();
    save(conn, account)?;
    Ok(Deposit::of(account.id, read))
}

/// Never gives up as long as a run lasts.
fn patience() -> Retry {
    Retry::new()
        .attempts(u32::MAX)
        .deadline(Duration::from_secs(30))
        .lock_timeouts()
        .pauses(Duration::from_millis(1), Duration::from_millis(50))
}

type Connections = Pool<ConnectionManager<Conn>>;

fn connection(pool: &Connections) -> Result<PooledConnection<ConnectionManager<Conn>>, LockError> {
    pool.get().map_err(|source| LockError::Pool { source })
}

fn boxed(
    deposit: impl Fn(i32) -> Result<Deposit, LockError> + Sync + 'static,
) -> Option<Box<dyn Depositor>> {
    Some(Box::new(deposit))
}

/// Of the workload `jobs`, where the database has it.
pub(super) type Job = Option<fn(&mut Conn, Thought) -> Result<Deposit, LockError>>;

pub(super) struct Accounts {
    pub(super) pool: Connections,
    pub(super) usage: Usage,
}

impl Bank for Accounts {
    fn reset(&self, rows: i32) -> Result<()> {
        let conn = &mut *self.pool.get()?;
        conn.batch_execute(EMPTY)?;
        let ids: Vec<i32> = (1..=rows).collect();
        for some in ids.chunks(500) {
            let new: Vec<_> = some
                .iter()
                .map(|id| (accounts::id.eq(id), accounts::balance.eq(0)))
                .collect();
            diesel::insert_into(accounts::table)
                .values(&new)
                .execute(conn)?;
        }
        Ok(())
    }

    fn balances(&self) -> Result<Vec<i64>> {
        let balances = accounts::table
            .order(accounts::id)
            .select(accounts::balance)
            .load(&mut self.pool.get()?)?;
        Ok(balances)
    }

    fn depositor(
        &self,
        strategy: Strategy,
        workload: Workload,
        thought: Thought,
    ) -> Option<Box<dyn Depositor>> {
        let pool = self.pool.clone();
        if workload == Workload::Jobs {
            let job = match strategy {
                Strategy::Diesel => JOB_BY_HAND?,
                Strategy::SkipLocked => JOB_SKIP_LOCKED?,
                Strategy::WithRowLock => JOB_WAITING?,
                _ => return None,
            };
            return boxed(move |_| job(&mut *connection(&pool)?, thought));
        }
        match strategy {
            Strategy::None => boxed(move |row| {
                let conn = &mut *connection(&pool)?;
                let account = accounts::table.find(row).first(conn)?;
                pay_in(conn, &account, thought)
            }),
            Strategy::Diesel => boxed(move |row| by_hand(&mut *connection(&pool)?, row, thought)),
            Strategy::WithRowLock => boxed(move |row| {
                let row = accounts::table.find(row);
                with_row_lock(
                    &mut *connection(&pool)?,
                    row,
                    |conn, account: Locked<'_, Account>| pay_in(conn, &account, thought),
                )
            }),
            Strategy::NoWait => boxed(move |row| {
                let retries = Arc::new(AtomicU64::new(0));
                let counter = Arc::clone(&retries);
                let policy = patience().on_retry(move |_| {
                    counter.fetch_add(1, Ordering::Relaxed);
                });
                let mut deposit = RowLock::for_update().no_wait().retry(policy).with(
                    &mut *connection(&pool)?,
                    accounts::table.find(row),
                    |conn, account: Locked<'_, Account>| pay_in(conn, &account, thought),
                )?;
                deposit.retries = retries.load(Ordering::Relaxed);
                Ok(deposit)
            }),
            Strategy::QueueWithRowLock => {
                let queue = RowQueue::<Conn, Account>::new(pool);
                boxed(move |row| {
                    queue.with_row_lock(row, |conn, account| pay_in(conn, &account, thought))
                })
            }
            Strategy::QueueUpdate => {
                let queue = RowQueue::<Conn, Account>::new(pool);
                boxed(move |row| {
                    queue.update(row, move |account| {
                        account.balance += 1;
                        Ok(Deposit::of(account.id, thought.think()))
                    })
                })
            }
            Strategy::SingleUpdate => boxed(move |row| {
                let conn = &mut *connection(&pool)?;
                let begin = thought.think();
                diesel::update(accounts::table.find(row))
                    .set(accounts::balance.eq(accounts::balance + 1))
                    .execute(conn)?;
                Ok(Deposit::of(row, begin))
            }),
            Strategy::SkipLocked => None,
        }
    }

    fn most_connections(&self) -> usize {
        self.usage.most()
    }

    fn round_trip(&self) -> Result<f64> {
        let conn = &mut *self.pool.get()?;
        let mut times = Vec::new();
        for _ in 0..101 {
            let begin = Instant::now();
            conn.batch_execute("SELECT 1")?;
            times.push(begin.elapsed());
        }
        times.sort_unstable();
        Ok(times[times.len() / 2].as_secs_f64() * 1e3)
    }
}
