//! No duration that a caller can pass makes a call panic or overflow.

use std::time::Duration;

use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::{
    with_row_lock, CommitToken, Lease, LockError, Locked, Retry, RetryCause, RowLock,
};
use law::law;

use crate::support::calls::nothing;
use crate::support::schema::{accounts, Account};

/// From none to more than any clock can count.
const TIMES: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_secs(1),
    Duration::from_secs(i32::MAX as u64),
    Duration::from_secs(u32::MAX as u64 + 1),
    Duration::from_secs(i64::MAX as u64),
    Duration::MAX,
];

fn pairs() -> impl Iterator<Item = (Duration, Duration)> {
    TIMES
        .iter()
        .flat_map(|first| TIMES.map(|second| (*first, second)))
}

#[law(postgres, mysql, mariadb, sqlite)]
fn any_timeout_can_be_waited_for(db: &Db) {
    let conn = &mut db.connect();
    for time in TIMES {
        let lock = RowLock::for_update().timeout(time);
        lock.with(conn, accounts::table.find(1), nothing)
            .unwrap_or_else(|error| panic!("{time:?}: {error:?}"));
        // Nested, and with a time of its own.
        with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
            lock.with(conn, accounts::table.find(2), nothing)
        })
        .unwrap_or_else(|error| panic!("{time:?}: {error:?}"));
    }
    let settings = Db::settings(conn);
    assert_eq!(settings, Db::settings(&mut db.connect()));
}

#[law(postgres, mariadb)]
fn any_time_to_hold_is_one(db: &Db) {
    let settings = Db::settings(&mut db.connect());
    for (hold, wait) in pairs() {
        let conn = &mut db.connect();
        let lock = RowLock::for_update().hold_at_most(hold).timeout(wait);
        match lock.with(conn, accounts::table.find(1), nothing) {
            Ok(()) => assert_eq!(Db::settings(conn), settings, "{hold:?}, {wait:?}"),
            // The shortest are over at once, and the server may have ended the session.
            Err(LockError::HoldExpired { limit }) if limit < TIMES[2] => assert_eq!(limit, hold),
            Err(LockError::ConnectionLost { .. }) if hold < TIMES[2] => {}
            Err(error) => panic!("{hold:?}, {wait:?}: {error:?}"),
        }
    }
}

/// Where the server refuses what it would otherwise cut down.
#[law(mariadb)]
fn longest_times_are_taken_in_the_strictest_mode(db: &Db) {
    let conn = &mut db.connect();
    diesel::sql_query("SET sql_mode = 'STRICT_ALL_TABLES'")
        .execute(conn)
        .unwrap();
    let lock = RowLock::for_update()
        .hold_at_most(Duration::MAX)
        .timeout(Duration::MAX);
    lock.with(conn, accounts::table.find(1), nothing).unwrap();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn any_pauses_and_deadline_are_a_policy(db: &Db) {
    let conn = &mut db.connect();
    for (first, second) in pairs() {
        for deadline in [
            None,
            Some(Duration::ZERO),
            Some(TIMES[2]),
            Some(Duration::MAX),
        ] {
            let policy = Retry::new()
                .attempts(4)
                .pauses(first, second)
                .sleeper(|_| ());
            let policy = match deadline {
                Some(deadline) => policy.deadline(deadline),
                None => policy,
            };
            let result = RowLock::for_update()
                .retry(policy)
                .when(|_: &LockError| Some(RetryCause::Deadlock))
                .with(conn, accounts::table.find(1), |_, _: Locked<Account>| {
                    Err::<(), _>(LockError::Abandoned)
                });
            let Err(LockError::RetriesExhausted { attempts, .. }) = result else {
                panic!("{result:?}")
            };
            assert!(
                (1..=4).contains(&attempts),
                "{first:?}, {second:?}, {deadline:?}: {attempts}"
            );
        }
    }
}

#[law(postgres, mysql, mariadb, sqlite)]
fn any_bounds_are_those_of_a_queue(db: &Db) {
    for (wait, batch) in pairs() {
        let pool = Pool::builder().max_size(1);
        let pool = pool
            .build(ConnectionManager::<Conn>::new(db.url()))
            .unwrap();
        let queue: RowQueue<Conn, Account> = RowQueue::builder()
            .longest_wait(wait)
            .longest_batch(batch)
            .build(pool);
        let first = queue.with_row_lock(1, |_, _: Locked<Account>| Ok::<_, LockError>(()));
        let second = queue.update(1, |_| Ok::<_, LockError>(()));
        for result in [first, second] {
            let in_time = matches!(result, Ok(()) | Err(LockError::QueueTimeout { .. }));
            assert!(in_time, "{wait:?}, {batch:?}: {result:?}");
        }
    }
}

#[law(postgres, mysql, mariadb, sqlite)]
fn any_age_can_be_purged(db: &Db) {
    let conn = &mut db.connect();
    CommitToken::create_table(conn).unwrap();
    Lease::create_tables(conn).unwrap();
    for age in TIMES {
        CommitToken::purge(conn, age).unwrap_or_else(|error| panic!("{age:?}: {error:?}"));
        let purged = Lease::purge(conn, age);
        let refused = matches!(purged, Ok(0) | Err(LockError::InvalidLease { .. }));
        assert!(refused, "{age:?}: {purged:?}");
    }
}

#[law(postgres, mysql, mariadb, sqlite)]
fn any_times_are_those_of_a_lease(db: &Db) {
    let conn = &mut db.connect();
    Lease::create_tables(conn).unwrap();
    for (ttl, timeout) in pairs() {
        let lease = Lease::named("report").ttl(ttl);
        match lease.acquire_timeout(conn, "Ada", timeout) {
            // It may be over already.
            Ok(held) => drop(held.release(conn)),
            Err(LockError::InvalidLease { .. }) => {}
            Err(error) => panic!("{ttl:?}, {timeout:?}: {error:?}"),
        }
    }
}

/// The blocker is looked for on a second connection, for as long as the wait may take.
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod named {
    use diesel_row_lock::waits::SessionId;

    use super::*;

    #[law(postgres, mysql, mariadb)]
    fn any_timeout_can_name_its_blocker(db: &Db) {
        for time in TIMES {
            let [conn, second] = &mut [db.connect(), db.connect()];
            let session = SessionId::of(conn).unwrap();
            let lock = RowLock::for_update()
                .timeout(time)
                .naming_blocker(second, session);
            lock.with(conn, accounts::table.find(1), nothing).unwrap();
        }
    }
}
