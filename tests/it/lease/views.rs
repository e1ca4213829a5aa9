//! What can be seen of leases, and what is swept away.

use std::time::{Duration, SystemTime};

use diesel::connection::SimpleConnection;
use diesel_row_lock::{Lease, LockError};
use law::law;

use super::{assert_stale, set_up, EXPIRE};

const MINUTE: Duration = Duration::from_secs(60);

#[law(postgres, mysql, mariadb, sqlite)]
fn holder_is_seen_with_all_that_it_said(db: &Db) {
    let conn = &mut set_up!(db);
    let lease = Lease::named("books").note("month's end").ttl(10 * MINUTE);
    assert_eq!(lease.holder(conn).unwrap(), None);
    let held = lease.try_acquire(conn, "Ada").unwrap();
    let seen = Lease::named("books")
        .holder(&mut db.connect())
        .unwrap()
        .unwrap();
    assert_eq!(
        (&*seen.lease, &*seen.owner, &*seen.note),
        ("books", "Ada", "month's end")
    );
    assert_eq!((seen.token, seen.expired), (held.token(), false));
    // The server of this test is on this machine.
    let age = SystemTime::now()
        .duration_since(seen.acquired)
        .unwrap_or_default();
    assert!(age < MINUTE, "{age:?}");
    let lasts = seen.expires.duration_since(seen.acquired).unwrap();
    assert!(lasts >= 10 * MINUTE && lasts < 11 * MINUTE, "{lasts:?}");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn holders_are_listed_as_long_as_they_hold(db: &Db) {
    let conn = &mut set_up!(db);
    let held = ["a", "b", "c"].map(|name| Lease::named(name).try_acquire(conn, "Ada").unwrap());
    let listed = |conn: &mut Conn| {
        let holders = Lease::holders(conn).unwrap();
        holders
            .into_iter()
            .map(|holder| (holder.lease, holder.expired))
            .collect::<Vec<_>>()
    };
    conn.batch_execute(&format!("{EXPIRE} WHERE name = 'b'"))
        .unwrap();
    let [a, b, c] = ["a", "b", "c"].map(str::to_owned);
    assert_eq!(
        listed(conn),
        [(a, false), (b.clone(), true), (c.clone(), false)]
    );
    held[0].release(conn).unwrap();
    assert_eq!(listed(conn), [(b, true), (c, false)]);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn expired_leases_are_listed_until_they_are_taken_or_released(db: &Db) {
    let conn = &mut set_up!(db);
    let names = ["a", "b", "c", "d"];
    let held = names.map(|name| Lease::named(name).try_acquire(conn, "Ada").unwrap());
    let listed = |conn: &mut Conn| {
        let expired = Lease::expired(conn).unwrap();
        assert!(expired.iter().all(|holder| holder.expired));
        expired
            .into_iter()
            .map(|holder| holder.lease)
            .collect::<Vec<_>>()
    };
    assert!(listed(conn).is_empty());
    conn.batch_execute(&format!("{EXPIRE} WHERE name <> 'd'"))
        .unwrap();
    assert_eq!(listed(conn), ["a", "b", "c"]);
    held[0].release(conn).unwrap();
    let _taken = Lease::named("b").try_acquire(conn, "Charles").unwrap();
    assert_eq!(listed(conn), ["c"]);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn purge_takes_what_ended_long_ago_and_nothing_else(db: &Db) {
    let conn = &mut set_up!(db);
    let [live, released, late, recent] = ["live", "released", "late", "recent"]
        .map(|name| Lease::named(name).try_acquire(conn, "Ada").unwrap());
    released.release(conn).unwrap();
    assert_eq!(Lease::purge(conn, MINUTE).unwrap(), 0);
    conn.batch_execute(&format!("{EXPIRE} WHERE name = 'recent'"))
        .unwrap();
    let hour_ago = "UPDATE row_lock_leases SET expires_at = expires_at - 3600000000 \
                    WHERE name IN ('released', 'late')";
    conn.batch_execute(hour_ago).unwrap();
    assert_eq!(Lease::purge(conn, MINUTE).unwrap(), 2);
    assert_eq!(
        Lease::named("recent")
            .holder(conn)
            .unwrap()
            .map(|holder| holder.token),
        Some(recent.token())
    );
    assert_eq!(Lease::named("late").holder(conn).unwrap(), None);
    live.guarded(conn, |_| Ok::<_, LockError>(())).unwrap();
    assert_stale!(late.guarded(conn, |_| Ok::<_, LockError>(())));
    assert_stale!(late.release(conn));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn tables_can_be_created_twice_and_keep_what_is_in_them(db: &Db) {
    let conn = &mut set_up!(db);
    let held = Lease::named("books").try_acquire(conn, "Ada").unwrap();
    Lease::create_tables(conn).unwrap();
    held.guarded(conn, |_| Ok::<_, LockError>(())).unwrap();
    held.release(conn).unwrap();
    assert!(
        Lease::named("books")
            .try_acquire(conn, "Ada")
            .unwrap()
            .token()
            > held.token()
    );
}
