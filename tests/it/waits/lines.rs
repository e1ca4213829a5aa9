//! Long lines: how long the list is, and that many callers at once name the root blocker.

use std::sync::{mpsc, Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_row_lock::waits::{lock_waits, root_blockers, LockWait, SessionId};
use diesel_row_lock::{with_row_lock, LockError, RowLock};
use law::law;

use super::{hold, spawn_waiter};
use crate::support::calls::nothing;
use crate::support::probe::statements_of;
use crate::support::schema::accounts;
use crate::support::wait_until;

/// Runs `$then` while `$number` sessions wait for account 1, with the id of its holder and theirs.
macro_rules! while_in_line {
    ($db:ident, $number:expr, |$holder:ident, $line:ident| $then:expr) => {
        thread::scope(|scope| {
            let holder = &mut $db.connect();
            hold(holder, 1);
            let line: Vec<_> = (0..$number).map(|_| spawn_waiter!($db, scope, 1)).collect();
            let ($holder, $line): (SessionId, Vec<SessionId>) = (
                SessionId::of(holder).unwrap(),
                line.iter().map(|(session, _)| *session).collect(),
            );
            $then;
            holder.batch_execute("COMMIT").unwrap();
            for (_, call) in line {
                call.join().unwrap().unwrap();
            }
        })
    };
}

/// The waits of these sessions, as soon as each of them waits. Other tests use the server, too.
macro_rules! waits_of {
    ($db:ident, $line:expr) => {{
        let watcher = &mut $db.connect();
        let mut waits = Vec::new();
        wait_until("the whole line waits", Duration::from_millis(20), || {
            waits = lock_waits(watcher).unwrap();
            waits.retain(|wait| $line.contains(&wait.waiter.id));
            let waits = |session: &SessionId| {
                waits
                    .iter()
                    .any(|wait: &LockWait| wait.waiter.id == *session)
            };
            $line.iter().all(waits)
        });
        waits
    }};
}

/// How many pairs of a waiter and a session in its way the server itself lists for this test.
fn pairs(stamp: &str, name: &str) -> String {
    match stamp {
        "postgres" => format!(
            "SELECT CAST(COALESCE(SUM(cardinality(pg_blocking_pids(pid))), 0) AS BIGINT) \
             FROM pg_stat_activity WHERE application_name = '{name}'"
        ),
        "mariadb" => format!(
            "SELECT COUNT(*) FROM information_schema.innodb_lock_waits w \
             JOIN information_schema.innodb_locks l ON l.lock_id = w.requested_lock_id \
             WHERE l.lock_table = '`{name}`.`accounts`'"
        ),
        _ => format!(
            "SELECT COUNT(*) FROM performance_schema.data_lock_waits w \
             JOIN performance_schema.threads t ON t.thread_id = w.requesting_thread_id \
             WHERE t.processlist_db = '{name}'"
        ),
    }
}

const LINE: usize = 150;

/// Lines take turns: each wants most of the connections that a server has.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[law(postgres, mysql, mariadb)]
fn list_has_a_row_for_each_waiter_of_a_line(db: &Db) {
    let _turn = turn();
    while_in_line!(db, LINE, |holder, line| {
        let waits = waits_of!(db, line);
        assert_eq!(waits.len(), LINE);
        for wait in &waits {
            assert_eq!(wait.root(&waits).id, holder, "{wait}");
        }
        let roots: Vec<_> = root_blockers(&waits).iter().map(|root| root.id).collect();
        assert_eq!(roots, [holder]);
    });
    assert_eq!(db.balance(1), 1001);
}

/// Twin: what the list was made of pairs each waiter with every session ahead of it.
#[law(postgres, mysql, mariadb)]
fn twin_server_pairs_each_waiter_with_every_session_ahead(db: &Db) {
    const LINE: i64 = 40;
    let _turn = turn();
    while_in_line!(db, LINE, |_holder, line| {
        assert_eq!(waits_of!(db, line).len(), 40);
        let conn = &mut db.connect();
        // MariaDB's answer may be old.
        wait_until(
            "the server lists all pairs",
            Duration::from_millis(120),
            || {
                let pairs = sql::<BigInt>(&pairs(Db::STAMP, db.name())).get_result::<i64>(conn);
                pairs.unwrap() >= LINE * (LINE - 1) / 2
            },
        );
    });
}

/// Nearly: while the calls time out, one look may show a waiter that has left without a successor.
#[law(postgres, mysql, mariadb)]
fn nearly_all_of_ninety_timeouts_name_the_holder(db: &Db) {
    const CALLERS: usize = 90;
    let _turn = turn();
    let holder = &mut db.connect();
    hold(holder, 1);
    let start = &Barrier::new(CALLERS);
    let (named, looks): (Vec<_>, Vec<_>) = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (mut conn, mut second) = (db.connect(), db.connect());
                let session = SessionId::of(&mut conn).unwrap();
                scope.spawn(move || {
                    let statements = statements_of(&mut second);
                    let lock = RowLock::for_update().timeout(Duration::from_secs(4));
                    let lock = lock.naming_blocker(&mut second, session);
                    start.wait();
                    let result = lock.with(&mut conn, accounts::table.find(1), nothing);
                    let Err(LockError::Timeout { blocker, .. }) = result else {
                        panic!("no timeout: {result:?}");
                    };
                    (blocker.map(|blocker| blocker.id), looks_in(&statements))
                })
            })
            .collect();
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .unzip()
    });
    let holder = Some(SessionId::of(holder).unwrap());
    let right = named.iter().filter(|blocker| **blocker == holder).count();
    assert!(right >= 85, "{right} of {CALLERS}: {named:?}");
    let looks: usize = looks.iter().sum();
    println!("{CALLERS} callers looked {looks} times; {right} named the holder");
    assert!(
        looks < 2 * CALLERS,
        "{CALLERS} callers looked {looks} times"
    );
}

