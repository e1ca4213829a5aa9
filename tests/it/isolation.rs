//! `isolation`: the level is that of the transaction, and of no other one.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use diesel::prelude::*;
use diesel_row_lock::{
    with_row_lock, CommitToken, Isolation, LockError, Locked, Outcome, Retry, RowLock,
};
use law::law;

use crate::support::calls::{assert_error, nothing};
use crate::support::probe::statements_of;
use crate::support::schema::{accounts, Account};
use crate::support::wait_until;

/// What a transaction sees of a change that another one commits between two of its reads.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// The second read sees the change.
    New,
    /// The second read sees what the first one saw.
    Old,
    /// The other one can't write what has been read.
    KeptOut,
}

/// Reads account 2 twice in the open transaction of `$conn`, with a write of another one between.
macro_rules! look_twice {
    ($db:ident, $conn:expr) => {{
        let read = |conn: &mut Conn| -> i64 {
            let balance = accounts::table.find(2).select(accounts::balance);
            balance.first(conn).unwrap()
        };
        let before = read($conn);
        let other = RowLock::for_update().no_wait().with(
            &mut $db.connect(),
            accounts::table.find(2),
            |conn, mut account: Locked<Account>| {
                account.balance += 1;
                account.save_changes::<Account>(conn)?;
                Ok::<_, LockError>(())
            },
        );
        match other {
            Ok(()) if read($conn) == before => Seen::Old,
            Ok(()) => Seen::New,
            Err(LockError::Busy { .. }) => Seen::KeptOut,
            Err(error) => panic!("{error:?}"),
        }
    }};
}

/// The same in a transaction of Diesel's, which has the session's level.
macro_rules! default_of_session {
    ($db:ident, $conn:expr) => {
        $conn
            .transaction(|conn| QueryResult::Ok(look_twice!($db, conn)))
            .unwrap()
    };
}

macro_rules! seen_at {
    ($db:ident, $conn:expr, $level:ident) => {
        RowLock::for_update()
            .isolation(Isolation::$level)
            .with(
                $conn,
                accounts::table.find(1),
                |conn, _: Locked<Account>| Ok::<_, LockError>(look_twice!($db, conn)),
            )
            .unwrap()
    };
}

#[law(postgres)]
fn postgresql_runs_the_transaction_at_the_level(db: &Db) {
    let conn = &mut db.connect();
    assert_eq!(default_of_session!(db, conn), Seen::New);
    assert_eq!(seen_at!(db, conn, ReadCommitted), Seen::New);
    assert_eq!(seen_at!(db, conn, RepeatableRead), Seen::Old);
    assert_eq!(seen_at!(db, conn, Serializable), Seen::Old);
    diesel::sql_query("SET default_transaction_isolation = 'repeatable read'")
        .execute(conn)
        .unwrap();
    assert_eq!(default_of_session!(db, conn), Seen::Old);
    assert_eq!(seen_at!(db, conn, ReadCommitted), Seen::New);
}

#[law(mysql, mariadb)]
fn mysql_runs_the_transaction_at_the_level(db: &Db) {
    let conn = &mut db.connect();
    assert_eq!(default_of_session!(db, conn), Seen::Old);
    assert_eq!(seen_at!(db, conn, ReadCommitted), Seen::New);
    assert_eq!(seen_at!(db, conn, RepeatableRead), Seen::Old);
    assert_eq!(seen_at!(db, conn, Serializable), Seen::KeptOut);
}

/// One writer at a time: each level is satisfied, and nothing is sent for it.
#[law(sqlite)]
fn sqlite_is_serializable_at_each_level(db: &Db) {
    let conn = &mut db.connect();
    let statements = statements_of(conn);
    with_row_lock(conn, accounts::table.find(1), nothing).unwrap();
    let plain = std::mem::take(&mut *statements.lock().unwrap());
    for level in [
        Isolation::ReadCommitted,
        Isolation::RepeatableRead,
        Isolation::Serializable,
    ] {
        let lock = RowLock::for_update().isolation(level);
        lock.with(conn, accounts::table.find(1), nothing).unwrap();
        assert_eq!(*statements.lock().unwrap(), plain);
        statements.lock().unwrap().clear();
        let seen = lock.with(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
            Ok::<_, LockError>(look_twice!(db, conn))
        });
        assert_eq!(seen.unwrap(), Seen::KeptOut);
        statements.lock().unwrap().clear();
    }
}

/// After each way in which a call can end, and in which its transaction can fail to begin.
#[law(postgres, mysql, mariadb)]
fn nothing_of_the_level_stays_in_the_session(db: &Db) {
    let conn = &mut db.connect();
    CommitToken::create_table(conn).unwrap();
    let before = default_of_session!(db, conn);
    let settings = Db::settings(conn);
    let token = CommitToken::new();
    let level = if before == Seen::New {
        Isolation::RepeatableRead
    } else {
        Isolation::ReadCommitted
    };
    let lock = RowLock::for_update().isolation(level);
    let row = accounts::table.find(1);

    lock.with(conn, row, nothing).unwrap();
    assert_eq!(default_of_session!(db, conn), before, "after a commit");

    let refused = |_: &mut Conn, _: Locked<'_, Account>| {
        Err::<(), _>(diesel::result::Error::RollbackTransaction)
    };
    lock.with(conn, row, refused).unwrap_err();
    assert_eq!(default_of_session!(db, conn), before, "after a rollback");

    lock.with(conn, accounts::table.find(77), nothing)
        .unwrap_err();
    assert_eq!(default_of_session!(db, conn), before, "after no row");

    let panicked = catch_unwind(AssertUnwindSafe(|| {
        lock.with(
            conn,
            row,
            |_, _: Locked<Account>| -> Result<(), LockError> { panic!("in the closure") },
        )
    }));
    assert!(panicked.is_err());
    assert_eq!(default_of_session!(db, conn), before, "after a panic");

    lock.commit_token(token).with(conn, row, nothing).unwrap();
    let again = lock.commit_token(token).with(conn, row, nothing);
    assert!(matches!(again, Err(LockError::Database(_))), "{again:?}");
    assert_eq!(
        default_of_session!(db, conn),
        before,
        "after a transaction that could not begin"
    );

    let nested = conn.transaction(|conn| lock.with(conn, row, nothing));
    assert!(
        matches!(nested, Err(LockError::AlreadyInTransaction { .. })),
        "{nested:?}"
    );
    assert_eq!(default_of_session!(db, conn), before, "after a nested call");
    assert_eq!(Db::settings(conn), settings);
}

