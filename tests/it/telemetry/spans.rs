//! One span for each locked call, which says what became of it.

use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool, R2D2Connection};
use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::{
    at_version, with_row_lock, with_row_locks, Lease, LockError, Locked, Retry, RowLock, Versioned,
};
use law::law;
use tracing::Level;

use super::seen::{call_in, calls_in, seen_in};
use super::system;
use crate::support::calls::{nothing, while_held};
use crate::support::schema::{accounts, Account, Seat};
use crate::support::wait_until;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use crate::support::wire::Wire;

/// How long somebody waits or holds, where that is to be seen in the figures.
const A_WHILE: Duration = Duration::from_millis(50);

/// The version is as good as any other number.
impl Versioned for Account {
    type Column = accounts::balance;
    fn version(&self) -> i64 {
        self.balance
    }
}

fn pool<C: R2D2Connection + 'static>(url: String) -> Pool<ConnectionManager<C>> {
    Pool::builder()
        .max_size(2)
        .min_idle(Some(0))
        .build(ConnectionManager::new(url))
        .unwrap()
}

pub(super) fn all<C>(_: &mut C, _: Vec<Locked<'_, Account>>) -> Result<(), LockError> {
    Ok(())
}

fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap()
}

/// Lets time pass; nothing is proven by it but that it has passed.
fn let_pass(time: Duration) {
    let begun = Instant::now();
    wait_until("time has passed", time, || begun.elapsed() >= time);
}

/// Fails unless the one call in `$call` names the line where this stands.
macro_rules! assert_site {
    ($call:expr) => {
        let ((), span) = call_in(|| $call.unwrap());
        assert_eq!(span.site(), (file!(), line!().into()));
    };
}

#[law(postgres, mysql, mariadb, sqlite)]
fn call_is_one_span_that_tells_all_of_it(db: &Db) {
    let conn = &mut db.connect();
    let (_, span) = call_in(|| with_row_lock(conn, accounts::table.find(1), nothing).unwrap());
    assert_eq!(
        (span.name, span.target.as_str(), span.level),
        ("row_lock", "diesel_row_lock", Level::INFO)
    );
    assert_eq!(span.field("db.system.name"), system(Db::STAMP));
    assert_eq!(span.field("db.collection.name"), "accounts");
    assert_eq!(span.field("row_lock.strength"), "for_update");
    assert_eq!(span.number("row_lock.attempts"), 1);
    assert_eq!(span.ending(), ("committed", ""));
    assert!(span.number("row_lock.wait_us") + span.number("row_lock.hold_us") > 0);
    assert!(span.closed && span.inside.is_none());
}

#[law(postgres, mysql, mariadb)]
fn table_and_strength_are_those_of_the_call(db: &Db) {
    let conn = &mut db.connect();
    let (_, span) = call_in(|| {
        let nothing = |_: &mut Conn, _: Vec<Locked<'_, Seat>>| Ok::<_, LockError>(());
        RowLock::for_share()
            .with_many(conn, [("blue".to_owned(), 1)], nothing)
            .unwrap();
    });
    assert_eq!(span.field("db.collection.name"), "seats");
    assert_eq!(span.field("row_lock.strength"), "for_share");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn site_is_the_line_of_whoever_calls(db: &Db) {
    let conn = &mut db.connect();
    let lock = RowLock::for_update();
    let retrying = lock.retry(Retry::new());
    let row = accounts::table.find(1);
    assert_site!(with_row_lock(conn, row, nothing));
    assert_site!(with_row_locks(
        conn,
        [1],
        |_, _: [Locked<Account>; 1]| Ok::<_, LockError>(())
    ));
    assert_site!(lock.with(conn, row, nothing));
    assert_site!(lock.with_all(conn, row, all));
    assert_site!(lock.with_many(conn, [1, 2], all));
    assert_site!(lock.with(conn, at_version(row, 1_000), nothing));
    assert_site!(retrying.with(conn, row, nothing));
    assert_site!(retrying.with_all(conn, row, all));
    assert_site!(retrying.with_many(conn, [1, 2], all));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn site_of_a_queue_and_of_a_lease_is_the_line_too(db: &Db) {
    let queue = RowQueue::<Conn, Account>::new(pool(db.url()));
    assert_site!(queue.with_row_lock(1, nothing));
    assert_site!(queue.update(1, |_| Ok::<_, LockError>(())));

    let conn = &mut db.connect();
    Lease::create_tables(conn).unwrap();
    let (held, calls) = calls_in(|| Lease::named("a").try_acquire(conn, "Ada").unwrap());
    assert!(
        calls.is_empty(),
        "a lease that changes hands is no locked call: {calls:?}"
    );
    assert_site!(held.guarded(conn, |_| Ok::<_, LockError>(())));
    let (_, span) = call_in(|| held.guarded(conn, |_| Ok::<_, LockError>(())).unwrap());
    assert_eq!(span.field("db.collection.name"), "row_lock_leases");
}

/// The second one waits by the server's word, and for longer than that was seen.
#[law(postgres, mysql, mariadb, sqlite)]
fn wait_is_told_as_wait(db: &Db) {
    thread::scope(|scope| {
        let mut seen_waiting = Duration::ZERO;
        let waiter = while_held!(db, 1, RowLock::for_update(), {
            let waiter = scope.spawn(|| {
                let conn = &mut db.connect();
                let begun = Instant::now();
                let (_, span) =
                    call_in(|| with_row_lock(conn, accounts::table.find(1), nothing).unwrap());
                (span, begun.elapsed())
            });
            db.wait_for_waiters(1);
            let since = Instant::now();
            let_pass(A_WHILE);
            seen_waiting = since.elapsed();
            waiter
        });
        let (span, call) = waiter.join().unwrap();
        let (wait, hold) = (
            span.number("row_lock.wait_us"),
            span.number("row_lock.hold_us"),
        );
        assert!(
            wait >= micros(seen_waiting),
            "{wait} us of {seen_waiting:?}"
        );
        assert!(
            wait + hold <= micros(call),
            "{wait} us and {hold} us of {call:?}"
        );
    });
}

/// Twin: nobody is waited for, and the closure takes its time.
#[law(postgres, mysql, mariadb, sqlite)]
fn twin_hold_is_told_as_hold_and_not_as_wait(db: &Db) {
    let conn = &mut db.connect();
    let begun = Instant::now();
    let (_, span) = call_in(|| {
        with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
            let_pass(A_WHILE);
            Ok::<_, LockError>(())
        })
        .unwrap();
    });
    let call = begun.elapsed();
    let (wait, hold) = (
        span.number("row_lock.wait_us"),
        span.number("row_lock.hold_us"),
    );
    assert!(hold >= micros(A_WHILE), "{hold} us");
    assert!(wait <= micros(call - A_WHILE), "{wait} us of {call:?}");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn nested_call_has_a_span_of_its_own_inside(db: &Db) {
    let conn = &mut db.connect();
    let (_, seen) = seen_in(|| {
        with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
            with_row_lock(conn, accounts::table.find(2), |_, _: Locked<Account>| {
                tracing::info!("in both");
                Ok::<_, LockError>(())
            })?;
            tracing::info!("in one");
            Ok::<_, LockError>(())
        })
        .unwrap();
    });
    let inside: Vec<_> = seen.iter().map(|seen| seen.inside).collect();
    // The outer call, the inner one, an event in each.
    assert_eq!(inside, [None, Some(0), Some(1), Some(0)]);
    assert!(
        seen[..2]
            .iter()
            .all(|span| span.closed && span.ending() == ("committed", "")),
        "{seen:#?}"
    );
}

