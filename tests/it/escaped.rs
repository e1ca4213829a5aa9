//! Promise 2: a closure that ends its transaction itself is told so, whether it returns `Ok` or
//! `Err`. What it committed can't be taken back. The twins show what Diesel alone says.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error::RollbackTransaction;
use diesel_row_lock::{with_row_lock, LockError, Locked, Outcome, RowLock};
use law::law;

use crate::support::schema::{accounts, Account};

const CHANGE_2: &str = "UPDATE accounts SET balance = 22 WHERE id = 2";
const CHANGE_3: &str = "UPDATE accounts SET balance = 33 WHERE id = 3";

/// Runs the statements in a locked call that returns `$end`, with a change of account 2 before
/// them and of account 3 behind, and then shows that connection and row are free.
macro_rules! escape {
    ($db:ident, $statements:expr, $end:expr) => {{
        let conn = &mut $db.connect();
        let result = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
            conn.batch_execute(CHANGE_2)?;
            for statement in $statements {
                // Some of them fail, and are swallowed.
                let _ = conn.batch_execute(statement);
            }
            conn.batch_execute(CHANGE_3)?;
            let end: Result<(), diesel::result::Error> = $end;
            Ok::<_, LockError>(end?)
        });
        RowLock::for_update()
            .no_wait()
            .with(
                &mut $db.connect(),
                accounts::table.find(1),
                |_, _: Locked<Account>| Ok::<_, LockError>(()),
            )
            .expect("the row is free");
        RowLock::for_update()
            .outermost()
            .with(conn, accounts::table.find(4), |_, _: Locked<Account>| {
                Ok::<_, LockError>(())
            })
            .expect("the connection is usable");
        result
    }};
}

macro_rules! assert_escaped {
    ($db:ident, $statements:expr) => {
        for end in [|| Ok(()), || Err(RollbackTransaction)] {
            let result = escape!($db, $statements, end());
            let error = result.expect_err("the transaction was ended inside of the closure");
            assert!(matches!(error, LockError::Escaped { .. }), "{error:?}");
            assert_eq!(error.outcome(), Outcome::Escaped);
        }
    };
}

/// What Diesel says of the same statements.
macro_rules! escape_from_diesel {
    ($db:ident, $statements:expr, $end:expr) => {
        $db.connect().transaction(|conn| {
            conn.batch_execute(CHANGE_2)?;
            for statement in $statements {
                let _ = conn.batch_execute(statement);
            }
            conn.batch_execute(CHANGE_3)?;
            $end
        })
    };
}

#[law(postgres, mysql, mariadb, sqlite)]
fn commit_in_the_closure_is_an_escape(db: &Db) {
    assert_escaped!(db, ["COMMIT"]);
    assert_eq!(db.balance(2), 22, "what was committed can't be taken back");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn rollback_in_the_closure_is_an_escape(db: &Db) {
    assert_escaped!(db, ["ROLLBACK"]);
    assert_eq!(db.balance(2), 1_000);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn commit_and_begin_in_one_batch_is_an_escape(db: &Db) {
    assert_escaped!(db, ["COMMIT; BEGIN"]);
    assert_eq!((db.balance(2), db.balance(3)), (22, 1_000));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn commit_and_then_begin_is_an_escape(db: &Db) {
    assert_escaped!(db, ["COMMIT", "BEGIN"]);
    assert_eq!((db.balance(2), db.balance(3)), (22, 1_000));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn rollback_and_begin_in_one_batch_is_an_escape(db: &Db) {
    assert_escaped!(db, ["ROLLBACK; BEGIN"]);
    assert_eq!((db.balance(2), db.balance(3)), (1_000, 1_000));
}

#[law(postgres, mysql, mariadb)]
fn chained_transactions_are_an_escape(db: &Db) {
    assert_escaped!(db, ["COMMIT AND CHAIN"]);
    assert_escaped!(db, ["ROLLBACK AND CHAIN"]);
    assert_eq!((db.balance(2), db.balance(3)), (22, 1_000));
}

/// E17: DDL commits implicitly.
#[law(mysql, mariadb)]
fn ddl_in_the_closure_is_an_escape(db: &Db) {
    assert_escaped!(db, ["CREATE TABLE IF NOT EXISTS t (id INTEGER)"]);
    assert_escaped!(db, ["START TRANSACTION"]);
    assert_escaped!(db, ["SET autocommit = 1"]);
    assert_eq!(db.balance(2), 22);
}

/// There DDL is part of the transaction.
#[law(postgres, sqlite)]
fn ddl_in_the_closure_is_rolled_back_or_committed(db: &Db) {
    let ddl = ["CREATE TABLE t (id INTEGER)"];
    let rolled_back = escape!(db, ddl, Err(RollbackTransaction));
    assert!(
        matches!(
            rolled_back.as_ref().unwrap_err().diesel_error(),
            Some(RollbackTransaction)
        ),
        "{rolled_back:?}"
    );
    db.connect().batch_execute("SELECT * FROM t").unwrap_err();
    escape!(db, ddl, Ok(())).unwrap();
    db.connect().batch_execute("SELECT * FROM t").unwrap();
    assert_eq!((db.balance(2), db.balance(3)), (22, 33));
}

/// SQLite ends the transaction on the conflict; what comes behind it commits by itself.
#[law(sqlite)]
fn insert_or_rollback_in_the_closure_is_an_escape(db: &Db) {
    assert_escaped!(
        db,
        ["INSERT OR ROLLBACK INTO accounts VALUES (1, 'again', 0)"]
    );
    assert_eq!((db.balance(2), db.balance(3)), (1_000, 33));
}

/// The same through a statement whose failure Diesel does not look behind.
#[law(sqlite)]
fn insert_or_rollback_by_a_prepared_statement_is_an_escape(db: &Db) {
    let result = with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, _: Locked<Account>| {
            diesel::sql_query("INSERT OR ROLLBACK INTO accounts VALUES (1, 'again', 0)")
                .execute(conn)
                .unwrap_err();
            conn.batch_execute(CHANGE_3)?;
            Ok::<_, LockError>(())
        },
    );
    assert!(
        matches!(result, Err(LockError::Escaped { .. })),
        "{result:?}"
    );
}

/// An escape from a nested call is one from the outer call too.
#[law(postgres, mysql, mariadb, sqlite)]
fn escape_from_a_nested_call_is_one_from_the_outer_call(db: &Db) {
    let conn = &mut db.connect();
    let outer = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        let inner = with_row_lock(conn, accounts::table.find(2), |conn, _: Locked<Account>| {
            conn.batch_execute(CHANGE_2)?;
            conn.batch_execute("COMMIT; BEGIN")?;
            Ok::<_, LockError>(())
        });
        assert!(matches!(inner, Err(LockError::Escaped { .. })), "{inner:?}");
        Ok::<_, LockError>(())
    });
    assert!(matches!(outer, Err(LockError::Escaped { .. })), "{outer:?}");
    conn.transaction(|conn| conn.batch_execute(CHANGE_3))
        .expect("the connection is usable");
    assert_eq!(db.balance(3), 33);
}

/// Also if it then returns an error, which a rollback to its savepoint could not make true.
#[law(postgres, mysql, mariadb, sqlite)]
fn escape_from_a_nested_call_is_not_hidden_by_its_error(db: &Db) {
    let conn = &mut db.connect();
    let outer = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        let inner = with_row_lock(conn, accounts::table.find(2), |conn, _: Locked<Account>| {
            conn.batch_execute(CHANGE_2)?;
            conn.batch_execute("COMMIT")?;
            Err::<(), LockError>(RollbackTransaction.into())
        });
        assert!(matches!(inner, Err(LockError::Escaped { .. })), "{inner:?}");
        Err::<(), LockError>(RollbackTransaction.into())
    });
    assert!(matches!(outer, Err(LockError::Escaped { .. })), "{outer:?}");
    assert_eq!(db.balance(2), 22);
    conn.transaction(|conn| conn.batch_execute(CHANGE_3))
        .expect("the connection is usable");
}

