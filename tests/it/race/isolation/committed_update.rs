//! lock-committed-update and lock-committed-keyupdate: the row that a statement found is updated,
//! before it is locked, by a transaction that has committed.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::race::Schedule;
use diesel_row_lock::{LockError, Locked, RowLock};
use law::law;

use super::gate::{gate, past_the_gate};
use crate::race::orders::{or_step, reset};
use crate::support::schema::{accounts, Account};

const CONFLICT: Result<&str, &str> = Err("the transaction conflicts with a concurrent one");

/// The update comes before or after the statement has found the row, and is committed before or
/// after the statement goes on to lock it.
const SNAPSHOT_UPDATE: [&str; 5] = [
    "gate shut",
    "grace lock",
    "ada update",
    "ada commit",
    "gate open",
];
const UPDATE_SNAPSHOT: [&str; 5] = [
    "gate shut",
    "ada update",
    "grace lock",
    "ada commit",
    "gate open",
];
const LOCK_UPDATE: [&str; 5] = [
    "gate shut",
    "grace lock",
    "gate open",
    "ada update",
    "ada commit",
];
const UPDATE_LOCK: [&str; 5] = [
    "gate shut",
    "ada update",
    "gate open",
    "grace lock",
    "ada commit",
];

/// Those of them where who locks would wait, or come too late, if the two conflict.
const CONFLICTING: [[&str; 5]; 3] = [SNAPSHOT_UPDATE, UPDATE_SNAPSHOT, UPDATE_LOCK];

/// lock-committed-update: a lock of the key only is no matter to who changes the balance. Its
/// owner has no promise about the balance either: it is the one that the statement found.
#[law(postgres)]
fn lock_of_the_key_has_the_row_as_it_was_found_at_read_committed(db: &Db) {
    for order in [SNAPSHOT_UPDATE, UPDATE_SNAPSHOT, LOCK_UPDATE, UPDATE_LOCK] {
        assert_ended!(
            db,
            "read committed",
            order,
            accounts::balance.eq(5),
            RowLock::for_key_share(),
            Ok("(1, 1000)")
        );
    }
}

#[law(postgres)]
fn lock_of_the_key_has_the_row_as_it_was_found_at_repeatable_read(db: &Db) {
    for order in [SNAPSHOT_UPDATE, UPDATE_SNAPSHOT, LOCK_UPDATE, UPDATE_LOCK] {
        assert_ended!(
            db,
            "repeatable read",
            order,
            accounts::balance.eq(5),
            RowLock::for_key_share(),
            Ok("(1, 1000)")
        );
    }
}

#[law(postgres)]
fn lock_of_the_key_has_the_row_as_it_was_found_at_serializable(db: &Db) {
    for order in [SNAPSHOT_UPDATE, UPDATE_SNAPSHOT, LOCK_UPDATE, UPDATE_LOCK] {
        assert_ended!(
            db,
            "serializable",
            order,
            accounts::balance.eq(5),
            RowLock::for_key_share(),
            Ok("(1, 1000)")
        );
    }
}

/// What its owner is promised: nobody deletes the row, which by now is another version than the
/// one that was found.
#[law(postgres)]
fn lock_of_the_key_keeps_out_a_delete_of_the_updated_row(db: &Db) {
    let played = schedule!(
        "read committed",
        false,
        accounts::balance.eq(5),
        RowLock::for_key_share()
    )
    .session("barbara", |conn, steps| {
        steps.next("delete");
        diesel::delete(accounts::table.find(1)).execute(conn)
    })
    .play(
        || Ok(db.connect()),
        &[
            "gate shut",
            "grace lock",
            "ada update",
            "ada commit",
            "gate open",
            "barbara delete",
            "grace commit",
        ],
    )
    .unwrap();
    assert!(played.waited("barbara delete"), "{played}");
    assert_eq!(
        (played.ended("grace"), played.ended("barbara")),
        (Ok("(1, 1000)"), Ok("1")),
        "{played}"
    );
}

/// lock-committed-keyupdate: a change of the key conflicts with the lock of it. At READ COMMITTED
/// the waiter goes on with the row as it is now; above, it fails.
#[law(postgres)]
fn lock_of_the_key_follows_a_change_of_the_key_at_read_committed(db: &Db) {
    for order in CONFLICTING {
        assert_ended!(
            db,
            "read committed",
            order,
            accounts::id.eq(11),
            RowLock::for_key_share(),
            Ok("(11, 1000)")
        );
    }
}