/// Whoever is in the batch has no lock of its own, so no call.
#[law(postgres, mysql, mariadb)]
fn batch_of_a_queue_is_one_call_of_whoever_leads_it(db: &Db) {
    // With an option of the lock the batch is open until the row is locked.
    let lock = RowLock::for_update().timeout(Duration::from_secs(30));
    let queue = &RowQueue::<Conn, Account>::builder()
        .lock(lock)
        .build(pool(db.url()));
    let threads = thread::scope(|scope| {
        while_held!(db, 1, RowLock::for_update(), {
            [1, 2, 3].map(|number| {
                let thread = scope.spawn(|| {
                    calls_in(|| {
                        queue
                            .update(1, |account| {
                                account.balance += 1;
                                Ok::<_, LockError>(())
                            })
                            .unwrap();
                    })
                    .1
                });
                wait_until("it stands in line", Duration::from_millis(1), || {
                    db.waiters() == 1 && queue.stats().waiting == number - 1
                });
                thread
            })
        })
        .map(|thread| thread.join().unwrap())
    });
    assert_eq!(threads.each_ref().map(Vec::len), [1, 0, 0]);
    assert_eq!(db.balance(1), 1_003);
}

/// The user's own `Instrumentation` is never replaced, and what it tells is inside of the span.
#[law(postgres, mysql, mariadb, sqlite)]
fn instrumentation_of_the_user_stays_and_speaks_in_the_span(db: &Db) {
    let conn = &mut db.connect();
    conn.set_instrumentation(|event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            tracing::debug!(%query);
        }
    });
    let (_, seen) = seen_in(|| {
        with_row_lock(conn, accounts::table.find(1), nothing).unwrap();
        conn.batch_execute("SELECT 1").unwrap();
    });
    let (last, inside) = seen[1..].split_last().unwrap();
    assert!(
        inside.iter().all(|event| event.inside == Some(0)),
        "begin, lock, commit {seen:#?}"
    );
    assert!(
        inside
            .iter()
            .any(|event| event.field("query").contains("COMMIT")),
        "{seen:#?}"
    );
    assert_eq!(last.inside, None, "behind the call {seen:#?}");
}

#[law(postgres, mysql, mariadb)]
fn telling_takes_no_round_trip(db: &Db) {
    let wire = Wire::to(&db.server());
    let conn = &mut Conn::establish(&db.url_at(&wire.address.to_string())).unwrap();
    let mut told = || {
        wire.round_trips(|| {
            call_in(|| with_row_lock(conn, accounts::table.find(1), nothing).unwrap());
        })
    };
    // The first time, statements are prepared.
    let told = [told(), told()][1];
    let mut by_hand = || {
        wire.round_trips(|| {
            let row = accounts::table.find(1).for_update();
            conn.transaction(|conn| row.first::<Account>(conn)).unwrap();
        })
    };
    let by_hand = [by_hand(), by_hand()][1];
    assert_eq!(told, by_hand + Db::MORE_ROUND_TRIPS - Db::FEWER_ROUND_TRIPS);
}
