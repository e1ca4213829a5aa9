//! A row that a queue keeps from one batch to the next: it saves round trips, and is never trusted.

use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel::sql_query;
use diesel::sql_types::BigInt;
use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::LockError;
use law::law;

use super::pool;
use crate::support::calls::{open_account, set_balance};
use crate::support::schema::{accounts, Account};
use crate::support::wire::{Cut, Rule, Wire, Word};

macro_rules! deposit {
    ($queue:expr, $id:expr) => {
        $queue.update($id, |account| {
            account.balance += 1;
            Ok::<_, LockError>(account.balance)
        })
    };
}

macro_rules! withdraw_100 {
    ($queue:expr, $id:expr) => {
        $queue.update($id, |account| {
            if account.balance < 100 {
                return Err(LockError::Abandoned);
            }
            account.balance -= 100;
            Ok(account.balance)
        })
    };
}

/// A queue whose connections go through the wire, and that never has the last one of its pool. To
/// test them at each check-out would be a round trip, too.
macro_rules! wired {
    ($db:ident, $wire:ident) => {{
        let manager = ConnectionManager::new($db.url_at(&$wire.address.to_string()));
        let pool = Pool::builder().max_size(2).test_on_check_out(false);
        RowQueue::<Conn, Account>::new(pool.build(manager).unwrap())
    }};
}

#[law(postgres)]
fn change_of_a_row_that_is_kept_takes_one_round_trip(db: &Db) {
    open_account!(db, 701);
    let wire = Wire::to(&db.server());
    let queue = wired!(db, wire);
    deposit!(queue, 701).unwrap();
    deposit!(queue, 701).unwrap();
    let trips = wire.round_trips(|| assert_eq!(deposit!(queue, 701).unwrap(), 1_003));
    assert_eq!((trips, db.balance(701)), (1, 1_003));
}

#[law(postgres)]
fn change_is_made_to_what_another_session_has_written_since(db: &Db) {
    open_account!(db, 702);
    let queue = RowQueue::<Conn, Account>::new(pool(db.url(), 1));
    deposit!(queue, 702).unwrap();
    set_balance!(db, 702, 50);
    assert_eq!(deposit!(queue, 702).unwrap(), 51);
    assert_eq!(db.balance(702), 51);
}

#[law(postgres)]
fn refusal_by_a_closure_is_never_given_of_a_row_that_was_kept(db: &Db) {
    open_account!(db, 703);
    set_balance!(db, 703, 10);
    let queue = RowQueue::<Conn, Account>::new(pool(db.url(), 1));
    deposit!(queue, 703).unwrap();
    set_balance!(db, 703, 500);
    assert_eq!(withdraw_100!(queue, 703).unwrap(), 400);
    set_balance!(db, 703, 7);
    withdraw_100!(queue, 703).unwrap_err();
    assert_eq!(db.balance(703), 7);
}

/// What a trigger has made of the row is what the next change sees.
#[law(postgres)]
fn next_change_sees_the_row_as_the_server_has_it(db: &Db) {
    open_account!(db, 704);
    db.connect()
        .batch_execute(
            "CREATE FUNCTION bonus() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN NEW.balance := NEW.balance + 1000; RETURN NEW; END'; \
             CREATE TRIGGER bonus BEFORE UPDATE ON accounts \
                 FOR EACH ROW EXECUTE FUNCTION bonus()",
        )
        .unwrap();
    let queue = RowQueue::<Conn, Account>::new(pool(db.url(), 1));
    let seen: Vec<_> = (0..3).map(|_| deposit!(queue, 704).unwrap()).collect();
    assert_eq!((seen, db.balance(704)), (vec![1_001, 2_002, 3_003], 4_003));
}

/// `RETURNING` shows the row as it was before the trigger wrote it once more, with the same `xmin`.
#[law(postgres)]
fn next_change_sees_what_an_after_trigger_has_written(db: &Db) {
    open_account!(db, 708);
    db.connect()
        .batch_execute(AFTER_TRIGGER_PAYS_INTEREST)
        .unwrap();
    let queue = RowQueue::<Conn, Account>::new(pool(db.url(), 2));
    let seen: Vec<_> = (0..3).map(|_| deposit!(queue, 708).unwrap()).collect();
    assert_eq!((seen, db.balance(708)), (vec![1_001, 2_002, 3_003], 4_003));
}

