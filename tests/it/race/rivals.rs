//! Both operations are played statement by statement, and each rival has a verdict of its own.

use std::panic::{catch_unwind, AssertUnwindSafe};

use diesel::prelude::*;
use diesel_row_lock::race::{Proof, Race, Verdict};
use diesel_row_lock::{with_row_lock, LockError, Locked};
use law::law;

use super::operations::{add, deposit, observe, prove, reset};
use crate::support::schema::{accounts, Account};

/// The rival reads under one lock and writes under another. The deposit runs between the two.
#[law(postgres, mysql, mariadb, sqlite)]
fn race_inside_of_the_rival_is_racy(db: &Db) {
    let proof = prove!(
        db,
        |conn| deposit!(conn, 1, 100),
        |conn| withdrawal_by_two_locks!(conn)
    );
    assert_eq!(proof.verdict(), Verdict::Racy, "{proof}");
    let race = proof.races(true).next().unwrap();
    assert_eq!(
        (&*race.stepped, race.outcome.state[0]),
        ("rival", 900),
        "{proof}"
    );
    assert!(
        proof
            .to_string()
            .contains("With the lock, operation before `"),
        "{proof}"
    );
}

/// By these runs alone the verdict would be `Cured`.
#[law(postgres, mysql, mariadb, sqlite)]
fn twin_race_inside_of_the_rival_is_hidden_while_only_the_operation_is_stepped(db: &Db) {
    let proof = prove!(
        db,
        |conn| deposit!(conn, 1, 100),
        |conn| withdrawal_by_two_locks!(conn)
    );
    let races = |locked| {
        proof
            .races(locked)
            .filter(|run| run.stepped == "operation")
            .count()
    };
    assert_eq!(races(true), 0, "{proof}");
    assert!(races(false) > 0, "{proof}");
}

/// A lock that is a mutex for another row. It matters only while the rival stands between its two
/// reads: the lock is taken out in that role, too.
#[law(postgres)]
fn race_that_only_the_exchanged_roles_show_is_cured(db: &Db) {
    let proof = prove!(
        db,
        |conn: &mut Conn| with_row_lock(
            conn,
            accounts::table.find(1),
            |conn, _: Locked<Account>| { add!(conn, 2, 1).map_err(LockError::from) }
        ),
        |conn: &mut Conn| with_row_lock(
            conn,
            accounts::table.find(1),
            |conn, _: Locked<Account>| {
                let balance = accounts::table.find(2).select(accounts::balance);
                Ok::<_, LockError>([balance.first::<i64>(conn)?, balance.first::<i64>(conn)?])
            }
        )
    );
    proof.assert_cured();
    assert!(
        proof.races(false).all(|run| run.stepped == "rival"),
        "{proof}"
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn rival_that_proves_nothing_is_not_hidden_by_a_cured_one(db: &Db) {
    let proof = Race::of("deposit", |conn| deposit!(conn, 1, 100))
        .against("same row", |conn| deposit!(conn, 1, 7))
        .against("read", |conn| {
            accounts::table.find(1).first::<Account>(conn).map(drop)
        })
        .setup(reset!())
        .prove(|| Ok(db.connect()), observe!())
        .unwrap();
    let expected = [
        ("same row", Verdict::Cured),
        ("read", Verdict::NoRaceToCure),
    ];
    assert_eq!(verdicts(&proof), expected, "{proof}");
    assert_eq!(proof.verdict(), Verdict::NoRaceToCure);
    let report = refusal_of(&proof);
    assert!(report.contains("against same row: cured"), "{report}");
    assert!(report.contains("against read: no race to cure"), "{report}");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn twin_the_cured_rival_alone_is_a_proof(db: &Db) {
    let proof = Race::of("deposit", |conn| deposit!(conn, 1, 100))
        .against("same row", |conn| deposit!(conn, 1, 7))
        .setup(reset!())
        .prove(|| Ok(db.connect()), observe!())
        .unwrap();
    proof.assert_cured();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn each_of_three_rivals_has_its_verdict_and_its_interleavings(db: &Db) {
    let proof = Race::of("deposit", |conn| deposit!(conn, 1, 100))
        .against("same row", |conn| deposit!(conn, 1, 7))
        .against("read", |conn| {
            accounts::table.find(1).first::<Account>(conn).map(drop)
        })
        .against("two locks", |conn| withdrawal_by_two_locks!(conn))
        .setup(reset!())
        .prove(|| Ok(db.connect()), observe!())
        .unwrap();
    let expected = [
        ("same row", Verdict::Cured),
        ("read", Verdict::NoRaceToCure),
        ("two locks", Verdict::Racy),
    ];
    assert_eq!(verdicts(&proof), expected, "{proof}");
    assert_eq!(proof.verdict(), Verdict::Racy);
    let runs: usize = proof
        .rivals()
        .map(|rival| rival.interleavings().count())
        .sum();
    assert_eq!(runs, proof.interleavings().len());
    for (number, rival) in proof.rivals().enumerate() {
        let mut stepped: Vec<_> = rival.interleavings().map(|run| &*run.stepped).collect();
        stepped.sort_unstable();
        stepped.dedup();
        assert_eq!(stepped.len(), 2, "{rival}");
        assert_eq!(rival.races(true).count() > 0, number == 2, "{rival}");
    }
    let report = refusal_of(&proof);
    assert!(
        report.contains("With the lock, deposit before `"),
        "{report}"
    );
}

fn verdicts(proof: &Proof<Vec<i64>>) -> Vec<(&str, Verdict)> {
    let rivals = proof.rivals();
    rivals
        .map(|rival| (rival.name(), rival.verdict()))
        .collect()
}

/// With which words `assert_cured` panics.
fn refusal_of(proof: &Proof<Vec<i64>>) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| proof.assert_cured())).unwrap_err();
    *panic.downcast().unwrap()
}

macro_rules! withdrawal_by_two_locks {
    ($conn:expr) => {{
        let one = accounts::table.find(1);
        let seen = with_row_lock($conn, one, |_, account: Locked<Account>| {
            Ok::<_, LockError>(account.balance)
        })?;
        with_row_lock($conn, one, |conn, mut account: Locked<Account>| {
            account.balance = seen - 100;
            account.save_changes::<Account>(conn)?;
            Ok::<_, LockError>(())
        })
    }};
}
use withdrawal_by_two_locks;
