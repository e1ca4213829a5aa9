//! The bounds of a queue: how long a caller waits, how many wait, how much a batch has.

use std::sync::{mpsc, Arc, Mutex};
use std::thread;
use std::time::Duration;

use diesel::prelude::*;
use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::{LockError, Locked, Outcome, Retry, RowLock};
use law::law;

use super::{add, in_one_batch, pool, while_first_holds, Step, SHORT};
use crate::support::calls::{assert_error, while_held};
use crate::support::schema::{accounts, Account};
use crate::support::wait_until;

#[law(postgres, mysql, mariadb, sqlite)]
fn caller_whose_turn_does_not_come_gives_up_and_leaves_no_trace(db: &Db) {
    let patient = RowQueue::<Conn, Account>::builder()
        .longest_wait(SHORT)
        .build(pool(db.url(), 4));
    let answers = while_first_holds!(db, patient, 4, |queue: &RowQueue<Conn, Account>| {
        queue.update(1, |account| { account.balance += 1; Ok::<_, LockError>(()) })
    }, meanwhile {
        wait_until("all but the one at the server gave up", Duration::from_millis(5), || {
            patient.stats().turned_away >= 3
        });
    });
    let gave_up = answers
        .iter()
        .filter(|answer| matches!(answer, Err(LockError::QueueTimeout { .. })))
        .count();
    assert!(gave_up >= 3, "{answers:?}");
    assert_eq!(db.balance(1), 1_000 + i64::try_from(4 - gave_up).unwrap());
    for answer in answers.into_iter().filter(Result::is_err) {
        assert_error!(answer, QueueTimeout, NotApplied, transient, contention);
    }
}

#[law(postgres, mysql, mariadb, sqlite)]
fn line_that_is_full_turns_away_at_once(db: &Db) {
    let queue = RowQueue::<Conn, Account>::builder()
        .longest_line(1)
        .build(pool(db.url(), 4));
    let answers = while_first_holds!(db, queue, 6, |queue: &RowQueue<Conn, Account>| {
        queue.with_row_lock(1, |_, _| Ok::<_, LockError>(()))
    }, meanwhile {
        wait_until("all others were turned away", Duration::from_millis(5), || {
            queue.stats().turned_away >= 4
        });
    });
    for answer in answers.into_iter().filter(Result::is_err) {
        assert_error!(answer, QueueFull, NotApplied, transient, contention);
    }
}

