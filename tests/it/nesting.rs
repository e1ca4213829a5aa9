//! Promise 8: inside an open transaction a call is a savepoint.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error::RollbackTransaction;
use diesel_row_lock::{with_row_lock, with_row_locks, LockError, Locked, RowLock};
use law::law;

use crate::support::calls::ask;
use crate::support::schema::{accounts, Account};

macro_rules! is_locked {
    ($db:ident, $id:expr) => {
        match ask!($db, $id, RowLock::for_update()) {
            Ok(()) => false,
            Err(LockError::Busy { .. }) => true,
            Err(error) => panic!("{error:?}"),
        }
    };
}

/// A locked call on account 1 that sets it to 11 and ends in `$outer`; in it one on account 2 that
/// sets it to 22 and ends in `$inner`, whose error the outer one handles.
macro_rules! nested {
    ($db:ident, $inner:expr, $outer:expr) => {{
        let conn = &mut $db.connect();
        let result = with_row_lock(
            conn,
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                account.balance = 11;
                account.save_changes::<Account>(conn)?;
                let inner = with_row_lock(
                    conn,
                    accounts::table.find(2),
                    |conn, mut account: Locked<Account>| {
                        account.balance = 22;
                        account.save_changes::<Account>(conn)?;
                        $inner
                    },
                );
                let expected: QueryResult<()> = $inner;
                assert_eq!(inner, expected);
                assert!(is_locked!($db, 1), "the outer lock lasts");
                $outer
            },
        );
        let expected: QueryResult<()> = $outer;
        assert_eq!(result, expected);
        assert!(!is_locked!($db, 1) && !is_locked!($db, 2));
        assert_eq!(open_savepoints(conn), None);
        ($db.balance(1), $db.balance(2))
    }};
}

fn open_savepoints<C: Connection>(conn: &mut C) -> Option<u32> {
    use diesel::connection::TransactionManager;
    let status = C::TransactionManager::transaction_manager_status_mut(conn);
    status.transaction_depth().unwrap().map(Into::into)
}

#[law(postgres, mysql, mariadb, sqlite)]
fn inner_ok_and_outer_ok_keep_both_changes(db: &Db) {
    assert_eq!(nested!(db, Ok(()), Ok(())), (11, 22));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn inner_err_and_outer_ok_keep_the_outer_change(db: &Db) {
    assert_eq!(nested!(db, Err(RollbackTransaction), Ok(())), (11, 1_000));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn inner_ok_and_outer_err_keep_nothing(db: &Db) {
    assert_eq!(
        nested!(db, Ok(()), Err(RollbackTransaction)),
        (1_000, 1_000)
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn inner_err_and_outer_err_keep_nothing(db: &Db) {
    assert_eq!(
        nested!(db, Err(RollbackTransaction), Err(RollbackTransaction)),
        (1_000, 1_000)
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn inner_lock_lasts_until_the_outermost_transaction_ends(db: &Db) {
    let result = with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, _: Locked<Account>| {
            with_row_lock(conn, accounts::table.find(2), |_, _: Locked<Account>| {
                Ok::<_, LockError>(())
            })?;
            assert!(is_locked!(db, 2));
            Ok::<_, LockError>(())
        },
    );
    result.unwrap();
    assert!(!is_locked!(db, 2));
}

/// E12: PostgreSQL gives up the locks of a savepoint that is rolled back, InnoDB keeps them.
#[law(postgres)]
fn inner_lock_ends_when_its_savepoint_is_rolled_back(db: &Db) {
    let result = with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, _: Locked<Account>| {
            let inner = with_row_lock(conn, accounts::table.find(2), |_, _: Locked<Account>| {
                assert!(is_locked!(db, 2));
                Err::<(), _>(RollbackTransaction)
            });
            assert!(inner.is_err());
            assert!(!is_locked!(db, 2));
            Ok::<_, LockError>(())
        },
    );
    result.unwrap();
}

/// PostgreSQL's spec `delete-abort-savept`.
#[law(postgres, mysql, mariadb, sqlite)]
fn outer_lock_survives_an_inner_rollback_on_the_same_row(db: &Db) {
    let result = with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, _: Locked<Account>| {
            let inner = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
                diesel::delete(accounts::table.find(1)).execute(conn)?;
                Err::<(), _>(RollbackTransaction)
            });
            assert!(inner.is_err());
            assert!(is_locked!(db, 1));
            Ok::<_, LockError>(())
        },
    );
    result.unwrap();
    assert_eq!(db.balance(1), 1_000);
}

#[law(postgres, mysql, mariadb)]
fn call_in_a_transaction_of_diesel_is_a_savepoint(db: &Db) {
    let conn = &mut db.connect();
    let result = conn.transaction(|conn| {
        conn.batch_execute("UPDATE accounts SET balance = 33 WHERE id = 3")?;
        let inner = with_row_lock(
            conn,
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                account.balance = 11;
                account.save_changes::<Account>(conn)?;
                Err::<(), _>(RollbackTransaction)
            },
        );
        assert_eq!(inner, Err(RollbackTransaction));
        with_row_lock(
            conn,
            accounts::table.find(2),
            |conn, mut account: Locked<Account>| {
                account.balance = 22;
                account.save_changes::<Account>(conn)
            },
        )?;
        assert_eq!(db.balance(2), 1_000, "not committed yet");
        assert!(is_locked!(db, 2));
        QueryResult::Ok(())
    });
    result.unwrap();
    assert_eq!(
        (db.balance(1), db.balance(2), db.balance(3)),
        (1_000, 22, 33)
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn transaction_of_diesel_in_a_call_is_a_savepoint(db: &Db) {
    let result = with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            account.balance = 11;
            account.save_changes::<Account>(conn)?;
            let inner = conn.transaction(|conn| {
                conn.batch_execute("UPDATE accounts SET balance = 22 WHERE id = 2")?;
                Err::<(), _>(RollbackTransaction)
            });
            assert!(inner.is_err());
            conn.transaction(|conn| {
                conn.batch_execute("UPDATE accounts SET balance = 33 WHERE id = 3")
            })
        },
    );
    result.unwrap();
    assert_eq!(
        (db.balance(1), db.balance(2), db.balance(3)),
        (11, 1_000, 33)
    );
}

