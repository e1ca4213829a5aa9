//! Promise 4: a panic unlocks, before the unwind leaves the call, and the connection is usable.

use std::panic::{catch_unwind, AssertUnwindSafe};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{with_row_lock, with_row_locks, LockError, Locked, RowLock};
use law::law;

use crate::support::calls::ask;
use crate::support::schema::{accounts, Account};

/// Fails unless another connection gets the row's lock at once.
macro_rules! assert_free {
    ($db:ident, $id:expr) => {
        ask!($db, $id, RowLock::for_update()).expect("the row is free")
    };
}

/// On the way out of a panic, while it still unwinds, asks for the lock of account 1.
struct AskWhileUnwinding<F: FnMut()>(F);

impl<F: FnMut()> Drop for AskWhileUnwinding<F> {
    fn drop(&mut self) {
        assert!(std::thread::panicking());
        self.0();
    }
}

#[law(postgres, mysql, mariadb, sqlite)]
fn row_is_free_before_the_unwind_leaves_the_call(db: &Db) {
    let conn = &mut db.connect();
    let asked = std::cell::Cell::new(false);
    let payload = catch_unwind(AssertUnwindSafe(|| {
        let _ask = AskWhileUnwinding(|| {
            assert_free!(db, 1);
            asked.set(true);
        });
        with_row_lock(
            conn,
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                account.balance = 0;
                account.save_changes::<Account>(conn)?;
                panic!("the payload");
                #[allow(unreachable_code)]
                Ok::<(), LockError>(())
            },
        )
    }))
    .unwrap_err();
    assert!(asked.get());
    assert_eq!(
        payload.downcast_ref::<&str>(),
        Some(&"the payload"),
        "the payload is kept"
    );
    assert_eq!(db.balance(1), 1_000);
    with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
        Ok::<_, LockError>(())
    })
    .expect("the connection is usable");
    conn.transaction(|conn| conn.batch_execute("UPDATE accounts SET balance = 5 WHERE id = 1"))
        .expect("also for Diesel");
    assert_eq!(db.balance(1), 5);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn panic_in_a_call_of_many_rows_frees_them_all(db: &Db) {
    let conn = &mut db.connect();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        with_row_locks(
            conn,
            [1, 2],
            |_, _: [Locked<Account>; 2]| -> Result<(), LockError> { panic!() },
        )
    }));
    assert!(panic.is_err());
    assert_free!(db, 1);
    assert_free!(db, 2);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn panic_in_a_nested_call_that_is_caught_outside_frees_both_rows(db: &Db) {
    let conn = &mut db.connect();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
            with_row_lock(
                conn,
                accounts::table.find(2),
                |_, _: Locked<Account>| -> Result<(), LockError> { panic!() },
            )
        })
    }));
    assert!(panic.is_err());
    assert_free!(db, 1);
    assert_free!(db, 2);
    conn.transaction(|conn| conn.batch_execute("SELECT 1"))
        .expect("the connection is usable");
}

/// The savepoint is rolled back, and the outer transaction goes on as it was.
#[law(postgres, mysql, mariadb, sqlite)]
fn panic_in_a_nested_call_that_is_caught_inside_leaves_the_outer_call_alone(db: &Db) {
    let conn = &mut db.connect();
    let outer = with_row_lock(
        conn,
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            account.balance = 11;
            account.save_changes::<Account>(conn)?;
            let panic = catch_unwind(AssertUnwindSafe(|| {
                with_row_lock(
                    conn,
                    accounts::table.find(2),
                    |conn, mut account: Locked<Account>| {
                        account.balance = 22;
                        account.save_changes::<Account>(conn)?;
                        panic!();
                        #[allow(unreachable_code)]
                        Ok::<(), LockError>(())
                    },
                )
            }));
            assert!(panic.is_err());
            Ok::<_, LockError>(())
        },
    );
    outer.unwrap();
    assert_eq!((db.balance(1), db.balance(2)), (11, 1_000));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn panic_after_a_swallowed_error_frees_the_row(db: &Db) {
    let conn = &mut db.connect();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        with_row_lock(
            conn,
            accounts::table.find(1),
            |conn, _: Locked<Account>| -> Result<(), LockError> {
                let _ = conn.batch_execute("INSERT INTO accounts VALUES (1, 'again', 0)");
                panic!()
            },
        )
    }));
    assert!(panic.is_err());
    assert_free!(db, 1);
    conn.transaction(|conn| conn.batch_execute("SELECT 1"))
        .expect("the connection is usable");
}

/// E10. Twin: with Diesel the transaction stays open and the row locked.
#[law(postgres, mysql, mariadb)]
fn twin_diesel_leaks_the_lock_after_a_panic(db: &Db) {
    let conn = &mut db.connect();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        conn.transaction(|conn| -> QueryResult<()> {
            let _: Account = accounts::table.find(1).for_update().first(conn)?;
            panic!()
        })
    }));
    assert!(panic.is_err());
    let second = ask!(db, 1, RowLock::for_update());
    assert!(
        matches!(second, Err(LockError::Busy { .. })),
        "Diesel mends this now: {second:?}"
    );
}

#[law(sqlite)]
fn twin_diesel_leaks_the_database_lock_after_a_panic(db: &Db) {
    let conn = &mut db.connect();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        conn.immediate_transaction(|_| -> QueryResult<()> { panic!() })
    }));
    assert!(panic.is_err());
    let second = ask!(db, 1, RowLock::for_update());
    assert!(
        matches!(second, Err(LockError::Busy { .. })),
        "Diesel mends this now: {second:?}"
    );
}
