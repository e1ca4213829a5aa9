//! The stamp on PostgreSQL: what it sees, and what it is not trusted for.

use std::sync::mpsc;
use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{update_row, with_row_lock, LockError, Locked};
use law::law;

use super::deposit;
use crate::support::calls::{open_account, set_balance};
use crate::support::schema::{accounts, Account};
use crate::support::wire::{Cut, Rule, Wire, Word};

#[law(postgres)]
fn change_takes_two_round_trips(db: &Db) {
    open_account!(db, 101);
    let wire = Wire::to(&db.server());
    let conn = &mut Conn::establish(&db.url_at(&wire.address.to_string())).unwrap();
    deposit!(conn, 101).unwrap();
    assert_eq!(wire.round_trips(|| assert!(deposit!(conn, 101).is_ok())), 2);
    assert_eq!(db.balance(101), 1_002);
}

#[law(postgres)]
fn closure_runs_again_on_the_locked_row_if_another_session_was_faster(db: &Db) {
    open_account!(db, 102);
    let conn = &mut db.connect();
    let mut seen = Vec::new();
    update_row(conn, 102, |account: &mut Account| {
        if seen.is_empty() {
            set_balance!(db, 102, 50);
        }
        seen.push(account.balance);
        account.balance += 1;
        Ok::<_, LockError>(())
    })
    .unwrap();
    assert_eq!((seen, db.balance(102)), (vec![1_000, 50], 51));
}

#[law(postgres)]
fn refusal_by_the_closure_is_given_of_the_locked_row(db: &Db) {
    open_account!(db, 103);
    let conn = &mut db.connect();
    set_balance!(db, 103, 0);
    let mut runs = 0;
    let withdrawn = update_row(conn, 103, |account: &mut Account| {
        runs += 1;
        if runs == 1 {
            set_balance!(db, 103, 100);
        }
        if account.balance < 100 {
            return Err(LockError::Abandoned);
        }
        account.balance -= 100;
        Ok(account.balance)
    });
    assert_eq!((withdrawn.unwrap(), runs, db.balance(103)), (0, 2, 0));
}

/// As a locked call does: the deposit of the other session is not committed yet.
#[law(postgres)]
fn refusal_waits_for_the_session_that_holds_the_row(db: &Db) {
    open_account!(db, 104);
    set_balance!(db, 104, 0);
    let (held, is_held) = mpsc::channel();
    let (commit, may_commit) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (held, may_commit) = (held, may_commit);
            let row = accounts::table.find(104);
            with_row_lock(
                &mut db.connect(),
                row,
                |conn, mut account: Locked<Account>| {
                    account.balance = 100;
                    account.save_changes::<Account>(conn)?;
                    held.send(()).unwrap();
                    may_commit.recv().unwrap();
                    Ok::<_, LockError>(())
                },
            )
            .unwrap();
        });
        is_held.recv().unwrap();
        let late = scope.spawn(|| {
            update_row(&mut db.connect(), 104, |account: &mut Account| {
                if account.balance < 100 {
                    return Err(LockError::Abandoned);
                }
                account.balance -= 100;
                Ok(account.balance)
            })
        });
        db.wait_for_waiters(1);
        commit.send(()).unwrap();
        assert_eq!(late.join().unwrap().unwrap(), 0);
    });
    assert_eq!(db.balance(104), 0);
}

/// A row that was missed is locked first, which the number of round trips shows.
#[law(postgres)]
fn row_that_was_missed_lately_is_locked_first(db: &Db) {
    open_account!(db, 105);
    let wire = Wire::to(&db.server());
    let conn = &mut Conn::establish(&db.url_at(&wire.address.to_string())).unwrap();
    let mut runs = 0;
    update_row(conn, 105, |account: &mut Account| {
        runs += 1;
        if runs == 1 {
            set_balance!(db, 105, 7);
        }
        account.balance += 1;
        Ok::<_, LockError>(())
    })
    .unwrap();
    let trips: Vec<_> = (0..3)
        .map(|_| {
            wire.round_trips(|| {
                update_row(conn, 105, |account: &mut Account| {
                    account.balance += 1;
                    Ok::<_, LockError>(())
                })
                .unwrap();
            })
        })
        .collect();
    assert_eq!((trips, db.balance(105)), (vec![4, 4, 2], 11));
}

/// The statement would not be a transaction of its own.
#[law(postgres)]
fn change_is_committed_inside_a_transaction_that_diesel_does_not_know(db: &Db) {
    open_account!(db, 106);
    let conn = &mut db.connect();
    conn.batch_execute("BEGIN").unwrap();
    assert_eq!(deposit!(conn, 106).unwrap(), 1_001);
    drop(std::mem::replace(conn, db.connect()));
    assert_eq!(db.balance(106), 1_001);
}

/// Twin: the condition on `xmin` alone is true there, and the change is lost with the session.
#[law(postgres)]
fn twin_change_by_xmin_alone_is_lost_with_the_open_transaction(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("BEGIN").unwrap();
    let written = diesel::sql_query(
        "UPDATE accounts SET balance = 1 WHERE id = 1 \
         AND xmin = (SELECT xmin FROM accounts WHERE id = 1)",
    );
    assert_eq!(written.execute(conn).unwrap(), 1);
    drop(std::mem::replace(conn, db.connect()));
    assert_eq!(db.balance(1), 1_000);
}

/// The number of the last message of each statement: both are `Bind`, `Describe`, `Execute`, `Sync`.
const READ: usize = 3;
const WRITE: usize = 7;

#[law(postgres)]
fn connection_lost_while_the_row_is_written_is_in_doubt(db: &Db) {
    open_account!(db, 107);
    open_account!(db, 201);
    for (cut, balance) in [(Cut::Before, 1_000), (Cut::BeforeAnswer, 1_001)] {
        set_balance!(db, 107, 1_000);
        let wire = Wire::to(&db.server());
        let conn = &mut Conn::establish(&db.url_at(&wire.address.to_string())).unwrap();
        deposit!(conn, 201).unwrap();
        wire.lay_down(Rule::Number(WRITE, cut, Word::Fin));
        let lost = deposit!(conn, 107);
        assert!(
            matches!(lost, Err(LockError::CommitUnknown { .. })),
            "{cut:?}: {lost:?}"
        );
        assert_eq!(db.balance(107), balance, "{cut:?}");
    }
}

#[law(postgres)]
fn connection_lost_while_the_row_is_read_is_lost(db: &Db) {
    open_account!(db, 108);
    let wire = Wire::to(&db.server());
    let conn = &mut Conn::establish(&db.url_at(&wire.address.to_string())).unwrap();
    deposit!(conn, 108).unwrap();
    wire.lay_down(Rule::Number(READ, Cut::BeforeAnswer, Word::Fin));
    let lost = deposit!(conn, 108);
    assert!(
        matches!(lost, Err(LockError::ConnectionLost { .. })),
        "{lost:?}"
    );
    assert_eq!(db.balance(108), 1_001);
}
