//! What a locked call costs over the same by hand with Diesel: lock a row, read it, update it,
//! commit, uncontended.
//!
//! SQLite runs in a temporary file; PostgreSQL and MariaDB/MySQL run when their feature is on and
//! `PG_URL` / `MYSQL_URL` name a server:
//! `cargo xtask servers -- cargo bench --bench overhead --features postgres,mysql`.
//!
//! The two strategies take turns, one call each, so that both see the same machine; each
//! measurement counts the time of its own calls only. The ratio of the medians is printed last.

// A program: its report goes to the terminal.
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion};
use diesel::prelude::*;
use diesel_row_lock::{with_row_lock, Locked};

diesel::table! {
    accounts {
        id -> Integer,
        balance -> BigInt,
    }
}

#[derive(Queryable, Identifiable)]
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

        pub(crate) fn compare(name: &str, conn: &mut $conn, criterion: &mut Criterion) {
            let by_hand = |conn: &mut $conn| by_hand(conn).map(drop);
            let locked = |conn: &mut $conn| locked(conn).map(drop);
            crate::compare(name, conn, criterion, by_hand, locked);
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

type Strategy<C> = fn(&mut C) -> QueryResult<()>;

fn compare<C>(
    name: &str,
    conn: &mut C,
    criterion: &mut Criterion,
    by_hand: Strategy<C>,
    locked: Strategy<C>,
) {
    let mut group = criterion.benchmark_group(name);
    group.measurement_time(Duration::from_secs(8));
    let mut by_hand_times = Vec::new();
    let mut locked_times = Vec::new();
    group.bench_function("by_hand", |bencher| {
        take_turns(
            bencher,
            conn,
            (by_hand, &mut by_hand_times),
            (locked, &mut locked_times),
        );
    });
    group.bench_function("with_row_lock", |bencher| {
        take_turns(
            bencher,
            conn,
            (locked, &mut locked_times),
            (by_hand, &mut by_hand_times),
        );
    });
    group.finish();
    // Nothing was measured where a filter on the command line left the group out.
    if let (Some(by_hand), Some(locked)) = (median(&mut by_hand_times), median(&mut locked_times)) {
        println!(
            "{name}: by hand {by_hand:?}, with_row_lock {locked:?}, ratio {:.3}\n",
            locked.as_secs_f64() / by_hand.as_secs_f64()
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
    use diesel::connection::SimpleConnection;
    let mut criterion = Criterion::default().configure_from_args();

    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("bench.db").display().to_string();
    let mut conn = SqliteConnection::establish(&file).expect("SQLite");
    conn.batch_execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
        .and_then(|()| conn.batch_execute(TABLE))
        .expect("the table");
    sqlite::compare("sqlite", &mut conn, &mut criterion);

    #[cfg(feature = "postgres")]
    if let Ok(url) = std::env::var("PG_URL") {
        let mut conn = PgConnection::establish(&url).expect("PG_URL");
        conn.batch_execute(
            "DROP SCHEMA IF EXISTS row_lock_bench CASCADE; CREATE SCHEMA row_lock_bench; \
             SET search_path = row_lock_bench",
        )
        .and_then(|()| conn.batch_execute(TABLE))
        .expect("the table");
        postgres::compare("postgres", &mut conn, &mut criterion);
        conn.batch_execute("DROP SCHEMA row_lock_bench CASCADE")
            .expect("cleaned up");
    }

    #[cfg(feature = "mysql")]
    if let Ok(url) = std::env::var("MYSQL_URL") {
        let mut conn = MysqlConnection::establish(&url).expect("MYSQL_URL");
        conn.batch_execute(
            "DROP DATABASE IF EXISTS row_lock_bench; CREATE DATABASE row_lock_bench; \
             USE row_lock_bench",
        )
        .and_then(|()| conn.batch_execute(TABLE))
        .expect("the table");
        mysql::compare("mysql", &mut conn, &mut criterion);
        conn.batch_execute("DROP DATABASE row_lock_bench")
            .expect("cleaned up");
    }

    criterion.final_summary();
}
