//! Promise 3: what is durable is never called `NotApplied`, and is never done again. The twins show
//! what Diesel says.

use std::panic::{catch_unwind, AssertUnwindSafe};

use diesel::connection::{InstrumentationEvent, SimpleConnection, TransactionManager};
use diesel::prelude::*;
use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::{with_row_lock, LockError, Locked, Outcome, Retry, RetryCause, RowLock};
use law::law;

use crate::support::calls::nothing;
use crate::support::schema::{accounts, Account};

const CHANGE_2: &str = "UPDATE accounts SET balance = 22 WHERE id = 2";
const FAIL: &str = "INSERT INTO accounts VALUES (1, 'again', 0)";

/// A locked call that changes account 2, runs `$statements`, and hands on the first error.
macro_rules! call {
    ($conn:expr, $statements:expr) => {
        with_row_lock(
            $conn,
            accounts::table.find(1),
            |conn, _: Locked<Account>| {
                conn.batch_execute(CHANGE_2)?;
                for statement in $statements {
                    diesel::sql_query(statement).execute(conn)?;
                }
                Ok::<_, LockError>(())
            },
        )
    };
}

macro_rules! assert_escaped {
    ($result:expr) => {
        let error = $result.expect_err("the closure has committed");
        assert!(matches!(error, LockError::Escaped { .. }), "{error:?}");
        assert_eq!(error.outcome(), Outcome::Escaped);
    };
}

/// An outer call swallows the error of a nested one.
macro_rules! assert_nested_escape {
    ($db:ident, $statements:expr) => {
        let conn = &mut $db.connect();
        let outer = with_row_lock(conn, accounts::table.find(3), |conn, _: Locked<Account>| {
            assert_escaped!(call!(conn, $statements));
            Ok::<_, LockError>(())
        });
        assert_escaped!(outer);
        assert_eq!($db.balance(2), 22);
        with_row_lock(conn, accounts::table.find(1), nothing).expect("the connection is usable");
    };
}

/// Panics when the server has answered a `COMMIT`.
macro_rules! panic_behind_commit {
    ($conn:expr) => {
        $conn.set_instrumentation(|event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::FinishQuery { query, .. } = event {
                // As a part of a user's program that meets a full disk, say.
                assert!(!query.to_string().contains("COMMIT"), "no room for a log");
            }
        })
    };
}

/// The statement that commits implicitly is the one that fails.
#[law(mysql, mariadb)]
fn implicit_commit_is_not_hidden_by_the_failure_of_its_statement(db: &Db) {
    let conn = &mut db.connect();
    assert_escaped!(call!(conn, ["CREATE TABLE accounts (id INTEGER)"]));
    assert_eq!(db.balance(2), 22);
    with_row_lock(conn, accounts::table.find(1), nothing).expect("the connection is usable");
}

#[law(mysql, mariadb)]
fn commit_of_a_procedure_is_not_hidden_by_its_signal(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(
        "CREATE PROCEDURE p() BEGIN COMMIT; \
         SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no more'; END",
    )
    .unwrap();
    assert_escaped!(call!(conn, ["CALL p()"]));
    assert_eq!(db.balance(2), 22);
}

/// Twin: Diesel hands on the error of the statement, and the work stays.
#[law(mysql, mariadb)]
fn twin_diesel_hides_an_implicit_commit(db: &Db) {
    let result: QueryResult<usize> = db.connect().transaction(|conn| {
        conn.batch_execute(CHANGE_2)?;
        diesel::sql_query("CREATE TABLE accounts (id INTEGER)").execute(conn)
    });
    assert!(
        matches!(result, Err(diesel::result::Error::DatabaseError(..))),
        "{result:?}"
    );
    assert_eq!(db.balance(2), 22, "Diesel mends this now");
}

/// Twin: the number of errors, which the library once asked for, is the same after a deadlock.
#[law(mysql, mariadb)]
fn twin_the_number_of_errors_says_nothing_of_the_transaction(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("BEGIN").unwrap();
    let errors = ["CREATE TABLE accounts (id INTEGER)", FAIL].map(|failing| {
        diesel::sql_query(failing).execute(conn).unwrap_err();
        conn.batch_execute("SET @errors = @@error_count").unwrap();
        diesel::dsl::sql::<diesel::sql_types::BigInt>("SELECT CAST(@errors AS SIGNED)")
            .get_result::<i64>(conn)
            .unwrap()
    });
    assert_eq!(
        errors,
        [1, 1],
        "one of them has committed, the other has not"
    );
}

