//! What each strength lets others do while a row is held, asked from another connection.

use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{with_row_lock, LockError, Locked, RowLock};
use law::law;

use crate::support::calls::{ask, assert_busy, while_held};
use crate::support::schema::{accounts, Account};

#[law(postgres, mysql, mariadb)]
fn for_update_holds_this_row_only(db: &Db) {
    while_held!(db, 1, RowLock::for_update(), {
        assert_busy!(ask!(db, 1, RowLock::for_update()));
        ask!(db, 2, RowLock::for_update()).unwrap();
        assert_eq!(db.free("accounts"), [2, 3, 4]);
    });
    assert_eq!(db.free("accounts"), [1, 2, 3, 4]);
}

/// SQLite has no row locks.
#[law(sqlite)]
fn for_update_holds_the_whole_database(db: &Db) {
    while_held!(db, 1, RowLock::for_update(), {
        assert_busy!(ask!(db, 1, RowLock::for_update()));
        assert_busy!(ask!(db, 2, RowLock::for_update()));
        assert!(db.free("accounts").is_empty());
    });
    assert_eq!(db.free("accounts"), [1, 2, 3, 4]);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn plain_reader_is_not_kept_out(db: &Db) {
    while_held!(db, 1, RowLock::for_update(), {
        assert_eq!((db.balance(1), db.balance(2)), (1_000, 1_000));
    });
}

#[law(postgres, mysql, mariadb)]
fn for_update_keeps_out_an_update(db: &Db) {
    waits_while_held!(
        db,
        1,
        RowLock::for_update(),
        "UPDATE accounts SET balance = 5 WHERE id = 1"
    );
    assert_eq!(db.balance(1), 5, "it ran when the row came free");
}

#[law(sqlite)]
fn for_update_keeps_out_every_writer(db: &Db) {
    const WRITE: &str = "BEGIN IMMEDIATE; UPDATE accounts SET balance = 5 WHERE id = 2; COMMIT";
    waits_while_held!(db, 1, RowLock::for_update(), WRITE);
    assert_eq!(db.balance(2), 5, "it ran when the database came free");
}

/// Twin: without the call, the same probes find nothing held.
#[law(postgres, mysql, mariadb, sqlite)]
fn twin_plain_transaction_keeps_nobody_out(db: &Db) {
    db.connect()
        .transaction(|conn| {
            let _: Account = accounts::table.find(1).first(conn)?;
            ask!(db, 1, RowLock::for_update()).unwrap();
            assert_eq!(db.free("accounts"), [1, 2, 3, 4]);
            QueryResult::Ok(())
        })
        .unwrap();
}

#[law(postgres, mysql, mariadb)]
fn two_sharers_go_together(db: &Db) {
    while_held!(db, 1, RowLock::for_share(), {
        ask!(db, 1, RowLock::for_share()).unwrap();
        assert_busy!(ask!(db, 1, RowLock::for_update()));
        assert_eq!(db.free("accounts"), [2, 3, 4]);
    });
}

/// Twin: one who holds it for update shares it with nobody.
#[law(postgres, mysql, mariadb)]
fn twin_holder_for_update_does_not_share(db: &Db) {
    while_held!(db, 1, RowLock::for_update(), {
        assert_busy!(ask!(db, 1, RowLock::for_share()));
    });
}

#[law(postgres, mysql, mariadb)]
fn for_share_keeps_out_an_update(db: &Db) {
    waits_while_held!(
        db,
        1,
        RowLock::for_share(),
        "UPDATE accounts SET balance = 5 WHERE id = 1"
    );
}

/// PostgreSQL's nowait-2: who shares a row with another can't have it alone.
#[law(postgres, mysql, mariadb)]
fn sharer_can_not_have_the_row_alone(db: &Db) {
    while_held!(db, 1, RowLock::for_share(), {
        let (conn, row) = (&mut db.connect(), accounts::table.find(1));
        let upgraded = RowLock::for_share().with(conn, row, |conn, _: Locked<Account>| {
            RowLock::for_update().no_wait().with(
                conn,
                accounts::table.find(1),
                |_, _: Locked<Account>| Ok::<_, LockError>(()),
            )
        });
        assert_busy!(upgraded);
    });
}

#[law(postgres, mysql, mariadb)]
fn only_sharer_can_have_the_row_alone(db: &Db) {
    RowLock::for_share()
        .with(
            &mut db.connect(),
            accounts::table.find(1),
            |conn, _: Locked<Account>| {
                with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
                    assert_busy!(ask!(db, 1, RowLock::for_share()));
                    Ok::<_, LockError>(())
                })
            },
        )
        .unwrap();
}

/// PostgreSQL's tuplelock-upgrade-no-deadlock.
#[law(postgres)]
fn upgrade_past_a_waiter_is_no_deadlock(db: &Db) {
    thread::scope(|scope| {
        let waiter = RowLock::for_share()
            .with(
                &mut db.connect(),
                accounts::table.find(1),
                |conn, _: Locked<Account>| {
                    let waiter = scope.spawn(|| {
                        let (conn, row) = (&mut db.connect(), accounts::table.find(1));
                        with_row_lock(conn, row, |_, account: Locked<Account>| {
                            Ok::<_, LockError>(account.balance)
                        })
                    });
                    db.wait_for_waiters(1);
                    with_row_lock(
                        conn,
                        accounts::table.find(1),
                        |conn, mut account: Locked<Account>| {
                            account.balance = 5;
                            account.save_changes::<Account>(conn)?;
                            Ok::<_, LockError>(waiter)
                        },
                    )
                },
            )
            .unwrap();
        assert_eq!(waiter.join().unwrap().unwrap(), 5);
    });
}

