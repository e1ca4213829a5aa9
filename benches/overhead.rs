//! What a locked call costs over the same by hand with Diesel: lock a row, read it, update it,
//! commit, uncontended.
//!
//! SQLite runs in a temporary file; PostgreSQL and MariaDB/MySQL run when their feature is on and
//! `PG_URL` / `MYSQL_URL` name a server:
//! `cargo xtask servers -- cargo bench --bench overhead --features postgres,mysql`.
//!
//! The two strategies take turns, one call each, so that both see the same machine; each
//! measurement counts the time of its own calls only. The ratio of the medians is printed last. In
//! the same way `update_row` is compared with the work by hand, and a call through a `RowQueue`
//! without other callers with one without the queue, both with a connection from the same pool.

// A program: its report goes to the terminal.
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Error as PoolError, Pool};
use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::{update_row, with_row_lock, LockError, Locked};

diesel::table! {
    accounts {
        id -> Integer,
        balance -> BigInt,
    }
}

#[derive(Clone, Queryable, Identifiable, AsChangeset)]
struct Account {
    id: i32,
    balance: i64,
}

/// A deposit by hand and one with the library, for one kind of connection.
macro_rules! strategies {
    ($conn:ty, $by_hand:expr) => {
        fn by_hand(conn: &mut $conn) -> QueryResult<usize> {
            $by_hand(conn)
        }

        fn locked(conn: &mut $conn) -> QueryResult<usize> {
            let row = accounts::table.find(1);
            with_row_lock(conn, row, |conn, account: Locked<'_, Account>| {
                deposit!(conn, account)
            })
        }

        fn updated(conn: &mut $conn) -> Result<(), LockError> {
            update_row(conn, 1, |account: &mut Account| {
                account.balance += 1;
                Ok(())
            })
        }

        type Line = (Pool<ConnectionManager<$conn>>, RowQueue<$conn, Account>);

        fn without_queue((pool, _): &mut Line) -> QueryResult<usize> {
            let conn = &mut pool.get().expect("a connection");
            let row = accounts::table.find(1);
            with_row_lock(&mut **conn, row, |conn, account: Locked<'_, Account>| {
                deposit!(conn, account)
            })
        }

        fn queued((_, queue): &mut Line) -> QueryResult<usize> {
            queue.with_row_lock(1, |conn, account| deposit!(conn, account))
        }

        pub(crate) fn compare(
            name: &str,
            conn: &mut $conn,
            (url, setup): (&str, &'static str),
            criterion: &mut Criterion,
        ) {
            crate::compare(
                name,
                conn,
                criterion,
                ("by_hand", |conn| by_hand(conn).map(drop)),
                ("with_row_lock", |conn| locked(conn).map(drop)),
            );
            crate::compare(
                &format!("{name}_update"),
                conn,
                criterion,
                ("by_hand", |conn| by_hand(conn).map(drop)),
                ("update_row", |conn| Ok(updated(conn)?)),
            );
            let pool = Pool::builder()
                .max_size(1)
                .test_on_check_out(false)
                .connection_customizer(Box::new(Setup(setup)))
                .build(ConnectionManager::new(url))
                .expect("a pool");
            crate::compare(
                &format!("{name}_pool"),
                &mut (pool.clone(), RowQueue::new(pool)),
                criterion,
                ("with_row_lock", |line| without_queue(line).map(drop)),
                ("queue", |line| queued(line).map(drop)),
            );
        }
    };
}

macro_rules! deposit {
    ($conn:ident, $account:ident) => {
        diesel::update(accounts::table.find($account.id))
            .set(accounts::balance.eq($account.balance + 1))
            .execute($conn)
    };
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;

    strategies!(PgConnection, |conn: &mut PgConnection| {
        conn.transaction(|conn| {
            let account: Account = accounts::table.find(1).for_update().first(conn)?;
            deposit!(conn, account)
        })
    });
}

#[cfg(feature = "mysql")]
mod mysql {
    use super::*;

    strategies!(MysqlConnection, |conn: &mut MysqlConnection| {
        conn.transaction(|conn| {
            let account: Account = accounts::table.find(1).for_update().first(conn)?;
            deposit!(conn, account)
        })
    });
}

mod sqlite {
    use super::*;

    strategies!(SqliteConnection, |conn: &mut SqliteConnection| {
        conn.immediate_transaction(|conn| {
            let account: Account = accounts::table.find(1).first(conn)?;
            deposit!(conn, account)
        })
    });
}

