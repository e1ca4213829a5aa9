//! `RowQueue`: callers of one row wait in line, and the promises are those of the locked call.

mod batches;
mod bounds;
mod equals;
mod isolation;
#[cfg(feature = "postgres")]
mod kept;
mod nested;
mod panics;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool, R2D2Connection};
use diesel_row_lock::options::{ForUpdate, Timeout};
use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::{with_row_lock, LockConnection, LockError, Locked, Outcome, RowLock};
use law::{law, part};

use crate::support::calls::assert_error;
use crate::support::child::say;
use crate::support::schema::{accounts, Account, Seat};
use crate::support::wait_until;

const SHORT: Duration = Duration::from_millis(100);

/// With an option of the lock a batch is never written by a stamp: its changes run while the row is
/// locked.
const LOCKS: RowLock<ForUpdate, Timeout> = RowLock::for_update().timeout(Duration::from_secs(30));

/// Not so brief that the server ends the session between two statements on a busy machine.
const BRIEF: Duration = Duration::from_secs(2);

fn pool<C: R2D2Connection + 'static>(url: String, size: u32) -> Pool<ConnectionManager<C>> {
    Pool::builder()
        .max_size(size)
        .min_idle(Some(0))
        .connection_timeout(Duration::from_secs(20))
        .build(ConnectionManager::new(url))
        .unwrap()
}

