//! How a call ended, in its span: attempts, outcome, and the kind of error.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Barrier;
use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{at_version, with_row_lock, LockError, Locked, Retry, RowLock};
use law::law;

use super::seen::{call_in, seen_in};
use super::spans::all;
use crate::support::calls::{ask, cross, nothing, while_held};
use crate::support::schema::{accounts, Account};
#[cfg(any(feature = "postgres", feature = "mysql"))]
use crate::support::wire::{Cut, Wire};

/// Outcome and kind of error of the one call in `$call`, which ends so that `$result` fits.
macro_rules! assert_ending {
    ($call:expr, $result:pat, $outcome:literal, $error:literal) => {
        let (result, span) = call_in(|| $call);
        assert!(matches!(result, $result), "{result:?}");
        assert_eq!(span.ending(), ($outcome, $error));
        assert!(span.closed);
    };
}

#[law(postgres, mysql, mariadb)]
fn deadlock_that_is_retried_is_one_call_of_two_attempts(db: &Db) {
    let lock = &RowLock::for_update().retry(Retry::new());
    let calls = cross!(db, LockError, |conn, own, f| {
        call_in(|| lock.with(conn, accounts::table.find(own), f).unwrap()).1
    });
    let mut attempts = calls
        .each_ref()
        .map(|span| span.number("row_lock.attempts"));
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 2]);
    assert!(
        calls.iter().all(|span| span.ending() == ("committed", "")),
        "{calls:#?}"
    );
}

/// Twin: without a policy there is one attempt, which fails by what the closure returns.
#[law(postgres, mysql, mariadb)]
fn twin_deadlock_that_is_not_retried_is_one_attempt(db: &Db) {
    let mut calls = cross!(db, LockError, |conn, own, f| {
        call_in(|| with_row_lock(conn, accounts::table.find(own), f)).1
    });
    calls.sort_by_key(|span| span.field("row_lock.outcome").to_owned());
    assert_eq!(
        calls
            .each_ref()
            .map(|span| span.number("row_lock.attempts")),
        [1, 1]
    );
    assert_eq!(
        calls.each_ref().map(|span| span.ending()),
        [("committed", ""), ("not_applied", "closure")]
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn retries_that_are_exhausted_say_by_what(db: &Db) {
    let conn = &mut db.connect();
    let (_, span) = call_in(|| {
        RowLock::for_update()
            .retry(Retry::new().attempts(3).sleeper(|_| {}))
            .with(conn, accounts::table.find(1), |_, _: Locked<Account>| {
                Err::<(), _>(LockError::Deadlock {
                    source: diesel::result::Error::RollbackTransaction.into(),
                })
            })
            .unwrap_err()
    });
    assert_eq!(span.number("row_lock.attempts"), 3);
    assert_eq!(span.ending(), ("not_applied", "deadlock"));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn outcome_of_a_call_that_applied_nothing_has_its_error(db: &Db) {
    let conn = &mut db.connect();
    let row = accounts::table.find(1);
    assert_ending!(
        with_row_lock(conn, row, |_, _: Locked<Account>| QueryResult::<()>::Err(
            diesel::result::Error::RollbackTransaction
        )),
        Err(diesel::result::Error::RollbackTransaction),
        "not_applied",
        "closure"
    );
    assert_ending!(
        with_row_lock(conn, accounts::table.find(77), nothing),
        Err(LockError::NotFound { .. }),
        "not_applied",
        "not_found"
    );
    assert_ending!(
        RowLock::for_update().with(conn, at_version(row, 7), nothing),
        Err(LockError::StaleRow { .. }),
        "not_applied",
        "stale_row"
    );
    assert_ending!(
        RowLock::for_update().with_many(conn, [1, 1], all),
        Err(LockError::DuplicateKey { .. }),
        "not_applied",
        "duplicate_key"
    );
    while_held!(db, 1, RowLock::for_update(), {
        assert_ending!(
            ask!(db, 1, RowLock::for_update()),
            Err(LockError::Busy { .. }),
            "not_applied",
            "busy"
        );
    });
}

#[law(postgres, mysql, mariadb, sqlite)]
fn outcome_of_a_call_whose_closure_commits_is_escaped(db: &Db) {
    let conn = &mut db.connect();
    assert_ending!(
        with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
            conn.batch_execute("COMMIT").map_err(LockError::from)
        }),
        Err(LockError::Escaped { .. }),
        "escaped",
        "escaped"
    );
}

#[law(postgres, mysql, mariadb)]
fn outcome_of_a_call_that_lost_the_answer_to_its_commit_is_in_doubt(db: &Db) {
    let wire = Wire::that_cuts(&db.server(), Cut::BeforeAnswer);
    let conn = &mut Conn::establish(&db.url_at(&wire.address.to_string())).unwrap();
    assert_ending!(
        with_row_lock(conn, accounts::table.find(1), nothing),
        Err(LockError::CommitUnknown { .. }),
        "in_doubt",
        "commit_unknown"
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn panic_leaves_no_span_open(db: &Db) {
    let conn = &mut db.connect();
    let (panic, seen) = seen_in(|| {
        let panic = catch_unwind(AssertUnwindSafe(|| {
            with_row_lock(
                conn,
                accounts::table.find(1),
                |_, _: Locked<Account>| -> Result<(), LockError> { panic!() },
            )
        }));
        tracing::info!("behind");
        panic
    });
    assert!(panic.is_err());
    let [span, behind] = &seen[..] else {
        panic!("{seen:#?}")
    };
    assert_eq!(span.ending(), ("not_applied", "panic"));
    assert_eq!((span.number("row_lock.attempts"), span.closed), (1, true));
    span.number("row_lock.hold_us");
    assert_eq!(behind.inside, None);
}
