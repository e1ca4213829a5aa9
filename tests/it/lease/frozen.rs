//! A holder that is frozen until its lease is over, and wakes up believing that it still holds it.
//!
//! The leases last for longer than any machine is busy; the test lets the time of the frozen one
//! run out.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{Lease, LockError};
use law::{law, part};

use super::{set_up, EXPIRE};
use crate::support::child;
use crate::support::schema::accounts;

const ROUNDS: i64 = 5;

fn account() -> Lease {
    Lease::named("accounts/1").ttl(Duration::from_secs(600))
}

macro_rules! add {
    ($conn:expr, $to:expr, $amount:expr) => {
        diesel::update(accounts::table.find(1))
            .set(accounts::balance.eq($to + $amount))
            .execute($conn)
    };
}

macro_rules! balance {
    ($conn:expr) => {
        accounts::table
            .find(1)
            .select(accounts::balance)
            .first::<i64>($conn)
    };
}

/// What the sleeper says of each of its writes, while somebody else adds 100 whenever it is frozen.
macro_rules! writes_of_the_late {
    ($db:ident, $part:expr) => {{
        let conn = &mut set_up!($db);
        let mut sleeper = $db.play($part, &[]);
        let writes: Vec<String> = (0..ROUNDS)
            .map(|_| {
                assert_eq!(sleeper.hear(), "read");
                sleeper.freeze();
                conn.batch_execute(EXPIRE).unwrap();
                let held = account().acquire(conn, "awake").unwrap();
                held.guarded(conn, |conn| {
                    let seen = balance!(conn)?;
                    add!(conn, seen, 100)
                })
                .unwrap();
                held.release(conn).unwrap();
                sleeper.thaw();
                sleeper.nudge();
                sleeper.hear()
            })
            .collect();
        writes
    }};
}

#[law(postgres, mysql, mariadb, sqlite)]
fn write_of_a_holder_that_thaws_late_is_refused_in_every_round(db: &Db) {
    let writes = writes_of_the_late!(db, "lease::frozen::guarded_sleeper");
    assert!(
        writes.iter().all(|write| write.contains("StaleToken")),
        "{writes:?}"
    );
    assert_eq!(db.balance(1), 1_000 + ROUNDS * 100);
}

/// Twin: without the token every write comes through, over what the other has written.
#[law(postgres, mysql, mariadb, sqlite)]
fn twin_sleeper_without_the_token_loses_the_updates_of_others(db: &Db) {
    let writes = writes_of_the_late!(db, "lease::frozen::unguarded_sleeper");
    assert!(
        writes.iter().all(|write| write.contains("Ok")),
        "{writes:?}"
    );
    assert_eq!(
        db.balance(1),
        1_000 + ROUNDS,
        "all that the other has added is lost"
    );
}

/// Reads under the lease, and writes when it is told to go on.
macro_rules! sleep {
    ($url:ident, |$conn:ident, $held:ident, $seen:ident| $write:expr) => {
        let $conn = &mut Conn::establish(&$url).unwrap();
        if $url.starts_with('/') {
            $conn.batch_execute("PRAGMA busy_timeout = 20000").unwrap();
        }
        for _ in 0..ROUNDS {
            let $held = account().acquire($conn, "asleep").unwrap();
            let $seen = balance!($conn).unwrap();
            child::say("read");
            child::listen();
            child::say(format_args!("{:?}", $write));
        }
    };
}

#[part(postgres, mysql, mariadb, sqlite)]
fn guarded_sleeper(url: String) {
    sleep!(url, |conn, held, seen| held.guarded(conn, |conn| {
        add!(conn, seen, 1)?;
        Ok::<_, LockError>(())
    }));
}

#[part(postgres, mysql, mariadb, sqlite)]
fn unguarded_sleeper(url: String) {
    sleep!(url, |conn, _held, seen| add!(conn, seen, 1));
}
