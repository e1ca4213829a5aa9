//! The server's clock jumps, ahead and back. That of the client does not count.

use std::time::{Duration, SystemTime};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{Lease, LockError};

use super::{assert_held_by, assert_stale, set_up};
use crate::support::child::{self, parts};
use crate::support::laws;

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

/// A server of its own, whose clock is set while it runs.
macro_rules! servers {
    ($($backend:ident, $conn:ident, $server:expr;)+) => {$(
        mod $backend {
            use super::*;

            #[test]
            fn jumps_of_the_servers_clock_do_no_harm() {
                let server = $server;
                let conn = &mut diesel::$conn::establish(&server.url()).unwrap();
                Lease::create_tables(conn).unwrap();
                assert_jumps_do_no_harm!(conn, |_: &mut diesel::$conn, ahead| server.set_clock(ahead).unwrap());
            }

            #[test]
            fn twin_lease_that_does_not_know_its_time_to_live_lasts_a_day() {
                let server = $server;
                let conn = &mut diesel::$conn::establish(&server.url()).unwrap();
                Lease::create_tables(conn).unwrap();
                assert_twin_waits_for_a_day!(conn, |_: &mut diesel::$conn, ahead| server.set_clock(ahead).unwrap());
            }
        }
    )+};
}

#[cfg(feature = "postgres")]
servers! { postgres, PgConnection, servers::Postgres::with_clock(&[]).unwrap(); }
#[cfg(feature = "mysql")]
servers! { mariadb, MysqlConnection, servers::MariaDb::with_clock(&[]).unwrap(); }

laws! {
    /// A client whose clock is a day ahead neither takes a lease that is held, nor keeps one for a day.
    [postgres, mysql, mariadb] fn clock_of_a_client_does_not_count(db) {
        let conn = &mut set_up!(db);
        let held = books().try_acquire(conn, "Ada").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let clock = servers::Clock::new(folder.path()).unwrap();
        clock.set(DAY).unwrap();
        let mut client = db.play("lease::clocks::client_a_day_ahead", &clock.variables());
        assert_eq!(client.hear(), "by its clock it is over, by the server's it is not");
        assert_eq!(client.hear(), "Ada has it");
        held.release(conn).unwrap();
        client.nudge();
        assert_eq!(client.hear(), "it has it");
        let holder = books().holder(conn).unwrap().unwrap();
        let left = holder.expires.duration_since(SystemTime::now()).unwrap();
        assert!(left <= Duration::from_secs(60), "{left:?}");
    }
}

parts! {
    [postgres, mysql, mariadb] fn client_a_day_ahead(url) {
        let conn = &mut Conn::establish(&url).unwrap();
        let holder = books().holder(conn).unwrap().unwrap();
        if holder.expires < SystemTime::now() && !holder.expired {
            child::say("by its clock it is over, by the server's it is not");
        }
        if matches!(books().try_acquire(conn, "Charles"), Err(LockError::LeaseHeld { .. })) {
            child::say("Ada has it");
        }
        child::listen();
        let _held = books().try_acquire(conn, "Charles").unwrap();
        child::say("it has it");
        // Not released: by its end nobody knows that this process is gone.
    }
}

laws! {
    /// SQLite's clock is that of this process. To it, leases that move back are a clock that moves ahead.
    [postgres, mysql, mariadb, sqlite] fn leases_that_move_in_time_do_no_harm(db) {
        let conn = &mut set_up!(db);
        let ahead_by = std::cell::Cell::new(0);
        assert_jumps_do_no_harm!(conn, |conn: &mut Conn, ahead: i64| {
            let jump = (ahead - ahead_by.replace(ahead)) * 1_000_000;
            conn.batch_execute(&format!("UPDATE row_lock_leases SET expires_at = expires_at - {jump}"))
                .unwrap();
        });
    }
}
