//! Through a pool: the same calls on a `PooledConnection`, and a pool that serves on whatever
//! happened to its connection.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool, PooledConnection, R2D2Connection};
use diesel_row_lock::{with_row_lock, with_row_locks, LockError, Locked, RowLock};
use law::law;

use crate::support::calls::{ask, assert_busy, while_held};
use crate::support::schema::{accounts, Account};

/// A pool of one connection, so that whoever comes next gets that one or its successor.
fn pool<C: R2D2Connection + 'static>(url: String) -> Pool<ConnectionManager<C>> {
    Pool::builder()
        .max_size(1)
        .connection_timeout(Duration::from_secs(20))
        .build(ConnectionManager::new(url))
        .unwrap()
}

#[law(postgres, mysql, mariadb, sqlite)]
fn pooled_connection_locks_one_row(db: &Db) {
    let pool = pool::<Conn>(db.url());
    let conn: &mut PooledConnection<ConnectionManager<Conn>> = &mut pool.get().unwrap();
    let balance = with_row_lock(
        conn,
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            assert!(!db.free("accounts").contains(&1));
            account.balance += 100;
            Ok::<_, LockError>(account.save_changes::<Account>(conn)?.balance)
        },
    );
    assert_eq!(balance.unwrap(), 1_100);
    assert_eq!(db.balance(1), 1_100);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn pooled_connection_locks_many_rows(db: &Db) {
    let pool = pool::<Conn>(db.url());
    let conn = &mut pool.get().unwrap();
    with_row_locks(
        conn,
        [2, 1],
        |conn, [mut from, mut to]: [Locked<Account>; 2]| {
            from.balance -= 50;
            to.balance += 50;
            from.save_changes::<Account>(conn)?;
            to.save_changes::<Account>(conn)?;
            Ok::<_, LockError>(())
        },
    )
    .unwrap();
    let patient = RowLock::for_update()
        .timeout(Duration::from_secs(5))
        .outermost();
    let query = accounts::table.order(accounts::id);
    let balances = patient.with_all(conn, query, |_, rows: Vec<Locked<Account>>| {
        Ok::<_, LockError>(rows.iter().map(|row| row.balance).collect::<Vec<_>>())
    });
    assert_eq!(balances.unwrap(), [1_050, 950, 1_000, 1_000]);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn nested_call_on_a_pooled_connection_is_a_savepoint(db: &Db) {
    let pool = pool::<Conn>(db.url());
    let conn = &mut pool.get().unwrap();
    with_row_lock(
        conn,
        accounts::table.find(1),
        |conn, mut first: Locked<Account>| {
            let inner = with_row_lock(
                conn,
                accounts::table.find(2),
                |conn, mut second: Locked<Account>| {
                    second.balance = 0;
                    second.save_changes::<Account>(conn)?;
                    Err::<(), LockError>(diesel::result::Error::RollbackTransaction.into())
                },
            );
            assert!(inner.is_err());
            first.balance = 5;
            first.save_changes::<Account>(conn)?;
            Ok::<_, LockError>(())
        },
    )
    .unwrap();
    assert_eq!((db.balance(1), db.balance(2)), (5, 1_000));
}

#[law(postgres, mysql, mariadb)]
fn connection_stays_in_the_pool_after_an_error(db: &Db) {
    let pool = pool::<Conn>(db.url());
    let before = Db::session(&mut pool.get().unwrap());
    let (row, nobody) = (accounts::table.find(1), accounts::table.find(77));
    let missing = with_row_lock(&mut pool.get().unwrap(), nobody, |_, _: Locked<Account>| {
        Ok::<_, LockError>(())
    });
    assert!(
        matches!(missing, Err(LockError::NotFound { .. })),
        "{missing:?}"
    );
    while_held!(db, 1, RowLock::for_update(), {
        let impatient = RowLock::for_update().no_wait();
        let busy = impatient.with(
            &mut pool.get().unwrap(),
            row,
            |_, _: Locked<Account>| Ok(()),
        );
        assert_busy!(busy);
        let brief = RowLock::for_update().timeout(Duration::from_millis(20));
        let late = brief.with(
            &mut pool.get().unwrap(),
            row,
            |_, _: Locked<Account>| Ok(()),
        );
        assert!(matches!(late, Err(LockError::Timeout { .. })), "{late:?}");
    });
    let own = with_row_lock(&mut pool.get().unwrap(), row, |conn, _: Locked<Account>| {
        conn.batch_execute("UPDATE accounts SET balance = 5 WHERE id = 1")?;
        Err::<(), anyhow::Error>(anyhow::anyhow!("no"))
    });
    assert!(own.is_err());
    assert_eq!(
        Db::session(&mut pool.get().unwrap()),
        before,
        "the pool has thrown it away"
    );
    assert_eq!(db.balance(1), 1_000);
}

/// Caught while the connection is out of the pool.
#[law(postgres, mysql, mariadb)]
fn connection_stays_in_the_pool_after_a_caught_panic(db: &Db) {
    let pool = pool::<Conn>(db.url());
    let before = Db::session(&mut pool.get().unwrap());
    {
        let mut conn = pool.get().unwrap();
        panic_under_the_lock!(&mut conn);
        assert_eq!(db.free("accounts"), [1, 2, 3, 4]);
    }
    assert_eq!(
        Db::session(&mut pool.get().unwrap()),
        before,
        "the pool has thrown it away"
    );
}

/// The connection goes back by the unwind itself; r2d2 then replaces it.
#[law(postgres, mysql, mariadb, sqlite)]
fn pool_serves_on_after_a_panic(db: &Db) {
    let pool = pool::<Conn>(db.url());
    for _ in 0..3 {
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let mut conn = pool.get().unwrap();
            panic_under_the_lock!(&mut conn);
            panic!("on it goes");
        }));
        assert!(unwound.is_err());
        assert_eq!(db.free("accounts"), [1, 2, 3, 4]);
    }
    let conn = &mut pool.get().unwrap();
    with_row_lock(
        conn,
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            assert_eq!(account.balance, 1_000);
            account.balance = 5;
            account.save_changes::<Account>(conn)
        },
    )
    .unwrap();
    assert_eq!(db.balance(1), 5);
}