/// The table of the manual (13.3.2, Row-Level Locks).
#[law(postgres)]
fn strengths_conflict_as_the_manual_says(db: &Db) {
    macro_rules! beside {
        ($held:ident, $key_share:literal $share:literal $no_key_update:literal $update:literal) => {
            while_held!(db, 1, RowLock::$held(), {
                let beside = [
                    ask!(db, 1, RowLock::for_key_share()),
                    ask!(db, 1, RowLock::for_share()),
                    ask!(db, 1, RowLock::for_no_key_update()),
                    ask!(db, 1, RowLock::for_update()),
                ];
                let goes = beside.map(|asked| match asked {
                    Ok(()) => true,
                    Err(LockError::Busy { .. }) => false,
                    Err(other) => panic!("{other:?}"),
                });
                let expected = [$key_share, $share, $no_key_update, $update];
                assert_eq!(goes, expected, "beside {}", stringify!($held));
            })
        };
    }
    beside!(for_key_share,     true  true  true  false);
    beside!(for_share,         true  true  false false);
    beside!(for_no_key_update, true  false false false);
    beside!(for_update,        false false false false);
}

/// E13, Hibernate's testLockInsertFkTarget: nobody changes the key, so nobody need wait.
#[law(postgres)]
fn child_is_inserted_beside_for_no_key_update(db: &Db) {
    while_held!(db, 1, RowLock::for_no_key_update(), {
        let mut other = db.connect();
        other.batch_execute("SET lock_timeout = '5s'").unwrap();
        other
            .batch_execute("INSERT INTO entries VALUES (1, 1, 50)")
            .unwrap();
    });
}

/// Hibernate's testLockUpdateFkTarget.
#[law(postgres)]
fn child_is_moved_beside_for_no_key_update(db: &Db) {
    let mut other = db.connect();
    other
        .batch_execute("INSERT INTO entries VALUES (1, 2, 50)")
        .unwrap();
    while_held!(db, 1, RowLock::for_no_key_update(), {
        other.batch_execute("SET lock_timeout = '5s'").unwrap();
        other
            .batch_execute("UPDATE entries SET account_id = 1 WHERE id = 1")
            .unwrap();
    });
}

/// Twin.
#[law(postgres)]
fn twin_child_is_not_inserted_beside_for_update(db: &Db) {
    waits_while_held!(
        db,
        1,
        RowLock::for_update(),
        "INSERT INTO entries VALUES (1, 1, 50)"
    );
}

#[law(postgres)]
fn for_key_share_lets_a_balance_change(db: &Db) {
    while_held!(db, 1, RowLock::for_key_share(), {
        let mut other = db.connect();
        other.batch_execute("SET lock_timeout = '5s'").unwrap();
        other
            .batch_execute("UPDATE accounts SET balance = 5 WHERE id = 1")
            .unwrap();
        assert_eq!(db.balance(1), 5);
    });
}

#[law(postgres)]
fn for_key_share_keeps_out_a_delete(db: &Db) {
    waits_while_held!(
        db,
        1,
        RowLock::for_key_share(),
        "DELETE FROM accounts WHERE id = 1"
    );
}

#[law(postgres)]
fn for_key_share_keeps_out_a_change_of_the_key(db: &Db) {
    waits_while_held!(
        db,
        1,
        RowLock::for_key_share(),
        "UPDATE accounts SET id = 11 WHERE id = 1"
    );
}

/// PostgreSQL's aborted-keyrevoke and delete-abort-savept.
#[law(postgres)]
fn outer_lock_survives_a_stronger_inner_one_that_is_rolled_back(db: &Db) {
    RowLock::for_key_share()
        .with(
            &mut db.connect(),
            accounts::table.find(1),
            |conn, _: Locked<Account>| {
                let inner =
                    with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
                        conn.batch_execute("DELETE FROM accounts WHERE id = 1")?;
                        Err::<(), LockError>(diesel::result::Error::RollbackTransaction.into())
                    });
                assert!(inner.is_err());
                ask!(db, 1, RowLock::for_no_key_update()).expect("the stronger lock is gone");
                assert_busy!(ask!(db, 1, RowLock::for_update()));
                Ok::<_, LockError>(())
            },
        )
        .unwrap();
}

#[law(postgres, mysql, mariadb)]
fn limit_holds_the_slice_only(db: &Db) {
    let first_two = accounts::table.order(accounts::id).limit(2);
    RowLock::for_update()
        .with_all(
            &mut db.connect(),
            first_two,
            |_, rows: Vec<Locked<Account>>| {
                assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [1, 2]);
                assert_eq!(db.free("accounts"), [3, 4]);
                Ok::<_, LockError>(())
            },
        )
        .unwrap();
}

/// `$sql`, run from another connection, waits by the server's word while account `$id` is held,
/// and gets through after it.
macro_rules! waits_while_held {
    ($db:ident, $id:expr, $lock:expr, $sql:expr) => {
        thread::scope(|scope| {
            let waiter = while_held!($db, $id, $lock, {
                let waiter = scope.spawn(|| $db.connect().batch_execute($sql));
                $db.wait_for_waiters(1);
                waiter
            });
            waiter.join().unwrap().unwrap();
        })
    };
}
use waits_while_held;
