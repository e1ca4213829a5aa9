//! Promise 9: retry by cause, the whole closure again, with no lock held in between.

mod causes;

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{with_row_lock, LockError, Locked, Retry, RetryCause, Retryable, RowLock};
use law::law;

use crate::support::calls::{cross, nothing};
use crate::support::schema::{accounts, Account};

/// An error of the user's: three lines make it retryable, and three more keep the last one.
#[derive(Debug)]
enum BankError {
    Lock(LockError),
    Database(diesel::result::Error),
}

impl From<LockError> for BankError {
    fn from(error: LockError) -> Self {
        BankError::Lock(error)
    }
}

impl From<diesel::result::Error> for BankError {
    fn from(error: diesel::result::Error) -> Self {
        BankError::Database(error)
    }
}

impl Retryable for BankError {
    fn retry_cause(&self) -> Option<RetryCause> {
        match self {
            BankError::Lock(error) => error.retry_cause(),
            BankError::Database(error) => error.retry_cause(),
        }
    }

    fn into_lock_error(self) -> Option<LockError> {
        match self {
            BankError::Lock(error) => Some(error),
            BankError::Database(error) => Some(error.into()),
        }
    }
}

#[law(postgres, mysql, mariadb)]
fn victim_of_a_deadlock_in_the_closure_tries_again(db: &Db) {
    let retried = Arc::new(AtomicU32::new(0));
    let heard = Arc::clone(&retried);
    let lock = &RowLock::for_update().retry(Retry::new().on_retry(move |failed| {
        assert_eq!(failed.cause, RetryCause::Deadlock);
        heard.fetch_add(1, Ordering::SeqCst);
    }));
    let results = cross!(db, LockError, |conn, own, f| lock.with(
        conn,
        accounts::table.find(own),
        f
    ));
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!((db.balance(1), db.balance(2)), (1_001, 1_001));
    assert_eq!(retried.load(Ordering::SeqCst), 1);
}

/// Twin: without a policy it is an error.
#[law(postgres, mysql, mariadb)]
fn twin_without_retry_the_victim_fails(db: &Db) {
    let results = cross!(db, LockError, |conn, own, f| with_row_lock(
        conn,
        accounts::table.find(own),
        f
    ));
    let deadlocks = results
        .iter()
        .filter(|result| matches!(result, Err(LockError::Deadlock { .. })));
    assert_eq!(deadlocks.count(), 1, "{results:?}");
}

/// What one caller gets that was a deadlock's victim and may not try again.
macro_rules! given_up {
    ($db:ident, $error:ty) => {{
        let lock = &RowLock::for_update().retry(Retry::new().attempts(1));
        let results = cross!($db, $error, |conn, own, f| {
            lock.with(conn, accounts::table.find(own), f)
        });
        let mut errors = results.into_iter().filter_map(Result::err);
        let error = errors.next().expect("a victim");
        assert!(errors.next().is_none(), "one victim");
        error
    }};
}

/// The message says how the first and the last attempt failed, and the sources say all of the last
/// one: the deadlock, and the server's answer.
fn assert_last_is_a_deadlock(error: &LockError) {
    assert_eq!(
        error.to_string(),
        "gave up after 1 attempt (first: deadlock, last: deadlock)"
    );
    let last = error.source().and_then(<dyn Error>::downcast_ref);
    let Some(last @ LockError::Deadlock { .. }) = last else {
        panic!("{error:?}")
    };
    let answer = last.source().and_then(<dyn Error>::downcast_ref);
    let Some(diesel::result::Error::DatabaseError(_, answer)) = answer else {
        panic!("{error:?}")
    };
    assert!(
        answer.message().to_lowercase().contains("deadlock"),
        "{answer:?}"
    );
}

#[law(postgres, mysql, mariadb)]
fn who_gives_up_has_the_error_of_the_last_attempt(db: &Db) {
    assert_last_is_a_deadlock(&given_up!(db, LockError));
    let through_diesel = given_up!(db, diesel::result::Error);
    assert_last_is_a_deadlock(&LockError::from(through_diesel));
    let BankError::Lock(error) = given_up!(db, BankError) else {
        panic!("a `LockError`")
    };
    assert_last_is_a_deadlock(&error);
}

/// Twin: of an error that does not say whether it holds a `LockError`, only the cause is known.
#[law(postgres, mysql, mariadb)]
fn twin_error_of_others_leaves_its_cause_alone(db: &Db) {
    let results = cross!(db, anyhow::Error, |conn, own, f| {
        RowLock::for_update()
            .retry(Retry::new().attempts(1))
            .when(|error: &anyhow::Error| RetryCause::of(error.as_ref()))
            .with(conn, accounts::table.find(own), f)
    });
    let error = results.into_iter().find_map(Result::err).expect("a victim");
    let lock_error: &LockError = error.downcast_ref().expect("the LockError is in it");
    assert!(
        matches!(
            lock_error,
            LockError::RetriesExhausted {
                attempts: 1,
                first: RetryCause::Deadlock,
                last: RetryCause::Deadlock,
                source: None,
                ..
            }
        ),
        "{lock_error:?}"
    );
    assert!(lock_error.source().is_none());
}

