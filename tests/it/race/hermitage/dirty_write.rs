//! G0, the dirty write. Ada writes 11 and 21 into two accounts, and Grace 12 and 22.

use diesel::prelude::*;
use diesel_row_lock::race::{Schedule, Steps};
use diesel_row_lock::{with_row_locks, LockError, Locked};
use law::law;

use crate::race::orders::{in_every_order, reset};
use crate::support::schema::{accounts, Account};

const CROSSED: [&str; 4] = ["ada first", "grace first", "grace second", "ada second"];

#[law(postgres, mysql, mariadb, sqlite)]
fn dirty_write_appears_where_each_write_is_by_itself(db: &Db) {
    let played = writes!(|conn, steps, number| {
        steps.next("first");
        set!(conn, 1, 10 + number)?;
        steps.next("second");
        set!(conn, 2, 20 + number)
    });
    let played = played.play(|| Ok(db.connect()), &CROSSED).unwrap();
    assert_eq!(
        (db.balance(1), db.balance(2)),
        (12, 21),
        "one of each: {played}"
    );
}

/// Here the server's own locks are enough: so it is recorded of every level.
#[law(postgres, mysql, mariadb)]
fn dirty_write_is_kept_off_by_any_transaction(db: &Db) {
    let played = writes!(|conn, steps, number| conn.transaction(|conn| {
        steps.next("first");
        set!(conn, 1, 10 + number)?;
        steps.next("second");
        set!(conn, 2, 20 + number)
    }));
    let played = played
        .play(
            || Ok(db.connect()),
            &["ada first", "grace first", "ada second"],
        )
        .unwrap();
    assert!(played.waited("grace first"), "{played}");
    assert_eq!((db.balance(1), db.balance(2)), (12, 22), "{played}");
}

/// Also if they write in opposite orders, where the transactions alone would deadlock.
#[law(postgres, mysql, mariadb, sqlite)]
fn dirty_write_vanishes_under_the_lock_in_every_order(db: &Db) {
    let schedule = writes!(|conn, steps, number| {
        steps.next("first");
        with_row_locks(conn, [1, 2], |conn, _: [Locked<Account>; 2]| {
            let (one, other) = if number == 1 { (1, 2) } else { (2, 1) };
            set!(conn, one, 10 * i64::from(one) + number)?;
            steps.next("second");
            set!(conn, other, 10 * i64::from(other) + number)?;
            let balances = accounts::table
                .filter(accounts::id.le(2))
                .order(accounts::id);
            Ok::<_, LockError>(balances.select(accounts::balance).load::<i64>(conn)?)
        })
    });
    let steps: &[&[_]] = &[
        &["ada first", "ada second"],
        &["grace first", "grace second"],
    ];
    let all = in_every_order(&schedule, || db.connect(), steps);
    assert_eq!(all.len(), 4, "two without a wait, two with one");
    for run in all {
        assert_eq!(
            (run.ended("ada"), run.ended("grace")),
            (Ok("[11, 21]"), Ok("[12, 22]")),
            "{run}"
        );
    }
}

/// Ada's number is 1, and Grace's 2.
macro_rules! writes {
    (|$conn:ident, $steps:ident, $number:ident| $session:expr) => {{
        let session = |$number: i64| move |$conn: &mut Conn, $steps: &Steps| $session;
        Schedule::new()
            .setup(reset!())
            .session("ada", session(1))
            .session("grace", session(2))
    }};
}
use writes;

macro_rules! set {
    ($conn:expr, $id:expr, $balance:expr) => {
        diesel::update(accounts::table.find($id))
            .set(accounts::balance.eq($balance))
            .execute($conn)
    };
}
use set;
