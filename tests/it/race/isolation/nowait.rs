//! nowait, nowait-2, nowait-4 and nowait-5: who does not wait is told at once that the row is held.
//! (nowait-3 is `wait_options::no_wait_is_busy_behind_a_waiter`.)

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::race::{Schedule, Steps};
use diesel_row_lock::{LockError, Locked, RowLock};
use law::law;

#[cfg(feature = "postgres")]
use super::gate::{gate, past_the_gate};
use crate::race::orders::{holder, in_every_order, locks, or_step, reset};
use crate::support::schema::{accounts, Account};

const BUSY: Result<&str, &str> = Err("the row is locked by another transaction");

/// nowait.
#[law(postgres, mysql, mariadb, sqlite)]
fn first_of_two_who_do_not_wait_wins_in_every_order(db: &Db) {
    let schedule = Schedule::new()
        .setup(reset!())
        .session("ada", holder!(RowLock::for_update().no_wait()))
        .session("grace", holder!(RowLock::for_update().no_wait()));
    let steps: &[&[_]] = &[&["ada lock", "ada commit"], &["grace lock", "grace commit"]];
    let all = in_every_order(&schedule, || db.connect(), steps);
    assert_eq!(all.len(), 6);
    for run in all {
        assert!(!run.anyone_waited(), "{run}");
        let ada_is_late = run.comes(&["grace lock", "ada lock", "grace commit"]);
        let grace_is_late = run.comes(&["ada lock", "grace lock", "ada commit"]);
        let ended = |is_late| if is_late { BUSY } else { Ok("1000") };
        assert_eq!(run.ended("ada"), ended(ada_is_late), "{run}");
        assert_eq!(run.ended("grace"), ended(grace_is_late), "{run}");
    }
}

/// nowait-2: one who shares the row can't have it alone, and who has it alone does not share it.
#[law(postgres, mysql, mariadb)]
fn sharer_who_wants_it_alone_does_not_wait_in_any_order(db: &Db) {
    let schedule = Schedule::new()
        .setup(reset!())
        .session("ada", holder!(RowLock::for_share().no_wait()))
        .session("grace", |conn: &mut Conn, steps| {
            steps.next("share");
            let held = RowLock::for_share().no_wait().with(
                conn,
                accounts::table.find(1),
                |conn, _: Locked<Account>| {
                    steps.next("update");
                    let balance = locks!(conn, RowLock::for_update().no_wait())?;
                    steps.next("commit");
                    Ok::<_, LockError>(balance)
                },
            );
            or_step(held, steps, "commit")
        });
    let steps: &[&[_]] = &[
        &["ada lock", "ada commit"],
        &["grace share", "grace update", "grace commit"],
    ];
    let all = in_every_order(&schedule, || db.connect(), steps);
    assert_eq!(all.len(), 10);
    for run in all {
        assert!(!run.anyone_waited(), "{run}");
        let ada_is_late = run.comes(&["grace update", "ada lock", "grace commit"]);
        let grace_is_late = run.comes(&["ada lock", "grace update", "ada commit"]);
        let ended = |is_late| if is_late { BUSY } else { Ok("1000") };
        assert_eq!(run.ended("ada"), ended(ada_is_late), "{run}");
        assert_eq!(run.ended("grace"), ended(grace_is_late), "{run}");
    }
}

/// nowait-4: the version that the statement found is free, and the one that took its place is
/// not.
#[law(postgres)]
fn row_held_in_a_newer_version_is_busy(db: &Db) {
    let played = behind_a_newer_version!(db, RowLock::for_update().no_wait());
    assert_eq!(played.ended("ada"), BUSY, "{played}");
}

#[law(postgres)]
fn twin_row_held_in_a_newer_version_is_waited_for(db: &Db) {
    let played = behind_a_newer_version!(db, RowLock::for_update());
    assert_eq!(played.ended("ada"), Ok("1002"), "{played}");
    assert!(played.to_string().contains("<waits for grace>"), "{played}");
}

/// nowait-5: the same with a statement that was prepared before, and a row that is shared.
#[law(postgres)]
fn row_shared_in_a_newer_version_is_busy(db: &Db) {
    let played = Schedule::new()
        .setup(reset!())
        .session("gate", gate)
        .session("ada", |conn, steps| {
            let lock = |conn: &mut Conn| {
                let query = accounts::table.filter(past_the_gate());
                RowLock::for_update().no_wait().with_all(
                    conn,
                    query,
                    |_, rows: Vec<Locked<Account>>| Ok::<_, LockError>(rows.len()),
                )
            };
            steps.next("prepare");
            lock(conn)?;
            conn.batch_execute("SELECT pg_advisory_unlock_all()")?;
            steps.next("lock");
            lock(conn)
        })
        .session("grace", |conn, steps| {
            steps.next("update");
            add_one!(conn, 2)
        })
        .session("barbara", |conn, steps| {
            steps.next("share");
            RowLock::for_share().with(conn, accounts::table.find(2), |_, _: Locked<Account>| {
                steps.next("commit");
                Ok::<_, LockError>(())
            })
        })
        .play(
            || Ok(db.connect()),
            &[
                "ada prepare",
                "gate shut",
                "ada lock",
                "grace update",
                "barbara share",
                "gate open",
                "barbara commit",
            ],
        )
        .unwrap();
    assert!(played.waited("ada lock"), "{played}");
    assert_eq!(played.ended("ada"), BUSY, "{played}");
}

/// Ada locks account 1 by `$lock`. When her statement has found it, Grace changes it, commits, and
/// holds it again.
macro_rules! behind_a_newer_version {
    ($db:ident, $lock:expr) => {
        Schedule::new()
            .setup(reset!())
            .session("gate", gate)
            .session("ada", |conn: &mut Conn, steps| {
                steps.next("lock");
                let row = accounts::table.find(1).filter(past_the_gate());
                $lock.with(conn, row, |_, account: Locked<Account>| {
                    Ok::<_, LockError>(account.balance)
                })
            })
            .session("grace", |conn, steps| {
                steps.next("update");
                add_one!(conn, 1)?;
                conn.transaction(|conn| {
                    steps.next("again");
                    add_one!(conn, 1)?;
                    steps.next("commit");
                    QueryResult::Ok(())
                })
            })
            .play(
                || Ok($db.connect()),
                &[
                    "gate shut",
                    "ada lock",
                    "grace update",
                    "grace again",
                    "gate open",
                    "grace commit",
                ],
            )
            .unwrap()
    };
}
use behind_a_newer_version;

macro_rules! add_one {
    ($conn:expr, $id:expr) => {
        diesel::update(accounts::table.find($id))
            .set(accounts::balance.eq(accounts::balance + 1))
            .execute($conn)
    };
}
use add_one;
