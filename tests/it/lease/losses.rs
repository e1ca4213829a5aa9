//! The loss of a lease is reported in time, whatever the server or `connect` does.

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{HeldLease, Lease, LockError};
use law::law;

use super::{expiry, forged, set_up, Number, LOCK_ROW};
use crate::support::wait_until;

const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(20);

fn books(seconds: u64) -> Lease {
    Lease::named("books").ttl(Duration::from_secs(seconds))
}

/// A `connect` that hangs for as long as the test runs, and the reason of the loss.
macro_rules! hang {
    ($held:expr) => {{
        let (tell, told) = mpsc::channel();
        let (_open, never) = mpsc::channel::<Result<Conn, ConnectionError>>();
        let alive = $held.keep_alive(
            move || never.recv().unwrap(),
            move |reason: LockError| tell.send(reason).unwrap(),
        );
        (alive, told, _open)
    }};
}

fn assert_told(told: &Receiver<LockError>, held: &HeldLease) {
    let reason = told.recv_timeout(PATIENCE).unwrap();
    assert!(
        matches!(reason, LockError::StaleToken { token, .. } if token == held.token()),
        "{reason:?}"
    );
}

/// Another session has the row locked, and its client is gone to lunch.
#[law(postgres, mysql, mariadb)]
fn loss_is_reported_while_a_renewal_hangs_in_the_server(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books(4).try_acquire(conn, "Ada").unwrap();
    conn.batch_execute("BEGIN").unwrap();
    diesel::sql_query(LOCK_ROW).load::<Number>(conn).unwrap();
    let (tell, told) = mpsc::channel();
    let url = db.url();
    let alive = held.keep_alive(
        move || Conn::establish(&url),
        move |reason| tell.send(reason).unwrap(),
    );
    db.wait_for_waiters(1);
    assert_told(&told, &held);
    assert!(alive.is_lost());
    assert_eq!(db.waiters(), 1, "the renewal still hangs");
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        drop(alive);
        tell.send(()).unwrap();
    });
    told.recv_timeout(PATIENCE)
        .expect("to drop it does not hang");
    assert_eq!(db.waiters(), 1, "it was left to itself");
    conn.batch_execute("ROLLBACK").unwrap();
    wait_until("it ends", PAUSE, || db.waiters() == 0);
}

/// Twin: a thread that only asks the server learns nothing before the server answers.
#[law(postgres, mysql, mariadb)]
fn twin_renewal_that_hangs_says_nothing_by_itself(db: &Db) {
    let conn = &mut set_up!(db);
    let held = &books(4).try_acquire(conn, "Ada").unwrap();
    conn.batch_execute("BEGIN").unwrap();
    diesel::sql_query(LOCK_ROW).load::<Number>(conn).unwrap();
    thread::scope(|scope| {
        let renewal = scope.spawn(|| held.renew(&mut db.connect()));
        db.wait_for_waiters(1);
        let other = &mut db.connect();
        wait_until("its time is over", PAUSE, || {
            books(4).holder(other).unwrap().unwrap().expired
        });
        assert!(!renewal.is_finished());
        conn.batch_execute("ROLLBACK").unwrap();
        let _ = renewal.join().unwrap();
    });
}

/// It began to be kept alive when its time was over already; nothing but the clock can say so.
#[law(postgres, mysql, mariadb, sqlite)]
fn time_counts_from_the_acquisition_and_not_from_the_start_of_the_thread(db: &Db) {
    let conn = &mut set_up!(db);
    let since = Instant::now();
    let held = books(5).try_acquire(conn, "Ada").unwrap();
    // More than is needed before the acquisition was sent.
    thread::sleep(Duration::from_secs(5));
    assert!(since.elapsed() >= Duration::from_secs(5));
    let (alive, told, _open) = hang!(held);
    // Five seconds more, if the time of the acquisition were not known.
    let reason = told.recv_timeout(Duration::from_secs(4)).expect("at once");
    assert!(matches!(reason, LockError::StaleToken { .. }), "{reason:?}");
    assert!(alive.is_lost());

    // Twin: the same in another process, where it is not known.
    let elsewhere = books(10).with_handle(held.handle());
    let (alive, told, _open) = hang!(elsewhere);
    assert!(!alive.is_lost());
    assert!(told.recv_timeout(Duration::from_millis(500)).is_err());
    drop(alive);
    assert!(told.recv_timeout(PATIENCE).is_err(), "a drop is no loss");
}

