//! The options `no_wait`, `skip_locked` and `timeout`, and a call without them. The server says
//! that a session waits; measured times are bounds of sanity only.

use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{with_row_lock, LockError, Locked, RowLock};
use law::law;

use crate::support::calls::{ask, assert_busy, while_held};
use crate::support::schema::{accounts, Account};

/// Longer than any test runs.
const FOR_EVER: Duration = Duration::from_secs(300);

/// E7: MariaDB answers `NOWAIT` with the text of a timeout.
#[law(postgres, mysql, mariadb, sqlite)]
fn no_wait_is_busy_at_once_while_the_row_is_held(db: &Db) {
    while_held!(db, 1, RowLock::for_update(), {
        let begun = Instant::now();
        assert_busy!(ask!(db, 1, RowLock::for_update()));
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            begun.elapsed()
        );
    });
    ask!(db, 1, RowLock::for_update()).expect("the row is free again");
}

/// Twin: the plain call waits.
#[law(postgres, mysql, mariadb, sqlite)]
fn twin_plain_call_waits_until_the_row_is_free(db: &Db) {
    thread::scope(|scope| {
        let second = while_held!(db, 1, RowLock::for_update(), {
            let second = scope.spawn(|| lock!(&mut db.connect(), 1, RowLock::for_update()));
            db.wait_for_waiters(1);
            assert!(!second.is_finished());
            second
        });
        second.join().unwrap().unwrap();
    });
}

/// Hibernate's LockExceptionTests: one error over all entry points.
#[law(postgres, mysql, mariadb, sqlite)]
fn no_wait_is_busy_by_every_entry_point(db: &Db) {
    while_held!(db, 1, RowLock::for_update(), {
        let conn = &mut db.connect();
        let impatient = RowLock::for_update().no_wait();
        assert_busy!(lock!(conn, 1, impatient));
        let all = impatient.with_all(conn, accounts::table, |_, _: Vec<Locked<Account>>| Ok(()));
        assert_busy!(all);
        let many = impatient.with_many(conn, [2, 1], |_, _: Vec<Locked<Account>>| Ok(()));
        assert_busy!(many);
    });
}

#[law(postgres, mysql, mariadb, sqlite)]
fn busy_leaves_a_usable_connection_without_a_transaction(db: &Db) {
    let conn = &mut db.connect();
    while_held!(db, 1, RowLock::for_update(), {
        assert_busy!(lock!(conn, 1, RowLock::for_update().no_wait()));
    });
    conn.batch_execute("UPDATE accounts SET balance = 5 WHERE id = 1")
        .unwrap();
    assert_eq!(db.balance(1), 5);
    lock!(conn, 1, RowLock::for_update().no_wait()).unwrap();
}

/// PostgreSQL's nowait and nowait-3: also behind others who wait.
#[law(postgres, mysql, mariadb, sqlite)]
fn no_wait_is_busy_behind_a_waiter(db: &Db) {
    thread::scope(|scope| {
        let waiter = while_held!(db, 1, RowLock::for_update(), {
            let waiter = scope.spawn(|| lock!(&mut db.connect(), 1, RowLock::for_update()));
            db.wait_for_waiters(1);
            assert_busy!(ask!(db, 1, RowLock::for_update()));
            waiter
        });
        waiter.join().unwrap().unwrap();
    });
}

#[law(postgres, mysql, mariadb)]
fn row_that_is_held_is_skipped(db: &Db) {
    while_held!(db, 2, RowLock::for_update(), {
        let ids = claim!(db, accounts::table.order(accounts::id), |_| ());
        assert_eq!(ids, [1, 3, 4]);
    });
}

/// Twin: the same query without the option waits.
#[law(postgres, mysql, mariadb)]
fn twin_row_that_is_held_is_waited_for(db: &Db) {
    thread::scope(|scope| {
        let all = while_held!(db, 2, RowLock::for_update(), {
            let all = scope.spawn(|| {
                let query = accounts::table.order(accounts::id);
                RowLock::for_update().with_all(
                    &mut db.connect(),
                    query,
                    |_, rows: Vec<Locked<Account>>| Ok::<_, LockError>(rows.len()),
                )
            });
            db.wait_for_waiters(1);
            all
        });
        assert_eq!(all.join().unwrap().unwrap(), 4);
    });
}

