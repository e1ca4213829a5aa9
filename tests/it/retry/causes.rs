//! What is retried: by the cause of the error, whichever type it has.

use std::sync::Barrier;
use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{with_row_lock, LockError, Locked, Retry, RetryCause, RowLock};
use law::law;

use super::BankError;
use crate::support::calls::{cross, nothing};
use crate::support::schema::{accounts, Account};

#[law(postgres, mysql, mariadb)]
fn plain_diesel_errors_are_retried(db: &Db) {
    let lock = &RowLock::for_update().retry(Retry::new());
    let results = cross!(db, diesel::result::Error, |conn, own, f| {
        lock.with(conn, accounts::table.find(own), f)
    });
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

#[law(postgres, mysql, mariadb)]
fn errors_of_the_user_are_retried(db: &Db) {
    let lock = &RowLock::for_update().retry(Retry::new());
    let results = cross!(db, BankError, |conn, own, f| lock.with(
        conn,
        accounts::table.find(own),
        f
    ));
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

#[law(postgres, mysql, mariadb)]
fn errors_of_others_are_retried_by_a_closure(db: &Db) {
    let results = cross!(db, anyhow::Error, |conn, own, f| {
        RowLock::for_update()
            .retry(Retry::new())
            .when(|error: &anyhow::Error| RetryCause::of(error.as_ref()))
            .with(conn, accounts::table.find(own), f)
    });
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

#[law(postgres)]
fn serialization_failure_is_retried(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("SET default_transaction_isolation = 'repeatable read'")
        .unwrap();
    let result = RowLock::for_update().retry(Retry::new()).with(
        conn,
        accounts::table.find(1),
        after_another_change!(db),
    );
    assert_eq!(result.unwrap(), 2, "the second attempt succeeds");
}

#[law(mariadb)]
fn record_has_changed_is_retried(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("SET innodb_snapshot_isolation = ON")
        .unwrap();
    let result = RowLock::for_update().retry(Retry::new()).with(
        conn,
        accounts::table.find(1),
        after_another_change!(db),
    );
    assert_eq!(result.unwrap(), 2, "the second attempt succeeds");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn busy_row_is_retried_only_on_demand(db: &Db) {
    let lock = RowLock::for_update().no_wait();
    with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |_, _: Locked<Account>| {
            let conn = &mut db.connect();
            let plain = lock
                .retry(Retry::new())
                .with(conn, accounts::table.find(1), nothing);
            assert!(matches!(plain, Err(LockError::Busy { .. })), "{plain:?}");
            let policy = Retry::new().lock_timeouts().attempts(3).sleeper(|_| {});
            let demanded = lock
                .retry(policy)
                .with(conn, accounts::table.find(1), nothing);
            assert!(
                matches!(
                    demanded,
                    Err(LockError::RetriesExhausted {
                        attempts: 3,
                        first: RetryCause::Busy,
                        last: RetryCause::Busy,
                        ..
                    })
                ),
                "{demanded:?}"
            );
            Ok::<_, LockError>(())
        },
    )
    .unwrap();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn error_that_is_none_of_the_causes_is_final(db: &Db) {
    let mut attempts = 0;
    let result = RowLock::for_update().retry(Retry::new()).with(
        &mut db.connect(),
        accounts::table.find(1),
        |_, _: Locked<Account>| {
            attempts += 1;
            QueryResult::<()>::Err(diesel::result::Error::RollbackTransaction)
        },
    );
    assert_eq!(result, Err(diesel::result::Error::RollbackTransaction));
    assert_eq!(attempts, 1);
}

/// A closure that, on its first run, changes a row that another transaction has changed since this
/// one's snapshot; it returns how often it has run.
#[cfg(any(feature = "postgres", feature = "mysql"))]
macro_rules! after_another_change {
    ($db:ident) => {{
        let mut runs = 0;
        move |conn: &mut Conn, _: Locked<'_, Account>| {
            runs += 1;
            let _snapshot: i64 = accounts::table
                .find(3)
                .select(accounts::balance)
                .first(conn)?;
            if runs == 1 {
                $db.connect()
                    .batch_execute("UPDATE accounts SET balance = 33 WHERE id = 3")
                    .unwrap();
            }
            diesel::sql_query("UPDATE accounts SET balance = 3 WHERE id = 3").execute(conn)?;
            Ok::<_, LockError>(runs)
        }
    }};
}
#[cfg(any(feature = "postgres", feature = "mysql"))]
use after_another_change;