/// What a nested call has committed is durable for the outer one, too.
#[law(mysql, mariadb)]
fn commit_in_a_nested_call_is_not_hidden_by_the_failure_of_its_statement(db: &Db) {
    assert_nested_escape!(db, ["CREATE TABLE accounts (id INTEGER)"]);
}

#[law(postgres)]
fn commit_in_a_nested_call_is_not_hidden_by_an_aborted_transaction_behind_it(db: &Db) {
    assert_nested_escape!(db, ["COMMIT AND CHAIN", FAIL]);
}

#[law(postgres)]
fn commit_is_not_hidden_by_an_aborted_transaction_behind_it(db: &Db) {
    for commit in [
        vec!["COMMIT AND CHAIN", FAIL],
        vec!["COMMIT", "BEGIN", FAIL],
    ] {
        db.connect()
            .batch_execute("UPDATE accounts SET balance = 1000 WHERE id = 2")
            .unwrap();
        let conn = &mut db.connect();
        assert_escaped!(call!(conn, commit.iter().copied()));
        assert_eq!(db.balance(2), 22);
        with_row_lock(conn, accounts::table.find(1), nothing).expect("the connection is usable");
    }
}

/// The same when the error is swallowed.
#[law(postgres)]
fn commit_is_not_hidden_by_a_swallowed_error_behind_it(db: &Db) {
    let conn = &mut db.connect();
    let result = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        conn.batch_execute(CHANGE_2)?;
        conn.batch_execute("COMMIT AND CHAIN")?;
        let _ = conn.batch_execute(FAIL);
        Ok::<_, LockError>(())
    });
    assert_escaped!(result);
    assert_eq!(db.balance(2), 22);
    with_row_lock(conn, accounts::table.find(1), nothing).expect("the connection is usable");
}

/// A rollback of the closure's own left nothing behind.
#[law(postgres)]
fn failure_behind_a_rollback_is_not_applied(db: &Db) {
    let conn = &mut db.connect();
    let result = call!(conn, ["ROLLBACK AND CHAIN", FAIL]);
    assert!(matches!(result, Err(LockError::Database(_))), "{result:?}");
    assert_eq!(db.balance(2), 1_000);
}

/// Twin: Diesel rolls back what is open, and calls the whole of it rolled back.
#[law(postgres)]
fn twin_diesel_hides_a_commit_behind_an_aborted_transaction(db: &Db) {
    let result = db.connect().transaction(|conn| {
        conn.batch_execute(CHANGE_2)?;
        conn.batch_execute("COMMIT AND CHAIN")?;
        conn.batch_execute(FAIL)
    });
    assert!(
        matches!(result, Err(diesel::result::Error::DatabaseError(..))),
        "{result:?}"
    );
    assert_eq!(db.balance(2), 22, "Diesel mends this now");
}

/// What another client's escape has left in a session behind a pooler is no obstacle.
#[law(postgres)]
fn witness_of_an_earlier_escape_is_no_obstacle(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("BEGIN; DECLARE row_lock_witness CURSOR WITH HOLD FOR SELECT; COMMIT")
        .unwrap();
    with_row_lock(conn, accounts::table.find(1), nothing).unwrap();
    let failed = call!(conn, [FAIL]);
    assert!(matches!(failed, Err(LockError::Database(_))), "{failed:?}");
}

/// On every backend; what is retried is decided by the error, and this one says deadlock.
#[law(postgres, mysql, mariadb, sqlite)]
fn attempt_that_has_committed_is_not_made_again(db: &Db) {
    let mut attempts = 0;
    let lock = RowLock::for_update()
        .retry(Retry::new())
        .when(|_: &LockError| Some(RetryCause::Deadlock));
    let result = lock.with(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, _: Locked<Account>| {
            attempts += 1;
            conn.batch_execute("UPDATE accounts SET balance = balance + 100 WHERE id = 2")?;
            conn.batch_execute("COMMIT")?;
            Err::<(), _>(LockError::NotFound { key: None })
        },
    );
    assert_escaped!(result);
    assert_eq!((attempts, db.balance(2)), (1, 1_100));
}

