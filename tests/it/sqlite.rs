//! Promise 10: on SQLite a locked call holds the write lock of the database from its begin, and
//! says so when it can't have it.

use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{with_row_lock, LockError, Locked, Outcome, RowLock};
use law::law;

use crate::support::schema::{accounts, Account};

/// E15: its first write could fail at once, however long the timeout.
#[law(sqlite)]
fn call_in_a_deferred_transaction_is_refused(db: &Db) {
    let conn = &mut db.connect();
    let result = conn.transaction(|conn| {
        with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
            Ok::<_, LockError>(())
        })
    });
    assert!(
        matches!(result, Err(LockError::AlreadyInTransaction { .. })),
        "{result:?}"
    );
    let result = conn.transaction(|conn| {
        let _: Account = accounts::table.find(2).first(conn)?;
        with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
            Ok::<_, LockError>(())
        })
    });
    assert!(
        matches!(result, Err(LockError::AlreadyInTransaction { .. })),
        "{result:?}"
    );
}

#[law(sqlite)]
fn call_in_a_deferred_transaction_with_an_old_snapshot_is_refused_at_once(db: &Db) {
    let conn = &mut db.connect();
    let mut other = db.connect();
    let result = conn.transaction(|conn| {
        let _: Account = accounts::table.find(1).first(conn)?;
        other.batch_execute("UPDATE accounts SET balance = 7 WHERE id = 1")?;
        let began = Instant::now();
        let inner = with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
            Ok::<_, LockError>(())
        });
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "it waited for the busy timeout"
        );
        inner
    });
    assert!(
        matches!(result, Err(LockError::AlreadyInTransaction { .. })),
        "{result:?}"
    );
}

#[law(sqlite)]
fn call_in_a_deferred_transaction_beside_a_writer_is_refused_at_once(db: &Db) {
    let mut writer = db.connect();
    writer.batch_execute("BEGIN IMMEDIATE").unwrap();
    let began = Instant::now();
    let result = db.connect().transaction(|conn| {
        with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
            Ok::<_, LockError>(())
        })
    });
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "it waited for the busy timeout"
    );
    assert!(
        matches!(result, Err(LockError::AlreadyInTransaction { .. })),
        "{result:?}"
    );
}

/// Twin: Diesel alone fails at its first write, and if that is swallowed says `Ok`.
#[law(sqlite)]
fn twin_diesel_fails_at_the_first_write_of_a_deferred_transaction(db: &Db) {
    let conn = &mut db.connect();
    let mut other = db.connect();
    let result = conn.transaction(|conn| {
        let mut account: Account = accounts::table.find(1).first(conn)?;
        other.batch_execute("UPDATE accounts SET balance = 7 WHERE id = 1")?;
        account.balance += 1;
        let began = Instant::now();
        let write = account.save_changes::<Account>(conn);
        assert!(began.elapsed() < Duration::from_secs(10));
        assert!(matches!(
            LockError::from(write.unwrap_err()),
            LockError::Timeout { .. }
        ));
        QueryResult::Ok(())
    });
    assert!(result.is_ok());
    assert_eq!(db.balance(1), 7);
}

#[law(sqlite)]
fn call_in_an_immediate_transaction_is_a_savepoint(db: &Db) {
    let conn = &mut db.connect();
    let result = conn.immediate_transaction(|conn| {
        with_row_lock(
            conn,
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                account.balance += 1;
                account.save_changes::<Account>(conn)
            },
        )
    });
    assert_eq!(result.unwrap().balance, 1_001);
    assert_eq!(db.balance(1), 1_001);
}

#[law(sqlite)]
fn call_in_a_deferred_transaction_that_has_written_is_a_savepoint(db: &Db) {
    let conn = &mut db.connect();
    let result = conn.transaction(|conn| {
        conn.batch_execute("UPDATE accounts SET balance = 22 WHERE id = 2")?;
        with_row_lock(
            conn,
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                account.balance += 1;
                account.save_changes::<Account>(conn)
            },
        )
    });
    assert_eq!(result.unwrap().balance, 1_001);
}

#[law(sqlite)]
fn call_in_a_transaction_in_memory_is_a_savepoint(_db: &Db) {
    let conn = &mut SqliteConnection::establish(":memory:").unwrap();
    conn.batch_execute(crate::support::schema::TABLES).unwrap();
    conn.begin_test_transaction().unwrap();
    let balance = with_row_lock(
        conn,
        accounts::table.find(1),
        |_, account: Locked<Account>| Ok::<_, LockError>(account.balance),
    );
    assert_eq!(balance.unwrap(), 1_000);
}

/// Others can share a database in memory, though it has no file.
#[law(sqlite)]
fn shared_database_in_memory_is_locked_by_one_connection_only(db: &Db) {
    let url = shared_in_memory(db);
    let [first, second] = &mut [(); 2].map(|()| SqliteConnection::establish(&url).unwrap());
    first.batch_execute(crate::support::schema::TABLES).unwrap();
    let ask = |conn: &mut SqliteConnection| {
        // Deferred, as Diesel's transactions are.
        conn.transaction(|conn| {
            with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
                Ok::<_, LockError>(())
            })
        })
    };
    let held = first.transaction(|first| {
        with_row_lock(first, accounts::table.find(1), |_, _: Locked<Account>| {
            let rival = ask(second);
            assert!(
                matches!(rival, Err(LockError::AlreadyInTransaction { .. })),
                "{rival:?}"
            );
            Ok::<_, LockError>(())
        })?;
        // The lock lasts until the outermost transaction ends.
        let rival = ask(second);
        assert!(
            matches!(rival, Err(LockError::AlreadyInTransaction { .. })),
            "{rival:?}"
        );
        Ok::<_, LockError>(())
    });
    held.unwrap();
    ask(second).unwrap();
    let outermost = with_row_lock(first, accounts::table.find(1), |_, _: Locked<Account>| {
        with_row_lock(second, accounts::table.find(1), |_, _: Locked<Account>| {
            Ok::<_, LockError>(())
        })
    });
    assert!(
        matches!(outermost, Err(LockError::Timeout { .. })),
        "{outermost:?}"
    );
}

