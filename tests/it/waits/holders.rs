//! Direct blockers of other locks than that of one row: shared ones, those of tables, and those
//! that only a request ahead blocks.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::waits::{lock_waits, LockWait, SessionId};
use diesel_row_lock::with_row_lock;
use law::law;

use super::{hold, spawn_waiter, wait_of};
use crate::support::calls::nothing;
use crate::support::schema::accounts;
use crate::support::wait_until;

/// Two sessions share a lock by `$share`, three wait for it by `$take`. Each holder is listed, and
/// there are four rows, not six.
macro_rules! assert_listed_once_each {
    ($db:ident, $share:expr, $take:expr) => {
        let take: &str = $take;
        thread::scope(|scope| {
            let (one, other, watcher) =
                (&mut $db.connect(), &mut $db.connect(), &mut $db.connect());
            let holders = [&mut *one, &mut *other].map(|holder| {
                holder.batch_execute($share).unwrap();
                SessionId::of(holder).unwrap()
            });
            let waiters = [(); 3].map(|()| {
                let mut conn = $db.connect();
                let session = SessionId::of(&mut conn).unwrap();
                (session, scope.spawn(move || conn.batch_execute(take)))
            });
            let mut waits = Vec::new();
            wait_until("all three wait", Duration::from_millis(5), || {
                waits = lock_waits(watcher).unwrap();
                waits.retain(|wait: &LockWait| waiters.iter().any(|(id, _)| *id == wait.waiter.id));
                let listed: BTreeSet<_> = waits.iter().map(|wait| wait.waiter.id).collect();
                listed.len() == waiters.len()
            });
            let blockers: BTreeSet<_> = waits.iter().map(|wait| wait.blocker.id).collect();
            assert_eq!(blockers, BTreeSet::from(holders), "{waits:?}");
            assert_eq!(waits.len(), 4, "{waits:?}");
            for holder in [one, other] {
                holder.batch_execute("COMMIT").unwrap();
            }
            for (_, wait) in waiters {
                wait.join().unwrap().unwrap();
            }
        })
    };
}

#[law(postgres)]
fn each_holder_of_a_shared_lock_is_listed_by_one_waiter_at_least(db: &Db) {
    let key = format!("hashtext('{}')", db.name());
    let share = format!("BEGIN; SELECT pg_advisory_xact_lock_shared({key})");
    let take = format!("BEGIN; SELECT pg_advisory_xact_lock({key}); COMMIT");
    assert_listed_once_each!(db, &share, &take);
}

#[law(mysql, mariadb)]
fn each_holder_of_a_shared_row_is_listed_by_one_waiter_at_least(db: &Db) {
    assert_listed_once_each!(
        db,
        "BEGIN; DO (SELECT id FROM accounts WHERE id = 1 LOCK IN SHARE MODE)",
        "BEGIN; UPDATE accounts SET balance = 5 WHERE id = 1; COMMIT"
    );
}

/// PostgreSQL lets a waiter wait for one holder after the other.
#[law(postgres)]
fn holder_of_a_shared_row_is_listed_as_long_as_it_is_waited_for(db: &Db) {
    thread::scope(|scope| {
        let (one, other, watcher) = (&mut db.connect(), &mut db.connect(), &mut db.connect());
        let mut holders = [one, other].map(|holder| {
            let share = "BEGIN; SELECT id FROM accounts WHERE id = 1 FOR SHARE";
            holder.batch_execute(share).unwrap();
            (SessionId::of(holder).unwrap(), holder)
        });
        let (waiter, call) = spawn_waiter!(db, scope, 1);
        let first = wait_of(watcher, waiter).blocker.id;
        holders.sort_by_key(|(id, _)| *id != first);
        let [(one, first), (other, second)] = holders;
        assert_eq!(wait_of(watcher, waiter).blocker.id, one);
        first.batch_execute("COMMIT").unwrap();
        wait_until("it waits for the other", Duration::from_millis(5), || {
            wait_of(watcher, waiter).blocker.id == other
        });
        second.batch_execute("COMMIT").unwrap();
        call.join().unwrap().unwrap();
    });
}

/// No holder blocks a reader there: the request of the `ALTER TABLE` ahead does.
#[law(postgres)]
fn reader_behind_an_alter_table_waits_for_that_and_in_the_end_for_the_reader_ahead(db: &Db) {
    thread::scope(|scope| {
        let (holder, watcher) = (&mut db.connect(), &mut db.connect());
        holder
            .batch_execute("BEGIN; SELECT id FROM accounts")
            .unwrap();
        let mut alter = db.connect();
        let alters = SessionId::of(&mut alter).unwrap();
        let alter =
            scope.spawn(move || alter.batch_execute("ALTER TABLE accounts ADD COLUMN x INT"));
        assert_eq!(
            wait_of(watcher, alters).blocker.id,
            SessionId::of(holder).unwrap()
        );
        let readers = [(); 2].map(|()| {
            let mut reader = db.connect();
            let session = SessionId::of(&mut reader).unwrap();
            (
                session,
                scope.spawn(move || reader.batch_execute("SELECT id FROM accounts")),
            )
        });
        for (reader, _) in &readers {
            let wait = wait_of(watcher, *reader);
            assert_eq!(wait.blocker.id, alters);
            assert_eq!(wait.table.as_deref(), Some("accounts"));
            let waits = lock_waits(watcher).unwrap();
            assert_eq!(wait.root(&waits).id, SessionId::of(holder).unwrap());
        }
        holder.batch_execute("COMMIT").unwrap();
        alter.join().unwrap().unwrap();
        for (_, reader) in readers {
            reader.join().unwrap().unwrap();
        }
    });
}

