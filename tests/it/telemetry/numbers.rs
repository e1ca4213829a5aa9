//! Counters and histograms that agree with what happened.

use std::sync::{mpsc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::telemetry::describe;
use diesel_row_lock::{with_row_lock, LockError, Locked, Retry, RowLock};
use law::law;
use metrics::Unit;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use super::system;
use crate::support::calls::{ask, cross, nothing, while_held};
use crate::support::schema::{accounts, Account};
use crate::support::wait_until;

/// One counter or histogram.
#[derive(Debug)]
struct Number {
    name: String,
    /// `system table strength`, and the outcome where there is one.
    labels: String,
    unit: Option<Unit>,
    value: DebugValue,
}

impl Number {
    fn values(&self) -> Vec<f64> {
        match &self.value {
            DebugValue::Histogram(values) => {
                values.iter().map(|value| value.into_inner()).collect()
            }
            other => panic!("{other:?} is no histogram"),
        }
    }
}

/// What `act` has counted on this thread.
fn numbers_of<R>(act: impl FnOnce() -> R) -> (R, Vec<Number>) {
    let recorder = DebuggingRecorder::new();
    let numbers = recorder.snapshotter();
    let result = metrics::with_local_recorder(&recorder, act);
    let numbers = numbers.snapshot().into_vec().into_iter();
    let numbers = numbers.map(|(key, unit, _, value)| {
        let labels: Vec<_> = key.key().labels().map(|label| label.value()).collect();
        Number {
            name: key.key().name().to_owned(),
            labels: labels.join(" "),
            unit,
            value,
        }
    });
    (result, numbers.collect())
}

/// The counters, as `name labels value`, in alphabetical order.
fn counters(numbers: &[Number]) -> Vec<String> {
    let mut counters: Vec<_> = numbers
        .iter()
        .filter_map(|number| match number.value {
            DebugValue::Counter(value) => {
                Some(format!("{} {} {value}", number.name, number.labels))
            }
            _ => None,
        })
        .collect();
    counters.sort();
    counters
}

fn histogram(numbers: &[Number], name: &str) -> Vec<f64> {
    let of_name = numbers.iter().find(|number| number.name == name);
    of_name.map_or_else(Vec::new, Number::values)
}

#[law(postgres, mysql, mariadb, sqlite)]
fn calls_are_counted_by_outcome_and_timed(db: &Db) {
    let begun = Instant::now();
    let ((), numbers) = while_held!(db, 2, RowLock::for_update(), {
        // On SQLite the lock is the database's.
        numbers_of(|| ask!(db, 2, RowLock::for_update()).map_or((), |()| panic!("it is held")))
    });
    assert_eq!(
        counters(&numbers),
        [format!(
            "row_lock_calls_total {} accounts for_update not_applied 1",
            system(Db::STAMP)
        )]
    );
    assert_eq!(histogram(&numbers, "row_lock_wait_seconds").len(), 1);
    assert_eq!(
        histogram(&numbers, "row_lock_hold_seconds").len(),
        0,
        "it never had the lock"
    );

    let conn = &mut db.connect();
    let ((), numbers) = numbers_of(|| {
        for _ in 0..3 {
            with_row_lock(conn, accounts::table.find(1), nothing).unwrap();
        }
        let refused = with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
            QueryResult::<()>::Err(diesel::result::Error::RollbackTransaction)
        });
        refused.unwrap_err();
    });
    assert_eq!(
        counters(&numbers),
        ["committed 3", "not_applied 1"].map(|outcome| {
            format!(
                "row_lock_calls_total {} accounts for_update {outcome}",
                system(Db::STAMP)
            )
        })
    );
    let times: Vec<_> = ["row_lock_wait_seconds", "row_lock_hold_seconds"]
        .map(|name| histogram(&numbers, name))
        .concat();
    assert_eq!(times.len(), 8);
    let (sum, all) = (times.iter().sum::<f64>(), begun.elapsed().as_secs_f64());
    assert!(sum > 0.0 && sum < all, "{sum} s of {all} s");
}

