//! Promise 6: each error of a server, provoked for real, comes out as the variant that says what it
//! means. A failed assertion shows the server's own words.

mod others;

use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{with_row_lock, LockError, Locked, Outcome, RowLock};
use law::law;

use crate::support::calls::{assert_error, interrupted_wait, nothing, while_held};
use crate::support::schema::{accounts, Account};

const CHANGE_1: &str = "UPDATE accounts SET balance = 11 WHERE id = 1";

const CHANGE_2: &str = "UPDATE accounts SET balance = 22 WHERE id = 2";

#[law(postgres, mysql, mariadb, sqlite)]
fn no_wait_on_a_held_row_is_busy(db: &Db) {
    let conn = &mut db.connect();
    while_held!(db, 1, RowLock::for_update(), {
        let result = RowLock::for_update()
            .no_wait()
            .with(conn, accounts::table.find(1), nothing);
        assert_error!(result, Busy, NotApplied, transient, contention);
    });
    assert_usable!(db, conn);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn wait_longer_than_the_session_allows_is_a_timeout(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(&Db::session_timeout(Duration::from_millis(50)))
        .unwrap();
    while_held!(db, 1, RowLock::for_update(), {
        let result = with_row_lock(conn, accounts::table.find(1), nothing);
        assert_error!(result, Timeout, NotApplied, transient, contention);
    });
    assert_usable!(db, conn);
}

/// Also from a statement of the closure, where the crate sees it only by `?`.
#[law(postgres, mysql, mariadb)]
fn wait_inside_of_the_closure_is_a_timeout(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(&Db::session_timeout(Duration::from_millis(50)))
        .unwrap();
    while_held!(db, 1, RowLock::for_update(), {
        let result = with_row_lock(conn, accounts::table.find(2), |conn, _: Locked<Account>| {
            conn.batch_execute(CHANGE_2)?;
            conn.batch_execute(CHANGE_1)?;
            Ok::<_, LockError>(())
        });
        assert_error!(result, Timeout, NotApplied, transient, contention);
    });
    assert_eq!(db.balance(2), 1_000);
    assert_usable!(db, conn);
}

/// PostgreSQL's timeouts, Rails' QueryCanceled: whichever limit is reached, it is named.
#[law(postgres)]
fn timeout_of_the_lock_and_of_the_statement_are_told_apart(db: &Db) {
    let conn = &mut db.connect();
    while_held!(db, 1, RowLock::for_update(), {
        conn.batch_execute("SET lock_timeout = '30s'; SET statement_timeout = '1s'")
            .unwrap();
        let result = with_row_lock(conn, accounts::table.find(1), nothing);
        assert_error!(result, StatementTimeout, NotApplied, lasting, no_contention);
        conn.batch_execute("SET lock_timeout = '50ms'; SET statement_timeout = '30s'")
            .unwrap();
        let result = with_row_lock(conn, accounts::table.find(1), nothing);
        assert_error!(result, Timeout, NotApplied, transient, contention);
        conn.batch_execute("SET statement_timeout = '1s'").unwrap();
        let patient = RowLock::for_update().timeout(Duration::from_secs(30));
        let result = patient.with(conn, accounts::table.find(1), nothing);
        assert_error!(result, StatementTimeout, NotApplied, lasting, no_contention);
    });
    conn.batch_execute(Db::UNLIMITED_STATEMENTS).unwrap();
    assert_usable!(db, conn);
}

#[law(mysql, mariadb)]
fn timeout_of_the_statement_is_no_timeout_of_the_lock(db: &Db) {
    let conn = &mut db.connect();
    while_held!(db, 1, RowLock::for_update(), {
        conn.batch_execute(Db::BRIEF_STATEMENTS).unwrap();
        let result = with_row_lock(conn, accounts::table.find(1), nothing);
        assert_error!(result, StatementTimeout, NotApplied, lasting, no_contention);
    });
    conn.batch_execute(Db::UNLIMITED_STATEMENTS).unwrap();
    assert_usable!(db, conn);
}

#[law(postgres, mysql, mariadb)]
fn slow_statement_of_the_closure_is_a_statement_timeout(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(Db::BRIEF_STATEMENTS).unwrap();
    let result = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        conn.batch_execute(CHANGE_1)?;
        conn.batch_execute(Db::SLOW_STATEMENT)?;
        Ok::<_, LockError>(())
    });
    assert_error!(result, StatementTimeout, NotApplied, lasting, no_contention);
    assert_eq!(db.balance(1), 1_000);
    assert_usable!(db, conn);
}

/// Rails' Deadlocked, Ecto's: one of the two wins, and both connections go on.
#[law(postgres, mysql, mariadb)]
fn crosswise_locks_are_a_deadlock_of_one(db: &Db) {
    let (mut first, mut second) = (db.connect(), db.connect());
    let results = thread::scope(|scope| {
        let mut rival = None;
        let mine = with_row_lock(
            &mut first,
            accounts::table.find(1),
            |conn, _: Locked<Account>| {
                conn.batch_execute(CHANGE_1)?;
                rival = Some(scope.spawn(|| {
                    with_row_lock(
                        &mut second,
                        accounts::table.find(2),
                        |conn, _: Locked<Account>| {
                            conn.batch_execute(CHANGE_2)?;
                            with_row_lock(conn, accounts::table.find(1), nothing)
                        },
                    )
                }));
                db.wait_for_waiters(1);
                with_row_lock(conn, accounts::table.find(2), nothing)
            },
        );
        [mine, rival.unwrap().join().unwrap()]
    });
    let changed = [db.balance(1) == 11, db.balance(2) == 22];
    assert_eq!(
        changed,
        [results[0].is_ok(), results[1].is_ok()],
        "{results:?}"
    );
    assert!(results.iter().any(Result::is_ok), "{results:?}");
    for result in results.into_iter().filter(Result::is_err) {
        assert_error!(result, Deadlock, NotApplied, transient, contention);
    }
    assert_usable!(db, &mut first);
    assert_usable!(db, &mut second);
}