/// The worker has a process id of its own, which no client knows.
#[law(postgres)]
fn wait_of_a_parallel_worker_is_that_of_its_session(db: &Db) {
    thread::scope(|scope| {
        let (holder, watcher, mut waiter) = (&mut db.connect(), &mut db.connect(), db.connect());
        waiter
            .batch_execute(
                "CREATE FUNCTION seen() RETURNS BIGINT LANGUAGE plpgsql PARALLEL SAFE AS \
                 $$ BEGIN RETURN (SELECT count(*) FROM seats); END $$; \
             SELECT set_config(name, 'on', false) FROM pg_settings \
                 WHERE name IN ('force_parallel_mode', 'debug_parallel_query')",
            )
            .unwrap();
        holder.batch_execute("BEGIN; LOCK TABLE seats").unwrap();
        let session = SessionId::of(&mut waiter).unwrap();
        let call =
            scope.spawn(move || waiter.batch_execute("SELECT seen() FROM accounts WHERE id = 1"));
        let wait = wait_of(watcher, session);
        let worker: i64 = diesel::dsl::sql::<diesel::sql_types::BigInt>(&format!(
            "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
             WHERE a.leader_pid = {session} AND NOT l.granted"
        ))
        .get_result(watcher)
        .unwrap();
        assert_eq!(worker, 1, "a worker waits");
        assert_eq!(wait.blocker.id, SessionId::of(holder).unwrap());
        assert_eq!(wait.table.as_deref(), Some("seats"));
        holder.batch_execute("COMMIT").unwrap();
        call.join().unwrap().unwrap();
    });
}

#[law(postgres)]
fn list_in_an_open_transaction_is_new_each_time(db: &Db) {
    thread::scope(|scope| {
        let (holder, watcher) = (&mut db.connect(), &mut db.connect());
        hold(holder, 1);
        watcher.batch_execute("BEGIN").unwrap();
        lock_waits(watcher).unwrap();
        let (waiter, call) = spawn_waiter!(db, scope, 1);
        let wait = wait_of(watcher, waiter);
        assert_eq!(wait.blocker.id, SessionId::of(holder).unwrap());
        holder.batch_execute("COMMIT").unwrap();
        call.join().unwrap().unwrap();
    });
}

/// Twin: a transaction that has looked at the sessions sees no new ones.
#[law(postgres)]
fn twin_open_transaction_sees_no_new_sessions(db: &Db) {
    let watcher = &mut db.connect();
    let sessions = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}'",
        db.name()
    );
    watcher.batch_execute("BEGIN").unwrap();
    let before = diesel::dsl::sql::<diesel::sql_types::BigInt>(&sessions)
        .get_result::<i64>(watcher)
        .unwrap();
    let _newcomer = db.connect();
    assert_eq!(
        diesel::dsl::sql::<diesel::sql_types::BigInt>(&sessions).get_result::<i64>(watcher),
        Ok(before)
    );
}

/// MySQL's lists still name the session that has made the locks.
#[law(mysql)]
fn prepared_transaction_is_nobodys_while_its_session_does_other_work(db: &Db) {
    thread::scope(|scope| {
        let (conn, watcher) = (&mut db.connect(), &mut db.connect());
        let name = db.name();
        conn.batch_execute(&format!("XA START '{name}'")).unwrap();
        crate::waits::take(conn, 1);
        let (waiter, call) = spawn_waiter!(db, scope, 1);
        assert_eq!(
            wait_of(watcher, waiter).blocker.id,
            SessionId::of(conn).unwrap()
        );
        conn.batch_execute(&format!("XA END '{name}'; XA PREPARE '{name}'"))
            .unwrap();
        assert!(wait_of(watcher, waiter).blocker.is_prepared_transaction());
        hold(conn, 2);
        let wait = wait_of(watcher, waiter);
        assert!(
            wait.blocker.is_prepared_transaction() && !wait.blocker.idle,
            "{wait}"
        );
        conn.batch_execute("ROLLBACK").unwrap();
        assert!(wait_of(watcher, waiter).blocker.is_prepared_transaction());
        watcher
            .batch_execute(&format!("XA COMMIT '{name}'"))
            .unwrap();
        call.join().unwrap().unwrap();
    });
    assert_eq!(db.balance(1), 1001);
}
