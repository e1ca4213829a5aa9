//! A renewal that waits for its holder's own write lasts from the end of that wait.

use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{HeldLease, Lease, LockError};
use law::law;

use super::{assert_stale, clock_sql, expiry, server_clock, set_up};
use crate::support::wait_until;

const TTL: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(5);

fn books() -> Lease {
    Lease::named("books").ttl(TTL)
}

/// By how much the lease lasts longer than its time to live from the end of the write that `$renew`
/// has waited for, in microseconds. All times are the server's.
macro_rules! surplus_behind_a_write {
    ($db:ident, |$other:ident, $held:ident| $renew:expr) => {{
        let conn = &mut set_up!($db);
        let $held = &books().try_acquire(conn, "Ada").unwrap();
        let written = thread::scope(|scope| {
            let write = $held.guarded(conn, |conn| {
                let renewal = scope.spawn(|| {
                    let $other = &mut $db.connect();
                    $renew;
                });
                $db.wait_for_waiters(1);
                let begun = server_clock!(conn);
                wait_until("the clock goes on", PAUSE, || {
                    server_clock!(conn) > begun + 100_000
                });
                let written = server_clock!(conn);
                assert!(!renewal.is_finished());
                Ok::<_, LockError>((renewal, written))
            });
            let (renewal, written) = write.unwrap();
            renewal.join().unwrap();
            written
        });
        expiry!(conn, "books") - written - i64::try_from(TTL.as_micros()).unwrap()
    }};
}

/// What `renew` was: the end is computed before the wait for the row.
fn renew_by_hand(held: &HeldLease, now: &str) -> String {
    let ttl = TTL.as_micros();
    let token = held.token();
    format!(
        "UPDATE row_lock_leases SET expires_at = ({now}) + {ttl}, ttl = {ttl} \
         WHERE name = 'books' AND token = {token} AND owner IS NOT NULL AND expires_at > ({now})"
    )
}

#[law(postgres, mysql, mariadb, sqlite)]
fn renewal_that_waits_for_a_write_lasts_its_whole_time_from_there(db: &Db) {
    let surplus = surplus_behind_a_write!(db, |other, held| held.renew(other).unwrap());
    assert!(surplus >= 0, "{surplus}");
}

/// Twin: on SQLite the wait is before the statement, so it never had this fault.
#[law(postgres, mysql, mariadb)]
fn twin_renewal_by_one_update_has_lost_the_time_of_its_wait(db: &Db) {
    let surplus = surplus_behind_a_write!(db, |other, held| {
        let renew = renew_by_hand(held, clock_sql(Db::STAMP));
        assert_eq!(diesel::sql_query(renew).execute(other).unwrap(), 1);
    });
    assert!(surplus < -90_000, "{surplus}");
}

/// The renewal does not bring back what another session has taken meanwhile.
#[law(postgres, mysql, mariadb)]
fn renewal_that_waits_for_an_override_is_stale(db: &Db) {
    let conn = &mut set_up!(db);
    let held = &books().try_acquire(conn, "Ada").unwrap();
    // The row as an override leaves it, before its COMMIT.
    let boss = &mut db.connect();
    let take = "UPDATE row_lock_leases SET owner = 'boss', token = token + 1";
    boss.batch_execute(&format!("BEGIN; {take}")).unwrap();
    thread::scope(|scope| {
        let renewal = scope.spawn(|| held.renew(&mut db.connect()));
        db.wait_for_waiters(1);
        boss.batch_execute("COMMIT").unwrap();
        assert_stale!(renewal.join().unwrap());
    });
    assert_eq!(books().holder(conn).unwrap().unwrap().owner, "boss");
}
