//! `hold_at_most`: nobody waits for ever for a holder that is frozen, and a holder that wakes up
//! late does not commit.

use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};
use diesel_row_lock::{with_row_lock, LockError, Locked, Outcome, Retry, RowLock};
use law::{law, part};

use crate::support::calls::{assert_error, nothing};
use crate::support::child;
use crate::support::schema::{accounts, Account};

const SECOND: Duration = Duration::from_secs(1);
/// Not so brief that the server's clock strikes between two statements on a busy machine.
const BRIEF: Duration = Duration::from_secs(2);

#[law(postgres, mysql, mariadb)]
fn frozen_holder_frees_the_row_in_time_and_never_commits(db: &Db) {
    let mut holder = db.play("holds::limited_holder", &[]);
    assert_eq!(holder.hear(), "locked");
    let since = Instant::now();
    holder.freeze();
    with_row_lock(&mut db.connect(), accounts::table.find(1), nothing).unwrap();
    let waited = since.elapsed();
    // The twin shows that otherwise it never comes free; a busy machine may take its time.
    assert!(waited < 20 * SECOND, "waited {waited:?}");

    holder.thaw();
    holder.nudge();
    let result = holder.hear();
    assert!(result.contains("HoldExpired"), "{result}");
    assert_eq!(db.balance(1), 1_000);
}

/// Twin: nothing else would free the row.
#[law(postgres, mysql, mariadb)]
fn twin_frozen_holder_without_a_limit_keeps_the_row_and_commits(db: &Db) {
    let mut holder = db.play("holds::unlimited_holder", &[]);
    assert_eq!(holder.hear(), "locked");
    holder.freeze();
    let patient = RowLock::for_update().timeout(2 * SECOND);
    let waiter = patient.with(&mut db.connect(), accounts::table.find(1), nothing);
    assert!(
        matches!(waiter, Err(LockError::Timeout { .. })),
        "{waiter:?}"
    );

    holder.thaw();
    holder.nudge();
    assert_eq!(holder.hear(), "Ok(())");
    assert_eq!(db.balance(1), 1_001);
}

#[law(postgres, mysql, mariadb)]
fn work_that_takes_too_long_is_not_committed(db: &Db) {
    let conn = &mut db.connect();
    let result = RowLock::for_update().hold_at_most(BRIEF).with(
        conn,
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            account.balance += 1;
            account.save_changes::<Account>(conn)?;
            thread::sleep(BRIEF);
            Ok::<_, LockError>(())
        },
    );
    assert_error!(result, HoldExpired, NotApplied, lasting, no_contention);
    assert_eq!(db.balance(1), 1_000);
}

/// The server sees no idle session here, so it ends nothing.
#[law(postgres, mysql, mariadb)]
fn closure_that_never_idles_is_refused_at_its_end_and_keeps_the_session(db: &Db) {
    let conn = &mut db.connect();
    let session = Db::session(conn);
    let result = RowLock::for_update().hold_at_most(BRIEF).with(
        conn,
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            let end = Instant::now() + BRIEF;
            while Instant::now() < end {
                account.balance += 1;
                account.save_changes::<Account>(conn)?;
            }
            Ok::<_, LockError>(())
        },
    );
    assert_error!(result, HoldExpired, NotApplied, lasting, no_contention);
    assert_eq!(db.balance(1), 1_000);
    with_row_lock(conn, accounts::table.find(1), nothing).unwrap();
    assert_eq!(Db::session(conn), session);
}

#[law(postgres, mysql, mariadb)]
fn work_in_time_is_committed(db: &Db) {
    let conn = &mut db.connect();
    RowLock::for_update()
        .hold_at_most(60 * SECOND)
        .with(
            conn,
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                account.balance += 1;
                account
                    .save_changes::<Account>(conn)
                    .map_err(LockError::from)
            },
        )
        .unwrap();
    assert_eq!(db.balance(1), 1_001);
}

/// To wait is not to hold.
#[law(postgres, mysql, mariadb)]
fn wait_for_the_lock_does_not_count(db: &Db) {
    let conn = &mut db.connect();
    let lock = RowLock::for_update().hold_at_most(SECOND);
    thread::scope(|scope| {
        let waiter = with_row_lock(
            &mut db.connect(),
            accounts::table.find(1),
            |_, _: Locked<Account>| {
                let waiter = scope.spawn(|| lock.with(conn, accounts::table.find(1), nothing));
                db.wait_for_waiters(1);
                thread::sleep(SECOND);
                Ok::<_, LockError>(waiter)
            },
        );
        waiter.unwrap().join().unwrap().unwrap();
    });
}

