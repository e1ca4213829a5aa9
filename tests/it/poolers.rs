//! Promise 11: right behind a pooler that lends one server session to many clients, one transaction
//! each.

use std::thread;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel::sql_types::Integer;
use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::{
    update_row, with_row_lock, with_row_locks, LockConnection, LockError, Locked, RowLock,
};
use servers::{PgBouncer, Postgres};

use crate::support::schema::{self, accounts, Account};

/// A PostgreSQL with the accounts, behind a PgBouncer that keeps two sessions.
struct Pooled {
    pooler: PgBouncer,
    server: Postgres,
}

impl Pooled {
    fn new() -> Self {
        let server = Postgres::new(&[]).unwrap();
        let pooler = PgBouncer::before(&server.address(), "transaction", 2).unwrap();
        let pooled = Self { pooler, server };
        pooled.directly().batch_execute(schema::TABLES).unwrap();
        pooled
    }

    fn connect(&self) -> PgConnection {
        PgConnection::establish(&self.pooler.url()).unwrap()
    }

    fn directly(&self) -> PgConnection {
        PgConnection::establish(&self.server.url()).unwrap()
    }

    fn total(&self) -> i64 {
        let balances = accounts::table.select(accounts::balance);
        let balances: Vec<i64> = balances.load(&mut self.directly()).unwrap();
        balances.iter().sum()
    }

    /// Four clients at once, each with 100 calls that add 1 in all. Says how many were right.
    fn storm(&self, connect: impl Fn() -> PgConnection + Sync) -> usize {
        let client = |number: i32| {
            let conn = &mut connect();
            let owners = ["Ada", "Grace", "Barbara", "Radia"].into_iter().cycle();
            let calls = (0..100)
                .zip(owners)
                .map(|(call, owner)| match (call + number) % 3 {
                    0 => deposit(conn, number),
                    1 => transfer(conn, number, number % 4 + 1),
                    _ => deposit_to_owner(conn, owner),
                });
            calls.filter(Result::is_ok).count()
        };
        thread::scope(|scope| {
            let clients = [1, 2, 3, 4].map(|number| scope.spawn(move || client(number)));
            clients.map(|client| client.join().unwrap()).iter().sum()
        })
    }

    /// `client` runs `lock` on one of the two sessions, then again on the other, where somebody
    /// else has prepared a statement before it: one that locks every row *but* that one.
    fn cross<R>(&self, client: &mut PgConnection, lock: impl Fn(&mut PgConnection) -> R) -> R {
        let [stranger, first, second] = &mut [(); 3].map(|()| self.connect());
        let session = stranger.transaction(|stranger| {
            let others = accounts::table.filter(accounts::id.ne(3)).for_update();
            others.load::<Account>(stranger)?;
            let _: R = lock(client);
            session_of(stranger)
        });
        for keeper in [&mut *first, &mut *second] {
            keeper.batch_execute("BEGIN").unwrap();
        }
        let keeps_it = session_of(first) == session;
        let keeper = if keeps_it { first } else { second };
        keeper.batch_execute("ROLLBACK").unwrap();
        lock(client)
    }
}

/// By what name the server knows the session that the pooler lends now.
fn session_of(conn: &mut PgConnection) -> QueryResult<i32> {
    sql::<Integer>("SELECT pg_backend_pid()").get_result(conn)
}

fn deposit(conn: &mut PgConnection, id: i32) -> Result<(), LockError> {
    with_row_lock(
        conn,
        accounts::table.find(id),
        |conn, mut account: Locked<Account>| {
            if account.id != id {
                return Err(LockError::NotFound { key: None });
            }
            account.balance += 1;
            account.save_changes::<Account>(conn)?;
            Ok(())
        },
    )
}

fn transfer(conn: &mut PgConnection, from: i32, to: i32) -> Result<(), LockError> {
    with_row_locks(
        conn,
        [from, to],
        |conn, [mut from, mut to]: [Locked<Account>; 2]| {
            from.balance -= 1;
            to.balance += 2;
            from.save_changes::<Account>(conn)?;
            to.save_changes::<Account>(conn)?;
            Ok(())
        },
    )
}

