//! The prover sees the race that the condition of `update_row` prevents, and that it is prevented.

use diesel::prelude::*;
use diesel_row_lock::race::{Interleaving, Race, Verdict};
use diesel_row_lock::{update_row, with_row_lock, LockError, Locked};
use law::law;

use super::operations::{add, deposit, observe, prove, reset};
use crate::support::schema::{accounts, Account};

macro_rules! update {
    ($conn:expr, $amount:expr) => {
        update_row($conn, 1, |account: &mut Account| {
            account.balance += $amount;
            Ok::<_, LockError>(account.balance)
        })
    };
}

/// Withdraws 700 if the balance is 1,000 at least.
macro_rules! withdraw {
    ($conn:expr) => {
        update_row($conn, 1, |account: &mut Account| {
            if account.balance < 1_000 {
                return Err(LockError::DuplicateKey {
                    key: "insufficient funds".to_owned(),
                });
            }
            account.balance -= 700;
            Ok(())
        })
    };
}

#[law(postgres, mysql, mariadb, sqlite)]
fn update_row_is_cured(db: &Db) {
    prove!(db, |conn| update!(conn, 100), |conn| deposit!(
        conn, 1, -100
    ))
    .assert_cured();
    let itself = Race::of("update", |conn: &mut Conn| update!(conn, 100))
        .setup(reset!())
        .prove(|| Ok(db.connect()), observe!());
    itself.unwrap().assert_cured();
}

/// A rival without a transaction of its own, which may come between any two statements.
#[law(postgres, mysql, mariadb)]
fn update_row_is_cured_of_a_single_statement(db: &Db) {
    prove!(db, |conn| update!(conn, 100), |conn| add!(conn, 1, -100)).assert_cured();
}

/// What it returns counts: a refusal is of the row as it is.
#[law(postgres, mysql, mariadb, sqlite)]
fn refusal_by_update_row_is_cured(db: &Db) {
    prove!(db, |conn| withdraw!(conn), |conn| deposit!(conn, 1, -700)).assert_cured();
}

/// A closure that refuses the row that it was given first, before the rival's deposit.
#[law(postgres)]
fn refusal_of_an_unlocked_row_is_checked_under_the_lock(db: &Db) {
    let proof = Race::of("withdraw", |conn: &mut Conn| withdraw!(conn))
        .against("deposit", |conn: &mut Conn| add!(conn, 1, 600))
        .setup(|conn: &mut Conn| {
            diesel::update(accounts::table)
                .set(accounts::balance.eq(500))
                .execute(conn)
        })
        .prove(|| Ok(db.connect()), observe!())
        .unwrap();
    assert_ne!(proof.verdict(), Verdict::Racy, "{proof}");
    let paid = |run: &&Interleaving<Vec<i64>>| run.locked && run.outcome.results[0].is_ok();
    let late: Vec<_> = proof.interleavings().iter().filter(paid).collect();
    assert!(
        late.iter()
            .any(|run| run.script.to_string().contains("FOR UPDATE")),
        "the first run of the closure refused: {proof}"
    );
}

/// Without the condition the deposit in between is lost, in two statements and with no lock at all.
#[law(postgres)]
fn race_is_between_the_read_and_the_conditional_update(db: &Db) {
    let proof = prove!(db, |conn| update!(conn, 100), |conn| deposit!(
        conn, 1, -100
    ));
    let in_between = |run: &&Interleaving<Vec<i64>>| {
        run.stepped == "operation" && run.before.starts_with("UPDATE")
    };
    let lost = proof.races(false).find(in_between);
    let lost = lost.unwrap_or_else(|| panic!("{proof}"));
    assert_eq!(lost.outcome.state[0], 1_100, "{proof}");
    let script = lost.script.to_string();
    assert!(
        !script.contains("xmin\" = ") && !script.contains(".xmin = "),
        "{script}"
    );

    let mut with = proof.interleavings().iter().filter(|run| run.locked);
    let cured = with.find(in_between).unwrap();
    assert_eq!(cured.outcome.state[0], 1_000, "{proof}");
    let script = cured.script.to_string();
    assert!(script.contains(".xmin = "), "{script}");
    assert!(
        script.contains("FOR UPDATE"),
        "the miss is followed by a lock: {script}"
    );
}

/// Twin: the same two statements by hand, with no condition.
#[law(postgres, mysql, mariadb, sqlite)]
fn twin_read_and_update_by_hand_is_racy(db: &Db) {
    let by_hand = |conn: &mut Conn| {
        let mut account: Account = accounts::table.find(1).first(conn)?;
        account.balance += 100;
        account.save_changes::<Account>(conn)?;
        Ok::<_, LockError>(())
    };
    let proof = prove!(db, by_hand, |conn| deposit!(conn, 1, -100));
    assert_eq!(proof.verdict(), Verdict::Racy, "{proof}");
}

/// A row that was missed is locked first by later calls. In a proof each run is the first one.
#[law(postgres)]
fn misses_do_not_change_a_later_run(db: &Db) {
    let statements = || {
        let proof = prove!(db, |conn| update!(conn, 100), |conn| deposit!(
            conn, 1, -100
        ));
        let runs = proof.interleavings().iter();
        let statement = |text: &str| text.split(" -- binds").next().map(str::to_owned);
        runs.map(|run| (run.locked, run.stepped.clone(), statement(&run.before)))
            .collect::<Vec<_>>()
    };
    let before = statements();
    // Outside of a proof, misses are remembered.
    let (conn, rival) = (&mut db.connect(), &mut db.connect());
    let mut runs = 0;
    update_row(conn, 1, |account: &mut Account| {
        runs += 1;
        if runs == 1 {
            add!(rival, 1, 1)?;
        }
        account.balance += 1;
        Ok::<_, LockError>(())
    })
    .unwrap();
    assert_eq!(runs, 2);
    assert_eq!(statements(), before);
}

/// The condition is taken out on the threads of a proof only.
#[law(postgres)]
fn condition_is_in_again_after_a_proof(db: &Db) {
    prove!(db, |conn| update!(conn, 100), |conn| deposit!(
        conn, 1, -100
    ))
    .assert_cured();
    let mut runs = 0;
    let rival = &mut db.connect();
    update_row(&mut db.connect(), 2, |account: &mut Account| {
        runs += 1;
        if runs == 1 {
            with_row_lock(
                rival,
                accounts::table.find(2),
                |conn, mut account: Locked<Account>| {
                    account.balance += 10;
                    account.save_changes::<Account>(conn)?;
                    Ok::<_, LockError>(())
                },
            )?;
        }
        account.balance += 1;
        Ok::<_, LockError>(())
    })
    .unwrap();
    assert_eq!((runs, db.balance(2)), (2, 1_011));
}
