//! PMP with a write. Grace deletes the account that has 1100, while Ada adds 100 to all of them. At
//! first that is account 2, afterwards it would be account 1.

use diesel::prelude::*;
use diesel_row_lock::race::Schedule;
use diesel_row_lock::{with_row_locks, LockError, Locked, RowLock};
use law::law;

use super::{loose, REFUSED};
#[cfg(feature = "mysql")]
use super::{strict, CHANGED};
use crate::race::orders::reset;
use crate::support::schema::{accounts, Account};

/// It has seen account 2, and deletes nothing.
#[law(postgres)]
fn delete_by_a_predicate_misses_what_it_has_read(db: &Db) {
    look_and_delete!(db, loose!(db), Ok("([2], 0)"), [1, 2]);
}

/// It has seen account 2, and deletes the other one.
#[law(mysql, mariadb)]
fn delete_by_a_predicate_hits_what_it_has_not_read(db: &Db) {
    look_and_delete!(db, loose!(db), Ok("([2], 1)"), [2]);
}

/// It has seen account 2, and may not delete what has changed since.
#[law(mariadb)]
fn delete_by_a_predicate_is_refused_where_snapshots_are_strict(db: &Db) {
    look_and_delete!(db, strict!(db), CHANGED, [1, 2]);
}

/// It has seen account 2, and may not write any more.
#[law(sqlite)]
fn delete_by_a_predicate_is_refused(db: &Db) {
    look_and_delete!(db, loose!(db), REFUSED, [1, 2]);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn delete_of_the_rows_that_are_locked_is_of_those_that_were_read(db: &Db) {
    let schedule = delete!(|conn, steps| {
        steps.next("look");
        RowLock::for_update().with_all(conn, rich!(), |conn, rows: Vec<Locked<Account>>| {
            steps.next("delete");
            let ids: Vec<i32> = rows.iter().map(|row| row.id).collect();
            let deleted =
                diesel::delete(accounts::table.filter(accounts::id.eq_any(&ids))).execute(conn)?;
            Ok::<_, LockError>((ids, deleted))
        })
    });
    let played = schedule
        .play(
            || Ok(db.connect()),
            &["grace look", "ada add", "grace delete"],
        )
        .unwrap();
    assert!(played.waited("ada add"), "{played}");
    assert_eq!(
        (played.ended("grace"), left!(db)),
        (Ok("([2], 1)"), vec![1]),
        "{played}"
    );
}

/// What the lock of a predicate can't do: the row that comes to match while it waits is not in
/// its snapshot.
#[law(postgres)]
fn lock_by_a_predicate_misses_the_row_that_comes_to_match(db: &Db) {
    let schedule = delete!(|conn, steps| {
        steps.next("look");
        RowLock::for_update().with_all(conn, rich!(), |_, rows: Vec<Locked<Account>>| {
            Ok::<_, LockError>(rows.len())
        })
    });
    let played = schedule
        .play(
            || Ok(db.connect()),
            &["ada add", "grace look", "ada commit"],
        )
        .unwrap();
    assert!(played.waited("grace look"), "{played}");
    assert_eq!(
        (played.ended("grace"), left!(db)),
        (Ok("0"), vec![1, 2]),
        "{played}"
    );
}

/// Its cure: lock by what does not change, and look at the rest under the lock.
#[law(postgres, mysql, mariadb, sqlite)]
fn lock_by_key_sees_the_row_that_comes_to_match(db: &Db) {
    let schedule = delete!(|conn, steps| {
        steps.next("look");
        with_row_locks(conn, [1, 2], |conn, rows: [Locked<Account>; 2]| {
            let rich: Vec<i32> = rows
                .iter()
                .filter(|row| row.balance == 1_100)
                .map(|row| row.id)
                .collect();
            let deleted =
                diesel::delete(accounts::table.filter(accounts::id.eq_any(&rich))).execute(conn)?;
            Ok::<_, LockError>((rich, deleted))
        })
    });
    let played = schedule
        .play(
            || Ok(db.connect()),
            &["ada add", "grace look", "ada commit"],
        )
        .unwrap();
    assert!(played.waited("grace look"), "{played}");
    assert_eq!(
        (played.ended("grace"), left!(db)),
        (Ok("([1], 1)"), vec![2]),
        "{played}"
    );
}

macro_rules! rich {
    () => {
        accounts::table.filter(accounts::id.le(2).and(accounts::balance.eq(1_100)))
    };
}
use rich;

macro_rules! left {
    ($db:ident) => {
        accounts::table
            .filter(accounts::id.le(2))
            .select(accounts::id)
            .order(accounts::id)
            .load::<i32>(&mut $db.connect())
            .unwrap()
    };
}
use left;

/// Grace's session, and Ada's, who adds the money without any lock.
macro_rules! delete {
    (|$conn:ident, $steps:ident| $grace:expr) => {
        Schedule::new()
            .setup(|conn: &mut Conn| {
                reset!()(conn)?;
                diesel::update(accounts::table.find(2))
                    .set(accounts::balance.eq(1_100))
                    .execute(conn)
            })
            .session("ada", |conn: &mut Conn, steps| {
                conn.transaction(|conn| {
                    steps.next("add");
                    diesel::update(accounts::table.filter(accounts::id.le(2)))
                        .set(accounts::balance.eq(accounts::balance + 100))
                        .execute(conn)?;
                    steps.next("commit");
                    QueryResult::Ok(())
                })
            })
            .session("grace", |$conn: &mut Conn, $steps| $grace)
    };
}
use delete;

/// Grace looks and then deletes by the same predicate, without a lock.
macro_rules! look_and_delete {
    ($db:ident, $connect:expr, $ended:expr, $left:expr) => {{
        let schedule = delete!(|conn, steps| conn.transaction(|conn| {
            steps.next("look");
            let seen = rich!().select(accounts::id).load::<i32>(conn)?;
            steps.next("delete");
            let deleted = diesel::delete(rich!()).execute(conn)?;
            QueryResult::Ok((seen, deleted))
        }));
        let order = ["grace look", "ada add", "grace delete", "ada commit"];
        let played = schedule.play($connect, &order).unwrap();
        assert_eq!(played.ended("grace"), $ended, "{played}");
        assert_eq!(left!($db), $left, "{played}");
    }};
}
use look_and_delete;
