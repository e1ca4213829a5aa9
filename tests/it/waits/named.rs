//! A timeout that names its blocker.

use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::waits::{terminate, Session, SessionId};
use diesel_row_lock::{all, keys, with_row_lock, LockError, Locked, Retry, RowLock};
use law::law;

use super::{hold, spawn_waiter, wait_of};
use crate::support::calls::nothing;
use crate::support::schema::{accounts, Account};
use crate::support::wire::Wire;

/// Long enough for a server that is busy to be asked.
const TIME: Duration = Duration::from_secs(2);

/// Who a call that waits for account 1 in vain says was in its way.
macro_rules! blocker {
    ($conn:expr, $lock:expr) => {
        match $lock.with($conn, accounts::table.find(1), nothing) {
            Err(error @ LockError::Timeout { .. }) => named(error),
            other => panic!("no timeout: {other:?}"),
        }
    };
}

fn named(error: LockError) -> Option<Session> {
    match error {
        LockError::Timeout { blocker, .. } => blocker.map(|blocker| *blocker),
        other => panic!("no timeout: {other:?}"),
    }
}

#[law(postgres, mysql, mariadb)]
fn timeout_names_its_blocker(db: &Db) {
    let (holder, conn, second) = (&mut db.connect(), &mut db.connect(), &mut db.connect());
    hold(holder, 1);
    let session = SessionId::of(conn).unwrap();
    let lock = RowLock::for_update().timeout(TIME);
    let blocker = blocker!(conn, lock.naming_blocker(second, session)).expect("a blocker");
    assert_eq!(blocker.id, SessionId::of(holder).unwrap());
    assert!(blocker.idle);
    holder.batch_execute("ROLLBACK").unwrap();
    lock.naming_blocker(second, session)
        .with(conn, accounts::table.find(1), nothing)
        .unwrap();
}

#[law(postgres)]
fn blocker_is_named_with_its_query_and_its_application(db: &Db) {
    let (holder, conn, second) = (&mut db.connect(), &mut db.connect(), &mut db.connect());
    holder
        .batch_execute("SET application_name = 'the bank'")
        .unwrap();
    hold(holder, 1);
    let session = SessionId::of(conn).unwrap();
    let lock = RowLock::for_update()
        .timeout(TIME)
        .naming_blocker(second, session);
    let error = lock
        .with(conn, accounts::table.find(1), nothing)
        .unwrap_err();
    let text = error.to_string();
    // The way through an application that returns errors of Diesel.
    let error = LockError::from(diesel::result::Error::from(error));
    let blocker = named(error).expect("a blocker");
    assert_eq!(blocker.application.as_deref(), Some("the bank"));
    let query = blocker.query.expect("a query");
    assert!(query.starts_with("UPDATE accounts"), "{query}");
    let expected = format!(
        "timed out waiting for a lock held by session {} (the bank), which last ran: {query}",
        blocker.id
    );
    assert_eq!(text, expected);
}

#[law(mysql, mariadb)]
fn blocker_is_named_with_its_query(db: &Db) {
    thread::scope(|scope| {
        let (conn, second) = (&mut db.connect(), &mut db.connect());
        let mut holder = db.connect();
        hold(&mut holder, 1);
        let id = SessionId::of(&mut holder).unwrap();
        let sleeping = scope.spawn(move || holder.batch_execute("DO SLEEP(60)"));
        let session = SessionId::of(conn).unwrap();
        let lock = RowLock::for_update().timeout(TIME);
        let blocker = blocker!(conn, lock.naming_blocker(second, session)).expect("a blocker");
        assert_eq!((blocker.id, blocker.idle), (id, false));
        assert_eq!(blocker.query.as_deref(), Some("DO SLEEP(60)"));
        assert!(terminate(second, id).unwrap());
        sleeping.join().unwrap().expect_err("the session was ended");
    });
}

#[law(postgres, mysql, mariadb)]
fn timeout_names_its_blocker_by_every_entry_point(db: &Db) {
    let (holder, conn, second) = (&mut db.connect(), &mut db.connect(), &mut db.connect());
    hold(holder, 2);
    let (session, id) = (SessionId::of(conn).unwrap(), SessionId::of(holder).unwrap());
    let lock = RowLock::for_update().timeout(TIME);
    let all = lock.naming_blocker(second, session).with_all(
        conn,
        accounts::table,
        |_, _: Vec<Locked<Account>>| Ok::<_, LockError>(()),
    );
    assert_eq!(named(all.unwrap_err()).expect("a blocker").id, id);
    let many = lock.naming_blocker(second, session).with_many(
        conn,
        [2, 1],
        |_, _: Vec<Locked<Account>>| Ok::<_, LockError>(()),
    );
    assert_eq!(named(many.unwrap_err()).expect("a blocker").id, id);
}

/// Who waits before us is not to blame.
#[law(postgres, mysql, mariadb)]
fn blocker_is_who_has_the_row_and_not_who_waits_for_it_too(db: &Db) {
    thread::scope(|scope| {
        let (holder, conn, second) = (&mut db.connect(), &mut db.connect(), &mut db.connect());
        hold(holder, 1);
        let (waiter, call) = spawn_waiter!(db, scope, 1);
        wait_of(second, waiter);
        let session = SessionId::of(conn).unwrap();
        let lock = RowLock::for_update().timeout(TIME);
        let blocker = blocker!(conn, lock.naming_blocker(second, session)).expect("a blocker");
        assert_eq!(blocker.id, SessionId::of(holder).unwrap());
        holder.batch_execute("COMMIT").unwrap();
        call.join().unwrap().unwrap();
    });
}

