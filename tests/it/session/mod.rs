//! Promise 7: whatever a call does to the session's settings is undone when it returns, however it
//! ends.

mod interrupted;
mod nested;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel_row_lock::{with_row_lock, LockError, Locked, RowLock};
use law::law;

use crate::support::calls::{assert_busy, while_held};
use crate::support::schema::{accounts, Account};

const BRIEF: Duration = Duration::from_millis(20);

const PATIENT: Duration = Duration::from_secs(3);

#[law(postgres, mysql, mariadb, sqlite)]
fn success_leaves_the_session_alone(db: &Db) {
    unchanged!(db, |conn| {
        lock!(conn, 1, RowLock::for_update()).unwrap();
        lock!(conn, 1, RowLock::for_update().no_wait()).unwrap();
        lock!(conn, 1, RowLock::for_update().timeout(PATIENT)).unwrap();
        lock!(conn, 1, RowLock::for_update().timeout(Duration::ZERO)).unwrap();
        lock!(conn, 1, RowLock::for_update().timeout(Duration::MAX)).unwrap();
    });
}

/// Twin: inside of the call the settings are not what they were.
#[law(postgres, mysql, mariadb)]
fn twin_settings_are_others_inside_of_the_call(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(Db::UNUSUAL).unwrap();
    let before = Db::settings(conn);
    let patient = RowLock::for_update().timeout(PATIENT);
    patient
        .with(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
            assert_ne!(Db::settings(conn), before);
            Ok::<_, LockError>(())
        })
        .unwrap();
}

/// SQLite's timeout counts for the `BEGIN` only.
#[law(sqlite)]
fn settings_are_the_same_inside_of_the_call(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(Db::UNUSUAL).unwrap();
    let before = Db::settings(conn);
    let patient = RowLock::for_update().timeout(PATIENT);
    patient
        .with(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
            assert_eq!(Db::settings(conn), before);
            Ok::<_, LockError>(())
        })
        .unwrap();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn error_of_the_closure_leaves_the_session_alone(db: &Db) {
    unchanged!(db, |conn| {
        refuse!(conn, RowLock::for_update());
        refuse!(conn, RowLock::for_update().no_wait());
        refuse!(conn, RowLock::for_update().timeout(PATIENT));
    });
}

/// On PostgreSQL the transaction is then aborted.
#[law(postgres, mysql, mariadb, sqlite)]
fn failed_statement_in_the_closure_leaves_the_session_alone(db: &Db) {
    unchanged!(db, |conn| {
        let patient = RowLock::for_update().timeout(PATIENT);
        let failed = patient.with(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
            Ok::<_, LockError>(conn.batch_execute("INSERT INTO accounts VALUES (1, 'again', 0)")?)
        });
        assert!(matches!(failed, Err(LockError::Database(_))), "{failed:?}");
    });
}

#[law(postgres, mysql, mariadb, sqlite)]
fn missing_row_leaves_the_session_alone(db: &Db) {
    unchanged!(db, |conn| {
        for missing in [
            lock!(conn, 77, RowLock::for_update()),
            lock!(conn, 77, RowLock::for_update().timeout(PATIENT)),
        ] {
            assert!(
                matches!(missing, Err(LockError::NotFound { .. })),
                "{missing:?}"
            );
        }
    });
}

#[law(postgres, mysql, mariadb, sqlite)]
fn timeout_leaves_the_session_alone(db: &Db) {
    unchanged!(db, |conn| {
        while_held!(db, 1, RowLock::for_update(), {
            let late = lock!(conn, 1, RowLock::for_update().timeout(BRIEF));
            assert!(matches!(late, Err(LockError::Timeout { .. })), "{late:?}");
        });
    });
}

#[law(postgres, mysql, mariadb, sqlite)]
fn busy_leaves_the_session_alone(db: &Db) {
    unchanged!(db, |conn| {
        while_held!(db, 1, RowLock::for_update(), {
            assert_busy!(lock!(conn, 1, RowLock::for_update().no_wait()));
            assert_busy!(lock!(
                conn,
                1,
                RowLock::for_update().timeout(Duration::ZERO)
            ));
        });
    });
}

#[law(postgres, mysql, mariadb)]
fn limit_to_the_hold_leaves_the_session_alone(db: &Db) {
    unchanged!(db, |conn| {
        let limited = RowLock::for_update().hold_at_most(PATIENT);
        lock!(conn, 1, limited).unwrap();
        lock!(conn, 1, limited.no_wait()).unwrap();
        lock!(conn, 1, limited.timeout(PATIENT)).unwrap();
        let missing = lock!(conn, 77, limited);
        assert!(
            matches!(missing, Err(LockError::NotFound { .. })),
            "{missing:?}"
        );
        refuse!(conn, limited);
        panic_in!(conn, limited);
        let brief = Duration::from_secs(2);
        let late = RowLock::for_update().hold_at_most(brief).with(
            conn,
            accounts::table.find(1),
            |conn, _: Locked<Account>| {
                // Without a pause, so that the server has no reason to end the session.
                let end = Instant::now() + brief;
                while Instant::now() < end {
                    conn.batch_execute("UPDATE accounts SET owner = 'busy' WHERE id = 1")?;
                }
                Ok::<_, LockError>(())
            },
        );
        assert!(
            matches!(late, Err(LockError::HoldExpired { .. })),
            "{late:?}"
        );
    });
}