#[law(postgres, mysql, mariadb)]
fn hundred_callers_share_their_looks(db: &Db) {
    const CALLERS: usize = 100;
    let _turn = turn();
    while_in_line!(db, 20, |holder, line| {
        assert_eq!(waits_of!(db, line).len(), 20);
        let start = &Barrier::new(CALLERS);
        let looks: usize = thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS)
                .map(|_| {
                    let mut conn = db.connect();
                    let line = &line;
                    scope.spawn(move || {
                        let statements = statements_of(&mut conn);
                        start.wait();
                        let waits = lock_waits(&mut conn).unwrap();
                        let waits = waits.iter().filter(|wait| line.contains(&wait.waiter.id));
                        let blockers: Vec<_> = waits.map(|wait| wait.blocker.id).collect();
                        assert!(blockers.len() == 20 && blockers.contains(&holder));
                        looks_in(&statements)
                    })
                })
                .collect();
            callers
                .into_iter()
                .map(|caller| caller.join().unwrap())
                .sum()
        });
        // They may have shared those of another test.
        println!("{CALLERS} callers looked {looks} times");
        assert!(looks < CALLERS, "{CALLERS} callers looked {looks} times");
    });
}

/// The one whose answer the others wait for never has it.
#[law(postgres, mysql)]
fn answer_of_a_caller_that_hangs_is_not_waited_for_without_end(db: &Db) {
    let (begun, begins) = mpsc::channel();
    let (go, goes) = mpsc::channel();
    let mut conn = db.connect();
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if is_start_of_look(&event) {
            begun.send(()).unwrap();
            goes.recv().unwrap();
        }
    });
    thread::scope(|scope| {
        let hangs = scope.spawn(move || lock_waits(&mut conn).map(drop));
        begins.recv().unwrap();
        lock_waits(&mut db.connect()).expect("its own answer");
        assert!(!hangs.is_finished());
        go.send(()).unwrap();
        hangs.join().unwrap().unwrap();
    });
}