#[law(postgres, mysql, mariadb, sqlite)]
fn batch_is_no_larger_than_it_may_be(db: &Db) {
    let queue = RowQueue::<Conn, Account>::builder()
        .largest_batch(3)
        .build(pool(db.url(), 4));
    while_first_holds!(db, queue, 10, |queue: &RowQueue<Conn, Account>| {
        queue
            .update(1, |account| {
                account.balance += 1;
                Ok::<_, LockError>(())
            })
            .unwrap();
    });
    let stats = queue.stats();
    assert_eq!(
        (stats.changes, stats.largest_batch, db.balance(1)),
        (10, 3, 1_010),
        "{stats:?}"
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn batch_begins_no_change_after_its_time(db: &Db) {
    let queue = RowQueue::<Conn, Account>::builder()
        .longest_batch(Duration::ZERO)
        .build(pool(db.url(), 4));
    while_first_holds!(db, queue, 6, |queue: &RowQueue<Conn, Account>| {
        queue
            .update(1, |account| {
                account.balance += 1;
                Ok::<_, LockError>(())
            })
            .unwrap();
    });
    let stats = queue.stats();
    assert_eq!(
        (stats.changes, stats.largest_batch, db.balance(1)),
        (6, 1, 1_006),
        "{stats:?}"
    );
}

/// Three changes stand in line when the first one of the batch begins, and takes its time.
#[law(postgres, mysql, mariadb, sqlite)]
fn change_that_was_not_begun_gives_up_in_time(db: &Db) {
    let queue = RowQueue::<Conn, Account>::builder()
        .longest_wait(Duration::from_secs(2))
        .build(pool(db.url(), 4));
    let (begins, has_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let first = Arc::new(Mutex::new(Some((begins, may_go_on))));
    let answers = while_first_holds!(db, queue, 4, |queue: &RowQueue<Conn, Account>| {
        let first = Arc::clone(&first);
        queue.update(1, move |account| {
            account.balance += 1;
            if let Some((begins, may_go_on)) = first.lock().unwrap().take() {
                begins.send(()).unwrap();
                may_go_on.recv().unwrap();
            }
            Ok::<_, LockError>(())
        })
    }, behind {
        has_begun.recv().unwrap();
        wait_until("the others gave up", Duration::from_millis(5), || {
            queue.stats().turned_away == 3
        });
        go_on.send(()).unwrap();
    });
    let gave_up = answers.into_iter().filter(Result::is_err);
    for answer in gave_up {
        assert_error!(answer, QueueTimeout, NotApplied, transient, contention);
    }
    assert_eq!(db.balance(1), 1_001);
}

/// The second change of the batch is late when the database refuses the batch. It does not run
/// again, though the first one does, which waits for that.
#[law(postgres, mysql, mariadb, sqlite)]
fn change_that_comes_back_gives_up_in_time(db: &Db) {
    let queue = RowQueue::<Conn, Account>::builder()
        .longest_wait(Duration::from_secs(1))
        .build(pool(db.url(), 4));
    let (stands, is_in) = mpsc::channel::<()>();
    let mut runs = 0;
    let same = queue.clone();
    let result = thread::scope(|scope| {
        let queue = &queue;
        let first = scope.spawn(move || {
            queue.update(1, move |account| {
                account.balance += 1;
                runs += 1;
                if runs == 1 {
                    is_in.recv().unwrap();
                } else {
                    let gave_up = || same.stats().turned_away == 1;
                    wait_until("the other one gave up", Duration::from_millis(5), gave_up);
                }
                Ok::<_, LockError>(runs)
            })
        });
        wait_until("it holds", Duration::from_millis(1), || {
            queue.stats().served == 1
        });
        let second = scope.spawn(move || {
            queue.update(1, move |account| {
                account.balance -= 2_000_000;
                thread::sleep(Duration::from_millis(1_100));
                Ok::<_, LockError>(())
            })
        });
        wait_until("it stands in line", Duration::from_millis(1), || {
            queue.stats().waiting == 1
        });
        stands.send(()).unwrap();
        assert_eq!(first.join().unwrap().unwrap(), 2);
        second.join().unwrap()
    });
    assert_error!(result, QueueTimeout, NotApplied, transient, contention);
    assert_eq!(db.balance(1), 1_001);
}

/// The lock itself has no timeout.
#[law(postgres, mysql, mariadb, sqlite)]
fn deadline_of_the_policy_bounds_the_wait_for_the_lock(db: &Db) {
    let queue = RowQueue::<Conn, Account>::builder()
        .retry(Retry::new().deadline(SHORT))
        .build(pool(db.url(), 2));
    let result = while_held!(db, 1, RowLock::for_update(), { queue.update(1, add(1)) });
    assert_error!(result, Timeout, NotApplied, transient, contention);
    assert_eq!(db.balance(1), 1_000);
}

/// Twin: without a deadline it waits as long as the row is held. (SQLite waits only if it is told
/// to.)
#[law(postgres, mysql, mariadb)]
fn twin_without_a_deadline_the_lock_is_waited_for(db: &Db) {
    let queue = RowQueue::<Conn, Account>::builder()
        .retry(Retry::new())
        .build(pool(db.url(), 2));
    thread::scope(|scope| {
        let update = while_held!(db, 1, RowLock::for_update(), {
            let update = scope.spawn(|| queue.update(1, add(1)));
            db.wait_for_waiters(1);
            thread::sleep(2 * SHORT);
            assert!(!update.is_finished());
            update
        });
        update.join().unwrap().unwrap();
    });
}

/// A bound on the line, not on what a batch may take: all of them are one.
#[law(postgres, mysql, mariadb, sqlite)]
fn batch_takes_all_that_come_while_it_runs(db: &Db) {
    let queue = RowQueue::<Conn, Account>::builder()
        .longest_batch(Duration::from_secs(20))
        .build(pool(db.url(), 4));
    let changes: Vec<Step<Account>> = (0..20).map(|_| add(1)).collect();
    for answer in in_one_batch!(queue, 1, changes) {
        answer.unwrap().unwrap();
    }
    let stats = queue.stats();
    assert_eq!((stats.batches, stats.largest_batch), (1, 21), "{stats:?}");
}