#[law(postgres, mysql, mariadb)]
fn escape_from_a_nested_call_fails_the_outer_transaction_of_diesel(db: &Db) {
    let conn = &mut db.connect();
    let outer = conn.transaction(|conn| {
        let inner = with_row_lock(conn, accounts::table.find(2), |conn, _: Locked<Account>| {
            conn.batch_execute("COMMIT; BEGIN")?;
            Ok::<_, LockError>(())
        });
        assert!(matches!(inner, Err(LockError::Escaped { .. })), "{inner:?}");
        QueryResult::Ok(())
    });
    assert!(outer.is_err());
    conn.transaction(|conn| conn.batch_execute(CHANGE_3))
        .expect("the connection is usable");
    assert_eq!(db.balance(3), 33);
}

#[law(postgres, mysql, mariadb)]
fn twin_diesel_says_ok_after_commit_and_begin(db: &Db) {
    let result = escape_from_diesel!(db, ["COMMIT; BEGIN"], Ok::<_, diesel::result::Error>(()));
    assert!(result.is_ok(), "Diesel mends this now: {result:?}");
}

#[law(postgres, sqlite)]
fn twin_diesel_says_ok_after_rollback_and_begin(db: &Db) {
    let result = escape_from_diesel!(db, ["ROLLBACK; BEGIN"], Ok::<_, diesel::result::Error>(()));
    assert!(result.is_ok(), "Diesel mends this now: {result:?}");
    assert_eq!((db.balance(2), db.balance(3)), (1_000, 33));
}

#[law(mysql, mariadb)]
fn twin_diesel_says_ok_after_commit_or_rollback(db: &Db) {
    let result = escape_from_diesel!(db, ["COMMIT"], Ok::<_, diesel::result::Error>(()));
    assert!(result.is_ok(), "Diesel mends this now: {result:?}");
    let result = escape_from_diesel!(db, ["ROLLBACK"], Ok::<_, diesel::result::Error>(()));
    assert!(result.is_ok(), "Diesel mends this now: {result:?}");
}

#[law(mysql, mariadb)]
fn twin_diesel_says_rolled_back_of_what_ddl_made_durable(db: &Db) {
    let result = escape_from_diesel!(
        db,
        ["CREATE TABLE t (id INTEGER)"],
        Err::<(), _>(RollbackTransaction)
    );
    assert!(
        matches!(result, Err(RollbackTransaction)),
        "Diesel mends this now: {result:?}"
    );
    assert_eq!((db.balance(2), db.balance(3)), (22, 33));
}

#[law(sqlite)]
fn twin_diesel_makes_durable_what_follows_insert_or_rollback(db: &Db) {
    let insert = ["INSERT OR ROLLBACK INTO accounts VALUES (1, 'again', 0)"];
    let result = escape_from_diesel!(db, insert, Err::<(), _>(RollbackTransaction));
    assert!(result.is_err());
    assert_eq!(
        (db.balance(2), db.balance(3)),
        (1_000, 33),
        "Diesel mends this now: {result:?}"
    );
}
