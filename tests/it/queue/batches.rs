//! Changes that share a transaction: each counts or fails by itself, and all end together.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::{LockError, Outcome, Retry, RowLock};
use law::law;

use super::{pool, while_first_holds, BRIEF, LOCKS};
use crate::support::calls::assert_error;
use crate::support::schema::{accounts, Account};
use crate::support::wait_until;

/// The batch is the one transaction after the one that holds the row.
#[law(postgres, mysql, mariadb, sqlite)]
fn those_who_wait_share_one_transaction(db: &Db) {
    let queue = RowQueue::<Conn, Account>::new(pool(db.url(), 4));
    let answers = while_first_holds!(db, queue, 10, |queue: &RowQueue<Conn, Account>| {
        queue.update(1, |account| {
            account.balance += 1;
            Ok::<_, LockError>(account.balance)
        })
    });
    let mut answers: Vec<i64> = answers.into_iter().map(Result::unwrap).collect();
    answers.sort_unstable();
    assert_eq!(
        answers,
        (1_001..=1_010).collect::<Vec<_>>(),
        "each saw those before it"
    );
    assert_eq!(db.balance(1), 1_010);
    let stats = queue.stats();
    assert!(stats.batches <= 2, "{stats:?}");
    assert_eq!(stats.changes, 10);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn error_takes_back_its_own_change_only(db: &Db) {
    let queue = RowQueue::<Conn, Account>::new(pool(db.url(), 4));
    let number = AtomicUsize::new(0);
    let answers = while_first_holds!(db, queue, 9, |queue: &RowQueue<Conn, Account>| {
        let refuses = number.fetch_add(1, Ordering::SeqCst) % 3 == 0;
        queue.update(1, move |account| {
            account.balance += 1;
            account.owner.push('!');
            if refuses {
                Err(LockError::NotFound { key: None })
            } else {
                Ok(())
            }
        })
    });
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 6);
    let saved: Account = accounts::table.find(1).first(&mut db.connect()).unwrap();
    assert_eq!((saved.balance, &*saved.owner), (1_006, "Ada!!!!!!"));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn panic_takes_back_its_own_change_and_goes_on_in_its_caller(db: &Db) {
    let queue = RowQueue::<Conn, Account>::new(pool(db.url(), 4));
    let number = AtomicUsize::new(0);
    let answers = while_first_holds!(db, queue, 9, |queue: &RowQueue<Conn, Account>| {
        let panics = number.fetch_add(1, Ordering::SeqCst) % 3 == 0;
        catch_unwind(AssertUnwindSafe(|| {
            queue.update(1, move |account| {
                account.balance += 1;
                assert!(!panics, "in the closure");
                Ok::<_, LockError>(())
            })
        }))
    });
    let panics: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert_eq!(panics.len(), 3);
    assert!(panics
        .iter()
        .all(|panic| panic.downcast_ref() == Some(&"in the closure")));
    assert_eq!(db.balance(1), 1_006);
}

/// Nobody's change counts, so there is nothing to write.
#[law(postgres, mysql, mariadb, sqlite)]
fn batch_without_a_change_sends_no_update(db: &Db) {
    let queue = RowQueue::<Conn, Account>::new(pool(db.url(), 1));
    db.connect()
        .batch_execute("UPDATE accounts SET balance = -5 WHERE id = 1")
        .unwrap();
    let refused = queue.update(1, |account| {
        account.balance = i64::MIN;
        Err::<(), _>(LockError::NotFound { key: None })
    });
    assert!(
        matches!(refused, Err(LockError::NotFound { .. })),
        "{refused:?}"
    );
    assert_eq!(db.balance(1), -5);
}

/// A `CHECK` of the table refuses the `UPDATE`.
#[law(postgres, mysql, mariadb, sqlite)]
fn change_that_the_database_refuses_fails_no_other_one(db: &Db) {
    let queue = RowQueue::<Conn, Account>::new(pool(db.url(), 4));
    let number = AtomicUsize::new(0);
    let answers = while_first_holds!(db, queue, 20, |queue: &RowQueue<Conn, Account>| {
        let breaks = number.fetch_add(1, Ordering::SeqCst) % 7 == 4;
        let answer = queue.update(1, move |account| {
            account.balance += if breaks { -2_000_000 } else { 1 };
            Ok::<_, LockError>(())
        });
        (breaks, answer)
    });
    for (breaks, answer) in &answers {
        if *breaks {
            assert!(matches!(answer, Err(LockError::Database(_))), "{answer:?}");
        } else {
            assert!(answer.is_ok(), "{answer:?}");
        }
    }
    assert_eq!(db.balance(1), 1_000 + 17);
    let stats = queue.stats();
    assert!(
        stats.changes > 20,
        "no change ran again, so nothing is proven: {stats:?}"
    );
    // The line is open.
    queue.update(1, |_| Ok::<_, LockError>(())).unwrap();
}

/// Twin: by hand, with one `UPDATE` for all, the others fail too.
#[law(postgres, mysql, mariadb, sqlite)]
fn twin_one_update_for_all_fails_them_all(db: &Db) {
    let conn = &mut db.connect();
    let result = conn.transaction(|conn| {
        let mut account: Account = accounts::table.find(1).first(conn)?;
        for change in [1, 1, -2_000_000, 1] {
            account.balance += change;
        }
        account.save_changes::<Account>(conn)
    });
    assert!(result.is_err(), "{result:?}");
    assert_eq!(db.balance(1), 1_000);
}

/// With closures of Diesel's error type: code that matches on the kind of the database's answer
/// works for each caller, and not only for the one whose connection has got it.
#[law(postgres, mysql, mariadb, sqlite)]
fn each_caller_to_blame_has_the_answer_of_the_database(db: &Db) {
    let queue = RowQueue::<Conn, Account>::new(pool(db.url(), 4));
    let answers = while_first_holds!(db, queue, 5, |queue: &RowQueue<Conn, Account>| {
        queue.update(1, |account| {
            account.balance -= 2_000_000;
            QueryResult::Ok(())
        })
    });
    let told = |answer: &QueryResult<()>| match answer {
        Err(diesel::result::Error::DatabaseError(kind, information)) => {
            (format!("{kind:?}"), information.message().to_owned())
        }
        other => panic!("{other:?}"),
    };
    for answer in &answers {
        // Each is refused by itself, by the same `CHECK`; PostgreSQL says no more than that.
        assert_eq!(told(answer), told(&answers[0]));
    }
    let stats = queue.stats();
    assert!(
        stats.largest_batch > 1,
        "no changes shared a transaction, so nothing is proven: {stats:?}"
    );
    assert_eq!(db.balance(1), 1_000);
}

#[law(postgres, mysql, mariadb)]
fn batch_that_holds_too_long_is_not_applied(db: &Db) {
    let queue = RowQueue::<Conn, Account>::builder()
        .lock(RowLock::for_update().hold_at_most(BRIEF))
        .build(pool(db.url(), 2));
    let result = queue.update(1, |account| {
        account.balance += 1;
        thread::sleep(BRIEF);
        Ok::<_, LockError>(())
    });
    assert_error!(result, HoldExpired, NotApplied, lasting, no_contention);
    assert_eq!(db.balance(1), 1_000);
}

/// Twin: a session that ends within the limit ends for another reason.
#[law(postgres, mysql, mariadb)]
fn batch_whose_session_ends_early_has_lost_the_connection(db: &Db) {
    let pool = pool::<Conn>(db.url(), 1);
    let session = Db::session(&mut pool.get().unwrap());
    let queue = RowQueue::<Conn, Account>::builder()
        .lock(RowLock::for_update().hold_at_most(Duration::from_secs(600)))
        .build(pool);
    let (has_row, row_is_had) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let result = thread::scope(|scope| {
        let update = scope.spawn(|| {
            queue.update(1, move |account: &mut Account| {
                account.balance += 1;
                has_row.send(()).unwrap();
                may_go_on.recv().unwrap();
                Ok::<_, LockError>(())
            })
        });
        row_is_had.recv().unwrap();
        db.kill(session);
        go_on.send(()).unwrap();
        update.join().unwrap()
    });
    assert_error!(result, ConnectionLost, NotApplied, transient, no_contention);
}

/// The batch has the row and its `UPDATE` wants the seats, while a rival has the seats and wants
/// the row.
#[law(postgres, mysql, mariadb)]
fn change_survives_a_deadlock_with_a_retry_policy(db: &Db) {
    let (answer, runs) = deadlock!(
        db,
        RowQueue::<Conn, Account>::builder()
            .lock(LOCKS)
            .retry(Retry::new())
    );
    answer.unwrap();
    assert_eq!(runs, 2);
    assert_eq!(db.balance(1), 1_001);
}

/// Twin: without one.
#[law(postgres, mysql, mariadb)]
fn twin_change_without_a_retry_policy_has_the_deadlock(db: &Db) {
    let (answer, runs) = deadlock!(db, RowQueue::<Conn, Account>::builder().lock(LOCKS));
    assert_error!(answer, Deadlock, NotApplied, transient, contention);
    assert_eq!(runs, 1);
    assert_eq!(db.balance(1), 1_000);
}

/// The server ends the session of the batch: everybody knows, and the next one goes on.
#[law(postgres, mysql, mariadb)]
fn lost_connection_is_told_to_everybody_in_the_batch(db: &Db) {
    let queue = RowQueue::<Conn, Account>::new(pool(db.url(), 4));
    let answers = while_first_holds!(db, queue, 6, |queue: &RowQueue<Conn, Account>| {
        queue.update(1, |account| { account.balance += 1; Ok::<_, LockError>(()) })
    }, meanwhile {
        db.wait_for_waiters(1);
        db.kill(db.waiting_session());
    });
    let lost = answers
        .iter()
        .filter(|answer| matches!(answer, Err(LockError::ConnectionLost { .. })))
        .count();
    assert!(lost >= 1, "{answers:?}");
    assert_eq!(db.balance(1), 1_000 + i64::try_from(6 - lost).unwrap());
}

/// Makes an update of this queue the victim of a deadlock; its answer, and how often it ran.
macro_rules! deadlock {
    ($db:ident, $builder:expr) => {{
        let conn = &mut $db.connect();
        conn.batch_execute(Db::UPDATE_OF_ACCOUNTS_TOUCHES_SEATS)
            .unwrap();
        let queue = $builder.build(pool($db.url(), 2));
        let mut rival = $db.connect();
        rival.batch_execute(Db::SURVIVE).unwrap();
        // The one that has changed more rows survives, on MariaDB.
        rival
            .batch_execute("BEGIN; UPDATE seats SET taken_by = 'rival'; UPDATE tokens SET uses = 7")
            .unwrap();
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let (has_row, row_is_had) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let answer = thread::scope(|scope| {
            let update = scope.spawn(|| {
                queue.update(1, move |account: &mut Account| {
                    account.balance += 1;
                    if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                        has_row.send(()).unwrap();
                        may_go_on.recv().unwrap();
                    }
                    Ok::<_, LockError>(())
                })
            });
            row_is_had.recv().unwrap();
            let rival = scope.spawn(move || {
                rival.batch_execute("UPDATE accounts SET owner = 'rival' WHERE id = 1; ROLLBACK")
            });
            $db.wait_for_waiters(1);
            go_on.send(()).unwrap();
            rival.join().unwrap().expect("the rival survives");
            update.join().unwrap()
        });
        (answer, runs.load(Ordering::SeqCst))
    }};
}
use deadlock;