#[law(postgres, mysql)]
fn next_caller_looks_where_one_has_panicked(db: &Db) {
    let (begun, begins) = mpsc::channel();
    let (go, goes) = mpsc::channel();
    let mut conn = db.connect();
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if is_start_of_look(&event) {
            begun.send(()).unwrap();
            goes.recv().unwrap();
            panic!("in the middle of a look");
        }
    });
    thread::scope(|scope| {
        let panics = scope.spawn(move || lock_waits(&mut conn).map(drop));
        begins.recv().unwrap();
        let next = scope.spawn(|| lock_waits(&mut db.connect()).map(drop));
        go.send(()).unwrap();
        panics.join().expect_err("it panics");
        next.join().unwrap().expect("its own answer");
    });
}

/// Twin: ninety calls one by one would look more often, each twice at least.
#[law(postgres, mysql, mariadb)]
fn twin_caller_alone_looks_twice_at_least(db: &Db) {
    let (holder, conn, second) = (&mut db.connect(), &mut db.connect(), &mut db.connect());
    hold(holder, 1);
    let session = SessionId::of(conn).unwrap();
    let statements = statements_of(second);
    let lock = RowLock::for_update().timeout(Duration::from_secs(4));
    let result = lock
        .naming_blocker(second, session)
        .with(conn, accounts::table.find(1), nothing);
    assert!(
        matches!(result, Err(LockError::Timeout { .. })),
        "{result:?}"
    );
    let looks = looks_in(&statements);
    assert!(looks >= 2, "{looks}");
}

/// The shared answer to the owner has queries that the stranger must not see.
#[law(postgres)]
fn answers_are_not_shared_between_roles(db: &Db) {
    let (holder, owner) = (&mut db.connect(), &mut db.connect());
    let start = &Barrier::new(2);
    hold(holder, 1);
    thread::scope(|scope| {
        let (waiter, call) = spawn_waiter!(db, scope, 1);
        crate::waits::wait_of(owner, waiter);
        let stranger = scope.spawn(move || {
            let stranger = &mut db.connect_as_stranger();
            start.wait();
            for _ in 0..100 {
                let query = crate::waits::wait_of(stranger, waiter)
                    .waiter
                    .query
                    .unwrap();
                assert_eq!(query, "<insufficient privilege>");
            }
        });
        start.wait();
        for _ in 0..100 {
            assert!(crate::waits::wait_of(owner, waiter)
                .waiter
                .query
                .unwrap()
                .contains("FOR UPDATE"));
        }
        stranger.join().unwrap();
        holder.batch_execute("COMMIT").unwrap();
        call.join().unwrap().unwrap();
    });
    db.drop_stranger();
}

#[law(mysql, mariadb)]
fn answers_are_not_shared_with_those_who_may_not_ask(db: &Db) {
    let owner = &mut db.connect();
    let start = &Barrier::new(2);
    thread::scope(|scope| {
        let stranger = scope.spawn(move || {
            let stranger = &mut db.connect_as_stranger();
            start.wait();
            for _ in 0..10 {
                lock_waits(stranger).expect_err("it has not the privilege");
            }
        });
        start.wait();
        for _ in 0..10 {
            lock_waits(owner).unwrap();
        }
        stranger.join().unwrap();
    });
    db.drop_stranger();
}

fn looks_in(statements: &Mutex<Vec<String>>) -> usize {
    let statements = statements.lock().unwrap();
    statements.iter().filter(|sql| is_look(sql)).count()
}

fn is_start_of_look(event: &InstrumentationEvent<'_>) -> bool {
    matches!(event, InstrumentationEvent::StartQuery { query, .. } if is_look(&query.to_string()))
}

/// The statement that lists the waits.
fn is_look(sql: &str) -> bool {
    sql.contains("pg_locks") || sql.contains("innodb_lock_waits")
}
