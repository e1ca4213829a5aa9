//! The server's clock jumps, ahead and back. That of the client does not count.

use std::thread;
use std::time::{Duration, SystemTime};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{Lease, LockError};
use law::{law, part};

use super::{assert_held_by, assert_stale, set_up};
#[cfg(feature = "mysql")]
use super::{clock_sql, Number};
use crate::support::child;
use crate::support::wait_until;

const DAY: i64 = 24 * 60 * 60;

fn books() -> Lease {
    Lease::named("books").ttl(Duration::from_secs(60))
}

macro_rules! write {
    ($held:expr, $conn:expr) => {
        $held.guarded($conn, |_| Ok::<_, LockError>(()))
    };
}

/// `$set` sets the clock of the server to so many seconds ahead of what it was.
macro_rules! assert_jumps_do_no_harm {
    ($conn:ident, $set:expr) => {
        let set = $set;
        let ada = books().try_acquire($conn, "Ada").unwrap();
        set($conn, 40);
        assert_held_by!(books().try_acquire($conn, "Charles"), "Ada");
        write!(ada, $conn).unwrap();

        // Ahead: it is over early. Both believe to hold it; one can write.
        set($conn, 70);
        let charles = books().try_acquire($conn, "Charles").unwrap();
        assert_stale!(write!(ada, $conn));
        write!(charles, $conn).unwrap();

        // Back: nobody waits for a day. Until somebody takes it, it is the holder's.
        set($conn, 70 - DAY);
        write!(charles, $conn).unwrap();
        assert!(books().holder($conn).unwrap().unwrap().expired);
        assert_eq!(Lease::expired($conn).unwrap().len(), 1);
        let grace = books().try_acquire($conn, "Grace").unwrap();
        assert_stale!(write!(charles, $conn));
        write!(grace, $conn).unwrap();
        assert_held_by!(books().try_acquire($conn, "Charles"), "Grace");

        // And ahead again.
        set($conn, 70);
        let last = books().try_acquire($conn, "Ada").unwrap();
        assert_stale!(write!(grace, $conn));
        write!(last, $conn).unwrap();

        let tokens = [ada, charles, grace, last].map(|held| held.token());
        assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
    };
}

/// Twin: if the lease did not know how long it lasts, all would wait for a day.
macro_rules! assert_twin_waits_for_a_day {
    ($conn:ident, $set:expr) => {
        let set = $set;
        let _held = books().try_acquire($conn, "Ada").unwrap();
        $conn
            .batch_execute("UPDATE row_lock_leases SET ttl = 1000000000000000")
            .unwrap();
        set($conn, -DAY);
        assert_held_by!(books().try_acquire($conn, "Charles"), "Ada");
    };
}

/// A renewal waits for its holder's own write, while the server's clock goes beyond its end.
macro_rules! assert_renewal_behind_a_write_holds {
    ($conn:ident, $server:ident, $connection:ty, $waiters:expr) => {
        let ada = &books().try_acquire($conn, "Ada").unwrap();
        let connect = || <$connection>::establish(&$server.url()).unwrap();
        thread::scope(|scope| {
            let renewal = ada.guarded($conn, |_| {
                let renewal = scope.spawn(|| ada.renew(&mut connect()));
                wait_until("it waits", Duration::from_millis(150), || {
                    $server.sql($waiters).unwrap().trim() == "1"
                });
                $server.set_clock(DAY).unwrap();
                let other = &mut connect();
                assert!(books().holder(other)?.unwrap().expired);
                assert_held_by!(books().try_acquire(other, "Charles"), "Ada");
                Ok::<_, LockError>(renewal)
            });
            renewal.unwrap().join().unwrap().unwrap();
        });
        assert!(!books().holder($conn).unwrap().unwrap().expired);
        assert_held_by!(books().try_acquire($conn, "Charles"), "Ada");
        write!(ada, $conn).unwrap();
        // Once it is over without a write, it is over.
        $server.set_clock(2 * DAY).unwrap();
        assert_stale!(ada.renew($conn));
    };
}

/// [`assert_jumps_do_no_harm`] by the server's own clock.
macro_rules! jumps {
    ($conn:ident, $server:ident, $connection:ty, $waiters:expr) => {
        assert_jumps_do_no_harm!($conn, |_: &mut $connection, ahead| $server
            .set_clock(ahead)
            .unwrap())
    };
}

/// [`assert_twin_waits_for_a_day`] by the server's own clock.
macro_rules! twin_waits {
    ($conn:ident, $server:ident, $connection:ty, $waiters:expr) => {
        assert_twin_waits_for_a_day!($conn, |_: &mut $connection, ahead| $server
            .set_clock(ahead)
            .unwrap())
    };
}

#[cfg(feature = "postgres")]
const WAITERS_OF_POSTGRES: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0";
#[cfg(feature = "mysql")]
const WAITERS_OF_MYSQL: &str =
    "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'";