#[law(postgres, mysql, mariadb)]
fn single_row_that_is_skipped_is_not_found(db: &Db) {
    while_held!(db, 1, RowLock::for_update(), {
        let skipped = lock!(&mut db.connect(), 1, RowLock::for_update().skip_locked());
        assert!(
            matches!(skipped, Err(LockError::NotFound { key: None })),
            "{skipped:?}"
        );
        let skipped = RowLock::for_update().skip_locked().with_many(
            &mut db.connect(),
            [2, 1],
            |_, _: Vec<Locked<Account>>| Ok(()),
        );
        let Err(LockError::NotFound { key: Some(key) }) = skipped else {
            panic!("{skipped:?}")
        };
        assert_eq!(key, "1");
    });
}

/// PostgreSQL's skip-locked, Hibernate's SkipLockedTests.
#[law(postgres, mysql, mariadb)]
fn workers_claim_different_rows(db: &Db) {
    let two = accounts::table.order(accounts::id).limit(2);
    let first = claim!(db, two, |_| {
        let second = claim!(db, two, |_| {
            assert_eq!(
                claim!(db, two, |_| ()),
                [0; 0],
                "nothing is left for the third"
            );
        });
        assert_eq!(second, [3, 4]);
    });
    assert_eq!(first, [1, 2]);
}

/// PostgreSQL's skip-locked-3: who waits in the queue does not bring the row back.
#[law(postgres, mysql, mariadb)]
fn row_with_a_waiter_is_skipped(db: &Db) {
    thread::scope(|scope| {
        let waiter = while_held!(db, 1, RowLock::for_update(), {
            let waiter = scope.spawn(|| lock!(&mut db.connect(), 1, RowLock::for_update()));
            db.wait_for_waiters(1);
            assert_eq!(
                claim!(db, accounts::table.order(accounts::id), |_| ()),
                [2, 3, 4]
            );
            waiter
        });
        waiter.join().unwrap().unwrap();
    });
}

#[law(postgres, mysql, mariadb, sqlite)]
fn timeout_ends_the_wait(db: &Db) {
    let conn = &mut db.connect();
    while_held!(db, 1, RowLock::for_update(), {
        let begun = Instant::now();
        let result = lock!(
            conn,
            1,
            RowLock::for_update().timeout(Duration::from_millis(50))
        );
        assert!(
            matches!(result, Err(LockError::Timeout { .. })),
            "{result:?}"
        );
        assert!(
            begun.elapsed() >= Duration::from_millis(50),
            "{:?}",
            begun.elapsed()
        );
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            begun.elapsed()
        );
    });
    conn.batch_execute("UPDATE accounts SET balance = 5 WHERE id = 2")
        .unwrap();
    assert_eq!(
        db.balance(2),
        5,
        "the connection is usable and in no transaction"
    );
    lock!(
        conn,
        1,
        RowLock::for_update().timeout(Duration::from_millis(50))
    )
    .unwrap();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn timeout_is_one_error_by_every_entry_point(db: &Db) {
    while_held!(db, 1, RowLock::for_update(), {
        let conn = &mut db.connect();
        let brief = RowLock::for_update().timeout(Duration::from_millis(20));
        let all = brief.with_all(conn, accounts::table, |_, _: Vec<Locked<Account>>| Ok(()));
        assert!(matches!(all, Err(LockError::Timeout { .. })), "{all:?}");
        let many = brief.with_many(conn, [2, 1], |_, _: Vec<Locked<Account>>| Ok(()));
        assert!(matches!(many, Err(LockError::Timeout { .. })), "{many:?}");
    });
}

#[law(postgres, mysql, mariadb, sqlite)]
fn row_that_comes_free_in_time_is_locked(db: &Db) {
    thread::scope(|scope| {
        let (conn, row) = (&mut db.connect(), accounts::table.find(1));
        let second = with_row_lock(conn, row, |conn, mut first: Locked<Account>| {
            let second = scope.spawn(|| {
                let patient = RowLock::for_update().timeout(Duration::from_secs(20));
                patient.with(
                    &mut db.connect(),
                    accounts::table.find(1),
                    |_, account: Locked<Account>| Ok::<_, LockError>(account.balance),
                )
            });
            db.wait_for_waiters(1);
            first.balance = 5;
            first.save_changes::<Account>(conn)?;
            Ok::<_, LockError>(second)
        })
        .unwrap();
        assert_eq!(second.join().unwrap().unwrap(), 5);
    });
}

