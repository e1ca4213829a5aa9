//! fk-contention, fk-deadlock and fk-deadlock2: children who lock their parent.

use diesel::prelude::*;
use diesel_row_lock::race::{Schedule, Steps};
use diesel_row_lock::{with_row_lock, LockError, Locked, RowLock};
use law::law;

use crate::race::orders::{in_every_order, reset, InOrder};
use crate::support::schema::{accounts, entries, Account};

const DEADLOCK: Result<&str, &str> = Err("the transaction was rolled back to end a deadlock");

/// fk-contention.
#[law(postgres)]
fn child_and_change_of_the_parent_never_meet(db: &Db) {
    let all = contention!(db, RowLock::for_no_key_update());
    assert_eq!(all.len(), 6);
    for run in all {
        assert!(!run.anyone_waited(), "{run}");
    }
}

/// Its twin: to lock the parent for update is to keep out its children.
#[law(postgres)]
fn twin_child_and_lock_for_update_of_the_parent_meet(db: &Db) {
    let all = contention!(db, RowLock::for_update());
    assert_eq!(
        all.len(),
        4,
        "the two that come one after the other, and two that wait"
    );
    assert_eq!(all.iter().filter(|run| run.anyone_waited()).count(), 2);
}

/// fk-deadlock: each inserts a child, and then changes the parent of both.
#[law(postgres)]
fn children_of_one_parent_never_deadlock_in_any_order(db: &Db) {
    let steps: &[&[_]] = &[
        &["ada child", "ada parent", "ada commit"],
        &["grace child", "grace parent", "grace commit"],
    ];
    let all = in_every_order(
        &children!(RowLock::for_no_key_update()),
        || db.connect(),
        steps,
    );
    assert_eq!(
        all.len(),
        14,
        "all of 20 but those where who waits would end first"
    );
    for run in all {
        assert!(both_count(&run), "{run}");
    }
}

/// Its twin: for update the two deadlock whenever both have a child before one has the parent.
/// On MariaDB that is so whatever the strength.
#[law(postgres, mysql, mariadb)]
fn twin_children_who_lock_their_parent_for_update_deadlock(db: &Db) {
    let played = children!(RowLock::for_update())
        .play(
            || Ok(db.connect()),
            &["ada child", "grace child", "ada parent", "grace parent"],
        )
        .unwrap();
    let ended = [played.ended("ada"), played.ended("grace")];
    assert!(
        ended.contains(&DEADLOCK) && ended.contains(&Ok("1001")),
        "{played}"
    );
}

/// The cure: the parent first.
#[law(postgres, mysql, mariadb)]
fn parent_locked_before_its_child_is_no_deadlock(db: &Db) {
    let session = |id| {
        move |conn: &mut Conn, steps: &Steps| {
            steps.next("parent");
            with_row_lock(
                conn,
                accounts::table.find(1),
                |conn, mut account: Locked<Account>| {
                    account.balance += 1;
                    account.save_changes::<Account>(conn)?;
                    steps.next("child");
                    child!(conn, id)?;
                    steps.next("commit");
                    Ok::<_, LockError>(account.balance)
                },
            )
        }
    };
    let schedule = Schedule::new()
        .setup(reset!())
        .session("ada", session(1))
        .session("grace", session(2));
    let steps: &[&[_]] = &[
        &["ada parent", "ada child", "ada commit"],
        &["grace parent", "grace child", "grace commit"],
    ];
    let all = in_every_order(&schedule, || db.connect(), steps);
    assert_eq!(all.len(), 6);
    for run in all {
        assert!(both_count(&run), "{run}");
    }
}

/// fk-deadlock2: Ada changes the parent and then the child, and Grace the child twice. The second
/// time her server locks the parent too.
#[law(postgres)]
fn second_change_of_a_child_does_not_wait_for_its_parent(db: &Db) {
    let all = in_every_order(
        &family!(RowLock::for_no_key_update()),
        || db.connect(),
        FAMILY,
    );
    assert_eq!(all.len(), 11);
    for run in all {
        assert!(
            !run.waited("grace again") && !run.waited("ada parent"),
            "{run}"
        );
        assert_eq!(
            (run.ended("ada"), run.ended("grace")),
            (Ok("()"), Ok("()")),
            "{run}"
        );
    }
}

/// Its twin.
#[law(postgres)]
fn twin_second_change_of_a_child_waits_for_a_parent_locked_for_update(db: &Db) {
    let played = family!(RowLock::for_update())
        .play(
            || Ok(db.connect()),
            &["ada parent", "grace child", "grace again", "ada child"],
        )
        .unwrap();
    assert!(played.waited("grace again"), "{played}");
    let ended = [played.ended("ada"), played.ended("grace")];
    assert!(
        ended.contains(&DEADLOCK) && ended.contains(&Ok("()")),
        "{played}"
    );
}

