//! A warning of a lock that is held for longer than it should be.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use diesel::prelude::*;
use diesel_row_lock::telemetry::warn_when_held_for;
use diesel_row_lock::{with_row_lock, LockError, Locked, RowLock};
use law::law;
use tracing::Level;

use super::seen::{seen_in, Seen};
use crate::support::calls::{ask, nothing, while_held};
use crate::support::schema::{accounts, Account};

/// What is seen of `act` while warnings come of locks that are held for longer than `bound`. One
/// after the other: the bound is the process's.
fn seen_with_bound(bound: Duration, act: impl FnOnce()) -> Vec<Seen> {
    static BOUND: Mutex<()> = Mutex::new(());
    let _alone = BOUND.lock().unwrap_or_else(PoisonError::into_inner);
    warn_when_held_for(bound);
    let ((), seen) = seen_in(act);
    warn_when_held_for(Duration::from_secs(1));
    seen
}

#[law(postgres, mysql, mariadb, sqlite)]
fn lock_that_is_held_for_too_long_is_warned_of_in_its_span(db: &Db) {
    let conn = &mut db.connect();
    let seen = seen_with_bound(Duration::ZERO, || {
        with_row_lock(conn, accounts::table.find(1), nothing).unwrap();
    });
    let [span, warning] = &seen[..] else {
        panic!("{seen:#?}")
    };
    assert_eq!((warning.level, warning.inside), (Level::WARN, Some(0)));
    assert_eq!(warning.site(), span.site());
    assert_eq!(warning.field("db.collection.name"), "accounts");
    assert_eq!(
        warning.number("row_lock.hold_us"),
        span.number("row_lock.hold_us")
    );
}

/// Twin: the same call, with a bound that it does not reach.
#[law(postgres, mysql, mariadb, sqlite)]
fn twin_lock_that_is_not_held_for_too_long_is_not_warned_of(db: &Db) {
    let conn = &mut db.connect();
    for bound in [Duration::from_secs(3_600), Duration::MAX] {
        let seen = seen_with_bound(bound, || {
            with_row_lock(conn, accounts::table.find(1), nothing).unwrap();
        });
        assert_eq!(seen.len(), 1, "{seen:#?}");
    }
}

#[law(postgres, mysql, mariadb, sqlite)]
fn lock_that_was_never_had_is_not_warned_of(db: &Db) {
    while_held!(db, 1, RowLock::for_update(), {
        let seen = seen_with_bound(Duration::ZERO, || {
            ask!(db, 1, RowLock::for_update()).unwrap_err();
        });
        assert_eq!(seen.len(), 1, "{seen:#?}");
    });
}
