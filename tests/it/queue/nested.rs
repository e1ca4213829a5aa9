//! A call inside the closure of another one, on the same thread, for the row that this one has.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::{LockError, Outcome, RowLock};
use law::law;

use super::{add, in_one_batch, patient, pool, Step, SHORT};
use crate::support::calls::assert_error;
use crate::support::schema::Account;
use crate::support::wait_until;

/// The outer call, and the inner one of the same queue or of a clone of it, each of both kinds.
#[law(postgres, mysql, mariadb, sqlite)]
fn nested_call_for_the_same_row_is_refused_at_once(db: &Db) {
    let queue = patient::<Conn, Account>(db.url());
    let same = queue.clone();
    let update = move || same.update(1, |_| Ok::<_, LockError>(()));
    let same = queue.clone();
    let with_row_lock = move || same.with_row_lock(1, |_, _| Ok::<_, LockError>(()));
    let inner: [Box<dyn Fn() -> Result<(), LockError> + Send>; 2] =
        [Box::new(update), Box::new(with_row_lock)];
    for inner in inner {
        queue
            .with_row_lock(1, |_, _| {
                assert_error!(
                    inner(),
                    AlreadyInTransaction,
                    NotApplied,
                    lasting,
                    no_contention
                );
                Ok::<_, LockError>(())
            })
            .unwrap();
        queue
            .update(1, move |account| {
                account.balance += 1;
                assert_error!(
                    inner(),
                    AlreadyInTransaction,
                    NotApplied,
                    lasting,
                    no_contention
                );
                Ok::<_, LockError>(())
            })
            .unwrap();
    }
    assert_eq!(db.balance(1), 1_002);
    // When the calls are over, the row is free for this thread.
    queue.update(1, |_| Ok::<_, LockError>(())).unwrap();
}

/// The closure runs on the thread of the caller that runs the batch.
#[law(postgres, mysql, mariadb, sqlite)]
fn nested_call_of_a_follower_is_refused_too(db: &Db) {
    let queue = patient::<Conn, Account>(db.url());
    let same = queue.clone();
    let nested: Step<Account> = Box::new(move |account| {
        account.balance += 1;
        let inner = same.update(1, |_| Ok::<_, LockError>(()));
        assert_error!(
            inner,
            AlreadyInTransaction,
            NotApplied,
            lasting,
            no_contention
        );
        Ok(())
    });
    let answers = in_one_batch!(queue, 1, [nested, add(1)]);
    for answer in answers {
        answer.unwrap().unwrap();
    }
    assert_eq!(db.balance(1), 1_002);
    assert_eq!(queue.stats().batches, 1);
}

/// On SQLite the lock is that of the whole database.
#[law(postgres, mysql, mariadb)]
fn nested_call_for_another_row_goes_on(db: &Db) {
    let queue = patient::<Conn, Account>(db.url());
    let same = queue.clone();
    let inner = queue.update(1, move |account| {
        account.balance -= 1;
        same.update(2, |account| {
            account.balance += 1;
            Ok::<_, LockError>(())
        })
    });
    inner.unwrap();
    assert_eq!((db.balance(1), db.balance(2)), (999, 1_001));
}

/// Twin: another queue may stand before another database, so a call of it is not refused. Before
/// this one it waits until its timeout ends it.
#[law(postgres, mysql, mariadb, sqlite)]
fn twin_nested_call_of_another_queue_waits_until_its_timeout(db: &Db) {
    let queue = patient::<Conn, Account>(db.url());
    let other = RowQueue::<Conn, Account>::builder()
        .lock(RowLock::for_update().timeout(SHORT))
        .build(pool(db.url(), 4));
    let result = queue.update(1, move |_| other.update(1, |_| Ok::<_, LockError>(())));
    assert_error!(result, Timeout, NotApplied, transient, contention);
}