/// Twin: by `xmin` alone the second change overwrites what the trigger has written.
#[law(postgres)]
fn twin_xmin_is_the_same_behind_an_after_trigger(db: &Db) {
    open_account!(db, 709);
    let conn = &mut db.connect();
    conn.batch_execute(AFTER_TRIGGER_PAYS_INTEREST).unwrap();
    let (xmin, balance) = sql_query(
        "UPDATE accounts SET balance = balance + 1 WHERE id = 709 \
         RETURNING xmin::text::bigint AS xmin, balance",
    )
    .get_result::<Seen>(conn)
    .map(|seen| (seen.xmin, seen.balance))
    .unwrap();
    assert_eq!((balance, db.balance(709)), (1_001, 2_001));
    let written = sql_query(format!(
        "UPDATE accounts SET balance = {balance} + 1 \
         WHERE id = 709 AND xmin::text::bigint = {xmin}"
    ));
    assert_eq!(written.execute(conn).unwrap(), 1);
}

const AFTER_TRIGGER_PAYS_INTEREST: &str = "\
    CREATE FUNCTION interest() RETURNS trigger LANGUAGE plpgsql AS \
        'BEGIN UPDATE accounts SET balance = balance + 1000 WHERE id = NEW.id; RETURN NULL; END'; \
    CREATE TRIGGER interest AFTER UPDATE ON accounts FOR EACH ROW \
        WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION interest()";

#[derive(QueryableByName)]
struct Seen {
    #[diesel(sql_type = BigInt)]
    xmin: i64,
    #[diesel(sql_type = BigInt)]
    balance: i64,
}

#[law(postgres)]
fn change_is_committed_on_a_connection_with_a_transaction_that_diesel_does_not_know(db: &Db) {
    open_account!(db, 705);
    let pool = pool(db.url(), 1);
    let queue = RowQueue::<Conn, Account>::new(pool.clone());
    deposit!(queue, 705).unwrap();
    pool.get().unwrap().batch_execute("BEGIN").unwrap();
    deposit!(queue, 705).unwrap();
    assert_eq!(db.balance(705), 1_002);
}

/// The number of the last message of the statement: it is `Bind`, `Describe`, `Execute`, `Sync`.
const WRITE: usize = 3;

/// A queue that keeps the row, and loses its connection at the next change.
macro_rules! loses_the_answer {
    ($db:ident, $id:expr, $cut:expr) => {{
        open_account!($db, $id);
        let wire = Wire::to(&$db.server());
        let queue = wired!($db, wire);
        deposit!(queue, $id).unwrap();
        deposit!(queue, $id).unwrap();
        wire.lay_down(Rule::Number(WRITE, $cut, Word::Fin));
        let answer = deposit!(queue, $id);
        assert_eq!(wire.cuts(), 1, "the connection was cut");
        answer
    }};
}

/// The row still has the stamp that the lost statement asked for.
#[law(postgres)]
fn change_whose_statement_was_lost_on_its_way_is_made_once(db: &Db) {
    assert_eq!(loses_the_answer!(db, 706, Cut::Before).unwrap(), 1_003);
    assert_eq!(db.balance(706), 1_003);
}

/// The stamp is another one, and may be that of another session.
#[law(postgres)]
fn change_whose_answer_was_lost_is_in_doubt_and_not_made_again(db: &Db) {
    let answer = loses_the_answer!(db, 707, Cut::BeforeAnswer);
    assert!(
        matches!(answer, Err(LockError::CommitUnknown { .. })),
        "{answer:?}"
    );
    assert_eq!(db.balance(707), 1_003);
}

/// With more hot rows than connections, each line gives its connection back now and then.
#[law(postgres)]
fn rows_that_are_always_hot_leave_connections_for_others(db: &Db) {
    for id in 710..716 {
        open_account!(db, id);
    }
    let queue = &RowQueue::<Conn, Account>::new(pool(db.url(), 2));
    thread::scope(|scope| {
        for id in (710..716).flat_map(|id| [id; 3]) {
            scope.spawn(move || {
                for _ in 0..200 {
                    deposit!(queue, id).unwrap();
                }
            });
        }
    });
    for id in 710..716 {
        assert_eq!(db.balance(id), 1_600);
    }
}

#[law(postgres)]
fn changes_beside_writers_by_hand_all_count(db: &Db) {
    open_account!(db, 720);
    let queue = &RowQueue::<Conn, Account>::new(pool(db.url(), 4));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..50 {
                    deposit!(queue, 720).unwrap();
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let conn = &mut db.connect();
                for _ in 0..50 {
                    diesel::update(accounts::table.find(720))
                        .set(accounts::balance.eq(accounts::balance + 1))
                        .execute(conn)
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(db.balance(720), 1_400);
}

/// Two queues, as of two processes: each keeps a row that the other one writes.
#[law(postgres)]
fn changes_of_two_queues_all_count(db: &Db) {
    open_account!(db, 721);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let queue = &RowQueue::<Conn, Account>::new(pool(db.url(), 2));
                thread::scope(|scope| {
                    for _ in 0..4 {
                        scope.spawn(move || {
                            for _ in 0..50 {
                                deposit!(queue, 721).unwrap();
                            }
                        });
                    }
                });
            });
        }
    });
    assert_eq!(db.balance(721), 1_400);
}
