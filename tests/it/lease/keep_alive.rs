//! The thread that renews a lease, and says when it is lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel_row_lock::{Lease, LockError};
use law::law;

use super::{assert_held_by, expiry, forged, set_up};
use crate::support::wait_until;

/// Renewals are due three times in it. Two thirds are more than any machine is busy.
const TTL: Duration = Duration::from_secs(12);
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(20);

fn books() -> Lease {
    Lease::named("books").ttl(TTL)
}

fn lost(reason: LockError) {
    panic!("lost: {reason:?}");
}

/// How the thread connects: by URL alone. On SQLite it then finds the database busy, and asks
/// again.
macro_rules! connector {
    ($db:ident) => {{
        let url = $db.url();
        move || Conn::establish(&url)
    }};
}

#[law(postgres, mysql, mariadb, sqlite)]
fn lease_is_kept_alive_beyond_its_time(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books().try_acquire(conn, "Ada").unwrap();
    let first_end = expiry!(conn, "books");
    let alive = held.keep_alive(connector!(db), lost);
    // At once, and then by its clock; both beyond the time that it had at first.
    for rise in [0, TTL.as_micros() / 4] {
        wait_until("it lasts for longer", PAUSE, || {
            expiry!(conn, "books") > first_end + i64::try_from(rise).unwrap()
        });
    }
    let holder = books().holder(conn).unwrap().unwrap();
    assert!(!holder.expired && holder.token == held.token());
    assert_held_by!(books().try_acquire(conn, "Charles"), "Ada");
    assert!(!alive.is_lost());
    drop(alive);
    held.release(conn).unwrap();
}

/// Twin: a lease that is not kept alive ends, and so does one that is no longer.
#[law(postgres, mysql, mariadb, sqlite)]
fn lease_ends_when_it_is_no_longer_kept_alive(db: &Db) {
    let conn = &mut set_up!(db);
    let brief = Lease::named("books").ttl(Duration::from_secs(2));
    let held = brief.try_acquire(conn, "Ada").unwrap();
    // On a machine that is busy it may be over before.
    drop(held.keep_alive(connector!(db), drop));
    wait_until("it is over", PAUSE, || {
        books().holder(conn).unwrap().unwrap().expired
    });
}

#[law(postgres, mysql, mariadb, sqlite)]
fn loss_is_told_once_with_its_reason(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books().try_acquire(conn, "Ada").unwrap();
    let (tell, told) = mpsc::channel();
    let alive = held.keep_alive(connector!(db), move |reason| tell.send(reason).unwrap());
    assert!(!alive.is_lost());
    let boss = books().override_by(conn, "boss", "").unwrap();
    let reason = told.recv_timeout(PATIENCE).unwrap();
    assert!(
        matches!(reason, LockError::StaleToken { token, .. } if token == held.token()),
        "{reason:?}"
    );
    assert!(alive.is_lost());
    assert!(told.recv().is_err(), "never again");
    assert!(boss.token() > held.token());
}

#[law(postgres, mysql, mariadb, sqlite)]
fn server_that_can_not_be_reached_is_a_loss_when_the_time_is_over(db: &Db) {
    let conn = &mut set_up!(db);
    let brief = Lease::named("books").ttl(Duration::from_secs(1));
    let since = Instant::now();
    let held = brief.try_acquire(conn, "Ada").unwrap();
    let (tell, told) = mpsc::channel();
    let attempts = Arc::new(AtomicUsize::new(0));
    let attempt = Arc::clone(&attempts);
    let alive = held.keep_alive(
        move || {
            attempt.fetch_add(1, Ordering::SeqCst);
            Conn::establish("/no/such/place")
        },
        move |reason| {
            tell.send((reason, attempts.load(Ordering::SeqCst)))
                .unwrap();
        },
    );
    let (reason, attempts) = told.recv_timeout(PATIENCE).unwrap();
    // On a machine that is busy, not one attempt may have ended in that time.
    assert!(
        match reason {
            LockError::ConnectionLost { .. } => true,
            LockError::StaleToken { .. } => attempts < 2,
            _ => false,
        },
        "{reason:?} after {attempts} attempts"
    );
    assert!(since.elapsed() >= Duration::from_secs(1));
    assert!(alive.is_lost());
}

/// A server that is away is not stormed: a twentieth of the time to live lies between two attempts.
#[law(sqlite)]
fn attempts_to_connect_are_a_part_of_the_time_to_live_apart(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books().try_acquire(conn, "Ada").unwrap();
    let attempts = Arc::new(AtomicUsize::new(0));
    let attempt = Arc::clone(&attempts);
    let since = Instant::now();
    let alive = held.keep_alive(
        move || {
            attempt.fetch_add(1, Ordering::SeqCst);
            Conn::establish("/no/such/place")
        },
        lost,
    );
    wait_until("one has failed", PAUSE, || {
        attempts.load(Ordering::SeqCst) > 0
    });
    thread::sleep(Duration::from_millis(100));
    let made = u128::try_from(attempts.load(Ordering::SeqCst)).unwrap();
    let most = 1 + since.elapsed().as_nanos() / (TTL / 20).as_nanos();
    assert!(made <= most, "{made} attempts");
    drop(alive);
}

/// A second at most; the call of `on_loss` takes less.
#[law(sqlite)]
fn drop_waits_for_a_call_of_on_loss_that_is_under_way(db: &Db) {
    let conn = &mut set_up!(db);
    let _held = books().try_acquire(conn, "Ada").unwrap();
    let late = books().with_handle(forged());
    let (tell, told) = mpsc::channel();
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let alive = late.keep_alive(connector!(db), move |_| {
        tell.send(()).unwrap();
        thread::sleep(Duration::from_millis(100));
        over.store(true, Ordering::SeqCst);
    });
    told.recv_timeout(PATIENCE).unwrap();
    let since = Instant::now();
    drop(alive);
    assert!(is_over.load(Ordering::SeqCst) || since.elapsed() >= Duration::from_secs(1));
}

/// Of several, for a machine that is busy.
#[law(sqlite)]
fn drop_takes_no_time_while_nothing_is_under_way(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books().try_acquire(conn, "Ada").unwrap();
    let is_quick = (0..5).any(|_| {
        let alive = held.keep_alive(connector!(db), lost);
        let since = Instant::now();
        drop(alive);
        since.elapsed() < Duration::from_secs(1)
    });
    assert!(is_quick);
}

#[law(postgres, mysql, mariadb)]
fn connection_that_is_lost_is_made_anew(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books().try_acquire(conn, "Ada").unwrap();
    let (tell, told) = mpsc::channel();
    let url = db.url();
    let connect = move || {
        let mut conn = Conn::establish(&url)?;
        tell.send(Db::session(&mut conn)).unwrap();
        Ok::<_, ConnectionError>(conn)
    };
    let alive = held.keep_alive(connect, lost);
    for _ in 0..2 {
        db.kill(told.recv_timeout(PATIENCE).unwrap());
    }
    told.recv_timeout(PATIENCE).unwrap();
    let before = expiry!(conn, "books");
    wait_until("it is renewed", PAUSE, || expiry!(conn, "books") > before);
    assert!(!alive.is_lost());
}
