//! Promises 7 and 8, where the transaction around a call is not in order: it is one that Diesel
//! does not know of, or one that the server has ended.

use std::thread;
use std::time::Duration;

use diesel::connection::{SimpleConnection, TransactionManager};
use diesel::prelude::*;
use diesel::result::Error::RollbackTransaction;
use diesel_row_lock::{with_row_lock, LockError, Locked, Outcome, RowLock};
use law::law;

use crate::support::calls::{assert_error, nothing};
use crate::support::probe::statements_of;
use crate::support::schema::{accounts, Account};

const CHANGE_2: &str = "UPDATE accounts SET balance = 22 WHERE id = 2";
const CHANGE_4: &str = "UPDATE accounts SET balance = 44 WHERE id = 4";
const PATIENT: Duration = Duration::from_secs(7);

/// In an open transaction of `$conn`: a nested call on account 3 that becomes the victim of a
/// deadlock, in which the transaction around it is lost.
macro_rules! lose_outer {
    ($db:ident, $conn:expr) => {
        thread::scope(|scope| {
            let conn: &mut Conn = $conn;
            let mut other = $db.connect();
            // The one that has changed more rows wins.
            other
                .batch_execute(
                    "BEGIN; UPDATE seats SET taken_by = 'rival'; UPDATE tokens SET uses = 1",
                )
                .unwrap();
            other
                .batch_execute("UPDATE accounts SET owner = 'rival' WHERE id = 3")
                .unwrap();
            conn.batch_execute(CHANGE_2).unwrap();
            let rival = scope.spawn(move || {
                other
                    .batch_execute("UPDATE accounts SET owner = 'rival' WHERE id = 2")
                    .unwrap();
                other.batch_execute("ROLLBACK").unwrap();
            });
            $db.wait_for_waiters(1);
            let lock = RowLock::for_update().timeout(PATIENT);
            let inner = lock.with(conn, accounts::table.find(3), nothing);
            rival.join().unwrap();
            assert!(
                matches!(inner, Err(LockError::Deadlock { .. })),
                "{inner:?}"
            );
        })
    };
}

/// The next nested call does not become an outermost one, which would commit.
#[law(mysql, mariadb)]
fn call_in_a_transaction_that_a_deadlock_has_ended_is_aborted(db: &Db) {
    let conn = &mut db.connect();
    let outer = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        let sent = statements_of(conn);
        lose_outer!(db, conn);
        // The savepoint is gone with the transaction.
        let sent = sent.lock().unwrap().join("; ");
        assert!(!sent.contains("ROLLBACK TO"), "{sent}");
        for _ in 0..2 {
            let late = with_row_lock(conn, accounts::table.find(4), |conn, _: Locked<Account>| {
                Ok::<_, LockError>(conn.batch_execute(CHANGE_4)?)
            });
            assert_error!(late, Aborted, NotApplied, lasting, no_contention);
            let late =
                RowLock::for_update()
                    .outermost()
                    .with(conn, accounts::table.find(4), nothing);
            assert_error!(late, Aborted, NotApplied, lasting, no_contention);
        }
        Err::<(), _>(RollbackTransaction)
    });
    assert_eq!(outer, Err(RollbackTransaction));
    assert_eq!((db.balance(2), db.balance(4)), (1_000, 1_000));
    with_row_lock(conn, accounts::table.find(1), nothing).expect("the connection is usable");
}

/// The server would refuse whatever it is sent before a rollback.
#[law(postgres)]
fn call_in_an_aborted_transaction_sends_nothing(db: &Db) {
    let conn = &mut db.connect();
    let outer = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        conn.batch_execute("SELECT 1 / 0").unwrap_err();
        let sent = statements_of(conn);
        let late = with_row_lock(conn, accounts::table.find(4), nothing);
        assert_error!(late, Aborted, NotApplied, lasting, no_contention);
        let sent = std::mem::take(&mut *sent.lock().unwrap());
        assert_eq!(sent, [""; 0]);
        Err::<(), _>(RollbackTransaction)
    });
    assert_eq!(outer, Err(RollbackTransaction));
}

#[law(mysql, mariadb)]
fn call_in_a_lost_transaction_of_diesel_is_aborted(db: &Db) {
    let conn = &mut db.connect();
    let before = Db::settings(conn);
    let outer = conn.transaction(|conn| {
        lose_outer!(db, conn);
        // Neither this nor the call may commit by itself.
        conn.batch_execute("UPDATE accounts SET balance = 33 WHERE id = 3")?;
        let late = with_row_lock(conn, accounts::table.find(4), |conn, _: Locked<Account>| {
            conn.batch_execute(CHANGE_4)
        });
        assert_error!(
            late.map_err(LockError::from),
            Aborted,
            NotApplied,
            lasting,
            no_contention
        );
        Err::<(), _>(RollbackTransaction)
    });
    assert!(outer.is_err(), "{outer:?}");
    let outermost = RowLock::for_update().outermost();
    outermost
        .with(conn, accounts::table.find(1), nothing)
        .expect("the connection is usable");
    assert_eq!(
        (db.balance(2), db.balance(3), db.balance(4)),
        (1_000, 1_000, 1_000)
    );
    assert_eq!(Db::settings(conn), before);
    conn.transaction(|conn| conn.batch_execute(CHANGE_2))
        .expect("also for Diesel");
    assert_eq!(db.balance(2), 22);
}

