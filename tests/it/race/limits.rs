//! The prover comes to an end, whatever the operations do.

use std::time::Duration;

use diesel::prelude::*;
use diesel_row_lock::race::{Race, RaceError, Schedule, Steps};
use diesel_row_lock::{with_row_lock, LockError, Locked};
use law::law;

use super::operations::{deposit, observe, reset};
use crate::support::schema::{accounts, Account};

/// It waits for a change by the rival, which does not move meanwhile.
#[law(postgres, mysql, mariadb, sqlite)]
fn operation_that_polls_is_an_error_that_names_it(db: &Db) {
    let result = Race::of("poll", |conn| poll!(conn, 1))
        .against("deposit", |conn| deposit!(conn, 1, 1))
        .setup(reset!())
        .prove(|| Ok(db.connect()), observe!());
    let Err(error @ RaceError::StatementLimit { .. }) = result else {
        panic!("{result:?}")
    };
    let text = error.to_string();
    assert!(
        text.starts_with("poll sent more than 1000 statements in one run"),
        "{text}"
    );
    assert!(text.lines().count() < 150, "{text}");
    assert_eq!(db.free("accounts"), [1, 2, 3, 4]);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn rival_that_polls_is_an_error_that_names_it(db: &Db) {
    let result = Race::of("deposit", |conn| deposit!(conn, 1, 1))
        .against("poll", |conn| poll!(conn, 1))
        .setup(reset!())
        .statement_limit(30)
        .prove(|| Ok(db.connect()), observe!());
    let Err(RaceError::StatementLimit { player, limit, .. }) = result else {
        panic!("{result:?}")
    };
    assert_eq!((&*player, limit), ("poll", 30));
    assert_eq!(db.free("accounts"), [1, 2, 3, 4]);
}

/// It holds a lock, and its own session is ended under it.
#[law(postgres, mysql, mariadb, sqlite)]
fn operation_that_polls_under_a_lock_and_ignores_errors_is_ended(db: &Db) {
    for limits in [(30, Duration::MAX), (usize::MAX, Duration::from_secs(3))] {
        let result = Race::of("poll", |conn: &mut Conn| {
            with_row_lock(conn, accounts::table.find(2), |conn, _: Locked<Account>| {
                while poll!(conn, 1).is_err() {}
                Ok::<_, LockError>(())
            })
        })
        .against("deposit", |conn| deposit!(conn, 2, 1))
        .setup(reset!())
        .statement_limit(limits.0)
        .time_limit(limits.1)
        .prove(|| Ok(db.connect()), observe!());
        let error = result.unwrap_err();
        assert!(error.to_string().contains("poll"), "{error}");
        with_row_lock(
            &mut db.connect(),
            accounts::table.find(2),
            |_, _: Locked<Account>| Ok::<_, LockError>(()),
        )
        .expect("the row is free");
    }
}

#[law(postgres, mysql, mariadb, sqlite)]
fn twin_poll_that_gives_up_is_proven(db: &Db) {
    let proof = Race::of("poll", |conn| {
        for _ in 0..3 {
            let account: Account = accounts::table.find(1).first(conn)?;
            if account.balance != 1_000 {
                return Ok::<_, LockError>(true);
            }
        }
        Ok(false)
    })
    .against("deposit", |conn| deposit!(conn, 1, 1))
    .setup(reset!())
    .prove(|| Ok(db.connect()), observe!())
    .unwrap();
    assert_eq!(proof.races(true).count(), 0, "{proof}");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn time_limit_is_an_error_that_names_the_operation(db: &Db) {
    let limit = Duration::from_secs(3);
    for poll_first in [true, false] {
        let poll = |conn: &mut Conn| poll!(conn, 1);
        let deposit = |conn: &mut Conn| deposit!(conn, 1, 1);
        let race = if poll_first {
            Race::of("poll", poll).against("deposit", deposit)
        } else {
            Race::of("deposit", deposit).against("poll", poll)
        };
        let result = race
            .setup(reset!())
            .statement_limit(usize::MAX)
            .time_limit(limit)
            .prove(|| Ok(db.connect()), observe!());
        let Err(RaceError::TimeLimit { after, script, .. }) = &result else {
            panic!("{result:?}")
        };
        assert_eq!(*after, limit);
        assert!(script.to_string().contains("poll"), "{script}");
        assert_eq!(db.free("accounts"), [1, 2, 3, 4]);
    }
}

/// A sum of two durations may not overflow.
#[law(postgres, mysql, mariadb, sqlite)]
fn no_limit_is_too_large(db: &Db) {
    let proof = Race::of("deposit", |conn| deposit!(conn, 1, 1))
        .setup(reset!())
        .deadline(Duration::MAX)
        .time_limit(Duration::MAX)
        .statement_limit(usize::MAX)
        .prove(|| Ok(db.connect()), observe!())
        .unwrap();
    proof.assert_cured();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn no_time_at_all_is_an_error_before_anything_is_run(db: &Db) {
    let result = Race::of("deposit", |conn: &mut Conn| deposit!(conn, 1, 1))
        .time_limit(Duration::ZERO)
        .prove(|| Ok(db.connect()), observe!());
    assert!(
        matches!(result, Err(RaceError::TimeLimit { .. })),
        "{result:?}"
    );
    assert_eq!(db.balance(1), 1_000);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn session_of_a_schedule_that_polls_is_an_error_that_names_it(db: &Db) {
    let schedule = || {
        Schedule::new()
            .setup(reset!())
            .session("ada", |conn: &mut Conn, steps: &Steps| {
                steps.next("lock");
                with_row_lock(conn, accounts::table.find(2), |conn, _: Locked<Account>| {
                    steps.next("poll");
                    while poll!(conn, 1).is_err() {}
                    Ok::<_, LockError>(())
                })
            })
            .session("grace", |conn: &mut Conn, steps: &Steps| {
                steps.next("deposit");
                deposit!(conn, 1, 1)
            })
    };
    let order = ["ada lock", "ada poll", "grace deposit"];
    let counted = schedule()
        .statement_limit(30)
        .play(|| Ok(db.connect()), &order);
    let Err(RaceError::StatementLimit {
        player, limit: 30, ..
    }) = counted
    else {
        panic!("{counted:?}")
    };
    assert_eq!(player, "ada");
    let timed = schedule()
        .statement_limit(usize::MAX)
        .time_limit(Duration::from_secs(3))
        .play(|| Ok(db.connect()), &order);
    let Err(RaceError::TimeLimit { player, .. }) = timed else {
        panic!("{timed:?}")
    };
    assert_eq!(player, "ada");
    with_row_lock(
        &mut db.connect(),
        accounts::table.find(2),
        |_, _: Locked<Account>| Ok::<_, LockError>(()),
    )
    .expect("the row is free");
    let order = ["grace deposit", "ada lock", "ada poll"];
    schedule()
        .play(|| Ok(db.connect()), &order)
        .expect("the poll ends at once");
}

/// Reads until the balance is another one than at the beginning.
macro_rules! poll {
    ($conn:expr, $id:expr) => {
        loop {
            match accounts::table.find($id).first::<Account>($conn) {
                Ok(account) if account.balance == 1_000 => {}
                Ok(_) => break Ok::<_, LockError>(()),
                Err(error) => break Err(error.into()),
            }
        }
    };
}
use poll;