#[law(postgres, mysql, mariadb, sqlite)]
fn all_deposits_of_a_storm_count(db: &Db) {
    let queue = RowQueue::<Conn, Account>::new(pool(db.url(), 4));
    thread::scope(|scope| {
        for thread in 0..8 {
            let queue = &queue;
            scope.spawn(move || {
                for call in 0..20 {
                    if (thread + call) % 3 == 0 {
                        queue
                            .with_row_lock(1, |conn, mut account| {
                                account.balance += 1;
                                account.save_changes::<Account>(conn)?;
                                Ok::<_, LockError>(())
                            })
                            .unwrap();
                    } else {
                        queue
                            .update(1, |account| {
                                account.balance += 1;
                                Ok::<_, LockError>(())
                            })
                            .unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(db.balance(1), 1_160);
    let stats = queue.stats();
    assert_eq!(
        (stats.served, stats.waiting, stats.turned_away),
        (160, 0, 0),
        "{stats:?}"
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn missing_row_is_not_found_by_name(db: &Db) {
    let queue = RowQueue::<Conn, Account>::new(pool(db.url(), 1));
    let missing = queue.update(77, |_| Ok::<_, LockError>(()));
    assert!(
        matches!(&missing, Err(LockError::NotFound { key: Some(key) }) if key == "77"),
        "{missing:?}"
    );
    let missing = queue.with_row_lock(77, |_, _| Ok::<_, LockError>(()));
    assert!(
        matches!(&missing, Err(LockError::NotFound { key: Some(key) }) if key == "77"),
        "{missing:?}"
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn composite_keys_have_lines_too(db: &Db) {
    let queue = RowQueue::<Conn, Seat>::new(pool(db.url(), 2));
    queue
        .update(("blue".to_owned(), 2), |seat| {
            seat.taken_by = Some("Ada".to_owned());
            Ok::<_, LockError>(())
        })
        .unwrap();
    let taken = queue.with_row_lock(("blue".to_owned(), 2), |_, seat| {
        Ok::<_, LockError>(seat.taken_by.clone())
    });
    assert_eq!(taken.unwrap().as_deref(), Some("Ada"));
    let free = queue.with_row_lock(("blue".to_owned(), 1), |_, seat| {
        Ok::<_, LockError>(seat.taken_by.clone())
    });
    assert_eq!(free.unwrap(), None);
}

/// The reason for the queue: the pool is not drained.
#[law(postgres, mysql, mariadb)]
fn callers_of_a_hot_row_take_two_connections_and_other_rows_go_on(db: &Db) {
    let queue = RowQueue::<Conn, Account>::new(pool(db.url(), 3));
    while_first_holds!(db, queue, 8, |queue: &RowQueue<Conn, Account>| {
        queue.with_row_lock(1, |_, _| Ok::<_, LockError>(()))
    }, meanwhile {
        db.wait_for_waiters(1);
        queue.with_row_lock(2, |_, _| Ok::<_, LockError>(())).unwrap();
        queue.update(3, |account| { account.balance += 1; Ok::<_, LockError>(()) }).unwrap();
    });
}

/// Twin: without the queue, everybody waits with a connection, and there is none for the others.
#[law(postgres, mysql, mariadb)]
fn twin_callers_without_a_queue_drain_the_pool(db: &Db) {
    let pool = pool::<Conn>(db.url(), 3);
    thread::scope(|scope| {
        with_row_lock(
            &mut *pool.get().unwrap(),
            accounts::table.find(1),
            |_, _: Locked<Account>| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        with_row_lock(
                            &mut *pool.get().unwrap(),
                            accounts::table.find(1),
                            |_, _: Locked<Account>| Ok::<_, LockError>(()),
                        )
                    });
                }
                db.wait_for_waiters(2);
                assert!(pool.get_timeout(SHORT).is_err(), "a connection is left");
                Ok::<_, LockError>(())
            },
        )
        .unwrap();
    });
}

#[law(postgres, mysql, mariadb, sqlite)]
fn pool_without_a_connection_is_an_error_of_the_pool(db: &Db) {
    let pool = Pool::builder()
        .max_size(1)
        .connection_timeout(SHORT)
        // Not within that time: to connect may take longer.
        .build_unchecked(ConnectionManager::<Conn>::new(db.url()));
    let queue = RowQueue::<Conn, Account>::new(pool.clone());
    let _taken = pool.get_timeout(Duration::from_secs(20)).unwrap();
    let result = queue.update(1, |_| Ok::<_, LockError>(()));
    assert_error!(result, Pool, NotApplied, transient, no_contention);
    let result = queue.with_row_lock(1, |_, _| Ok::<_, LockError>(()));
    assert_error!(result, Pool, NotApplied, transient, no_contention);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn options_of_the_lock_apply(db: &Db) {
    let queue = RowQueue::<Conn, Account>::builder()
        .lock(RowLock::for_update().timeout(SHORT))
        .build(pool(db.url(), 2));
    with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |_, _: Locked<Account>| {
            let result = queue.update(1, |_| Ok::<_, LockError>(()));
            assert_error!(result, Timeout, NotApplied, transient, contention);
            Ok::<_, LockError>(())
        },
    )
    .unwrap();
}

#[law(sqlite)]
fn stats_count_the_time_that_rows_are_held_and_callers_wait(db: &Db) {
    let queue = RowQueue::<Conn, Account>::new(pool(db.url(), 2));
    let brief = Duration::from_millis(5);
    for time in [2 * brief, brief] {
        let hold = move |_: &mut Account| {
            thread::sleep(time);
            Ok::<_, LockError>(())
        };
        queue.update(1, hold).unwrap();
    }
    let stats = queue.stats();
    assert!(stats.held >= 3 * brief, "{stats:?}");
    assert!(stats.longest_hold >= 2 * brief, "{stats:?}");
    assert!(stats.longest_hold <= stats.held - brief, "{stats:?}");
    let answers = while_first_holds!(db, queue, 2, |queue: &RowQueue<Conn, Account>| {
        queue.update(1, |_| Ok::<_, LockError>(()))
    }, meanwhile {
        thread::sleep(brief);
    });
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let stats = queue.stats();
    assert!(stats.longest_wait >= brief, "{stats:?}");
    assert!(stats.waited >= stats.longest_wait, "{stats:?}");
}

#[law(sqlite)]
fn queue_and_its_builder_can_be_shown(db: &Db) {
    let builder = RowQueue::<Conn, Account>::builder().largest_batch(77);
    let shown = format!("{builder:?}");
    assert!(shown.contains("largest_batch: 77"), "{shown}");
    let queue = builder.build(pool(db.url(), 1));
    assert!(format!("{queue:?}").starts_with("RowQueue"));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn two_queues_and_plain_calls_exclude_each_other(db: &Db) {
    // SQLite does not wait at all unless it is told to.
    let patient = RowLock::for_update().timeout(Duration::from_secs(20));
    let [one, two] = [(); 2].map(|()| {
        RowQueue::<Conn, Account>::builder()
            .lock(patient)
            .build(pool(db.url(), 2))
    });
    thread::scope(|scope| {
        for queue in [&one, &two] {
            for _ in 0..3 {
                scope.spawn(move || {
                    for _ in 0..10 {
                        queue
                            .update(1, |account| {
                                account.balance += 1;
                                Ok::<_, LockError>(())
                            })
                            .unwrap();
                    }
                });
            }
        }
        scope.spawn(|| {
            let conn = &mut db.connect();
            for _ in 0..10 {
                with_row_lock(
                    conn,
                    accounts::table.find(1),
                    |conn, mut account: Locked<Account>| {
                        account.balance += 1;
                        account.save_changes::<Account>(conn)?;
                        Ok::<_, LockError>(())
                    },
                )
                .unwrap();
            }
        });
    });
    assert_eq!(db.balance(1), 1_070);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn two_processes_lose_nothing_of_each_other(db: &Db) {
    let processes = [(); 2].map(|()| db.play("queue::depositors", &[]));
    for process in &processes {
        assert_eq!(process.hear(), "done");
    }
    assert_eq!(db.balance(1), 1_200);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn panic_of_an_own_transaction_strands_nobody(db: &Db) {
    let queue = RowQueue::<Conn, Account>::new(pool(db.url(), 2));
    for _ in 0..3 {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            queue.with_row_lock(1, |_, _| -> Result<(), LockError> {
                panic!("in the closure")
            })
        }));
        assert!(panicked.is_err());
    }
    queue
        .update(1, |account| {
            account.balance += 1;
            Ok::<_, LockError>(())
        })
        .unwrap();
    assert_eq!(db.balance(1), 1_001);
}

/// A hundred deposits, by four threads.
#[part(postgres, mysql, mariadb, sqlite)]
fn depositors(url: String) {
    let queue = RowQueue::<Conn, Account>::builder()
        .lock(RowLock::for_update().timeout(Duration::from_secs(20)))
        .build(pool(url, 4));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let deposit = |account: &mut Account| {
                        account.balance += 1;
                        Ok::<_, LockError>(())
                    };
                    queue.update(1, deposit).unwrap();
                }
            });
        }
    });
    say("done");
}

/// What `$number` callers get who come one by one while account 1 is held by another caller of the
/// queue. `meanwhile` runs before the row is free, `behind` behind that.
macro_rules! while_first_holds {
    ($db:ident, $queue:ident, $number:expr, $call:expr) => {
        while_first_holds!($db, $queue, $number, $call, meanwhile {})
    };
    ($db:ident, $queue:ident, $number:expr, $call:expr, meanwhile $meanwhile:block) => {
        while_first_holds!($db, $queue, $number, $call, meanwhile $meanwhile behind {})
    };
    ($db:ident, $queue:ident, $number:expr, $call:expr, behind $behind:block) => {
        while_first_holds!($db, $queue, $number, $call, meanwhile {} behind $behind)
    };
    (
        $db:ident, $queue:ident, $number:expr, $call:expr,
        meanwhile $meanwhile:block behind $behind:block
    ) => {{
        let call = &$call;
        let queue = &$queue;
        let (holds, held) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        thread::scope(|scope| {
            // Gone if anything here panics, so that the first one does not wait for ever.
            let go_on = go_on;
            let first = scope.spawn(move || {
                queue.with_row_lock(1, |_, _| {
                    holds.send(()).unwrap();
                    may_go_on.recv().unwrap();
                    Ok::<_, LockError>(())
                })
            });
            held.recv().unwrap();
            let callers: Vec<_> = (0..$number).map(|_| scope.spawn(move || call(queue))).collect();
            let all = || {
                let stats = queue.stats();
                stats.waiting + usize::try_from(stats.turned_away).unwrap() + 2 > $number
            };
            wait_until("all callers stand in line", Duration::from_millis(2), all);
            $meanwhile
            go_on.send(()).unwrap();
            first.join().unwrap().unwrap();
            $behind
            callers.into_iter().map(|caller| caller.join().unwrap()).collect::<Vec<_>>()
        })
    }};
}
use while_first_holds;

/// A queue whose batches end by no time.
fn patient<C, M>(url: String) -> RowQueue<C, M>
where
    C: R2D2Connection + LockConnection + 'static,
{
    RowQueue::builder()
        .longest_batch(Duration::from_secs(20))
        .build(pool(url, 4))
}

/// What the callers of these changes get, which wait in the line in this order while a first
/// change, of another caller, runs: with that one they are a batch. Each answer is that of a
/// thread. Of a [`patient`] queue. `meanwhile` runs when all of them are in the line.
macro_rules! in_one_batch {
    ($queue:ident, $key:expr, $changes:expr) => {
        in_one_batch!($queue, $key, $changes, meanwhile {})
    };
    ($queue:ident, $key:expr, $changes:expr, meanwhile $meanwhile:block) => {{
        let queue = &$queue;
        let key = &$key;
        let (runs, is_running) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        thread::scope(|scope| {
            // Gone if anything here panics, so that the first one does not wait for ever.
            let go_on = go_on;
            let first = scope.spawn(move || {
                let mut is_first_run = true;
                queue.update(key.clone(), move |_| {
                    if std::mem::take(&mut is_first_run) {
                        runs.send(()).unwrap();
                        may_go_on.recv().unwrap();
                    }
                    Ok::<_, LockError>(())
                })
            });
            is_running.recv().unwrap();
            let callers: Vec<_> = $changes
                .into_iter()
                .enumerate()
                .map(|(number, change)| {
                    let caller = scope.spawn(move || queue.update(key.clone(), change));
                    let is_in = || queue.stats().waiting == number + 1;
                    wait_until("it stands in line", Duration::from_millis(1), is_in);
                    caller
                })
                .collect();
            $meanwhile
            go_on.send(()).unwrap();
            first.join().unwrap().unwrap();
            callers.into_iter().map(|caller| caller.join()).collect::<Vec<_>>()
        })
    }};
}
use in_one_batch;

/// A change to the model `M`, for [`in_one_batch`].
type Step<M, R = ()> = Box<dyn FnMut(&mut M) -> Result<R, LockError> + Send>;

/// Adds this much to the balance.
fn add(amount: i64) -> Step<Account> {
    Box::new(move |account| {
        account.balance += amount;
        Ok(())
    })
}