/// Twin: behind a deadlock that Diesel has handled inside, the rest commits by itself.
#[law(mysql, mariadb)]
fn twin_diesel_commits_behind_a_nested_deadlock(db: &Db) {
    let outer = db.connect().transaction(|conn| {
        let inner = conn.transaction(|conn| {
            thread::scope(|scope| {
                let mut other = db.connect();
                other
                    .batch_execute("BEGIN; UPDATE accounts SET owner = 'rival' WHERE id > 2")
                    .unwrap();
                conn.batch_execute(CHANGE_2)?;
                let rival = scope.spawn(move || {
                    other
                        .batch_execute("UPDATE accounts SET owner = 'rival' WHERE id = 2")
                        .unwrap();
                    other.batch_execute("ROLLBACK").unwrap();
                });
                db.wait_for_waiters(1);
                let victim = diesel::sql_query("UPDATE accounts SET balance = 33 WHERE id = 3")
                    .execute(conn);
                rival.join().unwrap();
                victim
            })
        });
        assert!(inner.is_err());
        diesel::sql_query(CHANGE_4).execute(conn)?;
        Err::<(), _>(RollbackTransaction)
    });
    assert_eq!(outer, Err(RollbackTransaction));
    assert_eq!(
        (db.balance(2), db.balance(4)),
        (1_000, 44),
        "Diesel mends this now"
    );
}

/// MySQL's timeout is a setting of the session.
#[law(mysql, mariadb)]
fn timeout_of_a_nested_victim_is_put_back(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("SET innodb_lock_wait_timeout = 33")
        .unwrap();
    let before = Db::settings(conn);
    let outer = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        lose_outer!(db, conn);
        Ok::<_, LockError>(())
    });
    assert_error!(outer, Aborted, NotApplied, lasting, no_contention);
    assert_eq!(Db::settings(conn), before);
}

#[law(mysql, mariadb)]
fn call_inside_of_an_xa_transaction_is_refused_and_changes_nothing(db: &Db) {
    let conn = &mut db.connect();
    let before = Db::settings(conn);
    // The server knows them for all databases.
    let xid = db.name();
    for lock in [
        RowLock::for_update().timeout(PATIENT),
        RowLock::for_update().timeout(Duration::MAX),
    ] {
        conn.batch_execute(&format!("XA START '{xid}'")).unwrap();
        conn.batch_execute(CHANGE_2).unwrap();
        let refused = lock.with(conn, accounts::table.find(1), nothing);
        assert_error!(
            refused,
            AlreadyInTransaction,
            NotApplied,
            lasting,
            no_contention
        );
        for end in ["XA END 'id'", "XA COMMIT 'id' ONE PHASE"] {
            conn.batch_execute(&end.replace("id", xid)).unwrap();
        }
        assert_eq!(
            db.balance(2),
            22,
            "the work of the XA transaction is its own"
        );
        assert_eq!(Db::settings(conn), before);
    }
    conn.batch_execute(CHANGE_4).unwrap();
    assert_eq!(db.balance(4), 44, "what runs behind it is durable");
    with_row_lock(conn, accounts::table.find(1), nothing).unwrap();
}

/// Twin: the fence alone, as the library once began, is left behind in the session.
#[law(mysql, mariadb)]
fn twin_fence_in_an_xa_transaction_can_not_be_taken_down(db: &Db) {
    let conn = &mut db.connect();
    let xid = db.name();
    conn.batch_execute(&format!("XA START '{xid}'; SET autocommit = 0"))
        .unwrap();
    conn.batch_execute("BEGIN").unwrap_err();
    conn.batch_execute("ROLLBACK; SET autocommit = 1")
        .unwrap_err();
    for end in ["XA END 'id'", "XA ROLLBACK 'id'"] {
        conn.batch_execute(&end.replace("id", xid)).unwrap();
    }
    conn.batch_execute(CHANGE_4).unwrap();
    assert_eq!(db.balance(4), 1_000, "the server takes it down now");
}

/// What a call has kept of the session is forgotten with it.
#[law(mysql, mariadb)]
fn mode_that_the_user_sets_between_two_calls_is_kept(db: &Db) {
    let conn = &mut db.connect();
    with_row_lock(conn, accounts::table.find(1), nothing).unwrap();
    conn.batch_execute("SET autocommit = 0").unwrap();
    let before = Db::settings(conn);
    // As after an error that Diesel holds to be fatal.
    <Conn as Connection>::TransactionManager::transaction_manager_status_mut(conn).set_in_error();
    with_row_lock(conn, accounts::table.find(1), nothing).unwrap();
    assert_eq!(Db::settings(conn), before);
    conn.batch_execute("ROLLBACK").unwrap();
}

/// As `BEGIN` does.
#[law(mysql, mariadb)]
fn call_commits_what_a_session_without_autocommit_has_left_open(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("SET autocommit = 0").unwrap();
    let before = Db::settings(conn);
    conn.batch_execute(CHANGE_2).unwrap();
    let failed = with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
        Err::<(), _>(RollbackTransaction)
    });
    assert_eq!(failed, Err(RollbackTransaction));
    assert_eq!(db.balance(2), 22);
    assert_eq!(Db::settings(conn), before);
}

#[law(sqlite)]
fn call_inside_of_a_raw_begin_is_refused_and_leaves_it_open(db: &Db) {
    let conn = &mut db.connect();
    for lock in [
        RowLock::for_update().timeout(PATIENT),
        RowLock::for_update().timeout(Duration::ZERO),
    ] {
        conn.batch_execute("BEGIN IMMEDIATE").unwrap();
        conn.batch_execute(CHANGE_2).unwrap();
        let refused = lock.with(conn, accounts::table.find(1), nothing);
        assert_error!(
            refused,
            AlreadyInTransaction,
            NotApplied,
            lasting,
            no_contention
        );
        conn.batch_execute("COMMIT").expect("it is still open");
        assert_eq!(db.balance(2), 22);
    }
    with_row_lock(conn, accounts::table.find(1), nothing).unwrap();
}