#[law(postgres, mysql, mariadb)]
fn deadlock_that_is_retried_is_counted_and_timed_for_each_attempt(db: &Db) {
    let lock = &RowLock::for_update().retry(Retry::new());
    let numbers = cross!(db, LockError, |conn, own, f| {
        numbers_of(|| lock.with(conn, accounts::table.find(own), f).unwrap()).1
    });
    let labels = format!("{} accounts for_update", system(Db::STAMP));
    let once = format!("row_lock_calls_total {labels} committed 1");
    let victim = [
        once.clone(),
        format!("row_lock_deadlocks_total {labels} 1"),
        format!("row_lock_retries_total {labels} 1"),
    ];
    let mut all: Vec<_> = numbers
        .iter()
        .map(|numbers| {
            (
                histogram(numbers, "row_lock_hold_seconds").len(),
                counters(numbers),
            )
        })
        .collect();
    all.sort();
    assert_eq!(all, [(1, vec![once]), (2, victim.to_vec())]);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn timeout_is_counted(db: &Db) {
    let ((), numbers) = while_held!(db, 1, RowLock::for_update(), {
        let lock = RowLock::for_update().timeout(Duration::from_millis(20));
        numbers_of(|| {
            let result = lock.with(&mut db.connect(), accounts::table.find(1), nothing);
            assert!(
                matches!(result, Err(LockError::Timeout { .. })),
                "{result:?}"
            );
        })
    });
    let labels = format!("{} accounts for_update", system(Db::STAMP));
    assert_eq!(
        counters(&numbers),
        [
            format!("row_lock_calls_total {labels} not_applied 1"),
            format!("row_lock_timeouts_total {labels} 1"),
        ]
    );
    let waited = histogram(&numbers, "row_lock_wait_seconds");
    assert!(waited[0] >= 0.02, "{waited:?} s");
}

/// The counters of a caller for account 1 that this queue turns away, while another one has the row
/// and `$waiting` stand in line.
macro_rules! turned_away {
    ($queue:expr, $waiting:expr, $error:ident) => {{
        let queue = &$queue;
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let (holds, is_held) = mpsc::channel();
        let update = move || queue.update(1, |_| Ok::<_, LockError>(()));
        let ((), numbers) = thread::scope(|scope| {
            let go_on = go_on;
            scope.spawn(move || {
                queue.update(1, move |_| {
                    holds.send(()).unwrap();
                    let _ = may_go_on.recv();
                    Ok::<_, LockError>(())
                })
            });
            is_held.recv().unwrap();
            for () in std::iter::repeat_n((), $waiting) {
                scope.spawn(update);
            }
            let all = || queue.stats().waiting == $waiting;
            wait_until("they stand in line", Duration::from_millis(1), all);
            let numbers = numbers_of(|| {
                let result = update();
                assert!(
                    matches!(result, Err(LockError::$error { .. })),
                    "{result:?}"
                );
            });
            drop(go_on);
            numbers
        });
        counters(&numbers)
    }};
}

#[law(postgres, mysql, mariadb, sqlite)]
fn callers_that_a_queue_turns_away_are_counted(db: &Db) {
    let pool = Pool::builder().max_size(2).min_idle(Some(0));
    let pool = pool
        .build(ConnectionManager::<Conn>::new(db.url()))
        .unwrap();
    let queue = || RowQueue::<Conn, Account>::builder();
    let hasty = queue()
        .longest_wait(Duration::from_millis(20))
        .build(pool.clone());
    let short = queue().longest_line(1).build(pool);
    let labels = format!("{} accounts for_update", system(Db::STAMP));
    let expected = |error: &str| {
        [
            format!("row_lock_calls_total {labels} not_applied 1"),
            format!("row_lock_turned_away_total {labels} {error} 1"),
        ]
    };
    assert_eq!(
        turned_away!(hasty, 0, QueueTimeout),
        expected("queue_timeout")
    );
    assert_eq!(turned_away!(short, 1, QueueFull), expected("queue_full"));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn numbers_have_the_units_that_they_are_described_by(db: &Db) {
    let conn = &mut db.connect();
    let ((), numbers) = numbers_of(|| {
        describe();
        with_row_lock(conn, accounts::table.find(1), nothing).unwrap();
    });
    for number in numbers {
        let unit = if number.name.ends_with("_seconds") {
            Unit::Seconds
        } else {
            Unit::Count
        };
        assert_eq!(number.unit, Some(unit), "{number:?}");
    }
}
