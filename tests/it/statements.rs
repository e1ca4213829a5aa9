//! What locked calls leave in Diesel's cache of prepared statements, and in its setting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use diesel::connection::{CacheSize, InstrumentationEvent};
use diesel::prelude::*;
use diesel_row_lock::{with_row_lock, LockError, Locked, RowLock};
use law::law;

use crate::support::calls::{assert_busy, nothing, while_held};
use crate::support::schema::{accounts, Account};

/// Counts the statements that `conn` puts into its cache from now on.
fn cached<C: Connection>(conn: &mut C) -> Arc<AtomicUsize> {
    let cached = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&cached);
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::CacheQuery { .. } = event {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    cached
}

#[law(postgres, mysql, mariadb, sqlite)]
fn calls_of_any_number_of_keys_share_their_statements(db: &Db) {
    let conn = &mut db.connect();
    let values: Vec<_> = (5..=200).map(|id| format!("({id}, '', 1)")).collect();
    diesel::sql_query(format!("INSERT INTO accounts VALUES {}", values.join(", ")))
        .execute(conn)
        .unwrap();
    // What is around each of them.
    with_row_lock(conn, accounts::table.find(1), nothing).unwrap();
    let cached = cached(conn);
    for number in 1..=200 {
        let lock = RowLock::for_update();
        let rows = lock.with_many(conn, 1..=number, |_, rows: Vec<Locked<Account>>| {
            Ok::<_, LockError>(rows.iter().map(|row| row.id).collect::<Vec<_>>())
        });
        assert_eq!(rows.unwrap(), (1..=number).collect::<Vec<_>>());
    }
    assert_eq!(cached.load(Ordering::Relaxed), 9, "1, 2, 4, … 256");
}

/// libmariadb would wait for ever for the rest of its first answer.
#[law(mysql, mariadb)]
fn statement_of_the_closure_that_failed_behind_a_row_is_executed_again(db: &Db) {
    let conn = &mut db.connect();
    let all = accounts::table.order(accounts::id);
    let take_all = |conn: &mut Conn| {
        with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
            all.for_update().no_wait().load::<Account>(conn)
        })
    };
    while_held!(db, 4, RowLock::for_update(), {
        let busy = take_all(conn).map_err(LockError::from);
        assert!(
            matches!(
                busy,
                Err(LockError::Busy { .. } | LockError::Timeout { .. })
            ),
            "{busy:?}"
        );
    });
    assert_eq!(take_all(conn).unwrap().len(), 4);
}

/// Twin: a text for each number.
#[law(postgres, mysql, mariadb, sqlite)]
fn twin_text_for_each_number_of_keys_fills_the_cache(db: &Db) {
    let conn = &mut db.connect();
    let cached = cached(conn);
    for number in 1..=50 {
        let mut query = accounts::table.into_boxed();
        for id in 1..=number {
            query = query.or_filter(accounts::id.eq(id));
        }
        query.load::<Account>(conn).unwrap();
    }
    assert_eq!(cached.load(Ordering::Relaxed), 50);
}

/// Three keys are four values, of which two are the same.
#[law(postgres, mysql, mariadb)]
fn rows_of_three_keys_are_the_only_ones_that_are_locked(db: &Db) {
    RowLock::for_update()
        .with_many(
            &mut db.connect(),
            [4, 1, 2],
            |_, rows: Vec<Locked<Account>>| {
                assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [4, 1, 2]);
                assert_eq!(db.free("accounts"), [3]);
                Ok::<_, LockError>(())
            },
        )
        .unwrap();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn failed_call_leaves_a_disabled_cache_disabled(db: &Db) {
    let conn = &mut db.connect();
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    while_held!(db, 1, RowLock::for_update(), {
        assert_busy!(RowLock::for_update()
            .no_wait()
            .with(conn, accounts::table.find(1), nothing));
    });
    let cached = cached(conn);
    with_row_lock(conn, accounts::table.find(1), nothing).unwrap();
    accounts::table.find(1).first::<Account>(conn).unwrap();
    assert_eq!(cached.load(Ordering::Relaxed), 0);
}

/// Twin: what a failed call did to it.
#[law(mysql, mariadb)]
fn twin_cache_that_is_emptied_blindly_is_on_afterwards(db: &Db) {
    let conn = &mut db.connect();
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    conn.set_prepared_statement_cache_size(CacheSize::Unbounded);
    let cached = cached(conn);
    accounts::table.find(1).first::<Account>(conn).unwrap();
    assert_eq!(cached.load(Ordering::Relaxed), 1);
}

/// Also with an instrumentation that looks at every statement.
#[law(postgres, mysql, mariadb, sqlite)]
fn failed_call_leaves_a_cache_on(db: &Db) {
    let conn = &mut db.connect();
    let statements = crate::support::probe::statements_of(conn);
    while_held!(db, 1, RowLock::for_update(), {
        for _ in 0..2 {
            assert_busy!(RowLock::for_update().no_wait().with(
                conn,
                accounts::table.find(1),
                nothing
            ));
        }
    });
    assert!(!statements.lock().unwrap().is_empty());
    with_row_lock(conn, accounts::table.find(2), nothing).unwrap();
    let cached = cached(conn);
    with_row_lock(conn, accounts::table.find(2), nothing).unwrap();
    assert_eq!(
        cached.load(Ordering::Relaxed),
        0,
        "the statement is in the cache"
    );
    accounts::table.find(1).first::<Account>(conn).unwrap();
    assert_eq!(cached.load(Ordering::Relaxed), 1, "and others go there");
}