/// PostgreSQL's deadlock-simple: two who share a row both want it alone.
#[law(postgres, mysql, mariadb)]
fn two_upgrades_are_a_deadlock_of_one(db: &Db) {
    let upgrade = |conn: &mut Conn, before: &dyn Fn()| {
        RowLock::for_share().with(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
            before();
            with_row_lock(conn, accounts::table.find(1), nothing)
        })
    };
    let (mut first, mut second) = (db.connect(), db.connect());
    let results = thread::scope(|scope| {
        let rival = std::cell::Cell::new(None);
        let second = &mut second;
        let spawn =
            std::cell::Cell::new(Some(move || scope.spawn(move || upgrade(second, &|| ()))));
        let mine = upgrade(&mut first, &|| {
            rival.set(spawn.take().map(|spawn| spawn()));
            db.wait_for_waiters(1);
        });
        [mine, rival.take().unwrap().join().unwrap()]
    });
    assert!(results.iter().any(Result::is_ok), "{results:?}");
    let result = results
        .into_iter()
        .find(Result::is_err)
        .expect("no deadlock");
    assert_error!(result, Deadlock, NotApplied, transient, contention);
    assert_usable!(db, &mut first);
    assert_usable!(db, &mut second);
}

#[law(postgres)]
fn row_changed_since_the_snapshot_is_a_serialization_failure(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("SET default_transaction_isolation = 'repeatable read'")
        .unwrap();
    let result = with_row_lock(conn, accounts::table.find(2), |conn, _: Locked<Account>| {
        db.connect().batch_execute(CHANGE_1)?;
        with_row_lock(conn, accounts::table.find(1), nothing)
    });
    assert_error!(
        result,
        SerializationFailure,
        NotApplied,
        transient,
        no_contention
    );
    assert_usable!(db, conn);
}

/// Rails: also through a savepoint, in a transaction of Diesel's, which can then be run again.
#[law(postgres)]
fn serialization_failure_in_a_transaction_of_diesel_is_recoverable(db: &Db) {
    let conn = &mut db.connect();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let result = conn.build_transaction().repeatable_read().run(|conn| {
            let _snapshot: i64 = accounts::table
                .find(2)
                .select(accounts::balance)
                .first(conn)?;
            if attempts == 1 {
                db.connect().batch_execute(CHANGE_1)?;
            }
            with_row_lock(
                conn,
                accounts::table.find(1),
                |_, account: Locked<Account>| Ok::<_, LockError>(account.balance),
            )
        });
        match result {
            Ok(balance) => break assert_eq!((balance, attempts), (11, 2)),
            Err(LockError::SerializationFailure { .. }) if attempts == 1 => {}
            Err(other) => panic!("attempt {attempts}: {other:?}"),
        }
    }
}

#[law(postgres)]
fn row_changed_while_waiting_is_a_serialization_failure(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("SET default_transaction_isolation = 'repeatable read'")
        .unwrap();
    let result = thread::scope(|scope| {
        let (holder, row) = (&mut db.connect(), accounts::table.find(1));
        let waiter = with_row_lock(holder, row, |holder, _: Locked<Account>| {
            let waiter = scope.spawn(|| with_row_lock(conn, accounts::table.find(1), nothing));
            db.wait_for_waiters(1);
            holder.batch_execute(CHANGE_1)?;
            Ok::<_, LockError>(waiter)
        });
        waiter.unwrap().join().unwrap()
    });
    assert_error!(
        result,
        SerializationFailure,
        NotApplied,
        transient,
        no_contention
    );
    assert_usable!(db, conn);
}

/// E5.
#[law(mariadb)]
fn error_1020_is_a_serialization_failure(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("SET SESSION innodb_snapshot_isolation = ON")
        .unwrap();
    let result = with_row_lock(conn, accounts::table.find(2), |conn, _: Locked<Account>| {
        conn.batch_execute(CHANGE_2)?;
        let _snapshot: i64 = accounts::table
            .find(3)
            .select(accounts::balance)
            .first(conn)?;
        db.connect().batch_execute(CHANGE_1)?;
        with_row_lock(conn, accounts::table.find(1), nothing)
    });
    assert_error!(
        result,
        SerializationFailure,
        NotApplied,
        transient,
        no_contention
    );
    assert_eq!(db.balance(2), 1_000);
    assert_usable!(db, conn);
}

#[law(postgres, mysql, mariadb)]
fn cancelled_wait_is_cancelled(db: &Db) {
    let conn = &mut db.connect();
    let session = Db::session(conn);
    let result = interrupted_wait!(db, conn, db.cancel(session));
    assert_error!(result, Cancelled, NotApplied, lasting, no_contention);
    assert_usable!(db, conn);
}

/// No transaction is open, and locked calls and plain statements work.
macro_rules! assert_usable {
    ($db:ident, $conn:expr) => {
        let conn: &mut Conn = $conn;
        with_row_lock(conn, accounts::table.find(4), |_, _: Locked<Account>| {
            Ok::<_, LockError>(())
        })
        .expect("a locked call fails");
        let balance = $db.balance(4) + 1;
        conn.batch_execute(&format!(
            "UPDATE accounts SET balance = {balance} WHERE id = 4"
        ))
        .expect("a plain statement fails");
        assert_eq!($db.balance(4), balance, "a transaction is still open");
    };
}
use assert_usable;
