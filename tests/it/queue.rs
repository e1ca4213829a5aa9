//! `RowQueue`: callers of one row wait in line, and the promises are those of the locked call.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool, R2D2Connection};
use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::{with_row_lock, LockError, Locked, Outcome, Retry, RowLock};
use law::{law, part};

use crate::support::calls::assert_error;
use crate::support::child::say;
use crate::support::schema::{accounts, Account, Seat};
use crate::support::wait_until;

const SHORT: Duration = Duration::from_millis(100);
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
fn everybody_in_a_failed_transaction_has_the_error_and_nothing_is_applied(db: &Db) {
    let queue = RowQueue::<Conn, Account>::new(pool(db.url(), 4));
    let number = AtomicUsize::new(0);
    let answers = while_first_holds!(db, queue, 5, |queue: &RowQueue<Conn, Account>| {
        let breaks = number.fetch_add(1, Ordering::SeqCst) == 4;
        queue.update(1, move |account| {
            account.balance += if breaks { -2_000_000 } else { 1 };
            Ok::<_, LockError>(())
        })
    });
    let failed = answers
        .iter()
        .filter(|answer| matches!(answer, Err(LockError::Database(_))))
        .count();
    let applied = i64::try_from(answers.len() - failed).unwrap();
    assert!(failed > 0, "{answers:?}");
    assert_eq!(db.balance(1), 1_000 + applied);
    // The line is open.
    queue.update(1, |_| Ok::<_, LockError>(())).unwrap();
}

/// The same with closures of Diesel's error type: code that matches on the kind of the database's
/// answer works for each caller, and not only for the one whose connection has got it.
#[law(postgres, mysql, mariadb, sqlite)]
fn everybody_in_a_failed_transaction_has_the_answer_of_the_database(db: &Db) {
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
        assert_eq!(told(answer), told(&answers[0]));
    }
    let stats = queue.stats();
    assert!(
        stats.batches < 5,
        "nobody shared a transaction, so nothing is proven: {stats:?}"
    );
    assert_eq!(db.balance(1), 1_000);
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

#[law(postgres, mysql, mariadb, sqlite)]
fn pool_without_a_connection_is_an_error_of_the_pool(db: &Db) {
    let pool = Pool::builder()
        .max_size(1)
        .connection_timeout(SHORT)
        .build(ConnectionManager::<Conn>::new(db.url()))
        .unwrap();
    let queue = RowQueue::<Conn, Account>::new(pool.clone());
    let _taken = pool.get().unwrap();
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

/// The batch has the row and its `UPDATE` wants the seats, while a rival has the seats and wants
/// the row.
#[law(postgres, mysql, mariadb)]
fn changes_that_may_run_again_survive_a_deadlock(db: &Db) {
    let (answers, runs) = deadlock!(db, |queue: &RowQueue<Conn, Account>, change| queue
        .update_retrying(1, change));
    answers.unwrap();
    assert_eq!(runs, 2);
    assert_eq!(db.balance(1), 1_001);
}

#[law(postgres, mysql, mariadb)]
fn change_that_runs_once_has_the_deadlock(db: &Db) {
    let (answer, runs) = deadlock!(db, |queue: &RowQueue<Conn, Account>, change| queue
        .update(1, change));
    assert_error!(answer, Deadlock, NotApplied, transient, contention);
    assert_eq!(runs, 1);
    assert_eq!(db.balance(1), 1_000);
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

/// Makes `$update` the victim of a deadlock; its answer, and how often the change ran.
macro_rules! deadlock {
    ($db:ident, $update:expr) => {{
        let conn = &mut $db.connect();
        conn.batch_execute(Db::UPDATE_OF_ACCOUNTS_TOUCHES_SEATS)
            .unwrap();
        let queue = RowQueue::<Conn, Account>::builder()
            .retry(Retry::new())
            .build(pool($db.url(), 2));
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
                $update(&queue, move |account: &mut Account| {
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

/// What `$number` callers get who come one by one while account 1 is held by another caller of the
/// queue.
macro_rules! while_first_holds {
    ($db:ident, $queue:ident, $number:expr, $call:expr) => {
        while_first_holds!($db, $queue, $number, $call, meanwhile {})
    };
    ($db:ident, $queue:ident, $number:expr, $call:expr, meanwhile $meanwhile:block) => {{
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
            callers.into_iter().map(|caller| caller.join().unwrap()).collect::<Vec<_>>()
        })
    }};
}
use while_first_holds;
