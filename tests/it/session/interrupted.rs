//! What a call could not put back, the next call on the connection puts back.

use std::panic::{catch_unwind, AssertUnwindSafe};

use diesel::connection::InstrumentationEvent;

use super::*;

/// How the statements begin that put a session's settings back.
const BACK: [&str; 3] = [
    "SET autocommit = COALESCE",
    "SET @row_lock_nested = NULL",
    "SET @row_lock_broken = ",
];

/// The user's own instrumentation panics at each of them, so none is sent; returns once `$call` has
/// unwound.
macro_rules! keep_from_putting_back {
    ($conn:ident, $call:expr) => {
        $conn.set_instrumentation(|event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::StartQuery { query, .. } = event {
                let query = query.to_string();
                // What a nested call sets begins in the same way.
                let sets = query.contains("@row_lock_wait_diesel_savepoint_1 = @@");
                assert!(
                    sets || !BACK.iter().any(|back| query.starts_with(back)),
                    "kept back"
                );
            }
        });
        let panicked = catch_unwind(AssertUnwindSafe(|| $call));
        $conn.set_instrumentation(|_: InstrumentationEvent<'_>| {});
        assert!(panicked.is_err());
    };
}

#[law(mysql, mariadb)]
fn next_call_puts_back_what_a_call_has_left(db: &Db) {
    unchanged!(db, |conn| {
        let before = Db::settings(conn);
        let limited = RowLock::for_update().timeout(PATIENT).hold_at_most(PATIENT);
        keep_from_putting_back!(conn, lock!(conn, 1, limited));
        // Twin: the session is not as it was.
        assert_ne!(Db::settings(conn), before);
        lock!(conn, 1, RowLock::for_update()).unwrap();
    });
}

#[law(mysql, mariadb)]
fn next_call_puts_back_what_a_nested_call_has_left(db: &Db) {
    unchanged!(db, |conn| {
        let before = Db::settings(conn);
        let patient = RowLock::for_update().timeout(PATIENT);
        keep_from_putting_back!(conn, conn.transaction(|conn| lock!(conn, 1, patient)));
        assert_ne!(Db::settings(conn), before);
        lock!(conn, 1, RowLock::for_update().outermost()).unwrap();
    });
}

/// The outer call's timeout is not the user's own either.
#[law(mysql, mariadb)]
fn next_call_puts_back_what_two_nested_calls_have_left(db: &Db) {
    unchanged!(db, |conn| {
        let before = Db::settings(conn);
        let brief = RowLock::for_update().timeout(Duration::from_secs(33));
        keep_from_putting_back!(
            conn,
            brief.with(conn, accounts::table.find(2), |conn, _: Locked<Account>| {
                lock!(conn, 1, RowLock::for_update().timeout(PATIENT))
            })
        );
        assert_ne!(Db::settings(conn), before);
        lock!(conn, 1, RowLock::for_update().outermost()).unwrap();
    });
}

/// What the user sets between two calls is the user's own, also if a call before both was a nested
/// one with a timeout.
#[law(mysql, mariadb)]
fn what_a_call_has_put_back_is_forgotten(db: &Db) {
    let conn = &mut db.connect();
    let patient = RowLock::for_update().timeout(PATIENT);
    conn.transaction(|conn| lock!(conn, 1, patient)).unwrap();
    conn.batch_execute(Db::UNUSUAL).unwrap();
    let before = Db::settings(conn);
    keep_from_putting_back!(conn, lock!(conn, 1, RowLock::for_update()));
    lock!(conn, 1, RowLock::for_update()).unwrap();
    assert_eq!(Db::settings(conn), before);
}