/// Two more messages of SQLite, which name the table or the database.
#[law(sqlite)]
fn table_or_schema_that_is_locked_in_a_shared_cache_is_a_timeout(db: &Db) {
    let url = shared_in_memory(db);
    let [first, second] = &mut [(); 2].map(|()| SqliteConnection::establish(&url).unwrap());
    first.batch_execute(crate::support::schema::TABLES).unwrap();
    accounts::table.count().get_result::<i64>(second).unwrap();
    for (change, says) in [
        (
            "UPDATE accounts SET balance = 7",
            "database table is locked: accounts",
        ),
        (
            "CREATE TABLE more (id INTEGER)",
            "database schema is locked: main",
        ),
    ] {
        with_row_lock(
            first,
            accounts::table.find(1),
            |first, _: Locked<Account>| {
                first.batch_execute(change)?;
                let error = diesel::sql_query("SELECT * FROM accounts")
                    .execute(second)
                    .unwrap_err();
                assert_eq!(error.to_string(), says);
                let error = LockError::from(error);
                assert!(matches!(error, LockError::Timeout { .. }), "{error:?}");
                Ok::<_, LockError>(())
            },
        )
        .unwrap();
    }
}

/// Twin: what a transaction without the write lock is good for there, and that no file tells.
#[law(sqlite)]
fn twin_two_deferred_transactions_have_a_shared_database_in_memory_open(db: &Db) {
    let url = shared_in_memory(db);
    let [first, second] = &mut [(); 2].map(|()| SqliteConnection::establish(&url).unwrap());
    first.batch_execute(crate::support::schema::TABLES).unwrap();
    for conn in [&mut *first, &mut *second] {
        conn.batch_execute("BEGIN").unwrap();
        let file =
            diesel::dsl::sql::<diesel::sql_types::Text>("SELECT file FROM pragma_database_list");
        assert_eq!(file.get_result::<String>(conn).unwrap(), "");
        assert_eq!(
            accounts::table
                .find(1)
                .first::<Account>(conn)
                .unwrap()
                .balance,
            1_000
        );
    }
}

/// In rollback-journal mode a reader keeps the writer from committing.
#[law(sqlite)]
fn commit_that_a_reader_blocks_is_a_timeout_and_nothing_is_applied(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("PRAGMA journal_mode = DELETE; PRAGMA busy_timeout = 50")
        .unwrap();
    let mut reader = db.connect();
    reader
        .batch_execute("BEGIN; SELECT * FROM accounts")
        .unwrap();
    let result = with_row_lock(
        conn,
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            account.balance += 1;
            account
                .save_changes::<Account>(conn)
                .map_err(LockError::from)
        },
    );
    let error = result.unwrap_err();
    assert!(matches!(error, LockError::Timeout { .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    reader.batch_execute("COMMIT").unwrap();
    assert_eq!(db.balance(1), 1_000);
    conn.immediate_transaction(|_| QueryResult::Ok(()))
        .expect("the connection is usable");
}

/// E16.
#[law(sqlite)]
fn second_writer_waits_for_the_first(db: &Db) {
    thread::scope(|scope| {
        let second = with_row_lock(
            &mut db.connect(),
            accounts::table.find(1),
            |conn, _: Locked<Account>| {
                let second = scope.spawn(|| {
                    with_row_lock(
                        &mut db.connect(),
                        accounts::table.find(2),
                        |conn, mut account: Locked<Account>| {
                            account.balance += 1;
                            account.save_changes::<Account>(conn)
                        },
                    )
                });
                db.wait_for_waiters(1);
                conn.batch_execute("UPDATE accounts SET balance = 22 WHERE id = 2")?;
                Ok::<_, LockError>(second)
            },
        );
        assert_eq!(second.unwrap().join().unwrap().unwrap().balance, 23);
    });
}

#[law(sqlite)]
fn busy_without_a_timeout_is_typed(db: &Db) {
    let mut writer = db.connect();
    writer.batch_execute("BEGIN IMMEDIATE").unwrap();
    let conn = &mut SqliteConnection::establish(&db.url()).unwrap();
    let plain = with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
        Ok::<_, LockError>(())
    });
    assert!(matches!(plain, Err(LockError::Timeout { .. })), "{plain:?}");
    let no_wait = RowLock::for_update().no_wait().with(
        conn,
        accounts::table.find(1),
        |_, _: Locked<Account>| Ok::<_, LockError>(()),
    );
    assert!(
        matches!(no_wait, Err(LockError::Busy { .. })),
        "{no_wait:?}"
    );
}

/// A database of its own that connections of this process share.
fn shared_in_memory(db: &crate::support::sqlite::Db) -> String {
    let name = db.url().replace('/', "_");
    format!("file:{name}?mode=memory&cache=shared")
}
