//! Leases under sessions whose isolation level is stricter than READ COMMITTED.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{Lease, LockError};
use law::law;

use super::{set_up, Number, EXPIRE, LOCK_ROW};
use crate::support::schema::accounts;

const LEVELS: [&str; 2] = ["REPEATABLE READ", "SERIALIZABLE"];
const ROUNDS: i64 = 10;
/// What a renewal writes.
const RENEW: &str = "UPDATE row_lock_leases SET expires_at = expires_at + 1";

fn books() -> Lease {
    Lease::named("books").ttl(Duration::from_secs(600))
}

/// A connection whose transactions have this isolation level.
macro_rules! connect_at {
    ($db:ident, $level:expr) => {{
        let mut conn = $db.connect();
        let set = match Db::STAMP {
            "postgres" => "SET SESSION CHARACTERISTICS AS TRANSACTION",
            _ => "SET SESSION TRANSACTION",
        };
        conn.batch_execute(&format!("{set} ISOLATION LEVEL {}", $level))
            .unwrap();
        conn
    }};
}

fn add(conn: &mut impl diesel::connection::LoadConnection, sql: &str) -> QueryResult<()> {
    conn.batch_execute(sql)
}

#[law(postgres, mysql, mariadb)]
fn callers_wait_for_each_other_at_every_isolation_level(db: &Db) {
    drop(set_up!(db));
    for level in LEVELS {
        let before = db.balance(1);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let conn = &mut connect_at!(db, level);
                    for _ in 0..ROUNDS {
                        let held = books().acquire(conn, "one of four").unwrap();
                        held.renew(conn).unwrap();
                        held.guarded(conn, |conn| {
                            add(
                                conn,
                                "UPDATE accounts SET balance = balance + 1 WHERE id = 1",
                            )?;
                            Ok::<_, LockError>(())
                        })
                        .unwrap();
                        held.release(conn).unwrap();
                    }
                });
            }
        });
        assert_eq!(db.balance(1), before + 4 * ROUNDS, "{level}");
    }
}

#[law(postgres, mysql, mariadb)]
fn one_of_several_acquires_and_the_others_find_it_held_at_every_isolation_level(db: &Db) {
    let conn = &mut set_up!(db);
    for level in LEVELS {
        let barrier = Barrier::new(4);
        for round in 0..ROUNDS {
            let results: Vec<_> = thread::scope(|scope| {
                let callers: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            let conn = &mut connect_at!(db, level);
                            barrier.wait();
                            books().try_acquire(conn, "one of four")
                        })
                    })
                    .collect();
                callers
                    .into_iter()
                    .map(|caller| caller.join().unwrap())
                    .collect()
            });
            for result in &results {
                assert!(
                    matches!(result, Ok(_) | Err(LockError::LeaseHeld { .. })),
                    "{level}: {result:?}"
                );
            }
            assert!(results.iter().filter(|result| result.is_ok()).count() <= 1);
            // All may have met at the moment of another one's look; one alone gets it.
            let held = results.into_iter().find_map(Result::ok);
            let held = held.unwrap_or_else(|| books().try_acquire(conn, "the last").unwrap());
            match round % 3 {
                0 => held.release(conn).unwrap(),
                1 => conn.batch_execute(EXPIRE).unwrap(),
                _ => {
                    conn.batch_execute(EXPIRE).unwrap();
                    assert_eq!(Lease::purge(conn, Duration::ZERO).unwrap(), 1);
                }
            }
        }
    }
}

#[law(postgres, mysql, mariadb)]
fn lease_is_overridden_and_purged_at_every_isolation_level(db: &Db) {
    drop(set_up!(db));
    for level in LEVELS {
        let conn = &mut connect_at!(db, level);
        let ada = books().try_acquire(conn, "Ada").unwrap();
        let boss = books().override_by(conn, "boss", "a test").unwrap();
        assert!(boss.token() > ada.token());
        conn.batch_execute(EXPIRE).unwrap();
        assert_eq!(Lease::purge(conn, Duration::ZERO).unwrap(), 1);
    }
}

