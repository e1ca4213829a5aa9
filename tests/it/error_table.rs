//! What calls return when a server fails them, against the page that lists what they can return.
//! That the page agrees with the documentation of each call is a unit test of the crate.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use diesel_row_lock::waits::{cancel, lock_waits, terminate, SessionId};
use diesel_row_lock::{
    save_versioned, update_versioned, with_row_lock, with_row_locks, CommitToken, HeldLease, Lease,
    LockError, Locked, Retry, RowLock, Versioned,
};
use law::law;

use crate::support::calls::nothing;
use crate::support::schema::{accounts, Account};

const PAGE: &str = include_str!("../../src/errors.md");

diesel::table! {
    pages {
        id -> Integer,
        text -> Text,
        version -> Integer,
    }
}

#[derive(Debug, Queryable, Identifiable, AsChangeset)]
struct Page {
    id: i32,
    text: String,
    #[diesel(skip_update)]
    version: i32,
}

impl Versioned for Page {
    type Column = pages::version;
    fn version(&self) -> i32 {
        self.version
    }
}

fn seen_page() -> Page {
    Page {
        id: 1,
        text: "changed".to_owned(),
        version: 1,
    }
}

const PAGES: &str = "CREATE TABLE pages (id INTEGER PRIMARY KEY, text VARCHAR(9) NOT NULL,
     version INTEGER NOT NULL)";

fn lease() -> Lease {
    Lease::named("a form")
}

/// As a form brings it back, perhaps long after.
fn held() -> HeldLease {
    lease().with_handle("7-00000000000000ff".parse().unwrap())
}

