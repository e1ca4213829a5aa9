//! eval-plan-qual: what a waiter finds when the holder has committed, or has taken it all back.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error::RollbackTransaction;
use diesel_row_lock::race::Schedule;
use diesel_row_lock::{with_row_lock, LockError, Locked, RowLock};
use law::law;

use crate::race::orders::reset;
use crate::support::schema::{accounts, Account};

const NOT_FOUND: Result<&str, &str> = Err("no row to lock");
const OLD: Result<&str, &str> = Ok("1000");

const ADD_200: &str = "UPDATE accounts SET balance = balance + 200 WHERE id = 1";
const ADD_500: &str = "UPDATE accounts SET balance = balance + 500 WHERE id = 1";
const DELETE: &str = "DELETE FROM accounts WHERE id = 1";

const ORDER: [&str; 3] = ["ada change", "grace lock", "ada end"];

/// wx1 wx2, wy1 wy2, d1, d2: each with c1 and with r1. Grace waits for account 1 with a balance
/// of less than 1500.
#[law(postgres, mysql, mariadb)]
fn waiter_has_what_the_holder_left_behind(db: &Db) {
    for (changes, committed) in [
        (&[ADD_200] as &[_], Ok("1200")),
        (&[ADD_500], NOT_FOUND),
        (&[ADD_200, ADD_200], Ok("1400")),
        (&[ADD_200, ADD_200, ADD_200], NOT_FOUND),
        (&[DELETE], NOT_FOUND),
        (&[ADD_200, DELETE], NOT_FOUND),
    ] {
        for (commits, left) in [(true, committed), (false, OLD)] {
            let played = holder!(changes, commits)
                .session("grace", |conn, steps| {
                    steps.next("lock");
                    let poor = accounts::table.find(1).filter(accounts::balance.lt(1_500));
                    with_row_lock(conn, poor, |_, account: Locked<Account>| {
                        Ok::<_, LockError>(account.balance)
                    })
                })
                .play(|| Ok(db.connect()), &ORDER)
                .unwrap();
            assert!(played.waited("grace lock"), "{played}");
            assert_eq!(
                played.ended("grace"),
                left,
                "{changes:?}, commits: {commits}\n{played}"
            );
        }
    }
}

/// partiallock: of two looks at the same row the one that is locked is new, and the other as old
/// as the statement. Who wants both new locks both.
#[law(postgres)]
fn row_that_is_not_locked_is_as_old_as_the_statement(db: &Db) {
    let (locked, looked_at) = diesel::alias!(accounts as locked, accounts as looked_at);
    let same = locked
        .inner_join(looked_at.on(looked_at.field(accounts::id).eq(locked.field(accounts::id))))
        .filter(locked.field(accounts::id).eq(1))
        .select((
            locked.field(accounts::balance),
            looked_at.field(accounts::balance),
        ));
    macro_rules! wait_by {
        ($lock:expr) => {
            holder!(&[ADD_200], true)
                .session("grace", |conn, steps| {
                    steps.next("lock");
                    $lock.with(conn, same, |_, balances: Locked<(i64, i64)>| {
                        Ok::<_, LockError>(*balances)
                    })
                })
                .play(|| Ok(db.connect()), &ORDER)
                .unwrap()
        };
    }
    let played = wait_by!(RowLock::for_update().of(locked));
    assert_eq!(played.ended("grace"), Ok("(1200, 1000)"), "{played}");
    let played = wait_by!(RowLock::for_update());
    assert_eq!(played.ended("grace"), Ok("(1200, 1200)"), "{played}");
}

/// Ada makes the changes, and then commits or rolls back.
macro_rules! holder {
    ($changes:expr, $commits:expr) => {
        Schedule::new()
            .setup(reset!())
            .session("ada", move |conn: &mut Conn, steps| {
                let ended = conn.transaction(|conn| {
                    steps.next("change");
                    for change in $changes {
                        conn.batch_execute(change)?;
                    }
                    steps.next("end");
                    if $commits {
                        Ok(())
                    } else {
                        Err(RollbackTransaction)
                    }
                });
                match ended {
                    Err(RollbackTransaction) => Ok(()),
                    ended => ended,
                }
            })
    };
}
use holder;
