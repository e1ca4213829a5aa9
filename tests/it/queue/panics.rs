//! A panic behind the end of the transaction tells no other caller a wrong end, and one before it
//! fails no other change.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use diesel::connection::{Instrumentation, InstrumentationEvent};
use diesel::prelude::*;
use diesel::r2d2::event::CheckinEvent;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, HandleEvent, Pool};
use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::{LockError, Outcome};
use law::law;

use super::{add, in_one_batch, patient, pool, Step};
use crate::support::calls::assert_error;
use crate::support::schema::Account;
use crate::support::wait_until;

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(thread::panicking(), "dropped");
    }
}

/// Captures a value that panics when it is dropped.
fn explosive() -> Step<Account> {
    let bomb = Bomb;
    Box::new(move |account| {
        let _captured = &bomb;
        account.balance += 1;
        Ok(())
    })
}

fn is_dropped(panic: &(dyn std::any::Any + Send)) -> bool {
    panic.downcast_ref() == Some(&"dropped")
}

#[law(postgres, mysql, mariadb, sqlite)]
fn captured_value_that_panics_when_dropped_panics_in_its_caller_only(db: &Db) {
    let queue = patient::<Conn, Account>(db.url());
    let answers = in_one_batch!(queue, 1, [add(1), explosive(), add(1), add(1)]);
    assert_eq!(db.balance(1), 1_004, "all are committed");
    for (number, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(answer) => assert!(number != 1 && answer.is_ok(), "{answer:?}"),
            Err(panic) => assert!(number == 1 && is_dropped(&*panic), "of {number}"),
        }
    }
    assert_eq!(queue.stats().batches, 1);
    // The leader's own.
    let panic = catch_unwind(AssertUnwindSafe(|| queue.update(1, explosive())));
    assert!(is_dropped(&*panic.unwrap_err()));
    queue.update(1, add(1)).unwrap();
    assert_eq!(db.balance(1), 1_006);
}

/// Twin: one thread that answers a caller and then drops its closure, one after the other.
#[test]
fn twin_answers_behind_a_drop_that_panics_are_lost() {
    let (tell, told) = mpsc::channel();
    let jobs = [add(1), explosive(), add(1)].map(|job| (job, tell.clone()));
    drop(tell);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        for (job, tell) in jobs {
            tell.send(()).unwrap();
            drop(job);
        }
    }));
    assert!(is_dropped(&*panic.unwrap_err()));
    assert_eq!(told.iter().count(), 2, "the third has no answer");
}

/// Panics when a connection comes back.
#[derive(Debug)]
struct Explodes;

impl HandleEvent for Explodes {
    fn handle_checkin(&self, _: CheckinEvent) {
        panic!("at the check-in");
    }
}

#[law(postgres, mysql, mariadb, sqlite)]
fn panic_at_the_check_in_leaves_every_answer_as_it_is(db: &Db) {
    let pool = Pool::builder()
        .max_size(2)
        .min_idle(Some(0))
        .event_handler(Box::new(Explodes))
        .build(ConnectionManager::<Conn>::new(db.url()))
        .unwrap();
    let queue = RowQueue::<Conn, Account>::builder()
        .longest_batch(Duration::from_secs(20))
        .build(pool.clone());
    for answer in in_one_batch!(queue, 1, [add(1), add(1)]) {
        answer.unwrap().unwrap();
    }
    assert_eq!(db.balance(1), 1_002);
    // Twin: without the queue it is the caller's panic.
    let conn = pool.get().unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| drop(conn)));
    assert!(panic.is_err());
}

/// Panics at an `UPDATE` of this value.
struct PanicsAt(&'static str);

impl Instrumentation for PanicsAt {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            let query = query.to_string();
            assert!(
                !(query.contains("UPDATE") && query.contains(self.0)),
                "at the value"
            );
        }
    }
}

#[derive(Debug)]
struct Instrumented;

impl<C: Connection> CustomizeConnection<C, diesel::r2d2::Error> for Instrumented {
    fn on_acquire(&self, conn: &mut C) -> Result<(), diesel::r2d2::Error> {
        conn.set_instrumentation(PanicsAt("777"));
        Ok(())
    }
}