/// A call under the name that the page gives it.
type Call<C> = (&'static str, fn(&mut C) -> Result<(), LockError>);

macro_rules! calls {
    () => {{
        let calls: &[Call<Conn>] = &[
            ("with_row_lock", |conn| {
                with_row_lock(conn, accounts::table.find(1), nothing)
            }),
            ("RowLock::with", |conn| {
                RowLock::for_update()
                    .no_wait()
                    .with(conn, accounts::table.find(1), nothing)
            }),
            ("RowLock::with_all", |conn| {
                let all = |_: &mut Conn, _: Vec<Locked<'_, Account>>| Ok(());
                RowLock::for_update().with_all(conn, accounts::table, all)
            }),
            ("with_row_locks", |conn| {
                with_row_locks(conn, [1, 2], |_, _: [Locked<'_, Account>; 2]| Ok(()))
            }),
            ("save_versioned", |conn| {
                save_versioned(conn, &seen_page()).map(drop)
            }),
            ("update_versioned", |conn| {
                let change = |page: &mut Page| {
                    page.text.push('!');
                    Ok(())
                };
                update_versioned(conn, pages::table.find(1), &Retry::new(), change)
            }),
            ("Lease::create_tables", |conn| Lease::create_tables(conn)),
            ("Lease::try_acquire", |conn| {
                lease().try_acquire(conn, "Ada").map(drop)
            }),
            ("Lease::acquire_timeout", |conn| {
                lease()
                    .acquire_timeout(conn, "Ada", Duration::ZERO)
                    .map(drop)
            }),
            ("Lease::override_by", |conn| {
                lease().override_by(conn, "root", "a test").map(drop)
            }),
            ("Lease::holder", |conn| lease().holder(conn).map(drop)),
            ("Lease::holders", |conn| Lease::holders(conn).map(drop)),
            ("Lease::expired", |conn| Lease::expired(conn).map(drop)),
            ("Lease::overrides", |conn| lease().overrides(conn).map(drop)),
            ("Lease::purge", |conn| {
                Lease::purge(conn, Duration::ZERO).map(drop)
            }),
            ("HeldLease::renew", |conn| held().renew(conn)),
            ("HeldLease::release", |conn| held().release(conn)),
            ("HeldLease::guarded", |conn| {
                held().guarded(conn, |_| Ok(()))
            }),
            ("CommitToken::create_table", |conn| {
                CommitToken::create_table(conn)
            }),
            ("CommitToken::resolve", |conn| {
                CommitToken::new().resolve(conn).map(drop)
            }),
            ("CommitToken::purge", |conn| {
                CommitToken::purge(conn, Duration::ZERO).map(drop)
            }),
        ];
        calls
    }};
}

/// Those that only a server has.
#[cfg(any(feature = "postgres", feature = "mysql"))]
macro_rules! calls_about_sessions {
    () => {{
        let calls: &[Call<Conn>] = &[
            ("lock_waits", |conn| lock_waits(conn).map(drop)),
            ("SessionId::of", |conn| SessionId::of(conn).map(drop)),
            ("cancel", |conn| {
                cancel(conn, SessionId::new(i64::from(i32::MAX))).map(drop)
            }),
            ("terminate", |conn| {
                terminate(conn, SessionId::new(i64::from(i32::MAX))).map(drop)
            }),
        ];
        calls
    }};
}

fn variant(error: &LockError) -> String {
    let shown = format!("{error:?}");
    let end = shown.find(|c: char| !c.is_alphanumeric());
    shown[..end.unwrap_or(shown.len())].to_owned()
}

/// Whether the page lets the call return that variant.
fn can_return(page: &str, call: &str, variant: &str) -> bool {
    let link = format!("[`{variant}`]");
    let (any, table) = page.split_once("# Each call").expect("a heading");
    let name = format!("`{call}`");
    let row = table.lines().find(|line| {
        let calls = line.split('|').nth(1).unwrap_or_default();
        calls.contains(&name)
    });
    let row = row.unwrap_or_else(|| panic!("no row for {call}"));
    row.contains(&link) || row.contains("(#any-statement)") && any.contains(&link)
}

/// The calls that have returned what the page does not list. Twin: without the variants that were
/// seen, the page is wrong about each of the calls.
fn assert_listed(seen: &[(&str, LockError)]) {
    let unlisted = |page: &str| -> Vec<String> {
        let seen = seen.iter().map(|(call, error)| (*call, variant(error)));
        let seen = seen.filter(|(call, variant)| !can_return(page, call, variant));
        seen.map(|(call, variant)| format!("{call}: {variant}"))
            .collect()
    };
    assert_eq!(unlisted(PAGE), [""; 0]);
    let mut planted = PAGE.to_owned();
    for (_, error) in seen {
        planted = planted.replace(&format!("[`{}`]", variant(error)), "[`Other`]");
    }
    assert_eq!(unlisted(&planted).len(), seen.len());
}

/// Each call on a connection that the server has ended.
#[law(postgres, mysql, mariadb)]
fn variants_of_a_lost_connection_are_listed(db: &Db) {
    db.connect().batch_execute(PAGES).unwrap();
    let mut seen = Vec::new();
    for (name, call) in calls!().iter().chain(calls_about_sessions!()) {
        let conn = &mut db.connect();
        let session = Db::session(conn);
        db.kill(session);
        db.wait_for_end_of(session);
        let error = call(conn).expect_err(name);
        let is_lost = matches!(
            error,
            LockError::ConnectionLost { .. } | LockError::CommitUnknown { .. }
        );
        assert!(is_lost, "{name}: {error:?}");
        seen.push((*name, error));
    }
    assert_listed(&seen);
}

/// Each call in a transaction that the server has given up.
#[law(postgres)]
fn variants_of_an_aborted_transaction_are_listed(db: &Db) {
    db.connect().batch_execute(PAGES).unwrap();
    let mut seen = Vec::new();
    for (name, call) in calls!().iter().chain(calls_about_sessions!()) {
        let result = db.connect().transaction(|conn| {
            conn.batch_execute("SELECT 1 / 0").unwrap_err();
            Err::<(), _>(call(conn).expect_err(name))
        });
        seen.push((*name, result.unwrap_err()));
    }
    let of = |wanted: &str| {
        let found = seen.iter().filter(|(_, error)| variant(error) == wanted);
        found.count()
    };
    assert!(of("Aborted") >= 10, "{seen:?}");
    assert_eq!(
        of("Aborted") + of("AlreadyInTransaction"),
        seen.len(),
        "{seen:?}"
    );
    assert_listed(&seen);
}

/// Each call where its tables, if it has any of its own, are missing.
#[law(postgres, mysql, mariadb, sqlite)]
fn variants_of_missing_tables_are_listed(db: &Db) {
    let conn = &mut db.connect();
    let mut seen = Vec::new();
    for (name, call) in calls!() {
        conn.batch_execute(
            "DROP TABLE IF EXISTS row_lock_leases;
             DROP TABLE IF EXISTS row_lock_overrides;
             DROP TABLE IF EXISTS row_lock_lease_floor;
             DROP TABLE IF EXISTS row_lock_commits;",
        )
        .unwrap();
        if let Err(error) = call(conn) {
            seen.push((*name, error));
        }
    }
    assert!(seen.len() >= 14, "{seen:?}");
    assert_listed(&seen);
}

/// Each call with all its tables, in which it finds neither a page nor the lease.
#[law(postgres, mysql, mariadb, sqlite)]
fn variants_of_missing_rows_are_listed(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(PAGES).unwrap();
    conn.batch_execute("DELETE FROM accounts").unwrap();
    Lease::create_tables(conn).unwrap();
    CommitToken::create_table(conn).unwrap();
    let mut seen = Vec::new();
    for (name, call) in calls!() {
        if let Err(error) = call(conn) {
            seen.push((*name, error));
        }
    }
    assert!(seen.len() >= 6, "{seen:?}");
    assert_listed(&seen);
}
