//! What cancelling and terminating do, and don't.

use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::waits::{cancel, terminate, SessionId};
use diesel_row_lock::{with_row_lock, LockError};
use law::law;

use super::{hold, running_blocker_of, spawn_waiter, wait_of};
use crate::support::calls::nothing;
use crate::support::schema::accounts;
use crate::support::wait_until;

#[law(postgres, mysql, mariadb)]
fn cancel_changes_nothing_for_an_idle_blocker(db: &Db) {
    thread::scope(|scope| {
        let (holder, watcher) = (&mut db.connect(), &mut db.connect());
        hold(holder, 1);
        let (waiter, call) = spawn_waiter!(db, scope, 1);
        let blocker = wait_of(watcher, waiter).blocker;
        assert!(blocker.idle);
        assert!(cancel(watcher, blocker.id).unwrap());
        let before = wait_of(watcher, waiter).waited;
        wait_until("the wait has gone on", Duration::from_millis(5), || {
            let wait = wait_of(watcher, waiter);
            wait.blocker.id == blocker.id && wait.waited > before
        });
        assert!(!call.is_finished());
        holder
            .batch_execute("COMMIT")
            .expect("the transaction is as it was");
        call.join().unwrap().unwrap();
    });
    assert_eq!(db.balance(1), 1001);
}

#[law(postgres)]
fn cancel_of_a_running_blocker_frees_the_row(db: &Db) {
    thread::scope(|scope| {
        let (mut holder, watcher) = (db.connect(), &mut db.connect());
        hold(&mut holder, 1);
        // The connection is handed back: to close it would free the row, too.
        let running = scope.spawn(move || (holder.batch_execute("SELECT pg_sleep(60)"), holder));
        let (waiter, call) = spawn_waiter!(db, scope, 1);
        let blocker = running_blocker_of(watcher, waiter);
        assert!(cancel(watcher, blocker).unwrap());
        call.join().unwrap().expect("the row is free");
        running.join().unwrap().0.expect_err("it was cancelled");
    });
}

/// Twin: there a transaction outlives its statement.
#[law(mysql, mariadb)]
fn cancel_of_a_running_blocker_leaves_it_the_row(db: &Db) {
    thread::scope(|scope| {
        let (mut holder, watcher) = (db.connect(), &mut db.connect());
        hold(&mut holder, 1);
        let running = scope.spawn(move || (holder.batch_execute("DO SLEEP(60)"), holder));
        let (waiter, call) = spawn_waiter!(db, scope, 1);
        let blocker = running_blocker_of(watcher, waiter);
        assert!(cancel(watcher, blocker).unwrap());
        let (_, mut holder) = running.join().unwrap();
        let wait = wait_of(watcher, waiter);
        assert!(
            wait.blocker.id == blocker && wait.blocker.idle && !call.is_finished(),
            "{wait}"
        );
        holder.batch_execute("COMMIT").unwrap();
        call.join().unwrap().unwrap();
    });
    assert_eq!(db.balance(1), 1001);
}

#[law(postgres, mysql, mariadb)]
fn terminate_frees_the_row(db: &Db) {
    thread::scope(|scope| {
        let (holder, watcher) = (&mut db.connect(), &mut db.connect());
        hold(holder, 1);
        let (waiter, call) = spawn_waiter!(db, scope, 1);
        let blocker = wait_of(watcher, waiter).blocker.id;
        assert!(terminate(watcher, blocker).unwrap());
        call.join().unwrap().expect("the row is free");
        holder
            .batch_execute("COMMIT")
            .expect_err("the session is gone");
    });
    assert_eq!(db.balance(1), 1000, "and what it did is rolled back");
}

#[law(postgres, mysql, mariadb)]
fn cancelled_waiter_is_told_so(db: &Db) {
    thread::scope(|scope| {
        let (holder, watcher) = (&mut db.connect(), &mut db.connect());
        hold(holder, 1);
        let (waiter, call) = spawn_waiter!(db, scope, 1);
        wait_of(watcher, waiter);
        assert!(cancel(watcher, waiter).unwrap());
        let cancelled = call.join().unwrap();
        assert!(
            matches!(cancelled, Err(LockError::Cancelled { .. })),
            "{cancelled:?}"
        );
    });
}

#[law(postgres, mysql, mariadb)]
fn session_that_is_not_there_is_no_error(db: &Db) {
    let watcher = &mut db.connect();
    let gone = SessionId::of(&mut db.connect()).unwrap();
    wait_until("the server has noticed", Duration::from_millis(5), || {
        !cancel(watcher, gone).unwrap()
    });
    assert!(!terminate(watcher, gone).unwrap());
    assert!(!terminate(watcher, SessionId::new(0)).unwrap());
    assert!(!cancel(watcher, SessionId::new(i64::MAX)).unwrap());
}

#[law(postgres, mysql, mariadb)]
fn session_of_somebody_else_is_denied(db: &Db) {
    let holder = &mut db.connect();
    let session = SessionId::of(holder).unwrap();
    let stranger = &mut db.connect_as_stranger();
    for end in [cancel::<Conn>, terminate::<Conn>] {
        let ended = end(stranger, session);
        assert!(matches!(ended, Err(LockError::Denied { .. })), "{ended:?}");
    }
    holder.batch_execute("SELECT 1").expect("the session lives");
    db.drop_stranger();
}
