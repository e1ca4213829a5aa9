//! Promise 2: a closure that swallows a failed statement and returns `Ok` is never told `Ok` when
//! the server rolled back. The twins show what Diesel alone says.

use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{with_row_lock, LockError, Locked, Outcome, RowLock};
use law::law;

use crate::support::schema::{accounts, Account};

const CHANGE_2: &str = "UPDATE accounts SET balance = 22 WHERE id = 2";
const CHANGE_3: &str = "UPDATE accounts SET balance = 33 WHERE id = 3";
const FAIL: &str = "INSERT INTO accounts VALUES (1, 'again', 0)";

/// Changes account 2, and then makes the server choose this transaction as the victim of a
/// deadlock, by `$statement` (which the caller may swallow).
macro_rules! as_victim {
    ($db:ident, $conn:expr, $statement:expr) => {
        thread::scope(|scope| {
            let conn: &mut Conn = $conn;
            let mut other = $db.connect();
            // The one that has changed more rows wins.
            other.batch_execute("BEGIN").unwrap();
            other
                .batch_execute("UPDATE accounts SET owner = 'rival' WHERE id > 2")
                .unwrap();
            conn.batch_execute(CHANGE_2).unwrap();
            let rival = scope.spawn(move || {
                other
                    .batch_execute("UPDATE accounts SET owner = 'rival' WHERE id <= 2")
                    .unwrap();
                other.batch_execute("ROLLBACK").unwrap();
            });
            $db.wait_for_waiters(1);
            let error = $statement(conn);
            rival.join().unwrap();
            error
        })
    };
}

/// E1.
#[law(postgres)]
fn swallowed_error_is_not_ok(db: &Db) {
    let conn = &mut db.connect();
    let result = with_row_lock(
        conn,
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            account.balance += 100;
            account.save_changes::<Account>(conn)?;
            let _ = diesel::sql_query(FAIL).execute(conn);
            Ok::<_, LockError>(())
        },
    );
    let error = result.unwrap_err();
    assert!(matches!(error, LockError::Aborted { .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert_eq!(db.balance(1), 1_000);
    conn.batch_execute(CHANGE_2).unwrap();
    assert_eq!(db.balance(2), 22, "the connection is not usable");
}

#[law(postgres)]
fn swallowed_error_of_a_batch_is_not_ok(db: &Db) {
    let result = with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, _: Locked<Account>| {
            conn.batch_execute(CHANGE_2)?;
            let _ = conn.batch_execute(FAIL);
            Ok::<_, LockError>(())
        },
    );
    assert!(
        matches!(result, Err(LockError::Aborted { .. })),
        "{result:?}"
    );
    assert_eq!(db.balance(2), 1_000);
}

/// Twin: Diesel says `Ok`, and nothing was saved.
#[law(postgres)]
fn twin_diesel_says_ok_after_a_swallowed_error(db: &Db) {
    let result = db.connect().transaction(|conn| {
        conn.batch_execute(CHANGE_2)?;
        let _ = diesel::sql_query(FAIL).execute(conn);
        QueryResult::Ok(())
    });
    assert!(result.is_ok(), "Diesel mends this now: {result:?}");
    assert_eq!(db.balance(2), 1_000);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn error_inside_a_savepoint_may_be_swallowed(db: &Db) {
    let result = with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, _: Locked<Account>| {
            conn.batch_execute(CHANGE_2)?;
            let failed = conn.transaction(|conn| diesel::sql_query(FAIL).execute(conn));
            assert!(failed.is_err());
            Ok::<_, LockError>(())
        },
    );
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(db.balance(2), 22);
}

/// The server rolled back the statement only, so `Ok` is the truth.
#[law(mysql, mariadb, sqlite)]
fn swallowed_error_takes_back_its_own_statement_only(db: &Db) {
    let result = with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, _: Locked<Account>| {
            conn.batch_execute(CHANGE_2)?;
            let _ = conn.batch_execute(FAIL);
            Ok::<_, LockError>(())
        },
    );
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(db.balance(2), 22);
}

/// E6: a timeout takes back its own statement only, and the rest commits.
#[law(mysql, mariadb)]
fn swallowed_lock_timeout_takes_back_its_own_statement_only(db: &Db) {
    let mut other = db.connect();
    other
        .batch_execute("BEGIN; UPDATE accounts SET balance = 44 WHERE id = 4")
        .unwrap();
    let conn = &mut db.connect();
    conn.batch_execute("SET innodb_lock_wait_timeout = 1")
        .unwrap();
    let result = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        conn.batch_execute(CHANGE_2)?;
        let timeout = conn.batch_execute("UPDATE accounts SET balance = 0 WHERE id = 4");
        assert!(matches!(
            LockError::from(timeout.unwrap_err()),
            LockError::Timeout { .. }
        ));
        conn.batch_execute(CHANGE_3)?;
        Ok::<_, LockError>(())
    });
    assert!(result.is_ok(), "{result:?}");
    assert_eq!((db.balance(2), db.balance(3)), (22, 33));
}

