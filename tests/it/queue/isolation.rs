//! Under an isolation level whose snapshot is older than the lock, one caller at a time goes to the
//! server for a row.

use std::sync::{mpsc, Barrier};
use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool};
use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::{with_row_lock, Isolation, LockError, Locked, Outcome, RowLock};
use law::law;

use super::pool;
use crate::support::calls::assert_error;
use crate::support::schema::{accounts, Account};

/// Each session begins with this statement.
#[derive(Debug)]
struct Begins(&'static str);

impl<C: SimpleConnection> CustomizeConnection<C, diesel::r2d2::Error> for Begins {
    fn on_acquire(&self, conn: &mut C) -> Result<(), diesel::r2d2::Error> {
        conn.batch_execute(self.0)
            .map_err(diesel::r2d2::Error::QueryError)
    }
}

/// The default level of a session is one whose snapshots are strict.
fn strict(stamp: &str) -> &'static str {
    match stamp {
        "postgres" => "SET default_transaction_isolation = 'repeatable read'",
        // The default of MariaDB 11.6.2 and later.
        _ => "SET innodb_snapshot_isolation = ON",
    }
}

macro_rules! strict_pool {
    ($db:ident) => {
        Pool::builder()
            .max_size(4)
            .min_idle(Some(0))
            .connection_customizer(Box::new(Begins(strict(Db::STAMP))))
            .build(ConnectionManager::<Conn>::new($db.url()))
            .unwrap()
    };
}

/// Eight threads with ten own turns each, and ten updates.
macro_rules! storm {
    ($queue:ident) => {{
        let queue = &$queue;
        let start = &Barrier::new(8);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(move || {
                        start.wait();
                        for _ in 0..10 {
                            queue.with_row_lock(1, |conn, mut account| {
                                account.balance += 1;
                                account.save_changes::<Account>(conn)?;
                                Ok::<_, LockError>(())
                            })?;
                            queue.update(1, |account| {
                                account.balance += 1;
                                Ok::<_, LockError>(())
                            })?;
                        }
                        Ok::<_, LockError>(())
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap().unwrap();
            }
        });
    }};
}

#[law(postgres, mysql, mariadb)]
fn every_turn_commits_at_each_isolation_level(db: &Db) {
    let levels = [
        Isolation::ReadCommitted,
        Isolation::RepeatableRead,
        Isolation::Serializable,
    ];
    for level in levels {
        let queue = RowQueue::<Conn, Account>::builder()
            .lock(RowLock::for_update().isolation(level))
            .build(pool(db.url(), 4));
        storm!(queue);
    }
    assert_eq!(db.balance(1), 1_480);
}

/// The queue is not told of the level.
#[law(postgres, mariadb)]
fn every_turn_commits_at_the_level_of_the_session(db: &Db) {
    let queue = RowQueue::<Conn, Account>::new(strict_pool!(db));
    storm!(queue);
    assert_eq!(db.balance(1), 1_160);
}

/// Twin: two calls without the queue, of which the second waits at the server.
#[law(postgres)]
fn twin_second_one_at_the_server_fails(db: &Db) {
    let pool = strict_pool!(db);
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let (holds, is_held) = mpsc::channel();
    let result = thread::scope(|scope| {
        let go_on = go_on;
        let pool = &pool;
        let call = move |held: Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>| {
            let conn = &mut *pool.get().unwrap();
            let row = accounts::table.find(1);
            with_row_lock(conn, row, |conn, mut account: Locked<Account>| {
                if let Some((holds, may_go_on)) = held {
                    holds.send(()).unwrap();
                    may_go_on.recv().unwrap();
                }
                account.balance += 1;
                account.save_changes::<Account>(conn)?;
                Ok::<_, LockError>(())
            })
        };
        let first = scope.spawn(move || call(Some((holds, may_go_on))));
        is_held.recv().unwrap();
        let second = scope.spawn(move || call(None));
        db.wait_for_waiters(1);
        go_on.send(()).unwrap();
        first.join().unwrap().unwrap();
        second.join().unwrap()
    });
    assert_error!(
        result,
        SerializationFailure,
        NotApplied,
        transient,
        no_contention
    );
}