/// A deposit to all accounts of an owner.
fn deposit_to_owner(conn: &mut PgConnection, owner: &str) -> Result<(), LockError> {
    let query = accounts::table
        .filter(accounts::owner.eq(owner))
        .order(accounts::id);
    RowLock::for_update().with_all(conn, query, |conn, rows: Vec<Locked<Account>>| {
        if rows.len() != 1 {
            return Err(LockError::NotFound { key: None });
        }
        for mut account in rows {
            account.balance += 1;
            account.save_changes::<Account>(conn)?;
        }
        Ok(())
    })
}

fn lock_by_key(conn: &mut PgConnection) -> Result<i32, LockError> {
    with_row_locks(conn, [3], |_, [account]: [Locked<Account>; 1]| {
        Ok(account.id)
    })
}

fn lock_by_query(conn: &mut PgConnection) -> Result<i32, LockError> {
    with_row_lock(
        conn,
        accounts::table.find(3),
        |_, account: Locked<Account>| Ok(account.id),
    )
}

#[test]
fn every_call_of_pooler_safe_connections_is_right() {
    let pooled = Pooled::new();
    let right = pooled.storm(|| {
        let mut conn = pooled.connect();
        conn.pooler_safe();
        conn
    });
    assert_eq!(right, 400);
    assert_eq!(pooled.total(), 4_000 + 400);
}

/// The two statements of such a call can run in two sessions, of which neither trusts the other's
/// stamp.
#[test]
fn changes_by_pooler_safe_connections_all_count() {
    let pooled = Pooled::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let conn = &mut pooled.connect();
                conn.pooler_safe();
                for _ in 0..50 {
                    update_row(conn, 1, |account: &mut Account| {
                        account.balance += 1;
                        Ok::<_, LockError>(())
                    })
                    .unwrap();
                }
            });
        }
    });
    assert_eq!(pooled.total(), 4_000 + 200);
}

#[test]
fn twin_calls_fail_where_statements_have_names() {
    let pooled = Pooled::new();
    let right = pooled.storm(|| pooled.connect());
    assert!(right < 400, "all were right");
}

#[test]
fn wrong_row_is_noticed_where_the_key_is_known() {
    let pooled = Pooled::new();
    let result = pooled.cross(&mut pooled.connect(), lock_by_key);
    let Err(LockError::WrongRow { key }) = result else {
        panic!("{result:?}")
    };
    assert!(["1", "2", "4"].contains(&&*key), "{key}");
}

/// The first row of its statement, by a name in Diesel's cache: it is asked for again without one.
#[test]
fn wrong_row_is_noticed_in_a_queue() {
    let pooled = Pooled::new();
    let pool = Pool::builder().max_size(1).test_on_check_out(false);
    let pool = pool.build(ConnectionManager::new(pooled.pooler.url()));
    let queue = RowQueue::<PgConnection, Account>::new(pool.unwrap());
    let result = pooled.cross(&mut pooled.connect(), |_| {
        queue.with_row_lock(3, |_, account: Locked<Account>| {
            Ok::<_, LockError>(account.id)
        })
    });
    let refused = matches!(result, Err(LockError::WrongRow { .. }));
    assert!(refused, "{result:?}");
}

/// Twin, and the reason for the promise: a query tells nobody which row it is about.
#[test]
fn twin_wrong_row_passes_where_only_the_query_is_known() {
    let pooled = Pooled::new();
    let locked = pooled.cross(&mut pooled.connect(), lock_by_query).unwrap();
    assert_ne!(locked, 3);
}

#[test]
fn pooler_safe_connection_locks_the_right_row_in_every_session() {
    let pooled = Pooled::new();
    for lock in [lock_by_key, lock_by_query] {
        let conn = &mut pooled.connect();
        let locked = pooled.cross(conn.pooler_safe(), lock);
        assert_eq!(locked.unwrap(), 3);
    }
}
