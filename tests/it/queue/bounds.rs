//! The bounds of a queue: how long a caller waits, how many wait, how much a batch has.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::{LockError, Outcome};
use law::law;

use super::{pool, while_first_holds, SHORT};
use crate::support::calls::assert_error;
use crate::support::schema::Account;
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
