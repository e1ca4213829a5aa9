//! G2, the anti-dependency cycle. Each sees that there is enough, or nothing, and acts on it.
//!
//! Between rows that are there, the lock of all that was read is the cure. Of rows that are not
//! there yet it is none: that is what a row lock can't do, but the lock of a row that stands for
//! them can.

use diesel::prelude::*;
use diesel_row_lock::race::{Schedule, Steps};
use diesel_row_lock::{with_row_lock, with_row_locks, LockError, Locked, RowLock};
use law::law;

use super::REFUSED;
use crate::race::orders::reset;
use crate::support::schema::{accounts, entries, Account};

const BOTH_LOOK: [&str; 4] = ["ada look", "grace look", "ada act", "grace act"];
const ONE_LOOKS: [&str; 3] = ["ada look", "grace look", "ada act"];

/// G2-item: each withdraws 1500 from an account of one's own, if the two together have it.
#[law(postgres, mysql, mariadb)]
fn write_skew_appears_without_the_lock(db: &Db) {
    let played = both!(|conn, steps, own| bare_withdrawal!(conn, steps, own));
    let played = played.play(|| Ok(db.connect()), &BOTH_LOOK).unwrap();
    assert_eq!(
        (played.ended("ada"), played.ended("grace")),
        (Ok("true"), Ok("true")),
        "{played}"
    );
    assert_eq!((db.balance(1), db.balance(2)), (-500, -500));
}

#[law(sqlite)]
fn write_skew_is_refused_without_the_lock(db: &Db) {
    let played = both!(|conn, steps, own| bare_withdrawal!(conn, steps, own));
    let played = played.play(|| Ok(db.connect()), &BOTH_LOOK).unwrap();
    assert_eq!(
        (played.ended("ada"), played.ended("grace")),
        (Ok("true"), REFUSED),
        "{played}"
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn write_skew_vanishes_when_all_that_was_read_is_locked(db: &Db) {
    let played = both!(|conn, steps, own| {
        steps.next("look");
        with_row_locks(conn, [1, 2], |conn, rows: [Locked<Account>; 2]| {
            steps.next("act");
            let enough = rows.iter().map(|row| row.balance).sum::<i64>() >= 1_500;
            if enough {
                withdraw!(conn, own)?;
            }
            Ok::<_, LockError>(enough)
        })
    });
    let played = played.play(|| Ok(db.connect()), &ONE_LOOKS).unwrap();
    assert!(played.waited("grace look"), "{played}");
    assert_eq!(
        (played.ended("ada"), played.ended("grace")),
        (Ok("true"), Ok("false")),
        "{played}"
    );
    assert_eq!((db.balance(1), db.balance(2)), (-500, 1_000));
}

/// G2: each makes the first entry of the account, if there is none. The lock of the entries is
/// the lock of none.
#[law(postgres)]
fn rows_that_are_not_there_can_not_be_locked(db: &Db) {
    let played = both!(|conn, steps, own| first_entry_under_the_lock_of_entries!(conn, steps, own));
    let played = played.play(|| Ok(db.connect()), &BOTH_LOOK).unwrap();
    assert_eq!(
        (played.ended("ada"), played.ended("grace")),
        (Ok("true"), Ok("true")),
        "{played}"
    );
}

/// MariaDB locks the place where the row would be, for both: that comes to a deadlock.
#[law(mysql, mariadb)]
fn rows_that_are_not_there_come_to_a_deadlock(db: &Db) {
    let played = both!(|conn, steps, own| first_entry_under_the_lock_of_entries!(conn, steps, own));
    let played = played.play(|| Ok(db.connect()), &BOTH_LOOK).unwrap();
    let ended = [played.ended("ada"), played.ended("grace")];
    let deadlock = Err("the transaction was rolled back to end a deadlock");
    assert!(
        ended.contains(&Ok("true")) && ended.contains(&deadlock),
        "{played}"
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn rows_that_are_not_there_are_locked_by_the_one_that_stands_for_them(db: &Db) {
    let played = both!(|conn, steps, own| {
        steps.next("look");
        with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
            let none = entries_of_1!().count().get_result::<i64>(conn)? == 0;
            steps.next("act");
            if none {
                insert!(conn, own)?;
            }
            Ok::<_, LockError>(none)
        })
    });
    let played = played.play(|| Ok(db.connect()), &ONE_LOOKS).unwrap();
    assert!(played.waited("grace look"), "{played}");
    assert_eq!(
        (played.ended("ada"), played.ended("grace")),
        (Ok("true"), Ok("false")),
        "{played}"
    );
}

/// Ada's own number is 1, and Grace's 2.
macro_rules! both {
    (|$conn:ident, $steps:ident, $own:ident| $session:expr) => {{
        let session = |$own: i32| move |$conn: &mut Conn, $steps: &Steps| $session;
        Schedule::new()
            .setup(reset!())
            .session("ada", session(1))
            .session("grace", session(2))
    }};
}
use both;

macro_rules! withdraw {
    ($conn:expr, $id:expr) => {
        diesel::update(accounts::table.find($id))
            .set(accounts::balance.eq(accounts::balance - 1_500))
            .execute($conn)
    };
}
use withdraw;

macro_rules! bare_withdrawal {
    ($conn:ident, $steps:ident, $own:ident) => {
        $conn.transaction(|conn| {
            $steps.next("look");
            let both = accounts::table.filter(accounts::id.le(2));
            let balances = both.select(accounts::balance).load::<i64>(conn)?;
            $steps.next("act");
            let enough = balances.iter().sum::<i64>() >= 1_500;
            if enough {
                withdraw!(conn, $own)?;
            }
            QueryResult::Ok(enough)
        })
    };
}
use bare_withdrawal;

macro_rules! entries_of_1 {
    () => {
        entries::table.filter(entries::account_id.eq(1))
    };
}
use entries_of_1;

macro_rules! insert {
    ($conn:expr, $id:expr) => {
        diesel::insert_into(entries::table)
            .values((
                entries::id.eq($id),
                entries::account_id.eq(1),
                entries::amount.eq(1),
            ))
            .execute($conn)
    };
}
use insert;

macro_rules! first_entry_under_the_lock_of_entries {
    ($conn:ident, $steps:ident, $own:ident) => {{
        $steps.next("look");
        let locked = entries_of_1!().select(entries::id);
        RowLock::for_update().with_all($conn, locked, |conn, ids: Vec<Locked<i32>>| {
            $steps.next("act");
            if ids.is_empty() {
                insert!(conn, $own)?;
            }
            Ok::<_, LockError>(ids.is_empty())
        })
    }};
}
use first_entry_under_the_lock_of_entries;