/// As a value that can't be serialized, say.
#[law(postgres, mysql, mariadb, sqlite)]
fn panic_at_one_change_before_the_commit_fails_no_other_one(db: &Db) {
    let pool = Pool::builder()
        .max_size(4)
        .min_idle(Some(0))
        .connection_customizer(Box::new(Instrumented))
        .build(ConnectionManager::<Conn>::new(db.url()))
        .unwrap();
    let queue = RowQueue::<Conn, Account>::builder()
        .longest_batch(Duration::from_secs(20))
        .build(pool);
    let mark: Step<Account> = Box::new(|account| {
        account.owner.push_str("777");
        Ok(())
    });
    let answers = in_one_batch!(queue, 1, [add(1), mark, add(1), add(1)]);
    for (number, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(answer) => assert!(number != 1 && answer.is_ok(), "{number}: {answer:?}"),
            Err(panic) => {
                let is_it = panic.downcast_ref() == Some(&"at the value");
                assert!(number == 1 && is_it, "of {number}");
            }
        }
    }
    assert_eq!(db.balance(1), 1_003);
}

/// Panics behind the answer to an `UPDATE` of this value.
#[cfg(feature = "postgres")]
struct PanicsBehind(&'static str);

#[cfg(feature = "postgres")]
impl Instrumentation for PanicsBehind {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::FinishQuery { query, .. } = event {
            let query = query.to_string();
            assert!(
                !(query.contains("UPDATE") && query.contains(self.0)),
                "behind the value"
            );
        }
    }
}

/// The row is written by one statement, which is committed by then. The one caller knows by its
/// panic, and the other one by its error.
#[cfg(feature = "postgres")]
#[law(postgres)]
fn panic_behind_a_conditional_update_leaves_the_followers_in_doubt(db: &Db) {
    let pool = pool::<Conn>(db.url(), 1);
    pool.get().unwrap().set_instrumentation(PanicsBehind("777"));
    let queue = &RowQueue::<Conn, Account>::builder()
        .longest_batch(Duration::from_secs(20))
        .build(pool);
    let (runs, is_running) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let (leader, follower) = thread::scope(|scope| {
        let go_on = go_on;
        let leader = scope.spawn(move || {
            queue.update(1, move |account| {
                runs.send(()).unwrap();
                may_go_on.recv().unwrap();
                account.owner.push_str("777");
                Ok::<_, LockError>(())
            })
        });
        is_running.recv().unwrap();
        let follower = scope.spawn(move || queue.update(1, add(1)));
        let is_in = || queue.stats().waiting == 1;
        wait_until("it stands in line", Duration::from_millis(1), is_in);
        go_on.send(()).unwrap();
        (leader.join(), follower.join().unwrap())
    });
    assert_eq!(
        leader.unwrap_err().downcast_ref(),
        Some(&"behind the value")
    );
    assert_error!(follower, CommitUnknown, InDoubt, lasting, no_contention);
    assert_eq!(db.balance(1), 1_001, "it was committed");
}

/// The first of the batch panics in its closure and has its answer; the others run again, and one
/// of them waits for that.
#[law(postgres, mysql, mariadb, sqlite)]
fn leader_is_not_kept_for_the_attempts_of_the_others(db: &Db) {
    let queue = &patient::<Conn, Account>(db.url());
    let (runs, is_running) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let (return_of_leader, leader_is_back) = mpsc::channel();
    thread::scope(|scope| {
        let go_on = go_on;
        scope.spawn(move || {
            let panic = catch_unwind(AssertUnwindSafe(|| {
                queue.update(1, move |_| -> Result<(), LockError> {
                    runs.send(()).unwrap();
                    may_go_on.recv().unwrap();
                    panic!("in the closure")
                })
            }));
            return_of_leader.send(panic.is_err()).unwrap();
        });
        is_running.recv().unwrap();
        let mut run = 0;
        let bad = scope.spawn(move || {
            queue.update(1, move |account| {
                run += 1;
                if run == 2 {
                    let limit = Duration::from_secs(20);
                    assert!(leader_is_back.recv_timeout(limit).expect("it is kept"));
                }
                account.balance -= 2_000_000;
                Ok::<_, LockError>(run)
            })
        });
        let stands = |number| {
            let is_in = || queue.stats().waiting == number;
            wait_until("it stands in line", Duration::from_millis(1), is_in);
        };
        stands(1);
        let good = scope.spawn(move || queue.update(1, add(1)));
        stands(2);
        go_on.send(()).unwrap();
        let refused = bad.join().unwrap();
        assert!(
            matches!(refused, Err(LockError::Database(_))),
            "{refused:?}"
        );
        good.join().unwrap().unwrap();
    });
    assert_eq!(db.balance(1), 1_001);
}
