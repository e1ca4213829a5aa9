//! tuplelock-upgrade-no-deadlock: who has a weak lock may have a stronger one before those who wait
//! for it, and nobody deadlocks. (deadlock-simple, where two want that at once, is
//! `errors::two_upgrades_are_a_deadlock_of_one`.)
//!
//! All begin in the same way: Ada shares account 1, and Grace waits for it.

use diesel::prelude::*;
use diesel::result::Error::RollbackTransaction;
use diesel_row_lock::race::{RaceError, Schedule, Steps};
use diesel_row_lock::{LockError, Locked, RowLock};
use law::law;

use crate::race::orders::{locks, reset};
use crate::support::schema::{accounts, Account};

/// How a session ends that has rolled back because it wanted to.
const ROLLED_BACK: Result<&str, &str> = Ok("true");
const COMMITTED: Result<&str, &str> = Ok("false");

/// Barbara shares it too, and wants it for update: she has it before Grace, who came earlier.
#[law(postgres)]
fn sharer_has_the_row_before_who_only_waits(db: &Db) {
    let played = Schedule::new()
        .setup(reset!())
        .session(
            "ada",
            session(true, |conn, _| locks!(conn, RowLock::for_share())),
        )
        .session(
            "grace",
            session(true, |conn, _| locks!(conn, RowLock::for_update())),
        )
        .session(
            "barbara",
            session(true, |conn, steps| {
                locks!(conn, RowLock::for_share())?;
                steps.next("update");
                locks!(conn, RowLock::for_update())
            }),
        )
        .play(
            || Ok(db.connect()),
            &[
                "ada lock",
                "grace lock",
                "barbara lock",
                "barbara update",
                "ada end",
                "barbara end",
                "grace end",
            ],
        )
        .unwrap();
    assert!(
        played.waited("grace lock") && played.waited("barbara update"),
        "{played}"
    );
    assert!(!played.waited("barbara lock"), "{played}");
    assert_all!(played, ROLLED_BACK);
}

/// Ada changes the balance beside the key shares, and Barbara waits for that.
#[law(postgres)]
fn update_beside_key_shares_waits_for_no_waiter(db: &Db) {
    for rolls_back in [true, false] {
        let played = Schedule::new()
            .setup(reset!())
            .session(
                "ada",
                session(rolls_back, |conn, steps| {
                    locks!(conn, RowLock::for_key_share())?;
                    steps.next("update");
                    change(conn)
                }),
            )
            .session(
                "grace",
                session(true, |conn, _| locks!(conn, RowLock::for_update())),
            )
            .session(
                "barbara",
                session(true, |conn, steps| {
                    locks!(conn, RowLock::for_key_share())?;
                    steps.next("update");
                    locks!(conn, RowLock::for_no_key_update())
                }),
            )
            .play(
                || Ok(db.connect()),
                &[
                    "ada lock",
                    "grace lock",
                    "barbara lock",
                    "ada update",
                    "barbara update",
                    "ada end",
                    "barbara end",
                    "grace end",
                ],
            )
            .unwrap();
        assert!(
            !played.waited("ada update") && !played.waited("barbara lock"),
            "{played}"
        );
        assert!(
            played.waited("grace lock") && played.waited("barbara update"),
            "{played}"
        );
        let ada = if rolls_back { ROLLED_BACK } else { COMMITTED };
        assert_eq!(played.ended("ada"), ada, "{played}");
        assert_eq!(
            (played.ended("grace"), played.ended("barbara")),
            (ROLLED_BACK, ROLLED_BACK),
            "{played}"
        );
    }
}

