//! Fencing tokens: each lease has its own, and a holder is known by more than its number.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel_row_lock::{Lease, LockError};
use law::law;

use super::{assert_stale, server_clock, set_up, Number};
use crate::support::wait_until;

const PATIENCE: Duration = Duration::from_secs(20);

fn books() -> Lease {
    Lease::named("books").ttl(Duration::from_secs(600))
}

/// One that stops right before its COMMIT keeps no one from another lease.
#[law(mysql, mariadb)]
fn leases_of_different_names_do_not_stand_in_one_line(db: &Db) {
    let conn = &mut set_up!(db);
    let (stands, standing) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let first = scope.spawn(move || {
            let mut first = db.connect();
            first.set_instrumentation(move |event: InstrumentationEvent<'_>| {
                if let InstrumentationEvent::StartQuery { query, .. } = event {
                    if query.to_string().contains("COMMIT") && stands.send(()).is_ok() {
                        gone.recv_timeout(PATIENCE).unwrap();
                    }
                }
            });
            books().try_acquire(&mut first, "Ada")
        });
        standing.recv_timeout(PATIENCE).unwrap();
        // Its row is written, and its transaction is open.
        let held = Lease::named("other").try_acquire(conn, "Charles").unwrap();
        held.release(conn).unwrap();
        assert!(!first.is_finished());
        drop(standing);
        go.send(()).unwrap();
        let _ = first.join().unwrap().unwrap();
    });
}

/// Twin: as it was, each caller counts up one row of tokens for all leases.
#[law(mysql, mariadb)]
fn twin_row_of_tokens_for_all_leases_is_a_line(db: &Db) {
    let conn = &mut set_up!(db);
    let next = "UPDATE row_lock_lease_floor SET token = token + 1";
    conn.batch_execute(&format!("BEGIN; {next}")).unwrap();
    thread::scope(|scope| {
        let other = scope.spawn(|| db.connect().batch_execute(next));
        db.wait_for_waiters(1);
        assert!(!other.is_finished());
        conn.batch_execute("COMMIT").unwrap();
        other.join().unwrap().unwrap();
    });
}

/// After a restore from a backup the row is gone, or is as it was.
#[law(postgres, mysql, mariadb, sqlite)]
fn tokens_go_on_rising_after_a_restore(db: &Db) {
    let conn = &mut set_up!(db);
    let clock = server_clock!(conn);
    let late = books().try_acquire(conn, "Ada").unwrap();
    assert!(late.token() > clock, "{} at {clock}", late.token());
    // SQLite's clock counts milliseconds, and both could be of the same one.
    wait_until("the clock goes on", Duration::from_millis(1), || {
        server_clock!(conn) >= late.token()
    });
    conn.batch_execute("DELETE FROM row_lock_leases").unwrap();
    let held = books().try_acquire(conn, "Charles").unwrap();
    assert!(held.token() > late.token());
}

/// After a restore on a server whose clock is behind, a token comes twice.
#[law(postgres, mysql, mariadb, sqlite)]
fn late_holder_is_found_out_even_if_its_token_was_given_out_again(db: &Db) {
    let conn = &mut set_up!(db);
    let late = books().try_acquire(conn, "Ada").unwrap();
    conn.batch_execute("DELETE FROM row_lock_leases").unwrap();
    let held = books().try_acquire(conn, "Charles").unwrap();
    let token = late.token();
    conn.batch_execute(&format!("UPDATE row_lock_leases SET token = {token}"))
        .unwrap();
    let number =
        held.handle()
            .to_string()
            .replacen(&held.token().to_string(), &token.to_string(), 1);
    let held = books().with_handle(number.parse().unwrap());
    assert_eq!(held.token(), late.token());
    assert_ne!(held, late);

    assert_stale!(late.guarded(conn, |_| Ok::<_, LockError>(())));
    assert_stale!(late.renew(conn));
    assert_stale!(late.release(conn));
    // Twin: by the token alone it is the holder.
    let by_token = format!(
        "SELECT expires_at AS number FROM row_lock_leases \
         WHERE name = 'books' AND token = {token} AND owner IS NOT NULL"
    );
    assert_eq!(
        diesel::sql_query(by_token)
            .load::<Number>(conn)
            .unwrap()
            .len(),
        1
    );
    held.guarded(conn, |_| Ok::<_, LockError>(())).unwrap();
    held.release(conn).unwrap();
}