/// PostgreSQL takes a timeout of 0 ms for none at all. The session's own limit is there so that
/// a wait without end would come out as another error.
#[law(postgres)]
fn shortest_timeout_is_not_for_ever(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("SET statement_timeout = '10s'").unwrap();
    while_held!(db, 1, RowLock::for_update(), {
        let result = lock!(
            conn,
            1,
            RowLock::for_update().timeout(Duration::from_nanos(1))
        );
        assert!(
            matches!(result, Err(LockError::Timeout { .. })),
            "{result:?}"
        );
    });
}

#[law(mysql, mariadb, sqlite)]
fn shortest_timeout_is_still_a_timeout(db: &Db) {
    while_held!(db, 1, RowLock::for_update(), {
        let shortest = RowLock::for_update().timeout(Duration::from_nanos(1));
        let result = lock!(&mut db.connect(), 1, shortest);
        assert!(
            matches!(result, Err(LockError::Timeout { .. })),
            "{result:?}"
        );
    });
}

#[law(postgres, mysql, mariadb, sqlite)]
fn timeout_of_zero_is_busy(db: &Db) {
    let zero = RowLock::for_update().timeout(Duration::ZERO);
    while_held!(db, 1, RowLock::for_update(), {
        assert_busy!(lock!(&mut db.connect(), 1, zero));
    });
    lock!(&mut db.connect(), 1, zero).expect("the row is free");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn longest_timeout_waits(db: &Db) {
    let longest = RowLock::for_update().timeout(Duration::MAX);
    lock!(&mut db.connect(), 1, longest).expect("the row is free");
    thread::scope(|scope| {
        let second = while_held!(db, 1, RowLock::for_update(), {
            let second = scope.spawn(|| lock!(&mut db.connect(), 1, longest));
            db.wait_for_waiters(1);
            second
        });
        second.join().unwrap().unwrap();
    });
}

/// The time of the request counts, whatever the session says.
#[law(postgres, mysql, mariadb, sqlite)]
fn timeout_is_shorter_than_that_of_the_session(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(&Db::session_timeout(FOR_EVER)).unwrap();
    while_held!(db, 1, RowLock::for_update(), {
        let result = lock!(
            conn,
            1,
            RowLock::for_update().timeout(Duration::from_millis(20))
        );
        assert!(
            matches!(result, Err(LockError::Timeout { .. })),
            "{result:?}"
        );
    });
}

#[law(postgres, mysql, mariadb, sqlite)]
fn plain_call_waits_as_long_as_the_session_says(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(&Db::session_timeout(Duration::from_millis(20)))
        .unwrap();
    while_held!(db, 1, RowLock::for_update(), {
        let result = lock!(conn, 1, RowLock::for_update());
        assert!(
            matches!(result, Err(LockError::Timeout { .. })),
            "{result:?}"
        );
    });
    lock!(conn, 1, RowLock::for_update()).expect("the connection is usable");
}

#[law(sqlite)]
fn plain_call_does_not_wait_without_a_busy_timeout(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("PRAGMA busy_timeout = 0").unwrap();
    while_held!(db, 1, RowLock::for_update(), {
        let result = lock!(conn, 1, RowLock::for_update());
        assert!(
            matches!(result, Err(LockError::Timeout { .. })),
            "{result:?}"
        );
    });
}

#[law(sqlite)]
fn timeout_waits_without_a_busy_timeout(db: &Db) {
    thread::scope(|scope| {
        let second = while_held!(db, 1, RowLock::for_update(), {
            let second = scope.spawn(|| {
                let conn = &mut db.connect();
                conn.batch_execute("PRAGMA busy_timeout = 0").unwrap();
                lock!(
                    conn,
                    1,
                    RowLock::for_update().timeout(Duration::from_secs(20))
                )
            });
            db.wait_for_waiters(1);
            second
        });
        second.join().unwrap().unwrap();
    });
}

/// Locks account `$id` and lets it go.
macro_rules! lock {
    ($conn:expr, $id:expr, $lock:expr) => {
        $lock.with($conn, accounts::table.find($id), |_, _: Locked<Account>| {
            Ok::<_, LockError>(())
        })
    };
}
use lock;

/// The ids of the accounts of `$query` that nobody holds; runs `$then` while they are locked.
macro_rules! claim {
    ($db:ident, $query:expr, |_| $then:expr) => {
        RowLock::for_update()
            .skip_locked()
            .with_all(
                &mut $db.connect(),
                $query,
                |_, rows: Vec<Locked<Account>>| {
                    let () = $then;
                    Ok::<_, LockError>(rows.iter().map(|row| row.id).collect::<Vec<_>>())
                },
            )
            .unwrap()
    };
}
use claim;
