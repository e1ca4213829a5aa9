//! Several rows in one call: in the order asked for, all or none, and without deadlocks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{with_row_lock, with_row_locks, LockError, Locked, Retry, RowLock};
use law::law;
use rand::Rng;

use crate::support::calls::{ask, assert_busy, while_held};
use crate::support::probe::statements_of;
use crate::support::schema::{accounts, Account};

#[law(postgres, mysql, mariadb, sqlite)]
fn rows_come_in_the_order_asked_for(db: &Db) {
    let conn = &mut db.connect();
    let ids = with_row_locks(conn, [3, 1, 4], |_, rows: [Locked<Account>; 3]| {
        Ok::<_, LockError>(rows.map(|row| row.id))
    });
    assert_eq!(ids.unwrap(), [3, 1, 4]);
    let backwards = (1..=4).rev();
    let ids = RowLock::for_update().with_many(conn, backwards, |_, rows: Vec<Locked<Account>>| {
        Ok::<_, LockError>(rows.iter().map(|row| row.id).collect::<Vec<_>>())
    });
    assert_eq!(ids.unwrap(), [4, 3, 2, 1]);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn transfer_moves_the_money(db: &Db) {
    with_row_locks(
        &mut db.connect(),
        [2, 1],
        |conn, [mut from, mut to]: [Locked<Account>; 2]| {
            from.balance -= 250;
            to.balance += 250;
            from.save_changes::<Account>(conn)?;
            to.save_changes::<Account>(conn)?;
            Ok::<_, LockError>(())
        },
    )
    .unwrap();
    assert_eq!((db.balance(1), db.balance(2)), (1_250, 750));
}

/// On a table of four rows, where an optimizer may prefer to read them all.
#[law(postgres, mysql, mariadb)]
fn only_the_rows_asked_for_are_locked(db: &Db) {
    with_row_locks(&mut db.connect(), [3, 1], |_, _: [Locked<Account>; 2]| {
        assert_eq!(db.free("accounts"), [2, 4]);
        ask!(db, 2, RowLock::for_update()).unwrap();
        assert_busy!(ask!(db, 3, RowLock::for_update()));
        Ok::<_, LockError>(())
    })
    .unwrap();
    assert_eq!(db.free("accounts"), [1, 2, 3, 4]);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn missing_key_is_not_found_by_name_and_nothing_stays_locked(db: &Db) {
    let conn = &mut db.connect();
    let result = with_row_locks(
        conn,
        [1, 77, 78],
        |_, _: [Locked<Account>; 3]| -> Result<(), LockError> {
            unreachable!("the closure ran without its rows")
        },
    );
    let Err(LockError::NotFound { key: Some(key) }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(key, "77");
    assert_eq!(db.free("accounts"), [1, 2, 3, 4]);
    conn.batch_execute("UPDATE accounts SET balance = 5 WHERE id = 1")
        .unwrap();
    assert_eq!(db.balance(1), 5, "the connection is in no transaction");
}

/// By hand, MariaDB's client library waits for ever when such a statement is used again.
#[law(postgres, mysql, mariadb)]
fn rows_that_could_not_be_had_are_asked_for_again(db: &Db) {
    let conn = &mut db.connect();
    for held in [1, 2] {
        while_held!(db, held, RowLock::for_update(), {
            for _ in 0..2 {
                let some = RowLock::for_update().no_wait();
                assert_busy!(some.with_many(conn, [1, 2], |_, _: Vec<Locked<Account>>| Ok(())));
                let all = RowLock::for_update().timeout(Duration::from_secs(1));
                let rows = all.with_all(conn, accounts::table, |_, _: Vec<Locked<Account>>| Ok(()));
                assert!(matches!(rows, Err(LockError::Timeout { .. })), "{rows:?}");
            }
        });
    }
    let some = RowLock::for_update().no_wait();
    some.with_many(conn, [1, 2], |_, _: Vec<Locked<Account>>| {
        Ok::<_, LockError>(())
    })
    .unwrap();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn repeated_key_is_refused_before_any_sql(db: &Db) {
    let conn = &mut db.connect();
    let statements = statements_of(conn);
    let pair = with_row_locks(conn, [2, 2], |_, _: [Locked<Account>; 2]| {
        Ok::<_, LockError>(())
    });
    let many = RowLock::for_update().with_many(conn, [1, 2, 3, 2], |_, _: Vec<Locked<Account>>| {
        Ok::<_, LockError>(())
    });
    for result in [pair, many] {
        let Err(LockError::DuplicateKey { key }) = result else {
            panic!("{result:?}")
        };
        assert_eq!(key, "2");
    }
    assert_eq!(*statements.lock().unwrap(), [""; 0]);
    // Twin: the list is not always empty.
    with_row_locks(conn, [1, 2], |_, _: [Locked<Account>; 2]| {
        Ok::<_, LockError>(())
    })
    .unwrap();
    assert!(statements.lock().unwrap().len() >= 3);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn no_keys_are_a_transaction_without_rows(db: &Db) {
    let none: [i32; 0] = [];
    RowLock::for_update()
        .with_many(
            &mut db.connect(),
            none,
            |conn, rows: Vec<Locked<Account>>| {
                assert!(rows.is_empty());
                conn.batch_execute("UPDATE accounts SET balance = 5 WHERE id = 1")?;
                assert_eq!(db.balance(1), 1_000, "not yet committed");
                Ok::<_, LockError>(())
            },
        )
        .unwrap();
    assert_eq!(db.balance(1), 5);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn thousands_of_keys_are_one_statement(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(&insert_accounts_up_to(3_000)).unwrap();
    let statements = statements_of(conn);
    let keys = (1..=3_000).rev().filter(|id| id % 3 != 0);
    let ids =
        RowLock::for_update().with_many(conn, keys.clone(), |_, rows: Vec<Locked<Account>>| {
            Ok::<_, LockError>(rows.iter().map(|row| row.id).collect::<Vec<_>>())
        });
    assert_eq!(ids.unwrap(), keys.collect::<Vec<_>>());
    let selects = statements
        .lock()
        .unwrap()
        .iter()
        .filter(|sql| sql.contains(" IN ("))
        .count();
    assert_eq!(selects, 1);
}

/// MariaDB turns a list of more than `in_predicate_conversion_threshold` (1000) values into a
/// join, which may read, and lock, the whole table; but not if the values are bound. From a fifth
/// of the rows on, MariaDB 11 reads, and locks, the whole table in any case.
#[law(postgres, mysql, mariadb)]
fn thousands_of_keys_lock_these_rows_only(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(&insert_accounts_up_to(30_000)).unwrap();
    let keys = (1..=30_000).rev().filter(|id| id % 15 == 0);
    RowLock::for_update()
        .with_many(conn, keys, |_, rows: Vec<Locked<Account>>| {
            assert_eq!(rows.len(), 2_000);
            for id in [15, 30, 15_000, 30_000] {
                assert_busy!(ask!(db, id, RowLock::for_update()));
            }
            for id in [1, 16, 14_999, 29_999] {
                ask!(db, id, RowLock::for_update())
                    .unwrap_or_else(|error| panic!("{id}: {error:?}"));
            }
            Ok::<_, LockError>(())
        })
        .unwrap();
}

/// Two callers who name the same rows the other way round queue up at the first of them.
#[law(postgres, mysql, mariadb)]
fn second_caller_waits_without_holding_anything(db: &Db) {
    thread::scope(|scope| {
        let second = while_held!(db, 1, RowLock::for_update(), {
            let second = scope.spawn(|| {
                with_row_locks(&mut db.connect(), [2, 1], |_, _: [Locked<Account>; 2]| {
                    Ok::<_, LockError>(())
                })
            });
            db.wait_for_waiters(1);
            assert_eq!(
                db.free("accounts"),
                [2, 3, 4],
                "the second waits for 1 before it locks 2"
            );
            second
        });
        second.join().unwrap().unwrap();
    });
}

#[law(postgres, mysql, mariadb)]
fn random_pairs_never_deadlock(db: &Db) {
    let deadlocks =
        transfers_of_random_pairs!(db, FOR_THE_WHOLE_TIME, |conn: &mut Conn, from, to| {
            with_row_locks(
                conn,
                [from, to],
                |conn, [mut from, mut to]: [Locked<Account>; 2]| {
                    from.balance -= 1;
                    to.balance += 1;
                    from.save_changes::<Account>(conn)?;
                    to.save_changes::<Account>(conn)?;
                    Ok::<_, LockError>(())
                },
            )
        });
    assert!(!deadlocks, "deadlock");
    let total: i64 = (1..=4).map(|id| db.balance(id)).sum();
    assert_eq!(total, 4_000);
}

/// Twin: the same two rows, one after the other in the order asked for.
#[law(postgres, mysql, mariadb)]
fn twin_random_pairs_locked_one_by_one_deadlock(db: &Db) {
    // Or one of the two might fail for its old snapshot before they meet.
    db.loosen_snapshots();
    let deadlocks =
        transfers_of_random_pairs!(db, UNTIL_A_DEADLOCK, |conn: &mut Conn, from, to| {
            with_row_lock(
                conn,
                accounts::table.find(from),
                |conn, mut from: Locked<Account>| {
                    from.balance -= 1;
                    from.save_changes::<Account>(conn)?;
                    with_row_lock(
                        conn,
                        accounts::table.find(to),
                        |conn, mut to: Locked<Account>| {
                            to.balance += 1;
                            to.save_changes::<Account>(conn)?;
                            Ok::<_, LockError>(())
                        },
                    )
                },
            )
        });
    assert!(deadlocks, "no deadlock");
    let total: i64 = (1..=4).map(|id| db.balance(id)).sum();
    assert_eq!(total, 4_000, "a victim takes back all that it did");
}

/// MariaDB locks rows partition by partition, so the order of the keys does not keep callers apart.
#[law(mariadb)]
fn retry_gets_through_a_partitioned_table(db: &Db) {
    db.connect().batch_execute(PARTED).unwrap();
    let failed = transfers_of_random_pairs!(db, FOR_THE_WHOLE_TIME, |conn: &mut Conn, from, to| {
        let policy = Retry::new().attempts(50);
        RowLock::for_update().retry(policy).with_many(
            conn,
            some(from, to),
            |conn, rows: Vec<Locked<Parted>>| transfer(conn, rows),
        )
    });
    assert!(!failed, "a deadlock was not retried");
    let total: Vec<i64> = parted::table
        .select(parted::balance)
        .load(&mut db.connect())
        .unwrap();
    assert_eq!(total.iter().sum::<i64>(), 4_000);
}

/// Twin: and why it is needed.
#[law(mariadb)]
fn twin_callers_deadlock_on_a_partitioned_table(db: &Db) {
    db.connect().batch_execute(PARTED).unwrap();
    let deadlocks =
        transfers_of_random_pairs!(db, UNTIL_A_DEADLOCK, |conn: &mut Conn, from, to| {
            let lock = RowLock::for_update();
            lock.with_many(conn, some(from, to), |conn, rows: Vec<Locked<Parted>>| {
                transfer(conn, rows)
            })
        });
    assert!(deadlocks, "no deadlock");
}

#[cfg(feature = "mysql")]
diesel::table! {
    parted (id) {
        id -> Integer,
        balance -> BigInt,
    }
}

#[cfg(feature = "mysql")]
#[derive(Debug, Queryable, Identifiable, AsChangeset)]
#[diesel(table_name = parted)]
struct Parted {
    id: i32,
    balance: i64,
}

/// These two, and often a third: of two in different partitions, all callers have the same order.
#[cfg(feature = "mysql")]
fn some(from: i32, to: i32) -> Vec<i32> {
    let third = (1..=4).find(|id| *id != from && *id != to && from < to);
    [from, to].into_iter().chain(third).collect()
}

#[cfg(feature = "mysql")]
const PARTED: &str = "CREATE TABLE parted (id INTEGER PRIMARY KEY, balance BIGINT NOT NULL) \
    PARTITION BY HASH (id) PARTITIONS 3; \
    INSERT INTO parted VALUES (1, 1000), (2, 1000), (3, 1000), (4, 1000)";

#[cfg(feature = "mysql")]
fn transfer(conn: &mut MysqlConnection, rows: Vec<Locked<'_, Parted>>) -> Result<(), LockError> {
    for (mut row, amount) in rows.into_iter().zip([-1, 1]) {
        row.balance += amount;
        diesel::update(parted::table.find(row.id))
            .set(parted::balance.eq(row.balance))
            .execute(conn)?;
    }
    Ok(())
}

fn insert_accounts_up_to(last: i32) -> String {
    let values: Vec<_> = (5..=last).map(|id| format!("({id}, '', 1000)")).collect();
    format!("INSERT INTO accounts VALUES {}", values.join(", "))
}

/// How long [`transfers_of_random_pairs`] goes on.
const FOR_THE_WHOLE_TIME: bool = false;
const UNTIL_A_DEADLOCK: bool = true;

/// Runs `$transfer` with random pairs of accounts on 8 threads for 5 s, or until a deadlock was
/// seen if that is enough. Says whether one was.
macro_rules! transfers_of_random_pairs {
    ($db:ident, $until_a_deadlock:expr, $transfer:expr) => {{
        let deadlocks = AtomicBool::new(false);
        let end = Instant::now() + Duration::from_secs(5);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut conn = $db.connect();
                    while Instant::now() < end
                        && !($until_a_deadlock && deadlocks.load(Ordering::Relaxed))
                    {
                        let from = rand::rng().random_range(1..=4);
                        let to = (from + rand::rng().random_range(0..3)) % 4 + 1;
                        match $transfer(&mut conn, from, to) {
                            Ok(()) => {}
                            Err(LockError::Deadlock { .. }) => {
                                deadlocks.store(true, Ordering::Relaxed)
                            }
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                });
            }
        });
        deadlocks.into_inner()
    }};
}
use transfers_of_random_pairs;
