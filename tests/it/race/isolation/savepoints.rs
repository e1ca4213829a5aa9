//! aborted-keyrevoke, delete-abort-savept and delete-abort-savept-2: a stronger lock that is rolled
//! back with its savepoint gives back the weaker one, no more and no less.

use diesel::prelude::*;
use diesel::result::Error::RollbackTransaction;
use diesel_row_lock::race::{Schedule, Steps};
use diesel_row_lock::{LockError, Locked, RowLock};
use law::law;

use crate::race::orders::{holder, in_every_order, locks, or_step, reset, InOrder};
use crate::support::schema::{accounts, Account};

/// aborted-keyrevoke.
#[law(postgres)]
fn change_of_the_key_that_is_rolled_back_keeps_nobody_out(db: &Db) {
    let schedule = Schedule::new()
        .setup(reset!())
        .session("ada", |conn: &mut Conn, steps| {
            conn.transaction(|conn| {
                let savepoint: Result<(), LockError> = conn.transaction(|conn| {
                    steps.next("upgrade");
                    diesel::update(accounts::table.find(1))
                        .set(accounts::id.eq(11))
                        .execute(conn)?;
                    steps.next("roll back");
                    Err(RollbackTransaction.into())
                });
                assert!(savepoint.is_err());
                steps.next("share");
                RowLock::for_key_share().with(
                    conn,
                    accounts::table.find(1),
                    |_, account: Locked<Account>| {
                        steps.next("commit");
                        Ok::<_, LockError>(account.balance)
                    },
                )
            })
        })
        .session("grace", holder!(RowLock::for_key_share()));
    let steps: &[&[_]] = &[
        &["ada upgrade", "ada roll back", "ada share", "ada commit"],
        &["grace lock", "grace commit"],
    ];
    let all = in_every_order(&schedule, || db.connect(), steps);
    assert_eq!(
        all.len(),
        11,
        "all of 15 but three where Ada waits for Grace, and one the other way"
    );
    for run in all {
        let grace_waits = run.comes(&["ada upgrade", "grace lock", "ada roll back"]);
        assert_eq!(run.waited("grace lock"), grace_waits, "{run}");
        assert!(!run.waited("ada share"), "{run}");
        assert_eq!(
            (run.ended("ada"), run.ended("grace")),
            (Ok("1000"), Ok("1000")),
            "{run}"
        );
    }
}

/// delete-abort-savept.
#[law(postgres)]
fn lock_survives_a_delete_that_is_rolled_back(db: &Db) {
    let all = upgrade!(db, RowLock::for_update(), |conn, roll_back| {
        diesel::delete(accounts::table.find(1)).execute(conn)?;
        roll_back()
    });
    assert_eq!(
        all.len(),
        6,
        "three where Grace waits, one where Ada does, and two where nobody does"
    );
    for run in all {
        let grace_waits = run.comes(&["ada lock", "grace lock", "ada commit"]);
        assert_eq!(run.waited("grace lock"), grace_waits, "{run}");
    }
}

/// delete-abort-savept-2, with s2l.
#[law(postgres)]
fn lock_survives_a_stronger_one_that_is_rolled_back(db: &Db) {
    let all = upgrade!(db, RowLock::for_update(), |conn, roll_back| {
        RowLock::for_no_key_update().with(conn, accounts::table.find(1), |_, _: Locked<Account>| {
            roll_back()
        })
    });
    assert_eq!(all.len(), 6);
    for run in all {
        let grace_waits = run.comes(&["ada lock", "grace lock", "ada commit"]);
        assert_eq!(run.waited("grace lock"), grace_waits, "{run}");
    }
}

/// delete-abort-savept-2, with s2l2: Grace does not want what Ada's weaker lock keeps, and goes on
/// when the stronger one is rolled back.
#[law(postgres)]
fn stronger_lock_that_is_rolled_back_keeps_nobody_out(db: &Db) {
    let all = upgrade!(db, RowLock::for_no_key_update(), |conn, roll_back| {
        RowLock::for_no_key_update().with(conn, accounts::table.find(1), |_, _: Locked<Account>| {
            roll_back()
        })
    });
    let goes_on = |run: &InOrder<'_>| {
        run.comes(&[
            "ada upgrade",
            "grace lock",
            "ada roll back",
            "grace commit",
            "ada commit",
        ])
    };
    assert!(all.iter().any(goes_on));
    assert_eq!(all.len(), 10);
    for run in all {
        let grace_waits = run.comes(&["ada upgrade", "grace lock", "ada roll back"]);
        assert_eq!(run.waited("grace lock"), grace_waits, "{run}");
    }
}

/// No spec has this one. A call that has ended inside of the savepoint gave its lock to that; the
/// rollback sets the row free for all but those who wait already. They wait for the transaction.
#[law(postgres)]
fn who_waits_for_a_call_inside_of_a_savepoint_waits_for_the_transaction(db: &Db) {
    let all = upgrade!(db, RowLock::for_no_key_update(), |conn, roll_back| {
        locks!(conn, RowLock::for_no_key_update())?;
        roll_back()
    });
    let goes_on = |run: &InOrder<'_>| {
        run.comes(&[
            "ada upgrade",
            "grace lock",
            "ada roll back",
            "grace commit",
            "ada commit",
        ])
    };
    let is_free = |run: &InOrder<'_>| {
        run.comes(&["ada roll back", "grace lock", "grace commit", "ada commit"])
    };
    assert!(all.iter().any(is_free) && !all.iter().any(goes_on));
    assert_eq!(all.len(), 9);
}

/// Ada has the key share of account 1, and does `$stronger` in a savepoint, which rolls it back
/// when it ends with `$roll_back()`. Grace locks it by `$lock`. In every order.
macro_rules! upgrade {
    ($db:ident, $lock:expr, |$conn:ident, $roll_back:ident| $stronger:expr) => {{
        let schedule = Schedule::new()
            .setup(reset!())
            .session("ada", |conn: &mut Conn, steps| {
                steps.next("lock");
                RowLock::for_key_share().with(
                    conn,
                    accounts::table.find(1),
                    |conn, account: Locked<Account>| {
                        let savepoint: Result<(), LockError> = conn.transaction(|$conn| {
                            let $roll_back = || {
                                steps.next("roll back");
                                Err(LockError::Database(RollbackTransaction.into()))
                            };
                            steps.next("upgrade");
                            $stronger
                        });
                        assert!(savepoint.is_err());
                        steps.next("commit");
                        Ok::<_, LockError>(account.balance)
                    },
                )
            })
            .session("grace", holder!($lock));
        let steps: &[&[_]] = &[
            &["ada lock", "ada upgrade", "ada roll back", "ada commit"],
            &["grace lock", "grace commit"],
        ];
        let all = in_every_order(&schedule, || $db.connect(), steps);
        for run in &all {
            let ended = (run.ended("ada"), run.ended("grace"));
            assert_eq!(ended, (Ok("1000"), Ok("1000")), "{run}");
        }
        all
    }};
}
use upgrade;
