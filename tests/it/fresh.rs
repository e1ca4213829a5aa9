//! Promise 1: the model is what the locking statement itself returned.

use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{row_of, with_row_lock, LockError, Locked, Retry, RowLock};
use law::law;

use crate::support::schema::{accounts, Account};

/// Runs `deposit` 25 times on each of 8 threads.
macro_rules! deposit_on_many_threads {
    ($db:ident, $deposit:expr) => {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut conn = $db.connect();
                    for _ in 0..25 {
                        $deposit(&mut conn).unwrap();
                    }
                });
            }
        })
    };
}

#[law(postgres, mysql, mariadb, sqlite)]
fn second_locker_sees_the_committed_balance(db: &Db) {
    thread::scope(|scope| {
        let second = with_row_lock(
            &mut db.connect(),
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                let second = scope.spawn(|| {
                    with_row_lock(
                        &mut db.connect(),
                        accounts::table.find(1),
                        |_, account: Locked<Account>| Ok::<_, LockError>(account.balance),
                    )
                });
                db.wait_for_waiters(1);
                account.balance += 100;
                account.save_changes::<Account>(conn)?;
                Ok::<_, LockError>(second)
            },
        )
        .unwrap();
        assert_eq!(second.join().unwrap().unwrap(), 1_100);
    });
}

/// Twin: by a plain read, the second does not wait and sees the old balance.
#[law(postgres, mysql, mariadb, sqlite)]
fn twin_second_reader_sees_the_old_balance(db: &Db) {
    let old = with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            account.balance += 100;
            account.save_changes::<Account>(conn)?;
            Ok::<_, LockError>(db.balance(1))
        },
    );
    assert_eq!(old.unwrap(), 1_000);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn concurrent_deposits_all_count(db: &Db) {
    deposit_on_many_threads!(db, |conn: &mut Conn| {
        with_row_lock(
            conn,
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                account.balance += 1;
                account.save_changes::<Account>(conn)
            },
        )
    });
    assert_eq!(db.balance(1), 1_200);
}

/// Twin: the same deposits with a plain read lose money.
#[law(postgres, mysql, mariadb, sqlite)]
fn twin_unlocked_deposits_are_lost(db: &Db) {
    let lost = (0..20).any(|_| {
        let before = db.balance(1);
        deposit_on_many_threads!(db, |conn: &mut Conn| {
            let mut account: Account = accounts::table.find(1).first(conn)?;
            account.balance += 1;
            account.save_changes::<Account>(conn)
        });
        db.balance(1) < before + 200
    });
    assert!(lost, "nothing was lost in 20 rounds of 200 deposits");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn stale_model_is_refreshed_under_the_lock(db: &Db) {
    let conn = &mut db.connect();
    let stale: Account = accounts::table.find(1).first(conn).unwrap();
    diesel::update(&stale)
        .set(accounts::balance.eq(7))
        .execute(&mut db.connect())
        .unwrap();
    let fresh = with_row_lock(conn, row_of(&stale), |_, account: Locked<Account>| {
        Ok::<_, LockError>(account.into_inner())
    });
    assert_eq!(
        fresh.unwrap(),
        Account {
            balance: 7,
            ..stale
        }
    );
}

/// E18: the transaction's snapshot is older than the lock.
#[law(mysql, mariadb)]
fn locked_row_is_newer_than_the_snapshot(db: &Db) {
    db.loosen_snapshots();
    let conn = &mut db.connect();
    let (plain, locked) = conn
        .transaction(|conn| {
            let _snapshot: i64 = accounts::table
                .find(2)
                .select(accounts::balance)
                .first(conn)?;
            diesel::update(accounts::table.find(1))
                .set(accounts::balance.eq(333))
                .execute(&mut db.connect())?;
            with_row_lock(
                conn,
                accounts::table.find(1),
                |conn, account: Locked<Account>| {
                    let plain: i64 = accounts::table
                        .find(1)
                        .select(accounts::balance)
                        .first(conn)?;
                    Ok::<_, LockError>((plain, account.balance))
                },
            )
        })
        .unwrap();
    assert_eq!(locked, 333);
    assert_eq!(
        plain, 1_000,
        "twin: the plain read in the same transaction is old"
    );
}

/// Unless the server refuses to lock what its snapshot does not show, as MariaDB does by default
/// from 11.6.2 on. A new transaction has a new snapshot, so `retry` is the answer.
#[law(mariadb)]
fn row_newer_than_the_snapshot_is_refused_where_snapshots_are_strict(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("SET innodb_snapshot_isolation = ON")
        .unwrap();
    let mut attempts = 0;
    let mut work = |conn: &mut Conn, _: Locked<'_, Account>| {
        attempts += 1;
        let _snapshot: i64 = accounts::table
            .find(2)
            .select(accounts::balance)
            .first(conn)?;
        if attempts != 3 {
            let raise = diesel::update(accounts::table.find(1))
                .set(accounts::balance.eq(accounts::balance + 1));
            raise.execute(&mut db.connect())?;
        }
        with_row_lock(
            conn,
            accounts::table.find(1),
            |conn, account: Locked<Account>| {
                let plain: i64 = accounts::table
                    .find(1)
                    .select(accounts::balance)
                    .first(conn)?;
                Ok::<_, LockError>((plain, account.balance))
            },
        )
    };
    let refused = with_row_lock(conn, accounts::table.find(3), &mut work);
    assert!(
        matches!(refused, Err(LockError::SerializationFailure { .. })),
        "{refused:?}"
    );
    let retried =
        RowLock::for_update()
            .retry(Retry::new())
            .with(conn, accounts::table.find(3), &mut work);
    assert_eq!(
        retried.unwrap(),
        (1_002, 1_002),
        "both reads are of one state"
    );
    assert_eq!(attempts, 3);
}

