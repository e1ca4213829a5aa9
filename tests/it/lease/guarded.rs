//! Guarded writes: in one transaction with the check that the lease is still held.

use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{with_row_lock, Lease, LockError, Locked, Outcome};
use law::law;

use super::hands::books;
use super::{assert_stale, forged, set_up};
use crate::support::calls::assert_error;
use crate::support::schema::{accounts, Account};
use crate::support::wait_until;

#[law(postgres, mysql, mariadb, sqlite)]
fn guarded_write_is_a_transaction(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books().try_acquire(conn, "Ada").unwrap();
    let set = |conn: &mut Conn, balance: i64| {
        diesel::update(accounts::table.find(1))
            .set(accounts::balance.eq(balance))
            .execute(conn)
    };
    let undone = held.guarded(conn, |conn| {
        set(conn, 7)?;
        Err::<(), _>(LockError::DuplicateKey {
            key: "mine".to_owned(),
        })
    });
    assert!(
        matches!(&undone, Err(LockError::DuplicateKey { key }) if key == "mine"),
        "{undone:?}"
    );
    assert_eq!(db.balance(1), 1_000);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        held.guarded(conn, |conn| -> Result<(), LockError> {
            set(conn, 7).unwrap();
            panic!("the closure's")
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(db.balance(1), 1_000);
    let escaped = held.guarded(conn, |conn| {
        Ok::<_, LockError>(conn.batch_execute("COMMIT")?)
    });
    assert_error!(escaped, Escaped, Escaped, lasting, no_contention);
    held.guarded(conn, |conn| set(conn, 7)).unwrap();
    assert_eq!(db.balance(1), 7);
}

/// The lease's row stays locked to the end of the outer transaction.
#[law(postgres, mysql, mariadb, sqlite)]
fn guarded_write_in_a_locked_call_is_a_savepoint(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books().try_acquire(conn, "Ada").unwrap();
    let late = Lease::named("late").with_handle(forged());
    with_row_lock(
        conn,
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            assert_stale!(late.guarded(conn, |_| Ok::<_, LockError>(())));
            account.balance = 7;
            held.guarded(conn, |conn| account.save_changes::<Account>(conn))?;
            Ok::<_, LockError>(())
        },
    )
    .unwrap();
    assert_eq!(db.balance(1), 7);
}

/// Even when its time is over meanwhile.
#[law(postgres, mysql, mariadb)]
fn nobody_gets_the_lease_while_its_holder_writes(db: &Db) {
    let conn = &mut set_up!(db);
    let brief = books().ttl(Duration::from_secs(4));
    let held = brief.try_acquire(conn, "Ada").unwrap();
    held.guarded(conn, |_| {
        let other = &mut db.connect();
        wait_until("it expires", Duration::from_millis(50), || {
            books().holder(other).unwrap().unwrap().expired
        });
        let result = books().try_acquire(other, "Charles");
        assert!(
            matches!(result, Err(LockError::LeaseHeld { .. })),
            "{result:?}"
        );
        Ok::<_, LockError>(())
    })
    .unwrap();
    let _ = books().try_acquire(conn, "Charles").unwrap();
}

#[law(postgres, mysql, mariadb)]
fn override_waits_for_a_write_that_is_on_its_way(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books().try_acquire(conn, "Ada").unwrap();
    thread::scope(|scope| {
        let boss = held.guarded(conn, |conn| {
            let boss = scope.spawn(|| books().override_by(&mut db.connect(), "boss", ""));
            db.wait_for_waiters(1);
            diesel::update(accounts::table.find(1))
                .set(accounts::balance.eq(7))
                .execute(conn)?;
            Ok::<_, LockError>(boss)
        });
        let boss = boss.unwrap().join().unwrap().unwrap();
        assert_eq!(db.balance(1), 7);
        assert!(boss.token() > held.token());
    });
    let overrides = books().overrides(conn).unwrap();
    assert_eq!(overrides[0].ousted, Some(("Ada".to_owned(), held.token())));
}
