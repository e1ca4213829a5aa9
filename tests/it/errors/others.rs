//! Errors that say nothing of locks: they come out as Diesel's own.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_row_lock::{with_row_lock, with_row_locks, LockError, Locked, Outcome};
use law::law;

use super::{assert_usable, CHANGE_1, CHANGE_2};
use crate::support::calls::{assert_error, nothing};
use crate::support::schema::{accounts, Account};

/// T6: the server has answered, so nothing is in doubt.
#[law(postgres, sqlite)]
fn constraint_that_fails_at_commit_is_the_error(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL \
         REFERENCES accounts (id) DEFERRABLE INITIALLY DEFERRED)",
    )
    .unwrap();
    let result = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        conn.batch_execute(CHANGE_1)?;
        conn.batch_execute("INSERT INTO notes VALUES (1, 77)")?;
        Ok::<_, LockError>(())
    });
    let Err(LockError::Database(error)) = &result else {
        panic!("{result:?}")
    };
    let by_kind = matches!(
        **error,
        DieselError::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _)
    );
    assert!(by_kind, "{result:?}");
    assert_error!(result, Database, NotApplied, lasting, no_contention);
    assert_eq!(db.balance(1), 1_000);
    assert_usable!(db, conn);
}

#[law(postgres)]
fn read_only_transaction_is_an_error_of_diesel(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("SET default_transaction_read_only = on")
        .unwrap();
    let result = with_row_lock(conn, accounts::table.find(1), nothing);
    let read_only = matches!(
        result.as_ref().unwrap_err().diesel_error(),
        Some(DieselError::DatabaseError(
            DatabaseErrorKind::ReadOnlyTransaction,
            _
        ))
    );
    assert!(read_only, "{result:?}");
    assert_error!(result, Database, NotApplied, lasting, no_contention);
    conn.batch_execute("SET default_transaction_read_only = off")
        .unwrap();
    assert_usable!(db, conn);
}

#[law(mysql, mariadb)]
fn write_in_a_read_only_transaction_is_an_error_of_diesel(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("SET SESSION TRANSACTION READ ONLY")
        .unwrap();
    let result = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        conn.batch_execute(CHANGE_1)?;
        Ok::<_, LockError>(())
    });
    assert_error!(result, Database, NotApplied, lasting, no_contention);
    conn.batch_execute("SET SESSION TRANSACTION READ WRITE")
        .unwrap();
    assert_usable!(db, conn);
}

#[law(sqlite)]
fn write_in_a_read_only_database_is_an_error_of_diesel(db: &Db) {
    let conn = &mut Conn::establish(&format!("file:{}?mode=ro", db.url())).unwrap();
    let result = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        conn.batch_execute(CHANGE_1)?;
        Ok::<_, LockError>(())
    });
    assert_error!(result, Database, NotApplied, lasting, no_contention);
    assert_eq!(
        accounts::table.count().get_result(conn),
        Ok(4_i64),
        "the connection is usable"
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn unknown_table_is_an_error_of_diesel(db: &Db) {
    let conn = &mut db.connect();
    let query = crate::session::nowhere::table.find(1);
    let result = with_row_lock(conn, query, |_, _: Locked<(i32,)>| Ok::<_, LockError>(()));
    assert_error!(result, Database, NotApplied, lasting, no_contention);
    assert_usable!(db, conn);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn violated_constraint_is_an_error_of_diesel(db: &Db) {
    let conn = &mut db.connect();
    let result = with_row_locks(
        conn,
        [1, 2],
        |conn, [mut first, _]: [Locked<Account>; 2]| {
            conn.batch_execute(CHANGE_2)?;
            first.balance = -2_000_000;
            first.save_changes::<Account>(conn)?;
            Ok::<_, LockError>(())
        },
    );
    assert_error!(result, Database, NotApplied, lasting, no_contention);
    assert_eq!((db.balance(1), db.balance(2)), (1_000, 1_000));
    assert_usable!(db, conn);
}