/// What a new connection of a pool begins with.
#[derive(Debug)]
struct Setup(&'static str);

impl<C: SimpleConnection> CustomizeConnection<C, PoolError> for Setup {
    fn on_acquire(&self, conn: &mut C) -> Result<(), PoolError> {
        conn.batch_execute(self.0).map_err(PoolError::QueryError)
    }
}

type Strategy<C> = fn(&mut C) -> QueryResult<()>;
type Named<C> = (&'static str, Strategy<C>);

fn compare<C>(
    name: &str,
    conn: &mut C,
    criterion: &mut Criterion,
    (first_name, first): Named<C>,
    (second_name, second): Named<C>,
) {
    let mut group = criterion.benchmark_group(name);
    group.measurement_time(Duration::from_secs(8));
    let mut first_times = Vec::new();
    let mut second_times = Vec::new();
    group.bench_function(first_name, |bencher| {
        take_turns(
            bencher,
            conn,
            (first, &mut first_times),
            (second, &mut second_times),
        );
    });
    group.bench_function(second_name, |bencher| {
        take_turns(
            bencher,
            conn,
            (second, &mut second_times),
            (first, &mut first_times),
        );
    });
    group.finish();
    // Nothing was measured where a filter on the command line left the group out.
    if let (Some(first), Some(second)) = (median(&mut first_times), median(&mut second_times)) {
        println!(
            "{name}: {first_name} {first:?}, {second_name} {second:?}, ratio {:.3}\n",
            second.as_secs_f64() / first.as_secs_f64()
        );
    }
}

/// Measures the first strategy between calls of the second, and keeps all times of both.
fn take_turns<C>(
    bencher: &mut Bencher<'_>,
    conn: &mut C,
    measured: (Strategy<C>, &mut Vec<Duration>),
    other: (Strategy<C>, &mut Vec<Duration>),
) {
    fn time<C>(conn: &mut C, strategy: Strategy<C>) -> Duration {
        let began = Instant::now();
        strategy(conn).expect("a deposit");
        began.elapsed()
    }
    bencher.iter_custom(|iterations| {
        let mut total = Duration::ZERO;
        for _ in 0..iterations {
            other.1.push(time(conn, other.0));
            let one = time(conn, measured.0);
            measured.1.push(one);
            total += one;
        }
        total
    });
}

fn median(times: &mut [Duration]) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

const TABLE: &str = "
    CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance BIGINT NOT NULL);
    INSERT INTO accounts VALUES (1, 0);
";

fn main() {
    let mut criterion = Criterion::default().configure_from_args();

    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("bench.db").display().to_string();
    let mut conn = SqliteConnection::establish(&file).expect("SQLite");
    let setup = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL";
    conn.batch_execute(setup)
        .and_then(|()| conn.batch_execute(TABLE))
        .expect("the table");
    sqlite::compare("sqlite", &mut conn, (&file, setup), &mut criterion);

    #[cfg(feature = "postgres")]
    if let Ok(url) = std::env::var("PG_URL") {
        let mut conn = PgConnection::establish(&url).expect("PG_URL");
        let setup = "SET search_path = row_lock_bench";
        conn.batch_execute(
            "DROP SCHEMA IF EXISTS row_lock_bench CASCADE; CREATE SCHEMA row_lock_bench",
        )
        .and_then(|()| conn.batch_execute(setup))
        .and_then(|()| conn.batch_execute(TABLE))
        .expect("the table");
        postgres::compare("postgres", &mut conn, (&url, setup), &mut criterion);
        conn.batch_execute("DROP SCHEMA row_lock_bench CASCADE")
            .expect("cleaned up");
    }

    #[cfg(feature = "mysql")]
    if let Ok(url) = std::env::var("MYSQL_URL") {
        let mut conn = MysqlConnection::establish(&url).expect("MYSQL_URL");
        let setup = "USE row_lock_bench";
        conn.batch_execute(
            "DROP DATABASE IF EXISTS row_lock_bench; CREATE DATABASE row_lock_bench",
        )
        .and_then(|()| conn.batch_execute(setup))
        .and_then(|()| conn.batch_execute(TABLE))
        .expect("the table");
        mysql::compare("mysql", &mut conn, (&url, setup), &mut criterion);
        conn.batch_execute("DROP DATABASE row_lock_bench")
            .expect("cleaned up");
    }

    criterion.final_summary();
}