/// Barbara deletes the row, for which she waits for Ada only.
#[law(postgres)]
fn delete_beside_a_key_share_waits_for_no_waiter(db: &Db) {
    for rolls_back in [true, false] {
        let played = Schedule::new()
            .setup(reset!())
            .session(
                "ada",
                session(true, |conn, _| locks!(conn, RowLock::for_key_share())),
            )
            .session(
                "grace",
                session(true, |conn, _| locks!(conn, RowLock::for_update())),
            )
            .session(
                "barbara",
                session(rolls_back, |conn, steps| {
                    locks!(conn, RowLock::for_key_share())?;
                    steps.next("delete");
                    delete(conn)
                }),
            )
            .play(
                || Ok(db.connect()),
                &[
                    "ada lock",
                    "grace lock",
                    "barbara lock",
                    "barbara delete",
                    "ada end",
                    "barbara end",
                ],
            )
            .unwrap();
        assert!(
            played.waited("grace lock") && played.waited("barbara delete"),
            "{played}"
        );
        let (barbara, grace) = if rolls_back {
            (ROLLED_BACK, ROLLED_BACK)
        } else {
            (COMMITTED, Err("no row to lock"))
        };
        assert_eq!(
            (played.ended("barbara"), played.ended("grace")),
            (barbara, grace),
            "{played}"
        );
    }
}

/// Who have no lock to upgrade come to the row in their order.
#[law(postgres)]
fn waiters_have_the_row_in_their_order(db: &Db) {
    let schedule = |waits: fn(&mut Conn) -> Result<i64, LockError>| {
        Schedule::new()
            .setup(reset!())
            .session(
                "ada",
                session(true, |conn, _| locks!(conn, RowLock::for_share())),
            )
            .session("grace", session(true, move |conn, _| waits(conn)))
            .session("barbara", session(true, move |conn, _| waits(conn)))
    };
    for waits in [
        |conn: &mut Conn| locks!(conn, RowLock::for_update()),
        change,
        delete,
    ] {
        let order = [
            "ada lock",
            "grace lock",
            "barbara lock",
            "ada end",
            "grace end",
            "barbara end",
        ];
        let played = schedule(waits).play(|| Ok(db.connect()), &order).unwrap();
        assert!(
            played.waited("grace lock") && played.waited("barbara lock"),
            "{played}"
        );
        assert_all!(played, ROLLED_BACK);

        // Barbara does not overtake Grace.
        let order = [
            "ada lock",
            "grace lock",
            "barbara lock",
            "ada end",
            "barbara end",
            "grace end",
        ];
        let overtakes = schedule(waits).play(|| Ok(db.connect()), &order);
        assert!(
            matches!(overtakes, Err(RaceError::OutOfTurn { .. })),
            "{overtakes:?}"
        );
    }
}

fn change(conn: &mut PgConnection) -> Result<i64, LockError> {
    let row = diesel::update(accounts::table.find(1));
    let row = row.set(accounts::balance.eq(accounts::balance + 1));
    Ok(row.returning(accounts::balance).get_result(conn)?)
}

fn delete(conn: &mut PgConnection) -> Result<i64, LockError> {
    let row = diesel::delete(accounts::table.find(1));
    Ok(row.returning(accounts::balance).get_result(conn)?)
}

/// A session in a transaction of Diesel's: `lock`, the steps of `work`, and `end`, where it is
/// rolled back or committed. Returns whether it was rolled back.
fn session(
    rolls_back: bool,
    work: impl Fn(&mut PgConnection, &Steps) -> Result<i64, LockError>,
) -> impl Fn(&mut PgConnection, &Steps) -> Result<bool, LockError> {
    move |conn, steps| {
        let ended = conn.transaction(|conn| {
            steps.next("lock");
            work(conn, steps)?;
            steps.next("end");
            if rolls_back {
                Err(LockError::Database(RollbackTransaction.into()))
            } else {
                Ok(false)
            }
        });
        match ended {
            Err(LockError::Database(error)) if matches!(*error, RollbackTransaction) => Ok(true),
            ended => ended,
        }
    }
}

macro_rules! assert_all {
    ($played:ident, $ended:expr) => {
        for session in ["ada", "grace", "barbara"] {
            assert_eq!($played.ended(session), $ended, "{}", $played);
        }
    };
}
use assert_all;