#[law(postgres, mysql, mariadb)]
fn skipped_row_leaves_the_session_alone(db: &Db) {
    unchanged!(db, |conn| {
        while_held!(db, 1, RowLock::for_update(), {
            let skipped = lock!(conn, 1, RowLock::for_update().skip_locked());
            assert!(
                matches!(skipped, Err(LockError::NotFound { .. })),
                "{skipped:?}"
            );
        });
    });
}

#[law(postgres, mysql, mariadb, sqlite)]
fn panic_leaves_the_session_alone(db: &Db) {
    unchanged!(db, |conn| {
        panic_in!(conn, RowLock::for_update());
        panic_in!(conn, RowLock::for_update().timeout(PATIENT));
    });
}

#[law(postgres, mysql, mariadb)]
fn deadlock_leaves_the_session_alone(db: &Db) {
    thread::scope(|scope| {
        unchanged!(db, |conn| {
            let mut other = db.connect();
            // The one that has changed more rows wins, on MariaDB; on PostgreSQL the one that
            // looks for deadlocks later.
            other.batch_execute(Db::SURVIVE).unwrap();
            other
                .batch_execute("BEGIN; UPDATE accounts SET owner = 'rival' WHERE id > 1")
                .unwrap();
            let mut rival = None;
            let patient = RowLock::for_update().timeout(Duration::from_secs(20));
            let victim = patient.with(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
                rival = Some(scope.spawn(move || {
                    other
                        .batch_execute("UPDATE accounts SET owner = 'rival' WHERE id = 1")
                        .unwrap();
                    other.batch_execute("ROLLBACK").unwrap();
                }));
                db.wait_for_waiters(1);
                lock!(
                    conn,
                    2,
                    RowLock::for_update().timeout(Duration::from_secs(20))
                )
            });
            assert!(
                matches!(victim, Err(LockError::Deadlock { .. })),
                "{victim:?}"
            );
            rival.unwrap().join().unwrap();
        });
    });
}

#[law(postgres, mysql, mariadb, sqlite)]
fn transaction_ended_by_the_closure_leaves_the_session_alone(db: &Db) {
    unchanged!(db, |conn| {
        for end in ["COMMIT", "ROLLBACK"] {
            let patient = RowLock::for_update().timeout(PATIENT);
            let escaped =
                patient.with(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
                    Ok::<_, LockError>(conn.batch_execute(end)?)
                });
            assert!(
                matches!(escaped, Err(LockError::Escaped { .. })),
                "{escaped:?}"
            );
        }
    });
}

#[law(postgres, mysql, mariadb, sqlite)]
fn statement_that_can_not_be_run_leaves_the_session_alone(db: &Db) {
    unchanged!(db, |conn| {
        let patient = RowLock::for_update().timeout(PATIENT);
        let unknown = patient.with(conn, nowhere::table.find(1), |_, _: Locked<(i32,)>| Ok(()));
        assert!(
            matches!(unknown, Err(LockError::Database(_))),
            "{unknown:?}"
        );
    });
}

#[law(postgres, mysql, mariadb, sqlite)]
fn refused_call_leaves_the_session_alone(db: &Db) {
    unchanged!(db, |conn| {
        let result = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
            let before = Db::settings(conn);
            let refused = lock!(conn, 2, RowLock::for_update().timeout(PATIENT).outermost());
            assert!(
                matches!(refused, Err(LockError::AlreadyInTransaction { .. })),
                "{refused:?}"
            );
            assert_eq!(Db::settings(conn), before);
            Ok::<_, LockError>(())
        });
        result.unwrap();
    });
}

#[law(mysql, mariadb)]
fn session_without_autocommit_stays_so(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("SET autocommit = 0").unwrap();
    let before = Db::settings(conn);
    lock!(conn, 1, RowLock::for_update()).unwrap();
    refuse!(conn, RowLock::for_update());
    panic_in!(conn, RowLock::for_update());
    assert_eq!(Db::settings(conn), before);
}

diesel::table! {
    /// Does not exist.
    nowhere (id) {
        id -> Integer,
    }
}

/// `$what` leaves the settings of a fresh session as they were, and the session in no transaction.
macro_rules! unchanged {
    ($db:ident, |$conn:ident| $what:block) => {
        let $conn = &mut $db.connect();
        $conn.batch_execute(Db::UNUSUAL).unwrap();
        let before = Db::settings($conn);
        assert_ne!(Db::settings(&mut $db.connect()), before, "these are the default");
        $what
        assert_eq!(Db::settings($conn), before);
        $conn.batch_execute("UPDATE accounts SET balance = 4 WHERE id = 4").unwrap();
        assert_eq!($db.balance(4), 4, "a transaction is still open");
    };
}
use unchanged;

/// Locks account `$id` and lets it go.
macro_rules! lock {
    ($conn:expr, $id:expr, $lock:expr) => {
        $lock.with($conn, accounts::table.find($id), |_, _: Locked<Account>| {
            Ok::<_, LockError>(())
        })
    };
}
use lock;

/// A locked call whose closure returns an error.
macro_rules! refuse {
    ($conn:expr, $lock:expr) => {
        let refused = $lock.with($conn, accounts::table.find(1), |_, _: Locked<Account>| {
            Err::<(), _>(DieselError::RollbackTransaction)
        });
        assert!(
            matches!(refused, Err(DieselError::RollbackTransaction)),
            "{refused:?}"
        );
    };
}
use refuse;

/// A locked call whose closure panics.
macro_rules! panic_in {
    ($conn:expr, $lock:expr) => {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            $lock.with(
                $conn,
                accounts::table.find(1),
                |_, _: Locked<Account>| -> Result<(), LockError> { panic!("under the lock") },
            )
        }));
        assert!(panicked.is_err());
    };
}
use panic_in;
