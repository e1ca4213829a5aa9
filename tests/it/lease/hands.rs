//! How a lease changes hands: acquired, renewed, released, expired, taken by force.

use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{HeldLease, Lease, LockError, Outcome};
use law::law;

use super::{assert_held_by, assert_stale, set_up, EXPIRE};
use crate::support::calls::assert_error;
use crate::support::probe::statements_of;
#[cfg(feature = "postgres")]
use crate::support::wire::Wire;

pub(super) fn books() -> Lease {
    Lease::named("books")
}

/// A guarded write that changes nothing.
macro_rules! write {
    ($held:expr, $conn:expr) => {
        $held.guarded($conn, |_| Ok::<_, LockError>(()))
    };
}

#[law(postgres, mysql, mariadb, sqlite)]
fn lease_has_one_holder(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books().try_acquire(conn, "Ada").unwrap();
    for who in ["Charles", "Ada"] {
        let result = books().try_acquire(&mut db.connect(), who);
        assert_held_by!(result, "Ada");
        let result = books().try_acquire(conn, who);
        assert_error!(result, LeaseHeld, NotApplied, transient, contention);
    }
    write!(held, conn).unwrap();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn leases_of_different_names_are_independent(db: &Db) {
    let conn = &mut set_up!(db);
    let one = books().try_acquire(conn, "Ada").unwrap();
    let other = Lease::named("other").try_acquire(conn, "Charles").unwrap();
    one.release(conn).unwrap();
    assert_held_by!(Lease::named("other").try_acquire(conn, "Ada"), "Charles");
    write!(other, conn).unwrap();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn released_lease_can_be_had_at_once_with_a_higher_token(db: &Db) {
    let conn = &mut set_up!(db);
    let mut last = 0;
    for _ in 0..5 {
        let held = books().try_acquire(conn, "Ada").unwrap();
        assert!(held.token() > last, "{} after {last}", held.token());
        last = held.token();
        held.release(conn).unwrap();
    }
    assert_eq!(books().holder(conn).unwrap(), None);
}

/// Also after expiry, purge and override.
#[law(postgres, mysql, mariadb, sqlite)]
fn token_only_rises(db: &Db) {
    let conn = &mut set_up!(db);
    let mut tokens = vec![books().try_acquire(conn, "Ada").unwrap().token()];
    conn.batch_execute(EXPIRE).unwrap();
    tokens.push(books().try_acquire(conn, "Ada").unwrap().token());
    tokens.push(books().override_by(conn, "boss", "").unwrap().token());
    conn.batch_execute(EXPIRE).unwrap();
    assert_eq!(Lease::purge(conn, Duration::from_millis(1)).unwrap(), 1);
    tokens.push(books().try_acquire(conn, "Ada").unwrap().token());
    assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn lease_whose_time_is_over_can_be_had_and_its_holder_is_late(db: &Db) {
    let conn = &mut set_up!(db);
    let late = books().try_acquire(conn, "Ada").unwrap();
    conn.batch_execute(EXPIRE).unwrap();
    assert_stale!(late.renew(conn));
    assert_stale!(write!(late, conn));
    let held = books().try_acquire(conn, "Charles").unwrap();
    for _ in 0..2 {
        assert_stale!(late.renew(conn));
        assert_stale!(write!(late, conn));
        assert_error!(
            late.release(conn),
            StaleToken,
            NotApplied,
            lasting,
            no_contention
        );
    }
    write!(held, conn).unwrap();
    assert_eq!(books().holder(conn).unwrap().unwrap().owner, "Charles");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn lease_ends_by_itself_when_its_time_is_over(db: &Db) {
    let conn = &mut set_up!(db);
    let brief = books().ttl(Duration::from_millis(300));
    let since = Instant::now();
    let late = brief.try_acquire(conn, "Ada").unwrap();
    let held = books().acquire(conn, "Charles").unwrap();
    // SQLite counts milliseconds.
    assert!(
        since.elapsed() >= Duration::from_millis(298),
        "{:?}",
        since.elapsed()
    );
    assert_stale!(write!(late, conn));
    write!(held, conn).unwrap();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn lease_whose_time_is_over_can_be_released_while_nobody_has_it(db: &Db) {
    let conn = &mut set_up!(db);
    let late = books().try_acquire(conn, "Ada").unwrap();
    conn.batch_execute(EXPIRE).unwrap();
    late.release(conn).unwrap();
    assert_stale!(late.release(conn));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn released_lease_is_over_for_its_holder(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books().try_acquire(conn, "Ada").unwrap();
    held.release(conn).unwrap();
    assert_stale!(held.release(conn));
    assert_stale!(held.renew(conn));
    assert_stale!(write!(held, conn));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn renewed_lease_lasts_its_whole_time_again_and_again(db: &Db) {
    let conn = &mut set_up!(db);
    let minute = Duration::from_secs(60);
    let held = books().try_acquire(conn, "Ada").unwrap();
    for _ in 0..3 {
        conn.batch_execute("UPDATE row_lock_leases SET expires_at = expires_at - 59000000")
            .unwrap();
        let before = books().holder(conn).unwrap().unwrap();
        held.renew(conn).unwrap();
        let after = books().holder(conn).unwrap().unwrap();
        let gained = after.expires.duration_since(before.expires).unwrap();
        assert!(
            gained > Duration::from_secs(58) && gained <= minute,
            "{gained:?}"
        );
        assert_eq!(
            (after.token, after.acquired),
            (before.token, before.acquired)
        );
    }
    // With another time to live.
    let hour = books().ttl(60 * minute).with_handle(held.handle());
    hour.renew(conn).unwrap();
    let after = books().holder(conn).unwrap().unwrap();
    assert!(after.expires.duration_since(after.acquired).unwrap() >= 60 * minute);
    assert_held_by!(books().try_acquire(conn, "Charles"), "Ada");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn lease_goes_on_in_another_process_by_its_handle(db: &Db) {
    let conn = &mut set_up!(db);
    let field = books()
        .try_acquire(conn, "Ada")
        .unwrap()
        .handle()
        .to_string();
    let held = books().with_handle(field.parse().unwrap());
    write!(held, conn).unwrap();
    let (token, nonce) = field.split_once('-').unwrap();
    let next = held.token() + 1;
    for wrong in [
        format!("{next}-{nonce}"),
        format!("{token}-00c0ffee00c0ffee"),
    ] {
        let wrong = books().with_handle(wrong.parse().unwrap());
        assert_stale!(write!(wrong, conn));
        assert_stale!(wrong.renew(conn));
        assert_stale!(wrong.release(conn));
    }
    assert_stale!(write!(
        Lease::named("other").with_handle(held.handle()),
        conn
    ));
    held.release(conn).unwrap();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn caller_waits_until_the_lease_is_released(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books().try_acquire(conn, "Ada").unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| books().acquire(&mut db.connect(), "Charles"));
        assert!(!waiter.is_finished());
        assert_eq!(books().holder(conn).unwrap().unwrap().owner, "Ada");
        held.release(conn).unwrap();
        let next = waiter.join().unwrap().unwrap();
        assert!(next.token() > held.token());
    });
}

#[law(postgres, mysql, mariadb, sqlite)]
fn caller_waits_no_longer_than_it_wants(db: &Db) {
    let conn = &mut set_up!(db);
    let _held = books().try_acquire(conn, "Ada").unwrap();
    for time in [Duration::ZERO, Duration::from_millis(100)] {
        let since = Instant::now();
        assert_held_by!(books().acquire_timeout(conn, "Charles", time), "Ada");
        let waited = since.elapsed();
        assert!(
            waited >= time && waited < time + Duration::from_secs(20),
            "{waited:?}"
        );
    }
}

#[law(postgres, mysql, mariadb, sqlite)]
fn override_takes_the_lease_and_leaves_an_audit_row(db: &Db) {
    let conn = &mut set_up!(db);
    let nobodys = books().override_by(conn, "boss", "a rehearsal").unwrap();
    nobodys.release(conn).unwrap();
    let late = books().note("new owner").try_acquire(conn, "Ada").unwrap();
    let held = books()
        .override_by(conn, "boss", "Ada is on holiday")
        .unwrap();
    assert!(held.token() > late.token());
    assert_stale!(write!(late, conn));
    assert_stale!(late.renew(conn));
    assert_stale!(late.release(conn));
    write!(held, conn).unwrap();
    assert_held_by!(books().try_acquire(conn, "Ada"), "boss");

    let [rehearsal, real] = &books().overrides(conn).unwrap()[..] else {
        panic!("two overrides")
    };
    assert_eq!(
        (&*rehearsal.reason, &rehearsal.ousted),
        ("a rehearsal", &None)
    );
    assert_eq!(
        (&*real.admin, &*real.reason, real.token),
        ("boss", "Ada is on holiday", held.token())
    );
    assert_eq!(real.ousted, Some(("Ada".to_owned(), late.token())));
    assert_eq!(real.at, books().holder(conn).unwrap().unwrap().acquired);
    assert!(Lease::named("other").overrides(conn).unwrap().is_empty());
}

#[law(postgres, mysql, mariadb, sqlite)]
fn lease_does_not_change_hands_inside_an_open_transaction(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books().try_acquire(conn, "Ada").unwrap();
    let statements = statements_of(conn);
    conn.transaction(|conn| {
        let results: [Result<(), LockError>; 5] = [
            Lease::named("other")
                .try_acquire(conn, "Ada")
                .map(drop::<HeldLease>),
            books().override_by(conn, "boss", "").map(drop::<HeldLease>),
            held.renew(conn),
            held.release(conn),
            Lease::purge(conn, Duration::ZERO).map(drop),
        ];
        for result in results {
            assert_error!(
                result,
                AlreadyInTransaction,
                NotApplied,
                lasting,
                no_contention
            );
        }
        assert_eq!(statements.lock().unwrap().len(), 1, "BEGIN alone");
        assert!(
            books().holder(conn).unwrap().is_some(),
            "to look is allowed"
        );
        QueryResult::Ok(())
    })
    .unwrap();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn missing_table_is_an_error_that_says_so(db: &Db) {
    let conn = &mut db.connect();
    let result = books().try_acquire(conn, "Ada");
    let Err(LockError::Database(error)) = result else {
        panic!("{result:?}")
    };
    assert!(error.to_string().contains("row_lock_leases"), "{error}");
}

#[law(postgres, mysql, mariadb)]
fn lease_acquired_over_a_lost_connection_is_seen_by_its_holder(db: &Db) {
    let conn = &mut set_up!(db);
    db.kill(Db::session(conn));
    let result = books().try_acquire(conn, "Ada");
    let Err(error) = result else {
        panic!("{result:?}")
    };
    assert!(
        matches!(
            error,
            LockError::CommitUnknown { .. } | LockError::ConnectionLost { .. }
        ),
        "{error:?}"
    );
    assert_eq!(books().holder(&mut db.connect()).unwrap(), None);
}

#[law(postgres)]
fn each_call_takes_one_round_trip(db: &Db) {
    drop(set_up!(db));
    let wire = Wire::to(&db.server());
    let conn = &mut Conn::establish(&db.url_at(&wire.address.to_string())).unwrap();
    let mut trips = Vec::new();
    for _ in 0..2 {
        // The first time, statements are prepared.
        trips.clear();
        let mut held = None;
        let lease = books();
        trips.push(wire.round_trips(|| held = Some(lease.try_acquire(conn, "Ada").unwrap())));
        trips.push(wire.round_trips(|| assert_held_by!(lease.try_acquire(conn, "Charles"), "Ada")));
        let held = held.unwrap();
        trips.push(wire.round_trips(|| held.renew(conn).unwrap()));
        trips.push(wire.round_trips(|| drop(lease.holder(conn).unwrap())));
        trips.push(wire.round_trips(|| drop(Lease::expired(conn).unwrap())));
        trips.push(wire.round_trips(|| held.release(conn).unwrap()));
        let mut boss = None;
        trips.push(wire.round_trips(|| boss = Some(lease.override_by(conn, "boss", "").unwrap())));
        boss.unwrap().release(conn).unwrap();
    }
    assert_eq!(trips, [1; 7]);
}