#[law(postgres)]
fn lock_of_the_key_fails_on_a_change_of_the_key_at_repeatable_read(db: &Db) {
    for order in CONFLICTING {
        assert_ended!(
            db,
            "repeatable read",
            order,
            accounts::id.eq(11),
            RowLock::for_key_share(),
            CONFLICT
        );
    }
}

#[law(postgres)]
fn lock_of_the_key_fails_on_a_change_of_the_key_at_serializable(db: &Db) {
    for order in CONFLICTING {
        assert_ended!(
            db,
            "serializable",
            order,
            accounts::id.eq(11),
            RowLock::for_key_share(),
            CONFLICT
        );
    }
}

/// The order that lock-committed-keyupdate leaves out: the update waits for the lock.
#[law(postgres)]
fn update_of_the_key_waits_for_the_lock_of_the_key(db: &Db) {
    let order = [
        "gate shut",
        "grace lock",
        "gate open",
        "ada update",
        "grace commit",
        "ada commit",
    ];
    for level in ["read committed", "repeatable read", "serializable"] {
        let schedule = schedule!(level, false, accounts::id.eq(11), RowLock::for_key_share());
        let played = schedule.play(|| Ok(db.connect()), &order).unwrap();
        assert!(played.waited("ada update"), "{level}: {played}");
        assert_eq!(
            (played.ended("ada"), played.ended("grace")),
            (Ok("1"), Ok("(1, 1000)")),
            "{level}: {played}"
        );
    }
}

/// A lock of the whole row conflicts with a change of the balance in the same way.
#[law(postgres)]
fn lock_of_the_row_follows_a_change_of_the_balance_at_read_committed(db: &Db) {
    for order in CONFLICTING {
        assert_ended!(
            db,
            "read committed",
            order,
            accounts::balance.eq(5),
            RowLock::for_share(),
            Ok("(1, 5)")
        );
    }
}

#[law(postgres)]
fn lock_of_the_row_fails_on_a_change_of_the_balance_at_repeatable_read(db: &Db) {
    for order in CONFLICTING {
        assert_ended!(
            db,
            "repeatable read",
            order,
            accounts::balance.eq(5),
            RowLock::for_share(),
            CONFLICT
        );
    }
}

/// What Grace's call ends with, whether or not Ada looks at the table after her commit, which
/// leaves a mark in the row that she has committed.
macro_rules! assert_ended {
    ($db:ident, $level:literal, $order:expr, $change:expr, $lock:expr, $ended:expr) => {
        for looks in [false, true] {
            let schedule = schedule!($level, looks, $change, $lock);
            let played = schedule.play(|| Ok($db.connect()), &$order).unwrap();
            assert_eq!(played.ended("ada"), Ok("1"), "{played}");
            assert_eq!(played.ended("grace"), $ended, "{played}");
            assert!(!played.waited("ada update"), "{played}");
        }
    };
}
use assert_ended;

/// Ada updates her account by `$change`, and Grace locks it by `$lock` at the isolation level.
macro_rules! schedule {
    ($level:expr, $looks:expr, $change:expr, $lock:expr) => {
        Schedule::new()
            .setup(reset!())
            .session("gate", gate)
            .session("ada", |conn: &mut Conn, steps| {
                let row = accounts::table.filter(accounts::owner.eq("Ada"));
                let changed = conn.transaction(|conn| {
                    steps.next("update");
                    let changed = diesel::update(row).set($change).execute(conn)?;
                    steps.next("commit");
                    QueryResult::Ok(changed)
                })?;
                if $looks {
                    row.load::<Account>(conn)?;
                }
                QueryResult::Ok(changed)
            })
            .session("grace", |conn, steps| {
                let level = format!("SET default_transaction_isolation = '{}'", $level);
                conn.batch_execute(&level)?;
                steps.next("lock");
                let row = accounts::table.filter(accounts::owner.eq("Ada").and(past_the_gate()));
                let locked = $lock.with(conn, row, |_, account: Locked<Account>| {
                    steps.next("commit");
                    Ok::<_, LockError>((account.id, account.balance))
                });
                or_step(locked, steps, "commit")
            })
    };
}
use schedule;