#[law(postgres, mysql, mariadb)]
fn calls_of_many_rows_are_retried(db: &Db) {
    let lock = &RowLock::for_update().retry(Retry::new());
    let meet = &Barrier::new(2);
    thread::scope(|scope| {
        for (own, other) in [(1, 2), (2, 1)] {
            scope.spawn(move || {
                let mut first = true;
                let add = |conn: &mut Conn, rows: Vec<Locked<'_, Account>>| {
                    assert_eq!(rows.len(), 1);
                    if std::mem::take(&mut first) {
                        meet.wait();
                    }
                    diesel::update(accounts::table.find(other))
                        .set(accounts::balance.eq(accounts::balance + 1))
                        .execute(conn)
                        .map_err(LockError::from)
                };
                lock.with_many(&mut db.connect(), [own], add).unwrap();
            });
        }
    });
    assert_eq!((db.balance(1), db.balance(2)), (1_001, 1_001));
}

/// Every attempt reads anew, and between two of them nobody is kept out.
#[law(postgres, mysql, mariadb, sqlite)]
fn each_attempt_reads_anew_and_no_lock_is_held_in_between(db: &Db) {
    let url = db.url();
    let policy = Retry::new().sleeper(move |_| {
        let other = &mut Conn::establish(&url).unwrap();
        RowLock::for_update()
            .no_wait()
            .with(
                other,
                accounts::table.find(1),
                |conn, mut account: Locked<Account>| {
                    account.balance += 10;
                    account.save_changes::<Account>(conn)
                },
            )
            .expect("the row is free during the pause");
    });
    let mut seen = Vec::new();
    let result = RowLock::for_update().retry(policy).with(
        &mut db.connect(),
        accounts::table.find(1),
        |_, account: Locked<Account>| {
            seen.push(account.balance);
            if seen.len() < 3 {
                Err(a_deadlock())
            } else {
                Ok(())
            }
        },
    );
    result.unwrap();
    assert_eq!(seen, [1_000, 1_010, 1_020]);
}

/// The deadline bounds the wait for the lock, which by itself would be long.
#[law(postgres, mysql, mariadb, sqlite)]
fn no_lock_is_waited_for_beyond_the_deadline(db: &Db) {
    with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |_, _: Locked<Account>| {
            let began = Instant::now();
            let policy = Retry::new().deadline(Duration::from_millis(300));
            let waited = RowLock::for_update().retry(policy).with(
                &mut db.connect(),
                accounts::table.find(1),
                nothing,
            );
            assert!(
                matches!(waited, Err(LockError::Timeout { .. })),
                "{waited:?}"
            );
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "the session's own timeout is longer"
            );
            Ok::<_, LockError>(())
        },
    )
    .unwrap();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn retry_is_refused_inside_an_open_transaction(db: &Db) {
    let inside = with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, _: Locked<Account>| {
            RowLock::for_update()
                .retry(Retry::new())
                .with(conn, accounts::table.find(2), nothing)
        },
    );
    assert!(
        matches!(inside, Err(LockError::AlreadyInTransaction { .. })),
        "{inside:?}"
    );
}

/// 8 threads that lock pairs one after the other in random order, which deadlocks, all end well.
#[law(postgres, mysql, mariadb)]
fn storm_of_deadlocks_ends_well_with_retry(db: &Db) {
    let retried = Arc::new(AtomicU32::new(0));
    thread::scope(|scope| {
        for seed in 0..8 {
            let heard = Arc::clone(&retried);
            scope.spawn(move || {
                let conn = &mut db.connect();
                // PostgreSQL looks for deadlocks after 1 s only.
                let _ = conn.batch_execute("SET deadlock_timeout = '20ms'");
                let policy = Retry::new().attempts(200).on_retry(move |_| {
                    heard.fetch_add(1, Ordering::SeqCst);
                });
                let lock = RowLock::for_update().retry(policy);
                for round in 0..20 {
                    let from = 1 + (seed + round) % 4;
                    let to = 1 + (from + seed % 3) % 4;
                    lock.with(
                        conn,
                        accounts::table.find(from),
                        |conn, mut from: Locked<Account>| {
                            from.balance -= 1;
                            from.save_changes::<Account>(conn)?;
                            with_row_lock(
                                conn,
                                accounts::table.find(to),
                                |conn, mut to: Locked<Account>| {
                                    to.balance += 1;
                                    to.save_changes::<Account>(conn)
                                        .map(|_| ())
                                        .map_err(LockError::from)
                                },
                            )
                        },
                    )
                    .unwrap();
                }
            });
        }
    });
    let total: i64 = (1..=4).map(|id| db.balance(id)).sum();
    assert_eq!(total, 4_000);
    assert!(
        retried.load(Ordering::SeqCst) > 0,
        "nothing deadlocked, so nothing is proven"
    );
}

fn a_deadlock() -> LockError {
    LockError::Deadlock {
        source: diesel::result::Error::RollbackTransaction.into(),
    }
}