/// The level of an open transaction can't be changed.
#[law(postgres, mysql, mariadb, sqlite)]
fn nested_call_with_a_level_is_refused_and_sends_nothing(db: &Db) {
    let conn = &mut db.connect();
    let statements = statements_of(conn);
    let result = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        let before = statements.lock().unwrap().len();
        let nested = RowLock::for_update()
            .isolation(Isolation::Serializable)
            .with(conn, accounts::table.find(2), nothing);
        assert_error!(
            nested,
            AlreadyInTransaction,
            NotApplied,
            lasting,
            no_contention
        );
        assert_eq!(statements.lock().unwrap().len(), before);
        Ok::<_, LockError>(())
    });
    result.unwrap();
}

/// Two calls, each of which locks one account, reads the other one, and takes 1500 from its own if
/// both together have 1500. Each alone is right. In their first attempts both have locked before
/// either reads, and both have read, or failed to, before either writes.
macro_rules! skew {
    ($db:ident, $lock:expr) => {{
        let locked = &Barrier::new(2);
        let looked = &AtomicU32::new(0);
        let lock = $lock.retry(Retry::new().attempts(20));
        let lock = &lock;
        let taken = thread::scope(|scope| {
            let threads = [(1, 2), (2, 1)].map(|(own, other)| {
                scope.spawn(move || {
                    let mut first = true;
                    let withdraw = |conn: &mut Conn, mut account: Locked<'_, Account>| {
                        let first = std::mem::take(&mut first);
                        if first {
                            locked.wait();
                        }
                        let other: QueryResult<Account> = accounts::table.find(other).first(conn);
                        if first {
                            looked.fetch_add(1, Ordering::SeqCst);
                        }
                        let other = other?;
                        if first {
                            let both = || looked.load(Ordering::SeqCst) == 2;
                            wait_until("both have looked", Duration::from_millis(1), both);
                        }
                        if account.balance + other.balance < 1_500 {
                            return Ok::<_, LockError>(false);
                        }
                        account.balance -= 1_500;
                        account.save_changes::<Account>(conn)?;
                        Ok(true)
                    };
                    lock.with(&mut $db.connect(), accounts::table.find(own), withdraw)
                        .unwrap()
                })
            });
            threads.map(|thread| thread.join().unwrap())
        });
        taken.into_iter().filter(|taken| *taken).count()
    }};
}

#[law(postgres, mysql, mariadb)]
fn write_skew_is_cured_by_serializable_with_retry(db: &Db) {
    let taken = skew!(db, RowLock::for_update().isolation(Isolation::Serializable));
    assert_eq!(taken, 1);
    assert_eq!(db.balance(1) + db.balance(2), 500);
}

/// Twin: the row that is only read is not guarded.
#[law(postgres, mysql, mariadb)]
fn twin_write_skew_under_read_committed_takes_what_is_not_there(db: &Db) {
    let lock = RowLock::for_update().isolation(Isolation::ReadCommitted);
    assert_eq!(skew!(db, lock), 2);
    assert_eq!(db.balance(1) + db.balance(2), -1_000);
}

/// The default of MariaDB 11.6.2 and later.
const STRICT_SNAPSHOTS: &str = "SET innodb_snapshot_isolation = ON";

/// An outer call reads account 2, another connection changes it, a nested call locks it.
macro_rules! lock_what_has_changed {
    ($db:ident, $lock:expr) => {{
        let conn = &mut $db.connect();
        diesel::sql_query(STRICT_SNAPSHOTS).execute(conn).unwrap();
        $lock.with(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
            let _: Account = accounts::table.find(2).first(conn)?;
            diesel::sql_query("UPDATE accounts SET balance = 7 WHERE id = 2")
                .execute(&mut $db.connect())?;
            with_row_lock(
                conn,
                accounts::table.find(2),
                |_, account: Locked<Account>| Ok::<_, LockError>(account.balance),
            )
        })
    }};
}

#[law(mariadb)]
fn nested_lock_of_a_row_that_has_changed_is_had_under_read_committed(db: &Db) {
    let lock = RowLock::for_update().isolation(Isolation::ReadCommitted);
    assert_eq!(lock_what_has_changed!(db, lock).unwrap(), 7);
}

/// Twin.
#[law(mariadb)]
fn twin_nested_lock_of_a_row_that_has_changed_fails_under_the_default_level(db: &Db) {
    let result = lock_what_has_changed!(db, RowLock::for_update());
    assert_error!(
        result,
        SerializationFailure,
        NotApplied,
        transient,
        no_contention
    );
}