/// On servers of their own, whose clocks are set while they run.
macro_rules! on_a_server_with_a_clock {
    ($($law:ident: $check:ident)+) => {$(
        mod $law {
            use super::*;

            #[cfg(feature = "postgres")]
            #[test]
            fn postgres() {
                on_a_server_with_a_clock!(@ $check, Postgres, PgConnection, WAITERS_OF_POSTGRES);
            }

            #[cfg(feature = "mysql")]
            #[test]
            fn mysql() {
                on_a_server_with_a_clock!(@ $check, MySql, MysqlConnection, WAITERS_OF_MYSQL);
            }

            #[cfg(feature = "mysql")]
            #[test]
            fn mariadb() {
                on_a_server_with_a_clock!(@ $check, MariaDb, MysqlConnection, WAITERS_OF_MYSQL);
            }
        }
    )+};
    (@ $check:ident, $server:ident, $connection:ident, $waiters:expr) => {
        let server = servers::$server::with_clock(&[]).unwrap();
        let conn = &mut diesel::$connection::establish(&server.url()).unwrap();
        Lease::create_tables(conn).unwrap();
        $check!(conn, server, diesel::$connection, $waiters);
    };
}

on_a_server_with_a_clock! {
    jumps_of_the_servers_clock_do_no_harm: jumps
    renewal_that_waits_for_a_write_holds_even_beyond_the_end: assert_renewal_behind_a_write_holds
    twin_lease_that_does_not_know_its_time_to_live_lasts_a_day: twin_waits
}

/// A client whose clock is a day ahead neither takes a lease that is held, nor keeps one for a day.
#[law(postgres, mysql, mariadb)]
fn clock_of_a_client_does_not_count(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books().try_acquire(conn, "Ada").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let clock = servers::Clock::new(folder.path()).unwrap();
    clock.set(DAY).unwrap();
    let mut client = db.play("lease::clocks::client_a_day_ahead", &clock.variables());
    assert_eq!(
        client.hear(),
        "by its clock it is over, by the server's it is not"
    );
    assert_eq!(client.hear(), "Ada has it");
    held.release(conn).unwrap();
    client.nudge();
    assert_eq!(client.hear(), "it has it");
    let holder = books().holder(conn).unwrap().unwrap();
    let left = holder.expires.duration_since(SystemTime::now()).unwrap();
    assert!(left <= Duration::from_secs(60), "{left:?}");
}

#[part(postgres, mysql, mariadb)]
fn client_a_day_ahead(url: String) {
    let conn = &mut Conn::establish(&url).unwrap();
    let holder = books().holder(conn).unwrap().unwrap();
    if holder.expires < SystemTime::now() && !holder.expired {
        child::say("by its clock it is over, by the server's it is not");
    }
    if matches!(
        books().try_acquire(conn, "Charles"),
        Err(LockError::LeaseHeld { .. })
    ) {
        child::say("Ada has it");
    }
    child::listen();
    let _held = books().try_acquire(conn, "Charles").unwrap();
    child::say("it has it");
    // Not released: by its end nobody knows that this process is gone.
}

/// SQLite's clock is that of this process. To it, leases that move back are a clock that moves
/// ahead.
#[law(postgres, mysql, mariadb, sqlite)]
fn leases_that_move_in_time_do_no_harm(db: &Db) {
    let conn = &mut set_up!(db);
    let ahead_by = std::cell::Cell::new(0);
    assert_jumps_do_no_harm!(conn, |conn: &mut Conn, ahead: i64| {
        let jump = (ahead - ahead_by.replace(ahead)) * 1_000_000;
        conn.batch_execute(&format!(
            "UPDATE row_lock_leases SET expires_at = expires_at - {jump}"
        ))
        .unwrap();
    });
}

/// MySQL's clock is that of the statement's beginning, which may be before the row's.
#[law(mysql, mariadb)]
fn statement_that_began_before_the_row_was_written_does_not_take_the_lease(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books().try_acquire(conn, "Ada").unwrap();
    let slow = &mut db.connect();
    let begun = "(SELECT acquired_at / 1000000 - 0.5 FROM row_lock_leases)";
    slow.batch_execute(&format!("SET timestamp = {begun}"))
        .unwrap();
    assert_held_by!(books().try_acquire(slow, "Charles"), "Ada");
    assert!(!books().holder(slow).unwrap().unwrap().expired);
    held.guarded(conn, |_| Ok::<_, LockError>(())).unwrap();
    // Twin: without the second of grace it is taken for one of a clock that was set back.
    let now = clock_sql(Db::STAMP);
    let free =
        format!("SELECT COUNT(*) AS number FROM row_lock_leases WHERE expires_at > ({now}) + ttl");
    assert_eq!(
        diesel::sql_query(free)
            .get_result::<Number>(slow)
            .unwrap()
            .number,
        1
    );
}