/// Twin: the statement runs in a transaction whose snapshot is older than the row.
#[law(postgres)]
fn twin_lock_under_an_old_snapshot_is_a_serialization_failure(db: &Db) {
    let conn = &mut set_up!(db);
    books()
        .try_acquire(conn, "Ada")
        .unwrap()
        .release(conn)
        .unwrap();
    let other = &mut connect_at!(db, "REPEATABLE READ");
    let result = other.transaction(|other| {
        let look = "SELECT token AS number FROM row_lock_leases WHERE name = 'books'";
        diesel::sql_query(look).load::<Number>(other)?;
        books()
            .try_acquire(conn, "Ada")
            .unwrap()
            .release(conn)
            .unwrap();
        diesel::sql_query(format!("{look} FOR UPDATE SKIP LOCKED")).load::<Number>(other)
    });
    let error = LockError::from(result.map(|rows| rows.len()).unwrap_err());
    assert!(
        matches!(error, LockError::SerializationFailure { .. }),
        "{error:?}"
    );
}

/// It waits for a renewal, and behind it the row is not what its snapshot shows.
#[law(postgres, mysql, mariadb)]
fn guarded_write_that_meets_a_renewal_runs_once_at_every_isolation_level(db: &Db) {
    let conn = &mut set_up!(db);
    for level in LEVELS {
        let held = &books().try_acquire(conn, "Ada").unwrap();
        conn.batch_execute(&format!("BEGIN; {RENEW}")).unwrap();
        let runs = thread::scope(|scope| {
            let write = scope.spawn(|| {
                let mut runs = 0;
                let result = held.guarded(&mut connect_at!(db, level), |_| {
                    runs += 1;
                    Ok::<_, LockError>(())
                });
                result.map(|()| runs)
            });
            db.wait_for_waiters(1);
            conn.batch_execute("COMMIT").unwrap();
            write.join().unwrap()
        });
        assert_eq!(runs.unwrap(), 1, "{level}");
        held.release(conn).unwrap();
    }
}

/// Twin: without another attempt it fails.
#[law(postgres)]
fn twin_lock_by_hand_that_meets_a_renewal_is_a_serialization_failure(db: &Db) {
    let conn = &mut set_up!(db);
    let _held = books().try_acquire(conn, "Ada").unwrap();
    for level in LEVELS {
        conn.batch_execute(&format!("BEGIN; {RENEW}")).unwrap();
        let locked = thread::scope(|scope| {
            let write = scope.spawn(|| {
                let conn = &mut connect_at!(db, level);
                diesel::sql_query(LOCK_ROW)
                    .load::<Number>(conn)
                    .map(|rows| rows.len())
            });
            db.wait_for_waiters(1);
            conn.batch_execute("COMMIT").unwrap();
            write.join().unwrap()
        });
        let error = LockError::from(locked.unwrap_err());
        assert!(
            matches!(error, LockError::SerializationFailure { .. }),
            "{level}: {error:?}"
        );
    }
}

/// Twin: at SERIALIZABLE a look is a shared lock, and two who look keep a free lease from each
/// other.
#[law(mysql, mariadb)]
fn twin_two_looks_under_serializable_keep_a_free_lease_from_both(db: &Db) {
    let conn = &mut set_up!(db);
    books()
        .try_acquire(conn, "Ada")
        .unwrap()
        .release(conn)
        .unwrap();
    let mut callers = [(); 2].map(|()| connect_at!(db, "SERIALIZABLE"));
    let look = "SELECT token AS number FROM row_lock_leases WHERE name = 'books'";
    for caller in &mut callers {
        caller.batch_execute("BEGIN").unwrap();
        assert_eq!(
            diesel::sql_query(look)
                .load::<Number>(caller)
                .unwrap()
                .len(),
            1
        );
    }
    for caller in &mut callers {
        let locked = diesel::sql_query(format!("{look} FOR UPDATE NOWAIT")).load::<Number>(caller);
        assert!(locked.is_err());
    }
}

/// The level is of the lease's own transaction alone.
#[law(mysql, mariadb)]
fn isolation_of_the_next_transaction_is_the_sessions(db: &Db) {
    let other = &mut set_up!(db);
    let conn = &mut connect_at!(db, "REPEATABLE READ");
    let held = books().try_acquire(conn, "Ada").unwrap();
    assert!(books().try_acquire(conn, "Charles").is_err());
    let looks = |conn: &mut Conn, other: &mut Conn| {
        conn.transaction(|conn| {
            let look = |conn: &mut Conn| {
                accounts::table
                    .find(1)
                    .select(accounts::balance)
                    .first::<i64>(conn)
            };
            let first = look(conn)?;
            other.batch_execute("UPDATE accounts SET balance = balance + 1 WHERE id = 1")?;
            QueryResult::Ok((first, look(conn)?))
        })
        .unwrap()
    };
    let (first, second) = looks(conn, other);
    assert_eq!(first, second);
    held.release(conn).unwrap();
    // Twin: at READ COMMITTED the second look differs.
    let (first, second) = looks(&mut connect_at!(db, "READ COMMITTED"), other);
    assert_ne!(first, second);
}