#[law(postgres, mysql, mariadb)]
fn timeout_without_a_second_connection_names_nobody(db: &Db) {
    let (holder, conn) = (&mut db.connect(), &mut db.connect());
    hold(holder, 1);
    let lock = RowLock::for_update().timeout(Duration::from_millis(50));
    assert_eq!(blocker!(conn, lock), None);
}

#[law(postgres, mysql, mariadb)]
fn timeout_is_still_the_error_where_the_second_connection_is_broken(db: &Db) {
    let (holder, conn, second) = (&mut db.connect(), &mut db.connect(), &mut db.connect());
    hold(holder, 1);
    let session = SessionId::of(conn).unwrap();
    let broken = SessionId::of(second).unwrap();
    assert!(terminate(conn, broken).unwrap());
    let lock = RowLock::for_update().timeout(Duration::from_secs(1));
    assert_eq!(blocker!(conn, lock.naming_blocker(second, session)), None);
    conn.batch_execute("UPDATE accounts SET balance = 5 WHERE id = 2")
        .unwrap();
    assert_eq!(
        db.balance(2),
        5,
        "the connection is usable and in no transaction"
    );
}

#[law(postgres, mysql, mariadb)]
fn row_that_comes_free_in_time_is_locked_as_ever(db: &Db) {
    thread::scope(|scope| {
        let (holder, watcher) = (&mut db.connect(), &mut db.connect());
        hold(holder, 1);
        let (mut conn, mut second) = (db.connect(), db.connect());
        let session = SessionId::of(&mut conn).unwrap();
        let call = scope.spawn(move || {
            let lock = RowLock::for_update().timeout(Duration::from_secs(20));
            let lock = lock.naming_blocker(&mut second, session);
            lock.with(
                &mut conn,
                accounts::table.find(1),
                |_, account: Locked<Account>| Ok::<_, LockError>(account.balance),
            )
        });
        wait_of(watcher, session);
        holder.batch_execute("COMMIT").unwrap();
        assert_eq!(call.join().unwrap().unwrap(), 1001);
    });
}

/// Neither where the row is free nor where it is not.
#[law(postgres, mysql, mariadb)]
fn naming_takes_no_round_trips_of_the_first_connection(db: &Db) {
    let wire = Wire::to(&db.server());
    let conn = &mut Conn::establish(&db.url_at(&wire.address.to_string())).unwrap();
    let (holder, second) = (&mut db.connect(), &mut db.connect());
    let session = SessionId::of(conn).unwrap();
    let lock = RowLock::for_update().timeout(Duration::from_secs(1));
    for held in [false, true] {
        if held {
            hold(holder, 1);
        }
        let row = accounts::table.find(1);
        // Once before, so that the statement is prepared.
        let _ = lock.with(conn, row, nothing);
        let without = wire.round_trips(|| drop(lock.with(conn, row, nothing)));
        let with = wire.round_trips(|| {
            drop(
                lock.naming_blocker(second, session)
                    .with(conn, row, nothing),
            );
        });
        assert_eq!(with, without, "held: {held}");
    }
}

/// Every attempt has a watch of its own.
#[law(postgres, mysql, mariadb)]
fn call_that_gives_up_after_retries_names_its_blocker(db: &Db) {
    let (holder, conn, second) = (&mut db.connect(), &mut db.connect(), &mut db.connect());
    hold(holder, 1);
    let session = SessionId::of(conn).unwrap();
    let policy = Retry::new().attempts(2).lock_timeouts();
    let lock = RowLock::for_update().timeout(TIME);
    // In either order.
    let calls = [
        lock.retry(policy.clone())
            .naming_blocker(second, session)
            .with(conn, all(accounts::table), |_, _: Locked<Vec<Account>>| {
                Ok::<_, LockError>(())
            }),
        lock.naming_blocker(second, session).retry(policy).with(
            conn,
            keys([2, 1]),
            |_, _: Locked<Vec<Account>>| Ok::<_, LockError>(()),
        ),
    ];
    for result in calls {
        let Err(LockError::RetriesExhausted {
            attempts: 2,
            source: Some(last),
            ..
        }) = result
        else {
            panic!("{result:?}")
        };
        let blocker = named(*last).expect("a blocker");
        assert_eq!(blocker.id, SessionId::of(holder).unwrap());
    }
}

/// The second connection is in use by the outer call, so the inner one runs without a watch.
#[law(postgres, mysql, mariadb)]
fn call_in_the_closure_of_the_same_lock_is_made_without_a_watch(db: &Db) {
    let (conn, second) = (&mut db.connect(), &mut db.connect());
    let session = SessionId::of(conn).unwrap();
    let lock = RowLock::for_update()
        .timeout(TIME)
        .retry(Retry::new())
        .naming_blocker(second, session);
    let other = &mut db.connect();
    let both = lock.with(conn, accounts::table.find(1), |_, one: Locked<Account>| {
        lock.with(other, accounts::table.find(2), |_, two: Locked<Account>| {
            Ok::<_, LockError>((one.id, two.id))
        })
    });
    assert_eq!(both.unwrap(), (1, 2));
}