/// E3: the server ended the transaction; what the closure did after it must not stay.
#[law(mysql, mariadb)]
fn swallowed_deadlock_is_not_ok_and_nothing_stays(db: &Db) {
    let conn = &mut db.connect();
    let result = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        as_victim!(db, conn, |conn: &mut Conn| diesel::sql_query(CHANGE_3)
            .execute(conn))
        .unwrap_err();
        diesel::sql_query("UPDATE accounts SET balance = 44 WHERE id = 4").execute(conn)?;
        Ok::<_, LockError>(())
    });
    let error = result.unwrap_err();
    assert!(matches!(error, LockError::Aborted { .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert_eq!((db.balance(2), db.balance(4)), (1_000, 1_000));
    conn.batch_execute(CHANGE_2).unwrap();
    assert_eq!(db.balance(2), 22, "the connection is not usable");
}

/// E9: through a batch Diesel does not notice the deadlock, and we only know that the
/// transaction is gone.
#[law(mysql, mariadb)]
fn swallowed_deadlock_of_a_batch_is_not_ok_and_nothing_stays(db: &Db) {
    let result = with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, _: Locked<Account>| {
            as_victim!(db, conn, |conn: &mut Conn| conn.batch_execute(CHANGE_3)).unwrap_err();
            conn.batch_execute("UPDATE accounts SET balance = 44 WHERE id = 4")?;
            Ok::<_, LockError>(())
        },
    );
    assert!(
        matches!(result, Err(LockError::Escaped { .. })),
        "{result:?}"
    );
    assert_eq!((db.balance(2), db.balance(4)), (1_000, 1_000));
}

/// Not even if the closure then returns an error.
#[law(mysql, mariadb)]
fn nothing_stays_of_what_runs_between_a_deadlock_and_an_error(db: &Db) {
    let result = with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, _: Locked<Account>| {
            as_victim!(db, conn, |conn: &mut Conn| diesel::sql_query(CHANGE_3)
                .execute(conn))
            .unwrap_err();
            diesel::sql_query("UPDATE accounts SET balance = 44 WHERE id = 4").execute(conn)?;
            QueryResult::<()>::Err(diesel::result::Error::RollbackTransaction)
        },
    );
    assert!(
        matches!(result, Err(diesel::result::Error::RollbackTransaction)),
        "{result:?}"
    );
    assert_eq!((db.balance(2), db.balance(4)), (1_000, 1_000));
}

/// Twin: with Diesel the first half is lost, the second commits by itself, and all is `Ok`.
#[law(mysql, mariadb)]
fn twin_diesel_says_ok_after_a_swallowed_deadlock(db: &Db) {
    let result = db.connect().transaction(|conn| {
        as_victim!(db, conn, |conn: &mut Conn| diesel::sql_query(CHANGE_3)
            .execute(conn))
        .unwrap_err();
        diesel::sql_query("UPDATE accounts SET balance = 44 WHERE id = 4").execute(conn)
    });
    assert!(result.is_ok(), "Diesel mends this now: {result:?}");
    assert_eq!((db.balance(2), db.balance(4)), (1_000, 44));
}

/// E4.
#[law(mysql, mariadb)]
fn deadlock_handled_inside_a_nested_transaction_is_not_ok(db: &Db) {
    let result = with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, _: Locked<Account>| {
            let inner = conn.transaction(|conn| {
                as_victim!(db, conn, |conn: &mut Conn| diesel::sql_query(CHANGE_3)
                    .execute(conn))
            });
            assert!(inner.is_err());
            diesel::sql_query("UPDATE accounts SET balance = 44 WHERE id = 4").execute(conn)?;
            Ok::<_, LockError>(())
        },
    );
    assert!(
        matches!(result, Err(LockError::Aborted { .. })),
        "{result:?}"
    );
    assert_eq!((db.balance(2), db.balance(4)), (1_000, 1_000));
}

