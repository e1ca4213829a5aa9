//! Nested calls: the settings of the outer transaction are the same behind each of them.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel_row_lock::{with_row_lock, LockError, Locked, RowLock};
use law::law;

use super::{lock, panic_in, refuse, unchanged, BRIEF, PATIENT};
use crate::support::calls::{assert_busy, while_held};
use crate::support::schema::{accounts, Account};

#[law(postgres, mysql, mariadb, sqlite)]
fn nested_call_leaves_the_settings_of_the_outer_one_alone(db: &Db) {
    unchanged!(db, |conn| {
        let patient = RowLock::for_update().timeout(PATIENT);
        patient
            .with(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
                inner_calls_leave_alone!(db, conn);
                Ok::<_, LockError>(())
            })
            .unwrap();
    });
}

#[law(postgres, mysql, mariadb)]
fn nested_timeout_leaves_the_settings_of_the_outer_one_alone(db: &Db) {
    unchanged!(db, |conn| {
        while_held!(db, 3, RowLock::for_update(), {
            with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
                let before = Db::settings(conn);
                let late = lock!(conn, 3, RowLock::for_update().timeout(BRIEF));
                assert!(matches!(late, Err(LockError::Timeout { .. })), "{late:?}");
                assert_eq!(Db::settings(conn), before);
                assert_busy!(lock!(conn, 3, RowLock::for_update().no_wait()));
                assert_eq!(Db::settings(conn), before);
                Ok::<_, LockError>(())
            })
            .unwrap();
        });
    });
}

/// django-pglock's test_timeout: the outer value is back.
#[law(postgres)]
fn nested_call_leaves_the_timeout_of_the_outer_transaction_alone(db: &Db) {
    unchanged!(db, |conn| {
        conn.transaction(|conn| {
            conn.batch_execute("SET LOCAL lock_timeout = '9s'")?;
            inner_calls_leave_alone!(db, conn);
            QueryResult::Ok(())
        })
        .unwrap();
    });
}

/// Inside of an open transaction, each end of a nested call brings the settings back.
macro_rules! inner_calls_leave_alone {
    ($db:ident, $conn:ident) => {
        let before = Db::settings($conn);
        let five_seconds = RowLock::for_update().timeout(Duration::from_secs(5));
        lock!($conn, 2, five_seconds).unwrap();
        assert_eq!(Db::settings($conn), before, "after Ok");
        refuse!($conn, five_seconds);
        assert_eq!(Db::settings($conn), before, "after Err");
        let missing = lock!($conn, 77, five_seconds);
        assert!(
            matches!(missing, Err(LockError::NotFound { .. })),
            "{missing:?}"
        );
        assert_eq!(Db::settings($conn), before, "after NotFound");
        panic_in!($conn, five_seconds);
        assert_eq!(Db::settings($conn), before, "after a panic");
        five_seconds
            .with(
                $conn,
                accounts::table.find(2),
                |conn, _: Locked<Account>| {
                    let between = Db::settings(conn);
                    lock!(
                        conn,
                        3,
                        RowLock::for_update().timeout(Duration::from_secs(6))
                    )?;
                    assert_eq!(Db::settings(conn), between, "two levels down");
                    Ok::<_, LockError>(())
                },
            )
            .unwrap();
        assert_eq!(Db::settings($conn), before, "after two levels");
    };
}
use inner_calls_leave_alone;
