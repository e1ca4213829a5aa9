//! The prover finds every race that there is, sees its cure, and does not call a test a proof that
//! proves nothing.

use std::sync::PoisonError;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::race::{Interleaving, Race, RaceError, Verdict};
use diesel_row_lock::{with_row_lock, with_row_locks, LockError, Locked, Retry, RowLock};
use law::law;

use super::operations::{
    add, bare_deposit, broken_withdrawal, deposit, observe, prove, reset, transfer,
};
use crate::support::schema::{accounts, Account};

#[law(postgres, mysql, mariadb, sqlite)]
fn deposit_under_the_lock_is_cured(db: &Db) {
    let proof = prove!(db, |conn| deposit!(conn, 1, 100), |conn| deposit!(
        conn, 1, -100
    ));
    assert_eq!(proof.verdict(), Verdict::Cured, "{proof}");
    assert!(proof.interleavings().iter().any(|run| run.locked));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn read_outside_of_the_lock_is_racy(db: &Db) {
    let proof = prove!(db, |conn| broken_withdrawal!(conn), |conn| deposit!(
        conn, 1, 100
    ));
    assert_eq!(proof.verdict(), Verdict::Racy, "{proof}");
    let race = proof.races(true).next().unwrap();
    assert_eq!(race.outcome.state[0], 900, "the deposit is lost: {proof}");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn bare_read_and_write_is_racy(db: &Db) {
    let proof = prove!(
        db,
        |conn: &mut Conn| bare_deposit!(conn),
        |conn| bare_deposit!(conn)
    );
    assert_eq!(proof.verdict(), Verdict::Racy, "{proof}");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn single_statement_has_no_race_to_cure(db: &Db) {
    let proof = prove!(db, |conn| add!(conn, 1, 100), |conn| add!(conn, 1, -100));
    assert_eq!(proof.verdict(), Verdict::NoRaceToCure, "{proof}");
}

/// Such a test would pass for ever, whatever becomes of the lock.
#[law(postgres, mysql, mariadb)]
fn operations_on_different_rows_have_no_race_to_cure(db: &Db) {
    let proof = prove!(db, |conn| deposit!(conn, 1, 100), |conn| deposit!(
        conn, 2, 100
    ));
    assert_eq!(proof.verdict(), Verdict::NoRaceToCure, "{proof}");
}

/// SQLite's lock is the whole database's. Without it the second writer fails, whichever row it
/// writes, and an operation that fails where it succeeds in either order is not serial.
#[law(sqlite)]
fn operations_on_different_rows_are_cured_of_the_conflict_over_the_database(db: &Db) {
    let proof = prove!(db, |conn| deposit!(conn, 1, 100), |conn| deposit!(
        conn, 2, 100
    ));
    proof.assert_cured();
    let races: Vec<_> = proof.races(false).collect();
    let failed = |run: &&&Interleaving<Vec<i64>>| {
        run.outcome
            .results
            .contains(&Err("timed out waiting for a lock".to_owned()))
    };
    assert!(
        !races.is_empty() && races.iter().all(|run| failed(&run)),
        "{proof}"
    );
}

#[law(postgres, mysql, mariadb)]
fn hand_made_lock_needs_its_unlocked_form(db: &Db) {
    macro_rules! by_hand {
        ($conn:ident $(. $lock:ident())?) => {
            $conn.transaction(|conn| {
                let account: Account = accounts::table.find(1)$(.$lock())?.first(conn)?;
                let more = accounts::balance.eq(account.balance + 1);
                diesel::update(&account).set(more).execute(conn)
            })
        };
    }
    let race =
        || Race::of("deposit", |conn: &mut Conn| by_hand!(conn.for_update())).setup(reset!());
    let blind = race().prove(|| Ok(db.connect()), observe!()).unwrap();
    assert_eq!(blind.verdict(), Verdict::NoRaceToCure, "{blind}");
    let seeing = race()
        .without_lock(|conn| by_hand!(conn))
        .prove(|| Ok(db.connect()), observe!());
    seeing.unwrap().assert_cured();
}

/// The balance may be right, and one of them has still been told a lie.
#[law(postgres, mysql, mariadb, sqlite)]
fn what_the_operations_return_counts_too(db: &Db) {
    let proof = Race::of("withdraw all", |conn| {
        let account: Account = accounts::table.find(1).first(conn)?;
        if account.balance == 0 {
            return Ok::<_, LockError>(0);
        }
        diesel::update(&account)
            .set(accounts::balance.eq(0))
            .execute(conn)?;
        Ok(account.balance)
    })
    .setup(reset!())
    .prove(|| Ok(db.connect()), observe!())
    .unwrap();
    assert_eq!(proof.verdict(), Verdict::Racy, "{proof}");
    let race = proof.races(true).next().unwrap();
    assert_eq!(race.outcome.state, [0, 1_000, 1_000, 1_000]);
}

#[law(postgres, mysql, mariadb)]
fn crossing_locks_are_racy_and_retry_cures_them(db: &Db) {
    macro_rules! crossing {
        ($first:literal, $second:literal) => {
            |conn: &mut Conn| {
                RowLock::for_update().with(
                    conn,
                    accounts::table.find($first),
                    |conn, mut one: Locked<Account>| {
                        with_row_lock(
                            conn,
                            accounts::table.find($second),
                            |conn, mut two: Locked<Account>| {
                                one.balance -= 1;
                                two.balance += 1;
                                one.save_changes::<Account>(conn)?;
                                two.save_changes::<Account>(conn)?;
                                Ok::<_, LockError>(())
                            },
                        )
                    },
                )
            }
        };
    }
    let proof = prove!(db, crossing!(1, 2), crossing!(2, 1));
    assert_eq!(proof.verdict(), Verdict::Racy, "{proof}");
    assert!(proof.to_string().contains("deadlock"), "{proof}");

    let sorted = prove!(db, |conn| transfer!(conn, 1, 2), |conn| transfer!(
        conn, 2, 1
    ));
    assert_eq!(sorted.verdict(), Verdict::Cured, "{sorted}");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn report_shows_who_waited_for_whom(db: &Db) {
    let proof = prove!(db, |conn| deposit!(conn, 1, 100), |conn| deposit!(
        conn, 1, -100
    ));
    let waited = proof
        .interleavings()
        .iter()
        .map(|run| run.script.to_string());
    let waited = waited
        .filter(|script| script.contains("<waits for operation>"))
        .count();
    assert!(waited > 0, "{proof}");
    let report = proof.to_string();
    assert!(
        report.contains("Without the lock, rival before `"),
        "{report}"
    );
    assert!(
        report.contains("operation, then rival: [1000, 1000, 1000, 1000]"),
        "{report}"
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn retry_is_part_of_the_operation(db: &Db) {
    // With strict snapshots the retry cures the race without the lock.
    db.loosen_snapshots();
    let lock = RowLock::for_update().retry(Retry::new());
    let proof = prove!(
        db,
        |conn: &mut Conn| lock.with(
            conn,
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                account.balance += 1;
                account
                    .save_changes::<Account>(conn)
                    .map(drop)
                    .map_err(LockError::from)
            }
        ),
        |conn| deposit!(conn, 1, 100)
    );
    proof.assert_cured();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn panic_of_an_operation_is_an_outcome(db: &Db) {
    let proof = prove!(
        db,
        |conn| {
            let account: Account = accounts::table.find(1).first(conn)?;
            let _: Account = accounts::table.find(2).first(conn)?;
            assert!(account.balance < 2_000, "rich");
            let account: Account = accounts::table.find(1).first(conn)?;
            assert!(account.balance < 2_000, "suddenly rich");
            Ok::<_, LockError>(())
        },
        |conn| add!(conn, 1, 1_000)
    );
    let race = proof.races(true).next().unwrap();
    assert_eq!(
        race.outcome.results[0],
        Err("panicked: suddenly rich".to_owned())
    );
}

/// What no server sees.
#[law(postgres, mysql, mariadb, sqlite)]
fn wait_that_the_server_does_not_know_of_is_an_error_that_names_it(db: &Db) {
    let turn = std::sync::Mutex::new(());
    let operation = |conn: &mut Conn| {
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        deposit!(conn, 1, 1)
    };
    let result = Race::of("operation", operation)
        .setup(reset!())
        .deadline(Duration::from_secs(3))
        .prove(|| Ok(db.connect()), observe!());
    let Err(RaceError::Stuck { player, step, .. }) = result else {
        panic!("{result:?}")
    };
    assert_eq!((&*player, &*step), ("operation (2)", "its own work"));
    assert_eq!(db.free("accounts"), [1, 2, 3, 4]);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn failed_set_up_is_an_error_before_anything_is_run(db: &Db) {
    let result = Race::of("deposit", |conn: &mut Conn| deposit!(conn, 1, 1))
        .setup(|conn| conn.batch_execute("DELETE FROM nowhere"))
        .prove(|| Ok(db.connect()), observe!());
    assert!(matches!(result, Err(RaceError::Setup(_))), "{result:?}");
    assert_eq!(db.balance(1), 1_000);
}

/// The clause is out for the operation under test only, and only as long as that runs.
#[law(postgres, mysql, mariadb, sqlite)]
fn locks_are_in_again_after_a_proof(db: &Db) {
    prove!(db, |conn| deposit!(conn, 1, 100), |conn| deposit!(
        conn, 1, -100
    ))
    .assert_cured();
    with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |_, _: Locked<Account>| {
            assert!(!db.free("accounts").contains(&1));
            Ok::<_, LockError>(())
        },
    )
    .unwrap();
}