/// As one that unwraps what the pool does not give.
#[law(postgres, mysql, mariadb, sqlite)]
fn panic_of_connect_is_a_failure_to_connect(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books(2).try_acquire(conn, "Ada").unwrap();
    let (tell, told) = mpsc::channel();
    let connect = || -> Result<Conn, ConnectionError> { panic!("the pool is closed") };
    let alive = held.keep_alive(connect, move |reason| tell.send(reason).unwrap());
    let reason = told.recv_timeout(PATIENCE).unwrap();
    let text = std::error::Error::source(&reason)
        .map(ToString::to_string)
        .unwrap_or_default();
    // Or on a machine that is busy, not one attempt was made in that time.
    assert!(
        text.contains("the pool is closed") || matches!(reason, LockError::StaleToken { .. }),
        "{reason:?}"
    );
    assert!(alive.is_lost());
}

#[law(postgres, mysql, mariadb, sqlite)]
fn connect_that_panics_once_is_called_again(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books(60).try_acquire(conn, "Ada").unwrap();
    let before = expiry!(conn, "books");
    let url = db.url();
    let mut first = true;
    let connect = move || {
        if std::mem::take(&mut first) {
            panic!("the server restarts");
        }
        Conn::establish(&url)
    };
    let alive = held.keep_alive(connect, |reason| panic!("{reason:?}"));
    wait_until("it is renewed", PAUSE, || expiry!(conn, "books") > before);
    assert!(!alive.is_lost());
}

/// Twin: a thread by hand dies of such a panic, and reports nothing.
#[law(sqlite)]
fn twin_thread_by_hand_dies_of_a_panic_without_a_word(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books(1).try_acquire(conn, "Ada").unwrap();
    let (tell, told) = mpsc::channel::<LockError>();
    let by_hand = thread::spawn(move || {
        let connect = || -> Result<Conn, ConnectionError> { panic!("the pool is closed") };
        let error = held.renew(&mut connect().unwrap()).unwrap_err();
        tell.send(error).unwrap();
    });
    assert!(by_hand.join().is_err());
    assert!(told.recv().is_err());
}

/// It may take longer than is left to the next renewal, which waits for it.
#[law(postgres, mysql, mariadb, sqlite)]
fn write_that_is_shorter_than_the_time_to_live_does_not_lose_the_lease(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books(8).try_acquire(conn, "Ada").unwrap();
    let before = expiry!(conn, "books");
    let url = db.url();
    let connect = move || {
        let mut conn = Conn::establish(&url)?;
        if url.starts_with('/') {
            // Or a renewal would not wait.
            conn.batch_execute("PRAGMA busy_timeout = 20000").unwrap();
        }
        Ok::<_, ConnectionError>(conn)
    };
    let alive = held.keep_alive(connect, |reason| panic!("{reason:?}"));
    wait_until("it is renewed", PAUSE, || expiry!(conn, "books") > before);
    // The next renewal is due in 2.6 s.
    thread::sleep(Duration::from_secs(2));
    held.guarded(conn, |_| {
        thread::sleep(Duration::from_millis(6_500));
        Ok::<_, LockError>(())
    })
    .unwrap();
    let written = expiry!(conn, "books");
    wait_until("it is renewed behind it", PAUSE, || {
        expiry!(conn, "books") > written || {
            let holder = books(8).holder(conn).unwrap().unwrap();
            !holder.expired
        }
    });
    assert!(!alive.is_lost());
    held.guarded(conn, |_| Ok::<_, LockError>(())).unwrap();
    drop(alive);
    held.release(conn).unwrap();
}

/// `on_loss` may own what it is called for.
#[law(sqlite)]
fn on_loss_may_drop_it(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books(1).try_acquire(conn, "Ada").unwrap();
    let (give, given) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let alive = held.keep_alive(
        || Conn::establish("/no/such/place"),
        move |_| {
            let since = Instant::now();
            drop(given.recv().unwrap());
            tell.send(since.elapsed()).unwrap();
        },
    );
    give.send(alive).unwrap();
    told.recv_timeout(PATIENCE)
        .expect("it does not wait for itself");
}

#[law(sqlite)]
fn lease_that_can_not_be_is_lost_at_once(db: &Db) {
    let _conn = set_up!(db);
    for lease in [
        books(60).ttl(Duration::ZERO),
        books(60).ttl(Duration::MAX),
        Lease::named(""),
    ] {
        let (tell, told) = mpsc::channel();
        let alive = lease.with_handle(forged()).keep_alive(
            || Conn::establish("/no/such/place"),
            move |reason| tell.send(reason).unwrap(),
        );
        let reason = told.recv_timeout(PATIENCE).unwrap();
        assert!(
            matches!(reason, LockError::InvalidLease { .. }),
            "{reason:?}"
        );
        assert!(alive.is_lost());
    }
}