/// MySQL and MariaDB do not lock the parent again.
#[law(mysql, mariadb)]
fn second_change_of_a_child_never_waits_for_its_parent(db: &Db) {
    // Ada has a snapshot when she comes to the child.
    db.loosen_snapshots();
    let played = family!(RowLock::for_update())
        .play(
            || Ok(db.connect()),
            &[
                "ada parent",
                "grace child",
                "grace again",
                "ada child",
                "grace commit",
            ],
        )
        .unwrap();
    assert!(
        played.waited("ada child") && !played.waited("grace again"),
        "{played}"
    );
    assert_eq!(
        (played.ended("ada"), played.ended("grace")),
        (Ok("()"), Ok("()")),
        "{played}"
    );
}

/// Neither of them has failed, and neither change of the balance is lost.
fn both_count(run: &InOrder<'_>) -> bool {
    let ended = [run.ended("ada"), run.ended("grace")];
    ended.contains(&Ok("1001")) && ended.contains(&Ok("1002"))
}

/// A child of account 1.
macro_rules! child {
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
use child;

/// Locks and changes entry 1.
macro_rules! entry {
    ($conn:expr) => {{
        let amount = entries::table.find(1).select(entries::amount);
        with_row_lock($conn, amount, |conn, amount: Locked<i64>| {
            diesel::update(entries::table.find(1))
                .set(entries::amount.eq(*amount + 1))
                .execute(conn)?;
            Ok::<_, LockError>(())
        })
    }};
}
use entry;

/// Locks account 1 by `$lock` and adds 1 to its balance. Returns that.
macro_rules! parent {
    ($conn:expr, $lock:expr) => {
        $lock.with(
            $conn,
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                account.balance += 1;
                account.save_changes::<Account>(conn)?;
                Ok::<_, LockError>(account.balance)
            },
        )
    };
}
use parent;

const FAMILY: &[&[&str]] = &[
    &["ada parent", "ada child", "ada commit"],
    &["grace child", "grace again", "grace commit"],
];

/// Entry 1 is a child of account 1. Ada locks that by `$lock` and changes it, and then the child;
/// Grace changes the child twice.
macro_rules! family {
    ($lock:expr) => {
        Schedule::new()
            .setup(|conn: &mut Conn| {
                reset!()(conn)?;
                child!(conn, 1)
            })
            .session("ada", |conn: &mut Conn, steps| {
                conn.transaction(|conn| {
                    steps.next("parent");
                    parent!(conn, $lock)?;
                    steps.next("child");
                    entry!(conn)?;
                    steps.next("commit");
                    Ok::<_, LockError>(())
                })
            })
            .session("grace", |conn, steps| {
                conn.transaction(|conn| {
                    steps.next("child");
                    entry!(conn)?;
                    steps.next("again");
                    entry!(conn)?;
                    steps.next("commit");
                    Ok::<_, LockError>(())
                })
            })
    };
}
use family;

/// Ada inserts a child of account 1, which Grace locks by `$lock` and changes: in every order.
macro_rules! contention {
    ($db:ident, $lock:expr) => {{
        let schedule = Schedule::new()
            .setup(reset!())
            .session("ada", |conn: &mut Conn, steps| {
                conn.transaction(|conn| {
                    steps.next("child");
                    child!(conn, 1)?;
                    steps.next("commit");
                    QueryResult::Ok(())
                })
            })
            .session("grace", |conn, steps| {
                conn.transaction(|conn| {
                    steps.next("lock");
                    parent!(conn, $lock)?;
                    steps.next("commit");
                    Ok::<_, LockError>(())
                })
            });
        let steps: &[&[_]] = &[
            &["ada child", "ada commit"],
            &["grace lock", "grace commit"],
        ];
        in_every_order(&schedule, || $db.connect(), steps)
    }};
}
use contention;

/// Each inserts a child of account 1, and then locks that by `$lock` and changes it.
macro_rules! children {
    ($lock:expr) => {{
        let session = |id| {
            move |conn: &mut Conn, steps: &Steps| {
                conn.transaction(|conn| {
                    steps.next("child");
                    child!(conn, id)?;
                    steps.next("parent");
                    let balance = parent!(conn, $lock)?;
                    steps.next("commit");
                    Ok::<_, LockError>(balance)
                })
            }
        };
        Schedule::new()
            .setup(reset!())
            .session("ada", session(1))
            .session("grace", session(2))
    }};
}
use children;