/// Diesel's verify_that_begin_test_transaction_works_with_pools.
#[law(postgres, mysql, mariadb)]
fn locked_call_in_a_test_transaction_is_never_committed(db: &Db) {
    let pool = pool::<Conn>(db.url());
    {
        let conn = &mut pool.get().unwrap();
        conn.begin_test_transaction().unwrap();
        with_row_lock(
            conn,
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                account.balance = 5;
                account.save_changes::<Account>(conn)
            },
        )
        .unwrap();
        assert_busy!(ask!(db, 1, RowLock::for_update()));
    }
    assert_eq!(db.balance(1), 1_000);
}

#[law(postgres, mysql, mariadb)]
fn lost_connection_is_replaced(db: &Db) {
    let pool = pool::<Conn>(db.url());
    let before = Db::session(&mut pool.get().unwrap());
    let row = accounts::table.find(1);
    let lost = with_row_lock(&mut pool.get().unwrap(), row, |conn, _: Locked<Account>| {
        db.kill(before);
        conn.batch_execute("UPDATE accounts SET balance = 5 WHERE id = 1")?;
        Ok::<_, LockError>(())
    });
    assert!(
        matches!(lost, Err(LockError::ConnectionLost { .. })),
        "{lost:?}"
    );
    let conn = &mut pool.get().unwrap();
    assert_ne!(Db::session(conn), before);
    with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
        Ok::<_, LockError>(())
    })
    .unwrap();
}

/// Writes under the lock, panics, and catches it. The panic that comes out is the closure's own.
macro_rules! panic_under_the_lock {
    ($conn:expr) => {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            with_row_lock(
                $conn,
                accounts::table.find(1),
                |conn, _: Locked<Account>| -> Result<(), LockError> {
                    conn.batch_execute("UPDATE accounts SET balance = 5 WHERE id = 1")?;
                    panic!("under the lock")
                },
            )
        }));
        let payload = panicked.unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"under the lock"));
    };
}
use panic_under_the_lock;
