//! Work that the prover can't play is refused where it can be noticed.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use diesel::connection::InstrumentationEvent;
use diesel::prelude::*;
use diesel_row_lock::race::{Race, RaceError, Verdict};
use diesel_row_lock::{with_row_lock, LockError, Locked};
use law::law;

use super::operations::{add, deposit, observe, prove, reset};
use crate::support::schema::{accounts, Account};

#[law(postgres, mysql, mariadb, sqlite)]
fn operation_that_opens_a_connection_is_refused(db: &Db) {
    let work = hidden_work!(
        db,
        adds_to_row_2_under_the_lock_of_row_1!(|_| &mut db.connect())
    );
    assert_eq!(work, "opens a connection of its own");
    assert_eq!(db.free("accounts"), [1, 2, 3, 4]);
}

/// Row 2 is not locked, so its balance may be another one when it is written. (On SQLite the whole
/// database is locked.)
#[law(postgres, mysql, mariadb)]
fn twin_the_same_work_on_the_given_connection_is_a_race_that_is_found(db: &Db) {
    let proof = prove!(
        db,
        adds_to_row_2_under_the_lock_of_row_1!(|conn| conn),
        |conn| add!(conn, 2, 10)
    );
    assert_eq!(proof.verdict(), Verdict::Racy, "{proof}");
}

/// No library is told of these statements: the guide says so.
#[law(postgres, mysql, mariadb)]
fn plain_statement_on_an_older_connection_is_not_seen(db: &Db) {
    let older = Mutex::new(db.connect());
    let operation = adds_to_row_2_under_the_lock_of_row_1!(|_| &mut *older.lock().unwrap());
    let proof = prove!(db, operation, |conn| add!(conn, 2, 10));
    assert_eq!(proof.races(true).count(), 0, "{proof}");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn call_on_another_connection_is_refused(db: &Db) {
    let other = Mutex::new(db.connect());
    let work = hidden_work!(db, |conn: &mut Conn| {
        deposit!(conn, 1, 1)?;
        deposit!(
            &mut *other.lock().unwrap_or_else(PoisonError::into_inner),
            2,
            1
        )
    });
    assert_eq!(work, "makes a call of this library on another connection");
    assert_eq!(db.free("accounts"), [1, 2, 3, 4]);
}

/// The operation waits for itself, by way of a session that the prover does not know of.
#[law(postgres, mysql, mariadb)]
fn operation_that_waits_for_itself_is_an_error(db: &Db) {
    let other = Mutex::new(db.connect());
    let result = Race::of("operation", |conn: &mut Conn| {
        with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
            let other = &mut *other.lock().unwrap_or_else(PoisonError::into_inner);
            Ok::<_, LockError>(add!(other, 1, 1)?)
        })
    })
    .setup(reset!())
    .deadline(std::time::Duration::from_secs(3))
    .prove(|| Ok(db.connect()), observe!());
    let Err(RaceError::Stuck { player, .. }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(player, "operation");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn operation_with_an_instrumentation_of_its_own_is_refused(db: &Db) {
    let work = hidden_work!(db, |conn: &mut Conn| {
        conn.set_instrumentation(|_: InstrumentationEvent<'_>| {});
        deposit!(conn, 1, 1)
    });
    assert_eq!(
        work,
        "replaces its connection or the `Instrumentation` of it"
    );
    let work = hidden_work!(db, |conn: &mut Conn| {
        let result = deposit!(conn, 1, 1);
        conn.set_instrumentation(|_: InstrumentationEvent<'_>| {});
        result
    });
    assert_eq!(
        work,
        "replaces its connection or the `Instrumentation` of it"
    );
}

/// The library itself asks SQLite by a second connection whether the outer transaction holds the
/// write lock.
#[law(sqlite)]
fn second_connection_of_the_library_itself_is_no_hidden_work(db: &Db) {
    let proof = prove!(
        db,
        |conn: &mut Conn| conn.immediate_transaction(|conn| deposit!(conn, 1, 100)),
        |conn| deposit!(conn, 1, -100)
    );
    assert_eq!(proof.races(true).count(), 0, "{proof}");
}

/// A cache that is read before the first statement.
#[law(postgres, mysql, mariadb, sqlite)]
fn look_before_the_first_statement_can_be_a_race(db: &Db) {
    let cache = AtomicI64::new(0);
    let proof = Race::of("add by the cache", |conn| {
        let seen = cache.load(Ordering::SeqCst);
        let one = diesel::update(accounts::table.find(1));
        one.set(accounts::balance.eq(seen + 1)).execute(conn)?;
        cache.store(seen + 1, Ordering::SeqCst);
        Ok::<_, LockError>(())
    })
    .against("add", |conn| {
        add!(conn, 1, 100)?;
        cache.fetch_add(100, Ordering::SeqCst);
        Ok::<_, LockError>(())
    })
    .setup(|conn| {
        cache.store(1_000, Ordering::SeqCst);
        reset!()(conn)
    })
    .prove(|| Ok(db.connect()), observe!())
    .unwrap();
    let race = proof
        .races(true)
        .next()
        .unwrap_or_else(|| panic!("{proof}"));
    assert_eq!(
        (&*race.stepped, race.outcome.state[0]),
        ("add by the cache", 1_001),
        "{proof}"
    );
}

/// The work that the prover refuses; the operation is refused as the rival, too.
macro_rules! hidden_work {
    ($db:ident, $operation:expr) => {{
        let operation = $operation;
        let result = Race::of("operation", &operation)
            .setup(reset!())
            .prove(|| Ok($db.connect()), observe!());
        let Err(RaceError::HiddenWork { player, work, .. }) = &result else {
            panic!("{result:?}")
        };
        assert_eq!(player, "operation");
        let result = Race::of("deposit", |conn: &mut Conn| deposit!(conn, 3, 1))
            .against("rival", &operation)
            .setup(reset!())
            .prove(|| Ok($db.connect()), observe!());
        let Err(RaceError::HiddenWork { player, .. }) = &result else {
            panic!("{result:?}")
        };
        assert_eq!(player, "rival");
        *work
    }};
}
use hidden_work;

/// Reads and writes row 2, which is not locked.
macro_rules! adds_to_row_2_under_the_lock_of_row_1 {
    (|$conn:pat_param| $other:expr) => {
        |conn: &mut Conn| {
            with_row_lock(
                conn,
                accounts::table.find(1),
                |$conn, one: Locked<Account>| {
                    let conn: &mut Conn = $other;
                    let two = accounts::table.find(2).first::<Account>(conn)?;
                    let more = accounts::balance.eq(two.balance + 1);
                    diesel::update(&two).set(more).execute(conn)?;
                    Ok::<_, LockError>(one.balance)
                },
            )
        }
    };
}
use adds_to_row_2_under_the_lock_of_row_1;
