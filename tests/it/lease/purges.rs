//! `purge` deletes what ended, waits for no one, and lets no one wait.

use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{Lease, LockError};
use law::law;

use super::{assert_stale, set_up, Number, EXPIRE, LOCK_ROW};

const AGE: Duration = Duration::from_millis(1);
const HOUR_AGO: &str = "UPDATE row_lock_leases SET expires_at = expires_at - 3600000000";

fn books() -> Lease {
    Lease::named("books")
}

/// Runs `$while` while a guarded write on the expired lease `books` is late, beside other leases
/// that ended.
macro_rules! while_a_write_is_late {
    ($db:ident, |$conn:ident| $while:expr) => {{
        let $conn = &mut set_up!($db);
        for name in ["books", "a", "b", "free"] {
            let _held = Lease::named(name).try_acquire($conn, "Ada").unwrap();
        }
        $conn.batch_execute(EXPIRE).unwrap();
        $conn
            .batch_execute(&format!("{HOUR_AGO} WHERE name <> 'free'"))
            .unwrap();
        $db.connect()
            .transaction(|late| {
                let rows: Vec<Number> = diesel::sql_query(LOCK_ROW).load(late)?;
                assert_eq!(rows.len(), 1);
                $while;
                QueryResult::Ok(())
            })
            .unwrap();
    }};
}

#[law(postgres, mysql, mariadb)]
fn purge_passes_over_a_late_write_and_lets_no_one_wait(db: &Db) {
    while_a_write_is_late!(db, |conn| {
        assert_eq!(Lease::purge(conn, Duration::from_secs(60)).unwrap(), 2);
        let held = Lease::named("free").try_acquire(conn, "Charles").unwrap();
        held.renew(conn).unwrap();
        held.release(conn).unwrap();
    });
    let conn = &mut db.connect();
    assert_eq!(Lease::purge(conn, Duration::from_secs(60)).unwrap(), 1);
}

/// Twin: as it was on PostgreSQL, under a lock of the table: everyone waits for the late write.
#[law(postgres)]
fn twin_purge_that_locks_the_table_makes_everyone_wait(db: &Db) {
    while_a_write_is_late!(db, |_conn| thread::scope(|scope| {
        let purge = scope.spawn(|| {
            let purge = "BEGIN; LOCK TABLE row_lock_leases IN SHARE ROW EXCLUSIVE MODE; \
                         DELETE FROM row_lock_leases WHERE expires_at < 0 OR name = 'books'; \
                         COMMIT";
            db.connect()
                .batch_execute(&format!("SET lock_timeout = '2s'; {purge}"))
        });
        db.wait_for_waiters(1);
        let other = scope.spawn(|| Lease::named("free").try_acquire(&mut db.connect(), "Charles"));
        db.wait_for_waiters(2);
        assert!(purge.join().unwrap().is_err());
        let _ = other.join().unwrap().unwrap();
    }));
}

/// Twin: as it was on MySQL and MariaDB: it has locked a row that is free, and waits for the late
/// one.
#[law(mysql, mariadb)]
fn twin_purge_without_skip_locked_keeps_a_free_lease_from_all(db: &Db) {
    while_a_write_is_late!(db, |conn| thread::scope(|scope| {
        let purge = scope.spawn(|| {
            let purger = &mut db.connect();
            purger
                .batch_execute("SET innodb_lock_wait_timeout = 2; BEGIN")
                .unwrap();
            for name in ["free", "books"] {
                let delete = format!("DELETE FROM row_lock_leases WHERE name = '{name}'");
                purger.batch_execute(&delete)?;
            }
            QueryResult::Ok(())
        });
        db.wait_for_waiters(1);
        let result = Lease::named("free").try_acquire(conn, "Charles");
        assert!(
            matches!(result, Err(LockError::LeaseHeld { .. })),
            "{result:?}"
        );
        assert!(purge.join().unwrap().is_err());
    }));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn more_leases_than_fit_into_one_transaction_are_purged(db: &Db) {
    let conn = &mut set_up!(db);
    let rows: Vec<String> = (0..1_200)
        .map(|n| format!("('{n}', 'x', '', 7, 0, 1, 1, 1)"))
        .collect();
    let insert = format!(
        "INSERT INTO row_lock_leases \
         (name, owner, note, token, nonce, acquired_at, expires_at, ttl) VALUES {}",
        rows.join(", ")
    );
    conn.batch_execute(&insert).unwrap();
    let held = books().try_acquire(conn, "Ada").unwrap();
    assert_eq!(Lease::purge(conn, AGE).unwrap(), 1_200);
    assert_eq!(Lease::purge(conn, AGE).unwrap(), 0);
    assert_eq!(Lease::holders(conn).unwrap().len(), 1);
    held.release(conn).unwrap();
}

/// A token as after a clock that was an hour ahead.
#[law(postgres, mysql, mariadb, sqlite)]
fn token_rises_over_a_purge_even_if_the_clock_is_set_back(db: &Db) {
    let conn = &mut set_up!(db);
    let early = books().try_acquire(conn, "Ada").unwrap();
    let ahead = early.token() + 3_600_000_000;
    conn.batch_execute(&format!("UPDATE row_lock_leases SET token = {ahead}"))
        .unwrap();
    assert_stale!(early.release(conn));
    conn.batch_execute(EXPIRE).unwrap();
    assert_eq!(Lease::purge(conn, AGE).unwrap(), 1);
    for name in ["books", "one that never was"] {
        let held = Lease::named(name).try_acquire(conn, "Charles").unwrap();
        assert!(held.token() > ahead, "{} after {ahead}", held.token());
    }
}

/// Twin: deleted by hand, the row takes its token along.
#[law(postgres, mysql, mariadb, sqlite)]
fn twin_token_falls_over_a_plain_delete(db: &Db) {
    let conn = &mut set_up!(db);
    let early = books().try_acquire(conn, "Ada").unwrap();
    let ahead = early.token() + 3_600_000_000;
    conn.batch_execute(&format!("UPDATE row_lock_leases SET token = {ahead}"))
        .unwrap();
    conn.batch_execute("DELETE FROM row_lock_leases").unwrap();
    assert!(books().try_acquire(conn, "Charles").unwrap().token() < ahead);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn purge_without_a_floor_deletes_nothing(db: &Db) {
    let conn = &mut set_up!(db);
    let _held = books().try_acquire(conn, "Ada").unwrap();
    conn.batch_execute(EXPIRE).unwrap();
    conn.batch_execute("DELETE FROM row_lock_lease_floor")
        .unwrap();
    let result = Lease::purge(conn, AGE);
    assert!(
        matches!(result, Err(LockError::NotFound { .. })),
        "{result:?}"
    );
    assert_eq!(Lease::holders(conn).unwrap().len(), 1);
}