#[law(postgres, mysql, mariadb)]
fn failed_inner_call_leaves_the_outer_transaction_usable(db: &Db) {
    let mut holder = db.connect();
    holder
        .batch_execute("BEGIN; UPDATE accounts SET balance = 5 WHERE id = 4")
        .unwrap();
    let result = with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            account.balance = 11;
            account.save_changes::<Account>(conn)?;
            let busy = RowLock::for_update().no_wait().with(
                conn,
                accounts::table.find(4),
                |_, _: Locked<Account>| Ok::<_, LockError>(()),
            );
            assert!(matches!(busy, Err(LockError::Busy { .. })), "{busy:?}");
            let missing = with_row_locks(conn, [2, 77], |_, _: [Locked<Account>; 2]| {
                Ok::<_, LockError>(())
            });
            assert!(
                matches!(missing, Err(LockError::NotFound { key: Some(_) })),
                "{missing:?}"
            );
            account.balance = 12;
            account.save_changes::<Account>(conn)
        },
    );
    result.unwrap();
    assert_eq!(db.balance(1), 12);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn savepoints_nest_three_deep(db: &Db) {
    let result = with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, _: Locked<Account>| {
            with_row_lock(
                conn,
                accounts::table.find(2),
                |conn, mut two: Locked<Account>| {
                    two.balance = 22;
                    two.save_changes::<Account>(conn)?;
                    let third = with_row_lock(
                        conn,
                        accounts::table.find(3),
                        |conn, mut three: Locked<Account>| {
                            three.balance = 33;
                            three.save_changes::<Account>(conn)?;
                            Err::<(), _>(RollbackTransaction)
                        },
                    );
                    assert_eq!(third, Err(RollbackTransaction));
                    QueryResult::Ok(())
                },
            )
        },
    );
    result.unwrap();
    assert_eq!((db.balance(2), db.balance(3)), (22, 1_000));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn outermost_refuses_inside_a_locked_call(db: &Db) {
    let result = with_row_lock(
        &mut db.connect(),
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            let inner = RowLock::for_update().outermost().with(
                conn,
                accounts::table.find(2),
                |_, _: Locked<Account>| Ok::<_, LockError>(()),
            );
            assert!(
                matches!(inner, Err(LockError::AlreadyInTransaction { .. })),
                "{inner:?}"
            );
            account.balance = 11;
            account.save_changes::<Account>(conn)
        },
    );
    result.unwrap();
    assert_eq!(
        db.balance(1),
        11,
        "the refusal costs the outer call nothing"
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn outermost_refuses_inside_a_transaction_of_diesel(db: &Db) {
    let conn = &mut db.connect();
    let lock = RowLock::for_update().outermost();
    let inside = conn.transaction(|conn| {
        lock.with(
            conn,
            accounts::table.find(1),
            |_, _: Locked<Account>| Ok(()),
        )
    });
    assert!(
        matches!(inside, Err(LockError::AlreadyInTransaction { .. })),
        "{inside:?}"
    );
    lock.with(conn, accounts::table.find(1), |_, _: Locked<Account>| {
        Ok::<_, LockError>(())
    })
    .unwrap();
}

#[law(postgres)]
fn call_after_a_swallowed_error_of_the_outer_transaction_is_aborted(db: &Db) {
    let result = db.connect().transaction(|conn| {
        let _ = conn.batch_execute("INSERT INTO accounts VALUES (1, 'again', 0)");
        with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
            Ok::<_, LockError>(())
        })
    });
    assert!(
        matches!(result, Err(LockError::Aborted { .. })),
        "{result:?}"
    );
}

/// Diesel's test transactions are outer transactions like any other.
#[law(postgres, mysql, mariadb)]
fn call_works_in_a_test_transaction(db: &Db) {
    let conn = &mut db.connect();
    conn.begin_test_transaction().unwrap();
    with_row_lock(
        conn,
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            account.balance = 11;
            account.save_changes::<Account>(conn)
        },
    )
    .unwrap();
    assert_eq!(db.balance(1), 1_000);
}
