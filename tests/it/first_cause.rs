//! Promise 5: the error is what went wrong first, not what followed from it.

use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{with_row_lock, LockError, Locked};
use law::law;

use crate::support::schema::{accounts, Account};

/// A closure that has locked account 1 and runs into a deadlock by `$statement` on account 2.
macro_rules! deadlock_in_the_closure {
    ($db:ident, $conn:expr, $statement:expr) => {
        thread::scope(|scope| {
            with_row_lock(
                $conn,
                accounts::table.find(1),
                |conn, _: Locked<Account>| {
                    let mut other = $db.connect();
                    // On MySQL the one that has changed more rows wins.
                    other.batch_execute("BEGIN").unwrap();
                    other
                        .batch_execute("UPDATE accounts SET owner = 'rival' WHERE id > 1")
                        .unwrap();
                    scope.spawn(move || {
                        // On PostgreSQL the one that notices first loses.
                        let _ = other.batch_execute("SET LOCAL deadlock_timeout = '20s'");
                        let _ =
                            other.batch_execute("UPDATE accounts SET owner = 'rival' WHERE id = 1");
                        let _ = other.batch_execute("ROLLBACK");
                    });
                    $db.wait_for_waiters(1);
                    $statement(conn)
                },
            )
        })
    };
}

const CHANGE_2: &str = "UPDATE accounts SET balance = 22 WHERE id = 2";

#[law(postgres, mysql, mariadb)]
fn deadlock_of_a_statement_in_the_closure_stays_a_deadlock(db: &Db) {
    let conn = &mut db.connect();
    let result: Result<(), LockError> = deadlock_in_the_closure!(db, conn, |conn: &mut Conn| {
        diesel::sql_query(CHANGE_2).execute(conn)?;
        Ok(())
    });
    assert!(
        matches!(result, Err(LockError::Deadlock { .. })),
        "{result:?}"
    );
    conn.transaction(|conn| conn.batch_execute(CHANGE_2))
        .expect("the connection is usable");
}

/// Diesel does not notice this one; the savepoint that is gone must not be mistaken for an
/// escape.
#[law(postgres, mysql, mariadb)]
fn deadlock_of_a_batch_in_the_closure_stays_a_deadlock(db: &Db) {
    let conn = &mut db.connect();
    let result: Result<(), LockError> = deadlock_in_the_closure!(db, conn, |conn: &mut Conn| {
        Ok(conn.batch_execute(CHANGE_2)?)
    });
    assert!(
        matches!(result, Err(LockError::Deadlock { .. })),
        "{result:?}"
    );
    conn.transaction(|conn| conn.batch_execute(CHANGE_2))
        .expect("the connection is usable");
}

#[law(postgres, mysql, mariadb)]
fn deadlock_of_a_nested_call_stays_a_deadlock(db: &Db) {
    let conn = &mut db.connect();
    let result: Result<(), LockError> = deadlock_in_the_closure!(db, conn, |conn: &mut Conn| {
        with_row_lock(
            conn,
            accounts::table.find(2),
            |_, _: Locked<Account>| Ok(()),
        )
    });
    assert!(
        matches!(result, Err(LockError::Deadlock { .. })),
        "{result:?}"
    );
    conn.transaction(|conn| conn.batch_execute(CHANGE_2))
        .expect("the connection is usable");
}

#[law(postgres, mysql, mariadb)]
fn deadlock_in_a_transaction_of_diesel_in_the_closure_stays_a_deadlock(db: &Db) {
    let conn = &mut db.connect();
    let result: Result<(), LockError> = deadlock_in_the_closure!(db, conn, |conn: &mut Conn| {
        conn.transaction(|conn| {
            diesel::sql_query(CHANGE_2).execute(conn)?;
            Ok(())
        })
    });
    assert!(
        matches!(result, Err(LockError::Deadlock { .. })),
        "{result:?}"
    );
    conn.transaction(|conn| conn.batch_execute(CHANGE_2))
        .expect("the connection is usable");
}

/// E5: Diesel does not notice this one either.
#[law(mariadb)]
fn record_has_changed_in_the_closure_stays_what_it_is(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("SET innodb_snapshot_isolation = ON")
        .unwrap();
    let result = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        let _snapshot: i64 = accounts::table
            .find(3)
            .select(accounts::balance)
            .first(conn)?;
        db.connect()
            .batch_execute("UPDATE accounts SET balance = 33 WHERE id = 3")
            .unwrap();
        diesel::sql_query("UPDATE accounts SET balance = 0 WHERE id = 3").execute(conn)?;
        Ok::<_, LockError>(())
    });
    assert!(
        matches!(result, Err(LockError::SerializationFailure { .. })),
        "{result:?}"
    );
    conn.transaction(|conn| conn.batch_execute(CHANGE_2))
        .expect("the connection is usable");
}

/// An error of the closure's own is handed on as it is.
#[law(postgres, mysql, mariadb, sqlite)]
fn error_of_the_closure_is_untouched(db: &Db) {
    #[derive(Debug)]
    enum BankError {
        InsufficientFunds,
        #[allow(dead_code)]
        Lock(LockError),
    }
    impl From<LockError> for BankError {
        fn from(error: LockError) -> Self {
            BankError::Lock(error)
        }
    }
    let result = with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            account.balance = -5;
            account
                .save_changes::<Account>(conn)
                .map_err(LockError::from)?;
            Err::<(), _>(BankError::InsufficientFunds)
        },
    );
    assert!(
        matches!(result, Err(BankError::InsufficientFunds)),
        "{result:?}"
    );
    assert_eq!(db.balance(1), 1_000);
}
