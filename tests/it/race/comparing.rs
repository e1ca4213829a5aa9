//! What is compared is for the caller to say, and only runs that can be compared are.

use std::sync::atomic::{AtomicI64, Ordering};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::race::{Race, RaceError, Verdict};
use diesel_row_lock::{with_row_lock, LockError, Locked};
use law::law;

use super::operations::{bare_deposit, deposit, observe, reset};
use crate::support::schema::{accounts, Account};

/// Which withdrawal draws the smaller number does not depend on which one has the lock first.
#[law(postgres, mysql, mariadb, sqlite)]
fn right_code_that_returns_a_generated_id_is_cured_when_the_id_is_not_compared(db: &Db) {
    let ids = AtomicI64::new(1);
    let race = numbered_withdrawals!(ids).comparing(|result| result.is_ok());
    race.setup(reset!())
        .prove(|| Ok(db.connect()), observe!())
        .unwrap()
        .assert_cured();

    let by_hand = Race::of("withdrawal", |conn: &mut Conn| {
        numbered_withdrawal!(conn, ids).map(|(_, balance)| balance)
    });
    by_hand
        .setup(reset!())
        .prove(|| Ok(db.connect()), observe!())
        .unwrap()
        .assert_cured();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn twin_right_code_is_racy_when_its_generated_id_is_compared(db: &Db) {
    let ids = AtomicI64::new(1);
    let proof = numbered_withdrawals!(ids)
        .setup(|conn| {
            ids.store(1, Ordering::SeqCst);
            reset!()(conn)
        })
        .prove(|| Ok(db.connect()), observe!())
        .unwrap();
    assert_eq!(proof.verdict(), Verdict::Racy, "{proof}");
}

/// Every interleaving would look like a race.
#[law(postgres, mysql, mariadb, sqlite)]
fn order_that_comes_to_two_outcomes_is_an_error_that_shows_both(db: &Db) {
    let ids = AtomicI64::new(1);
    let result = numbered_withdrawals!(ids)
        .setup(reset!())
        .prove(|| Ok(db.connect()), observe!());
    let Err(error @ RaceError::NotRepeatable { .. }) = result else {
        panic!("{result:?}")
    };
    let error = error.to_string();
    assert!(
        error.contains("withdrawal returned (1, 900); withdrawal (2) returned (2, 800)"),
        "{error}"
    );
    assert!(
        error.contains("withdrawal returned (5, 900); withdrawal (2) returned (6, 800)"),
        "{error}"
    );
}

#[law(postgres)]
fn values_of_a_sequence_need_not_be_reset_where_they_are_not_compared(db: &Db) {
    db.connect()
        .batch_execute("CREATE SEQUENCE numbers")
        .unwrap();
    macro_rules! withdrawal {
        () => {
            |conn: &mut Conn| {
                let id = diesel::dsl::sql::<diesel::sql_types::BigInt>("SELECT nextval('numbers')");
                let id: i64 = id.get_result(conn)?;
                deposit!(conn, 1, -100).map(|()| id)
            }
        };
    }
    let race = || Race::of("withdrawal", withdrawal!()).setup(reset!());
    race()
        .comparing(|result| result.is_ok())
        .prove(|| Ok(db.connect()), observe!())
        .unwrap()
        .assert_cured();
    let all = race().prove(|| Ok(db.connect()), observe!());
    assert!(
        matches!(all, Err(RaceError::NotRepeatable { .. })),
        "{all:?}"
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn state_is_compared_whatever_is_compared_of_the_results(db: &Db) {
    let proof = Race::of("deposit", |conn: &mut Conn| bare_deposit!(conn))
        .comparing(|_| ())
        .setup(reset!())
        .prove(|| Ok(db.connect()), observe!())
        .unwrap();
    assert_eq!(proof.verdict(), Verdict::Racy, "{proof}");
}

/// The lie that `what_the_operations_return_counts_too` finds.
#[law(postgres, mysql, mariadb, sqlite)]
fn results_that_are_not_compared_do_not_count(db: &Db) {
    let race = || {
        Race::of("withdraw all", |conn: &mut Conn| {
            let account: Account = accounts::table.find(1).first(conn)?;
            diesel::update(&account)
                .set(accounts::balance.eq(0))
                .execute(conn)?;
            Ok::<_, LockError>(account.balance)
        })
        .setup(reset!())
    };
    let all = race().prove(|| Ok(db.connect()), observe!()).unwrap();
    assert_eq!(all.verdict(), Verdict::Racy, "{all}");
    let state = race()
        .comparing(|_| ())
        .prove(|| Ok(db.connect()), observe!())
        .unwrap();
    assert_eq!(state.verdict(), Verdict::NoRaceToCure, "{state}");
}

/// Every run without the lock would look like a race, and the lock like its cure.
#[law(postgres, mysql, mariadb, sqlite)]
fn operation_that_is_another_one_without_its_lock_is_an_error(db: &Db) {
    let race = || {
        Race::of("deposit", |conn: &mut Conn| deposit!(conn, 1, 1))
            .against("read", |conn| {
                accounts::table.find(2).first::<Account>(conn).map(drop)
            })
            .setup(reset!())
    };
    let other_state = race().without_lock(|conn| add_to_all!(conn));
    let other_result = race().without_lock(|conn| deposit!(conn, 1, 1).map(|()| "done"));
    for (race, without) in [
        (other_state, "[1001, 1001, 1001, 1001]"),
        (other_result, "returned \"done\""),
    ] {
        let result = race.prove(|| Ok(db.connect()), observe!());
        let Err(error @ RaceError::NotTheSameWithoutLock { .. }) = result else {
            panic!("{result:?}")
        };
        let error = error.to_string();
        assert!(
            error.contains("with it: [1001, 1000, 1000, 1000]") && error.contains(without),
            "{error}"
        );
    }
}

#[law(postgres, mysql, mariadb, sqlite)]
fn twin_the_same_operation_without_its_lock_has_no_race_to_cure(db: &Db) {
    let proof = Race::of("deposit", |conn: &mut Conn| deposit!(conn, 1, 1))
        .against("read", |conn| {
            accounts::table.find(2).first::<Account>(conn).map(drop)
        })
        .without_lock(|conn: &mut Conn| bare_deposit!(conn).map(drop))
        .setup(reset!())
        .prove(|| Ok(db.connect()), observe!())
        .unwrap();
    assert_eq!(proof.verdict(), Verdict::NoRaceToCure, "{proof}");
}

/// The server refuses the clause, so with the lock in nothing happens at all.
#[law(postgres)]
fn lock_that_always_fails_is_no_cure(db: &Db) {
    let result = Race::of("deposit", |conn: &mut Conn| {
        let one = accounts::table.filter(accounts::id.eq(1)).distinct();
        with_row_lock(conn, one, |conn, mut account: Locked<Account>| {
            account.balance += 1;
            account
                .save_changes::<Account>(conn)
                .map(drop)
                .map_err(LockError::from)
        })
    })
    .setup(reset!())
    .prove(|| Ok(db.connect()), observe!());
    assert!(
        matches!(result, Err(RaceError::NotTheSameWithoutLock { .. })),
        "{result:?}"
    );
}

macro_rules! numbered_withdrawal {
    ($conn:expr, $ids:expr) => {{
        let id = $ids.fetch_add(1, Ordering::SeqCst);
        with_row_lock(
            $conn,
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                account.balance -= 100;
                account.save_changes::<Account>(conn)?;
                Ok::<_, LockError>((id, account.balance))
            },
        )
    }};
}
use numbered_withdrawal;

/// Each returns a number, drawn before the lock, and its balance.
macro_rules! numbered_withdrawals {
    ($ids:expr) => {
        Race::of("withdrawal", |conn: &mut Conn| {
            numbered_withdrawal!(conn, $ids)
        })
    };
}
use numbered_withdrawals;

macro_rules! add_to_all {
    ($conn:expr) => {
        diesel::update(accounts::table)
            .set(accounts::balance.eq(accounts::balance + 1))
            .execute($conn)
            .map(drop)
    };
}
use add_to_all;
