//! The accounts and their journal, with the connection type `Conn` of the module that includes this
//! file.

mod deposits;
mod optimistic;
mod transfers;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool, PooledConnection};
use diesel_row_lock::{LockError, Retry, Versioned};

use super::{by_hand, jobs, Conn, EMPTY, NO_WAIT_OF_TWO};
use crate::check::{Books, Entry};
use crate::database::pool::Usage;
use crate::database::Bank;
use crate::strategy::{Manner, Order, Receipt, Strategy, Teller};
use crate::workload::Workload;

diesel::table! {
    accounts {
        id -> Integer,
        balance -> BigInt,
        version -> BigInt,
    }
}

diesel::table! {
    journal (account, seq) {
        account -> Integer,
        seq -> BigInt,
        amount -> BigInt,
        balance -> BigInt,
    }
}

#[derive(Clone, Queryable, Identifiable, AsChangeset)]
pub(super) struct Account {
    id: i32,
    balance: i64,
    /// With a journal, the number of its last entry.
    #[diesel(skip_update)]
    version: i64,
}

impl Versioned for Account {
    type Column = accounts::version;

    fn version(&self) -> i64 {
        self.version
    }
}

/// What every strategy sends that has read the row: the `UPDATE`, and the entry that says so.
fn write(conn: &mut Conn, account: &Account, amount: i64, manner: Manner) -> QueryResult<()> {
    let row = diesel::update(accounts::table.find(account.id));
    let balance = account.balance + amount;
    if !manner.journal {
        row.set(accounts::balance.eq(balance)).execute(conn)?;
        return Ok(());
    }
    let seq = account.version + 1;
    row.set((accounts::balance.eq(balance), accounts::version.eq(seq)))
        .execute(conn)?;
    enter(conn, account.id, seq, amount, balance)
}

fn enter(conn: &mut Conn, account: i32, seq: i64, amount: i64, balance: i64) -> QueryResult<()> {
    diesel::insert_into(journal::table)
        .values((
            journal::account.eq(account),
            journal::seq.eq(seq),
            journal::amount.eq(amount),
            journal::balance.eq(balance),
        ))
        .execute(conn)?;
    Ok(())
}

/// Thinks, then writes.
pub(super) fn pay_in(
    conn: &mut Conn,
    account: &Account,
    manner: Manner,
) -> Result<Receipt, LockError> {
    let read = manner.think();
    write(conn, account, 1, manner)?;
    Ok(Receipt::of(Order::Deposit(account.id), read))
}

/// Thinks, then writes all of them.
pub(super) fn carry_over<'a>(
    conn: &mut Conn,
    accounts: impl IntoIterator<Item = &'a Account>,
    order: Order,
    manner: Manner,
) -> Result<Receipt, LockError> {
    let read = manner.think();
    for account in accounts {
        write(conn, account, order.change_of(account.id), manner)?;
    }
    Ok(Receipt::of(order, read))
}

/// Adds without having read, and lets the database say what came of it.
fn add(conn: &mut Conn, row: i32, amount: i64, manner: Manner) -> QueryResult<()> {
    let account = accounts::table.find(row);
    let sum = accounts::balance.eq(accounts::balance + amount);
    if !manner.journal {
        diesel::update(account).set(sum).execute(conn)?;
        return Ok(());
    }
    diesel::update(account)
        .set((sum, accounts::version.eq(accounts::version + 1)))
        .execute(conn)?;
    // MariaDB's UPDATE returns nothing; the row is locked by now.
    account
        .select((
            accounts::id,
            accounts::version,
            amount.into_sql::<diesel::sql_types::BigInt>(),
            accounts::balance,
        ))
        .insert_into(journal::table)
        .into_columns((
            journal::account,
            journal::seq,
            journal::amount,
            journal::balance,
        ))
        .execute(conn)?;
    Ok(())
}

/// Never gives up as long as a run lasts, and counts.
fn patience() -> (Retry, Arc<AtomicU64>) {
    let retries = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&retries);
    let policy = Retry::new()
        .attempts(u32::MAX)
        .deadline(LONGEST)
        .lock_timeouts()
        .pauses(SHORTEST_PAUSE, LONGEST_PAUSE)
        .on_retry(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
    (policy, retries)
}

const LONGEST: Duration = Duration::from_secs(30);
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

type Connections = Pool<ConnectionManager<Conn>>;

fn connection(pool: &Connections) -> Result<PooledConnection<ConnectionManager<Conn>>, LockError> {
    pool.get().map_err(|error| LockError::Pool {
        source: error.into(),
    })
}

pub(super) struct Accounts {
    pool: Connections,
    usage: Usage,
}

impl Accounts {
    pub(super) fn boxed((pool, usage): (Connections, Usage)) -> Box<dyn Bank> {
        Box::new(Self { pool, usage })
    }
}

impl Bank for Accounts {
    fn reset(&self, rows: i32) -> Result<()> {
        let conn = &mut *self.pool.get()?;
        for table in ["journal", "accounts"] {
            conn.batch_execute(&format!("{EMPTY} {table}"))?;
        }
        let ids: Vec<i32> = (1..=rows).collect();
        for some in ids.chunks(500) {
            let new: Vec<_> = some
                .iter()
                .map(|id| {
                    (
                        accounts::id.eq(id),
                        accounts::balance.eq(0),
                        accounts::version.eq(0),
                    )
                })
                .collect();
            diesel::insert_into(accounts::table)
                .values(&new)
                .execute(conn)?;
        }
        Ok(())
    }

    fn books(&self) -> Result<Books> {
        let conn = &mut *self.pool.get()?;
        let entries: Vec<(i32, i64, i64, i64)> = journal::table
            .order((journal::account, journal::seq, journal::balance))
            .load(conn)?;
        let entry = |(account, seq, amount, balance)| Entry {
            account,
            seq,
            amount,
            balance,
        };
        Ok(Books {
            balances: accounts::table
                .order(accounts::id)
                .select(accounts::balance)
                .load(conn)?,
            journal: entries.into_iter().map(entry).collect(),
        })
    }

    fn teller(
        &self,
        strategy: Strategy,
        workload: Workload,
        manner: Manner,
    ) -> Option<Box<dyn Teller>> {
        let pool = self.pool.clone();
        match workload {
            Workload::Transfer => transfers::teller(pool, strategy, manner),
            Workload::Jobs => {
                let job = jobs::by(strategy)?;
                Some(Box::new(move |_| job(&mut *connection(&pool)?, manner)))
            }
            _ => deposits::teller(pool, strategy, manner),
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