/// What the closure did before it broke out is durable, and that is the worse news.
#[law(postgres, mysql, mariadb)]
fn escape_is_told_before_the_limit(db: &Db) {
    let result = RowLock::for_update().hold_at_most(BRIEF).with(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            account.balance += 1;
            account.save_changes::<Account>(conn)?;
            conn.batch_execute("COMMIT")?;
            // Never idle for long: MySQL would end the session, and nothing could be asked.
            let committed = Instant::now();
            while committed.elapsed() < BRIEF {
                diesel::select(1.into_sql::<diesel::sql_types::Integer>()).execute(conn)?;
                thread::sleep(BRIEF / 40);
            }
            Ok::<_, LockError>(())
        },
    );
    assert_error!(result, Escaped, Escaped, lasting, no_contention);
    assert_eq!(db.balance(1), 1_001);
}

#[law(postgres, mysql, mariadb)]
fn closure_that_finds_its_session_ended_loses_the_connection(db: &Db) {
    let conn = &mut db.connect();
    let session = Db::session(conn);
    let result = RowLock::for_update().hold_at_most(BRIEF).with(
        conn,
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            db.wait_for_end_of(session);
            account.balance += 1;
            account
                .save_changes::<Account>(conn)
                .map_err(LockError::from)
        },
    );
    assert_error!(result, ConnectionLost, NotApplied, transient, no_contention);
    assert_eq!(db.balance(1), 1_000);
}

#[law(postgres, mysql, mariadb)]
fn limit_is_for_the_outermost_transaction_only(db: &Db) {
    let conn = &mut db.connect();
    let nested = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        RowLock::for_update()
            .hold_at_most(SECOND)
            .with(conn, accounts::table.find(2), nothing)
    });
    assert_error!(
        nested,
        AlreadyInTransaction,
        NotApplied,
        lasting,
        no_contention
    );
}

#[law(postgres, mysql, mariadb)]
fn late_holder_is_not_retried(db: &Db) {
    let mut attempts = 0;
    let result = RowLock::for_update()
        .hold_at_most(BRIEF)
        .retry(Retry::new())
        .with(
            &mut db.connect(),
            accounts::table.find(1),
            |_, _: Locked<Account>| {
                attempts += 1;
                thread::sleep(BRIEF);
                Ok::<_, LockError>(())
            },
        );
    assert_error!(result, HoldExpired, NotApplied, lasting, no_contention);
    assert_eq!(attempts, 1);
}

/// `transaction_timeout` counts the wait too, so it is set only where the wait has a limit.
#[law(postgres)]
fn limits_of_the_server_are_those_of_its_version(db: &Db) {
    let conn = &mut db.connect();
    let version: i32 =
        sql::<diesel::sql_types::Integer>("SELECT current_setting('server_version_num')::int")
            .get_result(conn)
            .unwrap();
    let limits = |conn: &mut Conn, _: Locked<'_, Account>| {
        sql::<(Nullable<Text>, Nullable<Text>)>(
            "SELECT current_setting('idle_in_transaction_session_timeout', true), \
             current_setting('transaction_timeout', true)",
        )
        .get_result::<(Option<String>, Option<String>)>(conn)
        .map_err(LockError::from)
    };
    let has_it = version >= 170_000;
    let limit = |time: &str| (Some("7s".to_owned()), has_it.then(|| time.to_owned()));
    let lock = RowLock::for_update().hold_at_most(7 * SECOND);
    let row = accounts::table.find(1);
    assert_eq!(lock.with(conn, row, limits).unwrap(), limit("0"));
    assert_eq!(lock.no_wait().with(conn, row, limits).unwrap(), limit("7s"));
    assert_eq!(
        lock.timeout(2 * SECOND).with(conn, row, limits).unwrap(),
        limit("9s")
    );
}

/// Holds account 1 until it is told to go on, and says what came of it.
macro_rules! hold {
    ($url:ident, $lock:expr) => {
        let conn = &mut Conn::establish(&$url).unwrap();
        let row = accounts::table.find(1);
        let result = $lock.with(conn, row, |conn, mut account: Locked<Account>| {
            account.balance += 1;
            account.save_changes::<Account>(conn)?;
            child::say("locked");
            child::listen();
            Ok::<_, LockError>(())
        });
        child::say(format_args!("{result:?}"));
    };
}

#[part(postgres, mysql, mariadb)]
fn limited_holder(url: String) {
    hold!(url, RowLock::for_update().hold_at_most(SECOND));
}

#[part(postgres, mysql, mariadb)]
fn unlimited_holder(url: String) {
    hold!(url, RowLock::for_update());
}
