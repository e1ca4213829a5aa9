//! G-single, the read skew. Ada adds up two accounts while Grace moves 100 from one to the other.

use diesel::prelude::*;
use diesel_row_lock::race::Schedule;
use diesel_row_lock::{with_row_lock, with_row_locks, LockError, Locked};
use law::law;

use super::loose;
#[cfg(feature = "mysql")]
use super::{strict, CONFLICT};
use crate::race::orders::reset;
use crate::support::schema::{accounts, Account};

const IN_BETWEEN: [&str; 3] = ["ada one", "grace move", "ada two"];

#[law(postgres)]
fn read_skew_appears_without_the_lock(db: &Db) {
    let played = audit!(|conn, steps| conn.transaction(|conn| two_looks!(conn, steps)));
    let played = played.play(|| Ok(db.connect()), &IN_BETWEEN).unwrap();
    assert_eq!(played.ended("ada"), Ok("2100"), "{played}");
}

/// MariaDB and SQLite show a transaction that only looks one state of the bank.
#[law(mysql, mariadb, sqlite)]
fn read_skew_does_not_appear_to_who_only_looks(db: &Db) {
    let played = audit!(|conn, steps| conn.transaction(|conn| two_looks!(conn, steps)));
    let played = played.play(|| Ok(db.connect()), &IN_BETWEEN).unwrap();
    assert_eq!(played.ended("ada"), Ok("2000"), "{played}");
}

/// So does the lock of one of them: a look and a lock are of two states, on MySQL and MariaDB too.
#[law(postgres, mysql, mariadb)]
fn read_skew_appears_when_one_of_the_rows_is_locked(db: &Db) {
    let played = look_and_lock!().play(loose!(db), &IN_BETWEEN).unwrap();
    assert_eq!(played.ended("ada"), Ok("2100"), "{played}");
}

#[law(mariadb)]
fn read_skew_is_refused_where_snapshots_are_strict(db: &Db) {
    let played = look_and_lock!().play(strict!(db), &IN_BETWEEN).unwrap();
    assert_eq!(played.ended("ada"), CONFLICT, "{played}");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn read_skew_vanishes_when_both_rows_are_locked(db: &Db) {
    let schedule = audit!(|conn, steps| {
        steps.next("one");
        with_row_locks(conn, [1, 2], |_, [one, two]: [Locked<Account>; 2]| {
            steps.next("two");
            Ok::<_, LockError>(one.balance + two.balance)
        })
    });
    let played = schedule
        .play(|| Ok(db.connect()), &["ada one", "grace move", "ada two"])
        .unwrap();
    assert!(played.waited("grace move"), "{played}");
    assert_eq!(
        (played.ended("ada"), played.ended("grace")),
        (Ok("2000"), Ok("()")),
        "{played}"
    );
    assert_eq!((db.balance(1), db.balance(2)), (900, 1_100));

    let played = schedule
        .play(|| Ok(db.connect()), &["grace move", "ada one", "ada two"])
        .unwrap();
    assert_eq!(played.ended("ada"), Ok("2000"), "{played}");
}

/// Looks at one account and locks the other.
macro_rules! look_and_lock {
    () => {
        audit!(|conn, steps| conn.transaction(|conn| {
            steps.next("one");
            let one: Account = accounts::table.find(1).first(conn)?;
            steps.next("two");
            with_row_lock(conn, accounts::table.find(2), |_, two: Locked<Account>| {
                Ok::<_, LockError>(one.balance + two.balance)
            })
        }))
    };
}
use look_and_lock;

macro_rules! two_looks {
    ($conn:ident, $steps:ident) => {{
        $steps.next("one");
        let one: Account = accounts::table.find(1).first($conn)?;
        $steps.next("two");
        let two: Account = accounts::table.find(2).first($conn)?;
        Ok::<_, LockError>(one.balance + two.balance)
    }};
}
use two_looks;

/// Ada's session, and Grace's, who moves the money without any lock.
macro_rules! audit {
    (|$conn:ident, $steps:ident| $ada:expr) => {
        Schedule::new()
            .setup(reset!())
            .session("ada", |$conn: &mut Conn, $steps| $ada)
            .session("grace", |conn, steps| {
                steps.next("move");
                conn.transaction(|conn| {
                    for (id, amount) in [(1, -100), (2, 100)] {
                        diesel::update(accounts::table.find(id))
                            .set(accounts::balance.eq(accounts::balance + amount))
                            .execute(conn)?;
                    }
                    QueryResult::Ok(())
                })
            })
    };
}
use audit;
