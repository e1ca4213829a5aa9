//! Names are taken byte for byte, and what can't be one is refused before any SQL.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{Lease, LockError, Outcome};
use law::law;

use super::{assert_held_by, assert_stale, forged, set_up, EXPIRE};
use crate::support::calls::assert_error;
use crate::support::probe::statements_of;
use crate::support::schema::{accounts, seats, Account, Seat};

/// Pairs that some collation, pattern or escape holds for the same, and names that look like SQL.
const HOSTILE: [&str; 27] = [
    "a",
    "A",
    "a ",
    " a",
    "a\t",
    "á",
    "a\u{301}",
    "e",
    "é",
    "ß",
    "ss",
    "ı",
    "i",
    "I",
    "%",
    "_",
    "\\",
    "\\\\",
    "'",
    "''",
    "\"",
    "`",
    "'; DROP TABLE row_lock_leases; --",
    "{name}",
    "?",
    "🦀",
    "\u{202e}סוף",
];

#[law(postgres, mysql, mariadb, sqlite)]
fn hostile_names_are_leases_of_their_own(db: &Db) {
    let conn = &mut set_up!(db);
    let held = HOSTILE.map(|name| {
        let lease = Lease::named(name).note(name);
        lease
            .try_acquire(conn, name)
            .unwrap_or_else(|error| panic!("{name:?}: {error:?}"))
    });
    for (name, held) in HOSTILE.iter().zip(&held) {
        let holder = Lease::named(*name).holder(conn).unwrap().unwrap();
        assert_eq!(
            (&*holder.lease, &*holder.owner, &*holder.note),
            (*name, *name, *name)
        );
        assert_eq!(holder.token, held.token());
        assert_held_by!(Lease::named(*name).try_acquire(conn, "another"), *name);
        held.guarded(conn, |_| Ok::<_, LockError>(())).unwrap();
        held.renew(conn).unwrap();
        held.release(conn).unwrap();
        let boss = Lease::named(*name).override_by(conn, name, name).unwrap();
        let seen = Lease::named(*name).overrides(conn).unwrap();
        assert_eq!(
            (seen.len(), &*seen[0].admin, &*seen[0].reason),
            (1, *name, *name)
        );
        boss.release(conn).unwrap();
    }
    // A name that is like another one is not purged with it.
    let kept = HOSTILE.map(|name| Lease::named(name).try_acquire(conn, name).unwrap());
    conn.batch_execute(&format!("{EXPIRE} WHERE name = 'a'"))
        .unwrap();
    assert_eq!(Lease::purge(conn, Duration::ZERO).unwrap(), 1);
    assert_stale!(kept[0].renew(conn));
    for held in &kept[1..] {
        held.renew(conn).unwrap();
    }
    conn.batch_execute(EXPIRE).unwrap();
    assert_eq!(
        Lease::purge(conn, Duration::ZERO).unwrap(),
        HOSTILE.len() - 1
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn what_can_be_no_lease_is_refused_before_any_sql(db: &Db) {
    let conn = &mut set_up!(db);
    let statements = statements_of(conn);
    let century = Duration::from_secs(101 * 366 * 24 * 60 * 60);
    let megabyte = "x".repeat(1 << 20);
    let good = Lease::named("books");
    let leases = [
        (Lease::named(""), "name"),
        (Lease::named("a\0b"), "name"),
        (Lease::named("x".repeat(256)), "name"),
        (Lease::named("🦀".repeat(64)), "name"),
        (Lease::named(&megabyte), "name"),
        (good.clone().note("a\0b"), "note"),
        (good.clone().note(&megabyte), "note"),
        (good.clone().ttl(Duration::ZERO), "ttl"),
        (good.clone().ttl(century), "ttl"),
        (good.clone().ttl(Duration::MAX), "ttl"),
    ];
    for (lease, part) in leases {
        let results = [
            lease.try_acquire(conn, "Ada").map(drop),
            lease.acquire(conn, "Ada").map(drop),
            lease.override_by(conn, "boss", "").map(drop),
            lease.holder(conn).map(drop),
            lease.overrides(conn).map(drop),
            lease.clone().with_handle(forged()).renew(conn),
            lease.clone().with_handle(forged()).release(conn),
            lease
                .clone()
                .with_handle(forged())
                .guarded(conn, |_| Ok(())),
        ];
        for result in results {
            assert!(
                matches!(&result, Err(LockError::InvalidLease { what, .. }) if *what == part),
                "{part}: {result:?}"
            );
            assert_error!(result, InvalidLease, NotApplied, lasting, no_contention);
        }
    }
    for owner in ["", "a\0b", &megabyte] {
        let result = good.try_acquire(conn, owner);
        assert_error!(result, InvalidLease, NotApplied, lasting, no_contention);
        let result = good.override_by(conn, owner, "");
        assert_error!(result, InvalidLease, NotApplied, lasting, no_contention);
    }
    for reason in ["a\0b", &megabyte] {
        let result = good.override_by(conn, "boss", reason);
        assert_error!(result, InvalidLease, NotApplied, lasting, no_contention);
    }
    assert!(statements.lock().unwrap().is_empty());
}

#[law(postgres, mysql, mariadb, sqlite)]
fn longest_texts_are_taken(db: &Db) {
    let conn = &mut set_up!(db);
    let (name, note) = ("x".repeat(255), "n".repeat(10_000));
    let lease = Lease::named(&name)
        .note(&note)
        .ttl(Duration::from_secs(100 * 366 * 24 * 60 * 60));
    let held = lease.try_acquire(conn, &name).unwrap();
    held.renew(conn).unwrap();
    let holder = lease.holder(conn).unwrap().unwrap();
    assert_eq!(
        (holder.lease, holder.owner, holder.note),
        (name.clone(), name, note)
    );
    assert!(!holder.expired);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn shortest_time_to_live_is_no_error(db: &Db) {
    let conn = &mut set_up!(db);
    let _held = Lease::named("books")
        .ttl(Duration::from_nanos(1))
        .try_acquire(conn, "Ada")
        .unwrap();
    let _ = Lease::named("books")
        .acquire_timeout(conn, "Charles", Duration::from_secs(20))
        .unwrap();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn lease_of_a_row_is_named_by_its_table_and_key(db: &Db) {
    let conn = &mut set_up!(db);
    let account: Account = accounts::table.find(1).first(conn).unwrap();
    let seat: Seat = seats::table.find(("blue", 2)).first(conn).unwrap();
    assert_eq!(Lease::on(&account).name(), "accounts/1");
    assert_eq!(Lease::on(&seat).name(), "seats/blue/2");
    let _held = Lease::on(&account).try_acquire(conn, "Ada").unwrap();
    assert_held_by!(
        Lease::named("accounts/1").try_acquire(conn, "Charles"),
        "Ada"
    );
}

mod of_rows {
    use diesel::prelude::*;
    use diesel_row_lock::Lease;

    diesel::table! {
        books.pairs (left, right) {
            left -> Text,
            right -> Text,
        }
    }

    #[derive(Identifiable)]
    #[diesel(table_name = pairs, primary_key(left, right))]
    struct Pair {
        left: &'static str,
        right: &'static str,
    }

    /// Or two rows would have one lease.
    #[test]
    fn different_keys_have_different_names() {
        let name = |left, right| Lease::on(&Pair { left, right }).name().to_owned();
        assert_eq!(name("a", "b"), "books.pairs/a/b");
        let names = [
            name("a/b", "c"),
            name("a", "b/c"),
            name("a\\", "b/c"),
            name("a\\/b", "c"),
        ];
        for (at, one) in names.iter().enumerate() {
            assert!(!names[..at].contains(one), "{names:?}");
        }
    }
}