/// A transaction that Diesel does not know of is neither committed nor rolled back.
#[law(mysql, mariadb)]
fn transaction_by_hand_is_left_as_it_is(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books().try_acquire(conn, "Ada").unwrap();
    conn.batch_execute("BEGIN; UPDATE accounts SET balance = 7 WHERE id = 1")
        .unwrap();
    let results = [
        Lease::named("other").try_acquire(conn, "Ada").map(drop),
        books().override_by(conn, "boss", "").map(drop),
        held.renew(conn),
        held.release(conn),
        Lease::purge(conn, Duration::ZERO).map(drop),
    ];
    for result in results {
        assert!(
            matches!(result, Err(LockError::AlreadyInTransaction { .. })),
            "{result:?}"
        );
    }
    assert_eq!(db.balance(1), 1_000, "not committed");
    conn.batch_execute("COMMIT").unwrap();
    assert_eq!(db.balance(1), 7);
    held.release(conn).unwrap();
}

/// From now on each statement that finds the row of the lease loses against a concurrent one. The
/// sequence counts on, also where its transaction is rolled back.
const ALWAYS_LOSE: &str = "
    ALTER TABLE row_lock_leases RENAME TO real_leases;
    CREATE SEQUENCE looks;
    CREATE FUNCTION lose() RETURNS boolean VOLATILE LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM nextval('looks');
            RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001';
        END $$;
    CREATE VIEW row_lock_leases AS SELECT * FROM real_leases WHERE lose();
";

/// How often the row was looked for since the last question.
#[cfg(feature = "postgres")]
fn looks(conn: &mut PgConnection) -> i64 {
    let looks = "WITH seen AS MATERIALIZED (SELECT last_value, is_called FROM looks), \
         reset AS MATERIALIZED (SELECT setval('looks', 1, false)) \
         SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS number FROM seen, reset";
    diesel::sql_query(looks)
        .get_result::<Number>(conn)
        .unwrap()
        .number
}

#[law(postgres)]
fn call_that_always_loses_gives_up_after_ten_attempts_with_pauses(db: &Db) {
    let conn = &mut set_up!(db);
    let held = books().try_acquire(conn, "Ada").unwrap();
    conn.batch_execute(ALWAYS_LOSE).unwrap();
    looks(conn);
    let mut attempts_of = |act: &mut dyn FnMut(&mut Conn) -> LockError| {
        let since = Instant::now();
        let error = act(conn);
        (looks(conn), since.elapsed(), error)
    };

    // Ten pauses would be of 55 ms.
    let pauses = Duration::from_millis((1..10).sum());
    let (looks, time, error) =
        attempts_of(&mut |conn| books().try_acquire(conn, "Charles").unwrap_err());
    assert!(
        matches!(error, LockError::LeaseHeld { holder: None, .. }),
        "{error:?}"
    );
    assert_eq!(looks, 10);
    assert!(time >= pauses, "{time:?}");

    let lost = |error| matches!(error, LockError::SerializationFailure { .. });
    let (looks, time, error) = attempts_of(&mut |conn| held.renew(conn).unwrap_err());
    assert!(lost(error));
    assert_eq!(looks, 10);
    assert!(time >= pauses, "{time:?}");

    let unreached = |_: &mut Conn| -> Result<(), LockError> { unreachable!("it is not held") };
    let (looks, time, error) = attempts_of(&mut |conn| held.guarded(conn, unreached).unwrap_err());
    assert!(lost(error));
    assert_eq!(looks, 10);
    assert!(time >= pauses, "{time:?}");

    // An attempt inside an open transaction is the only one: the transaction is dead after it.
    let (looks, _, error) = attempts_of(&mut |conn| {
        conn.transaction(|conn| held.guarded(conn, unreached))
            .unwrap_err()
    });
    assert!(lost(error));
    assert_eq!(looks, 1);

    // Twin: a statement that is sent once.
    let (looks, _, error) = attempts_of(&mut |conn| books().holder(conn).unwrap_err());
    assert!(lost(error));
    assert_eq!(looks, 1);
}