#[law(postgres)]
fn attempt_whose_commit_an_aborted_transaction_hides_is_not_made_again(db: &Db) {
    let mut attempts = 0;
    let lock = RowLock::for_update()
        .retry(Retry::new())
        .when(|_: &LockError| Some(RetryCause::Deadlock));
    let result = lock.with(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, _: Locked<Account>| {
            attempts += 1;
            conn.batch_execute("UPDATE accounts SET balance = balance + 100 WHERE id = 2")?;
            conn.batch_execute("COMMIT AND CHAIN")?;
            Ok(conn.batch_execute(FAIL)?)
        },
    );
    assert_escaped!(result);
    assert_eq!((attempts, db.balance(2)), (1, 1_100));
}

/// The panic is the caller's own, and no error that could lie.
#[law(postgres, mysql, mariadb, sqlite)]
fn panic_behind_commit_stays_a_panic_and_frees_the_connection(db: &Db) {
    let conn = &mut db.connect();
    panic_behind_commit!(conn);
    let result = catch_unwind(AssertUnwindSafe(|| call!(conn, [] as [&str; 0])));
    assert!(result.is_err(), "{result:?}");
    assert_eq!(db.balance(2), 22, "it was committed");
    conn.set_instrumentation(|_: InstrumentationEvent<'_>| {});
    with_row_lock(conn, accounts::table.find(1), nothing).expect("the connection is usable");
    conn.transaction(|conn| conn.batch_execute(CHANGE_2))
        .expect("also for Diesel");
}

/// What cleans up behind the panic sends statements, too. That panic must not end the process.
#[law(postgres, mysql, mariadb, sqlite)]
fn panics_behind_commit_and_in_the_clean_up_leave_a_broken_connection(db: &Db) {
    let conn = &mut db.connect();
    let mut panics = false;
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::FinishQuery { query, .. } = event {
            panics |= query.to_string().contains("COMMIT");
            assert!(!panics, "no room for a log");
        }
    });
    let result = catch_unwind(AssertUnwindSafe(|| call!(conn, [] as [&str; 0])));
    assert!(result.is_err(), "{result:?}");
    assert_eq!(db.balance(2), 22, "it was committed");
    let status = <Conn as Connection>::TransactionManager::transaction_manager_status_mut(conn);
    assert!(
        status.transaction_depth().is_err(),
        "a pool must not lend it again"
    );
}

/// The change of a caller whose leader panics behind `COMMIT` may be durable.
#[law(postgres, mysql, mariadb)]
fn panic_of_the_leader_behind_commit_leaves_the_followers_in_doubt(db: &Db) {
    let pool = diesel::r2d2::Pool::builder()
        .max_size(2)
        .build(diesel::r2d2::ConnectionManager::<Conn>::new(db.url()))
        .unwrap();
    // Both connections, so that whichever leads panics.
    let mut conns = [pool.get().unwrap(), pool.get().unwrap()];
    for conn in &mut conns {
        panic_behind_commit!(conn);
    }
    drop(conns);
    // With an option of the lock, so that the batch ends by a `COMMIT` everywhere.
    let patient = RowLock::for_update().timeout(std::time::Duration::from_secs(20));
    let accounts = RowQueue::<Conn, Account>::builder()
        .lock(patient)
        .build(pool);
    let result = std::thread::scope(|scope| {
        let holder = &mut db.connect();
        let add = |account: &mut Account| {
            account.balance += 100;
            Ok::<_, LockError>(())
        };
        let threads = with_row_lock(holder, accounts::table.find(1), |_, _: Locked<Account>| {
            let queue = &accounts;
            let leader =
                scope.spawn(move || catch_unwind(AssertUnwindSafe(|| queue.update(1, add))));
            db.wait_for_waiters(1);
            let follower = scope.spawn(move || queue.update(1, add));
            crate::support::wait_until(
                "one is in line",
                std::time::Duration::from_millis(1),
                || queue.stats().waiting == 1,
            );
            Ok::<_, LockError>((leader, follower))
        });
        let (leader, follower) = threads.unwrap();
        assert!(leader.join().unwrap().is_err());
        follower.join().unwrap()
    });
    assert_eq!(db.balance(1), 1_200, "it was committed");
    let error = result.unwrap_err();
    assert!(
        matches!(error, LockError::CommitUnknown { .. }),
        "{error:?}"
    );
    assert_eq!(error.outcome(), Outcome::InDoubt);
}