#[law(mysql, mariadb)]
fn deadlock_handled_inside_a_nested_locked_call_is_not_ok(db: &Db) {
    let conn = &mut db.connect();
    let result = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        let inner = as_victim!(db, conn, |conn: &mut Conn| {
            with_row_lock(conn, accounts::table.find(3), |_, _: Locked<Account>| {
                Ok::<_, LockError>(())
            })
        });
        assert!(
            matches!(inner, Err(LockError::Deadlock { .. })),
            "{inner:?}"
        );
        diesel::sql_query("UPDATE accounts SET balance = 44 WHERE id = 4").execute(conn)?;
        Ok::<_, LockError>(())
    });
    assert!(
        matches!(result, Err(LockError::Aborted { .. })),
        "{result:?}"
    );
    assert_eq!((db.balance(2), db.balance(4)), (1_000, 1_000));
    with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
        Ok::<_, LockError>(())
    })
    .expect("the connection is usable");
}

/// Django #22291: the outer transaction is Diesel's, so it is Diesel that must not say `Ok`.
#[law(mysql, mariadb)]
fn outer_transaction_of_diesel_is_not_ok_after_a_nested_deadlock(db: &Db) {
    let conn = &mut db.connect();
    let result = conn.transaction(|conn| {
        let inner = as_victim!(db, conn, |conn: &mut Conn| {
            with_row_lock(conn, accounts::table.find(3), |_, _: Locked<Account>| {
                Ok::<_, LockError>(())
            })
        });
        assert!(
            matches!(inner, Err(LockError::Deadlock { .. })),
            "{inner:?}"
        );
        QueryResult::Ok(())
    });
    assert!(result.is_err());
    RowLock::for_update()
        .outermost()
        .with(conn, accounts::table.find(1), |_, _: Locked<Account>| {
            Ok::<_, LockError>(())
        })
        .expect("a call that is the outermost makes the connection usable again");
    conn.transaction(|conn| conn.batch_execute(CHANGE_2))
        .expect("also for Diesel");
    assert_eq!(db.balance(2), 22);
}

/// Twin of both.
#[law(mysql, mariadb)]
fn twin_diesel_says_ok_after_a_nested_deadlock(db: &Db) {
    let result = db.connect().transaction(|conn| {
        let inner = conn.transaction(|conn| {
            as_victim!(db, conn, |conn: &mut Conn| diesel::sql_query(CHANGE_3)
                .execute(conn))
        });
        assert!(inner.is_err());
        diesel::sql_query("UPDATE accounts SET balance = 44 WHERE id = 4").execute(conn)
    });
    assert!(result.is_ok(), "Diesel mends this now: {result:?}");
    assert_eq!((db.balance(2), db.balance(4)), (1_000, 44));
}

/// E5: MariaDB's 1020 ends the transaction like a deadlock, and Diesel does not notice.
#[law(mariadb)]
fn swallowed_record_has_changed_is_not_ok_and_nothing_stays(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("SET innodb_snapshot_isolation = ON")
        .unwrap();
    let result = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        conn.batch_execute(CHANGE_2)?;
        run_into_record_has_changed!(db, conn);
        diesel::sql_query("UPDATE accounts SET balance = 44 WHERE id = 4").execute(conn)?;
        Ok::<_, LockError>(())
    });
    assert!(
        matches!(result, Err(LockError::Escaped { .. })),
        "{result:?}"
    );
    assert_eq!((db.balance(2), db.balance(4)), (1_000, 1_000));
}

/// Twin.
#[law(mariadb)]
fn twin_diesel_says_ok_after_a_swallowed_record_has_changed(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("SET innodb_snapshot_isolation = ON")
        .unwrap();
    let result = conn.transaction(|conn| {
        conn.batch_execute(CHANGE_2)?;
        run_into_record_has_changed!(db, conn);
        diesel::sql_query("UPDATE accounts SET balance = 44 WHERE id = 4").execute(conn)
    });
    assert!(result.is_ok(), "Diesel mends this now: {result:?}");
    assert_eq!((db.balance(2), db.balance(4)), (1_000, 44));
}

/// Changes a row that another transaction has changed since this one's snapshot, and swallows the
/// error.
#[cfg(feature = "mysql")]
macro_rules! run_into_record_has_changed {
    ($db:ident, $conn:ident) => {
        let _snapshot: i64 = accounts::table
            .find(3)
            .select(accounts::balance)
            .first($conn)?;
        $db.connect().batch_execute(CHANGE_3).unwrap();
        let error = diesel::sql_query("UPDATE accounts SET balance = 0 WHERE id = 3")
            .execute($conn)
            .unwrap_err();
        assert!(
            matches!(
                LockError::from(error),
                LockError::SerializationFailure { .. }
            ),
            "not the error that this test is about"
        );
    };
}
#[cfg(feature = "mysql")]
use run_into_record_has_changed;