#[law(postgres, mysql, mariadb)]
fn row_deleted_while_waiting_is_not_found(db: &Db) {
    let found = lock_while!(
        db,
        accounts::table.find(1),
        "DELETE FROM accounts WHERE id = 1"
    );
    assert!(
        matches!(found, Err(LockError::NotFound { key: None })),
        "{found:?}"
    );
}

#[law(postgres, mysql, mariadb)]
fn row_rekeyed_while_waiting_is_not_found(db: &Db) {
    let found = lock_while!(
        db,
        accounts::table.find(1),
        "UPDATE accounts SET id = 11 WHERE id = 1"
    );
    assert!(
        matches!(found, Err(LockError::NotFound { key: None })),
        "{found:?}"
    );
}

#[law(postgres, mysql, mariadb)]
fn row_that_stops_matching_while_waiting_is_not_found(db: &Db) {
    let rich = accounts::table.find(1).filter(accounts::balance.ge(1_000));
    let found = lock_while!(db, rich, "UPDATE accounts SET balance = 1 WHERE id = 1");
    assert!(
        matches!(found, Err(LockError::NotFound { key: None })),
        "{found:?}"
    );
}

/// The other way round: it still matches, and comes with its new values.
#[law(postgres, mysql, mariadb)]
fn row_that_still_matches_after_waiting_is_fresh(db: &Db) {
    let rich = accounts::table.find(1).filter(accounts::balance.ge(1_000));
    let found = lock_while!(db, rich, "UPDATE accounts SET balance = 2000 WHERE id = 1");
    assert_eq!(found.unwrap().balance, 2_000);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn order_of_the_query_survives_the_lock(db: &Db) {
    let by_id_backwards = accounts::table.order(accounts::id.desc()).limit(2);
    let ids = RowLock::for_update().with_all(
        &mut db.connect(),
        by_id_backwards,
        |_, rows: Vec<Locked<Account>>| {
            Ok::<_, LockError>(rows.iter().map(|row| row.id).collect::<Vec<_>>())
        },
    );
    assert_eq!(ids.unwrap(), [4, 3]);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn boxed_and_narrowed_queries_can_be_locked(db: &Db) {
    let conn = &mut db.connect();
    let boxed = accounts::table
        .filter(accounts::id.eq(2))
        .select(Account::as_select())
        .into_boxed();
    let owner = with_row_lock(conn, boxed, |_, account: Locked<Account>| {
        Ok::<_, LockError>(account.into_inner().owner)
    });
    assert_eq!(owner.unwrap(), "Grace");
    let narrow = accounts::table.find(2).select(accounts::balance);
    let balance = with_row_lock(conn, narrow, |_, balance: Locked<i64>| {
        Ok::<_, LockError>(*balance)
    });
    assert_eq!(balance.unwrap(), 1_000);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn missing_row_is_not_found_and_leaves_no_transaction(db: &Db) {
    let conn = &mut db.connect();
    let missing = with_row_lock(conn, accounts::table.find(77), |_, _: Locked<Account>| {
        Ok::<_, LockError>(())
    });
    assert!(
        matches!(missing, Err(LockError::NotFound { key: None })),
        "{missing:?}"
    );
    conn.batch_execute("UPDATE accounts SET balance = 5 WHERE id = 1")
        .unwrap();
    assert_eq!(db.balance(1), 5);
}

/// Locks the row of `$query` while another transaction, which has run `$change`, still holds it.
macro_rules! lock_while {
    ($db:ident, $query:expr, $change:expr) => {
        thread::scope(|scope| {
            let mut other = $db.connect();
            other.batch_execute("BEGIN").unwrap();
            other.batch_execute($change).unwrap();
            let waiting = scope.spawn(|| {
                with_row_lock(&mut $db.connect(), $query, |_, row: Locked<Account>| {
                    Ok::<_, LockError>(row.into_inner())
                })
            });
            $db.wait_for_waiters(1);
            other.batch_execute("COMMIT").unwrap();
            waiting.join().unwrap()
        })
    };
}
use lock_while;
