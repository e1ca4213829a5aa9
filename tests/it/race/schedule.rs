//! Schedules are played as they are written.

use diesel::prelude::*;
use diesel_row_lock::race::{RaceError, Schedule};
use diesel_row_lock::{with_row_lock, LockError, Locked};
use law::law;

use crate::support::schema::{accounts, Account};

#[law(postgres, mysql, mariadb, sqlite)]
fn step_waits_for_the_one_that_holds_the_row(db: &Db) {
    let schedule = Schedule::new()
        .session("ada", |conn: &mut Conn, steps| {
            steps.next("lock");
            with_row_lock(
                conn,
                accounts::table.find(1),
                |conn, mut account: Locked<Account>| {
                    steps.next("write");
                    account.balance += 1;
                    account.save_changes::<Account>(conn)?;
                    steps.next("commit");
                    Ok::<_, LockError>(account.balance)
                },
            )
        })
        .session("grace", |conn, steps| {
            steps.next("lock");
            with_row_lock(
                conn,
                accounts::table.find(1),
                |_, account: Locked<Account>| Ok::<_, LockError>(account.balance),
            )
        });
    let connect = || Ok(db.connect());
    let played = schedule
        .play(
            connect,
            &["ada lock", "grace lock", "ada write", "ada commit"],
        )
        .unwrap();
    assert!(played.waited("grace lock"), "{played}");
    assert!(!played.waited("ada lock"), "{played}");
    assert_eq!(played.ended("ada"), Ok("1001"));
    assert_eq!(played.ended("grace"), Ok("1001"), "{played}");
    assert!(played.to_string().contains("<waits for ada>"), "{played}");

    let played = schedule
        .play(
            connect,
            &["grace lock", "ada lock", "ada write", "ada commit"],
        )
        .unwrap();
    assert!(!played.waited("grace lock"), "{played}");
    assert_eq!(played.ended("grace"), Ok("1001"), "{played}");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn step_out_of_turn_is_refused_by_name(db: &Db) {
    let schedule = Schedule::new()
        .session("ada", |conn: &mut Conn, steps| {
            steps.next("lock");
            with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
                steps.next("commit");
                Ok::<_, LockError>(())
            })
        })
        .session("grace", |conn, steps| {
            steps.next("lock");
            with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
                Ok::<_, LockError>(())
            })?;
            steps.next("again");
            Ok::<_, LockError>(())
        });
    for (order, says) in [
        (&["ada commit"] as &[_], "ada stands before \"lock\""),
        (&["barbara lock"], "no such session"),
        (&["ada lock", "ada commit", "ada commit"], "ada has ended"),
        (
            &["ada lock", "grace lock", "grace again"],
            "grace waits for another session",
        ),
    ] {
        let result = schedule.play(|| Ok(db.connect()), order);
        let Err(RaceError::OutOfTurn { instead, .. }) = &result else {
            panic!("{result:?}")
        };
        assert!(instead.contains(says), "{instead}");
    }
    with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |_, _: Locked<Account>| Ok::<_, LockError>(()),
    )
    .expect("nobody holds the row any more");
}

/// Those that no order names are played to their ends all the same.
#[law(postgres, mysql, mariadb, sqlite)]
fn steps_left_over_are_played_at_the_end(db: &Db) {
    let played = Schedule::new()
        .session("ada", |conn: &mut Conn, steps| {
            steps.next("one");
            steps.next("two");
            accounts::table
                .find(1)
                .select(accounts::balance)
                .first::<i64>(conn)
        })
        .play(|| Ok(db.connect()), &[])
        .unwrap();
    assert_eq!(played.ended("ada"), Ok("1000"));
    assert_eq!(played.ended("grace"), Err("there is no such session"));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn error_of_a_session_is_its_end(db: &Db) {
    let played = Schedule::new()
        .session("ada", |conn: &mut Conn, _| {
            with_row_lock(conn, accounts::table.find(77), |_, _: Locked<Account>| {
                Ok::<_, LockError>(())
            })
        })
        .play(|| Ok(db.connect()), &[])
        .unwrap();
    assert_eq!(played.ended("ada"), Err("no row to lock"), "{played}");
}
