//! P4, the lost update. Ada adds 100 to an account and Grace 10: both read it, both write.

use diesel::prelude::*;
use diesel_row_lock::race::{Schedule, Steps};
use diesel_row_lock::LockError;
use law::law;

use super::{bare, locked, loose};
#[cfg(feature = "mysql")]
use super::{strict, CONFLICT};
use crate::race::orders::{in_every_order, reset, InOrder};
use crate::support::schema::{accounts, Account};

const BOTH_READ: [&str; 5] = [
    "ada read",
    "grace read",
    "ada write",
    "grace write",
    "ada commit",
];
const STEPS: &[&[&str]] = &[
    &["ada read", "ada write", "ada commit"],
    &["grace read", "grace write", "grace commit"],
];

/// What "database is locked" is as an error of this crate.
const BUSY: Result<&str, &str> = Err("timed out waiting for a lock");

#[law(postgres, mysql, mariadb)]
fn lost_update_appears_without_the_lock(db: &Db) {
    let played = deposits!(bare).play(loose!(db), &BOTH_READ).unwrap();
    assert!(played.waited("grace write"), "{played}");
    assert_eq!(
        (played.ended("ada"), played.ended("grace")),
        (Ok("1100"), Ok("1010")),
        "{played}"
    );
    assert_eq!(db.balance(1), 1_010, "the 100 are lost");
}

#[law(mariadb)]
fn lost_update_is_refused_without_the_lock_where_snapshots_are_strict(db: &Db) {
    let played = deposits!(bare).play(strict!(db), &BOTH_READ).unwrap();
    assert_eq!(
        (played.ended("ada"), played.ended("grace")),
        (Ok("1100"), CONFLICT),
        "{played}"
    );
    assert_eq!(db.balance(1), 1_100);
}

/// SQLite loses nothing, but refuses one of the two at once ("database is locked"), who has to
/// begin again.
#[law(sqlite)]
fn lost_update_is_refused_without_the_lock(db: &Db) {
    let played = deposits!(bare)
        .play(|| Ok(db.connect()), &BOTH_READ)
        .unwrap();
    assert_eq!(
        (played.ended("ada"), played.ended("grace")),
        (Ok("1100"), BUSY),
        "{played}"
    );
    assert_eq!(db.balance(1), 1_100);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn lost_update_vanishes_under_the_lock_in_every_order(db: &Db) {
    let all = in_every_order(&deposits!(locked), || db.connect(), STEPS);
    assert_eq!(all.len(), 6, "two without a wait, four with one");
    for run in all {
        assert_eq!(last_balance(&run), Ok("1110"), "{run}");
    }
}

/// Twin: without it, only the order in which they don't meet loses nothing.
#[law(postgres)]
fn twin_lost_update_appears_in_every_order_in_which_both_have_read(db: &Db) {
    let all = in_every_order(&deposits!(bare), || db.connect(), STEPS);
    assert_eq!(all.len(), 14);
    for run in all {
        let meet =
            run.comes(&["grace read", "ada commit"]) && run.comes(&["ada read", "grace commit"]);
        assert_eq!(last_balance(&run) != Ok("1110"), meet, "{run}");
    }
}

/// What the last one to commit wrote.
fn last_balance<'r>(run: &'r InOrder<'_>) -> Result<&'r str, &'r str> {
    let ada_is_last = run.comes(&["grace commit", "ada commit"]);
    run.ended(if ada_is_last { "ada" } else { "grace" })
}

/// A session that reads account 1, `$call!`, and adds to it. It returns what it wrote.
macro_rules! deposits {
    ($call:ident) => {{
        let deposit = |amount: i64| {
            move |conn: &mut Conn, steps: &Steps| {
                steps.next("read");
                $call!(conn, 1, |conn, account| {
                    steps.next("write");
                    account.balance += amount;
                    account.save_changes::<Account>(conn)?;
                    steps.next("commit");
                    Ok::<_, LockError>(account.balance)
                })
            }
        };
        Schedule::new()
            .setup(reset!())
            .session("ada", deposit(100))
            .session("grace", deposit(10))
    }};
}
use deposits;
