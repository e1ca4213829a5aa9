//! A connection that is lost: before COMMIT nothing was applied; at COMMIT only the server knows.

use std::thread;
use std::time::Duration;

use diesel::connection::{SimpleConnection, TransactionManager};
use diesel::prelude::*;
use diesel_row_lock::{with_row_lock, LockError, Locked, Outcome, RowLock};
use law::law;

use crate::support::calls::{assert_error, interrupted_wait, nothing};
use crate::support::schema::{accounts, Account};
use crate::support::wait_until;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use crate::support::wire::{Cut, Rule, Wire, Word};

/// Whether Diesel holds the connection to be broken.
fn is_broken<C: Connection>(conn: &mut C) -> bool {
    let status = C::TransactionManager::transaction_manager_status_mut(conn);
    status.transaction_depth().is_err()
}

/// A call whose session is killed as the last deed of its closure.
macro_rules! killed_before_commit {
    ($db:ident) => {{
        let conn = &mut $db.connect();
        let session = Db::session(conn);
        with_row_lock(
            conn,
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                account.balance = 11;
                account.save_changes::<Account>(conn)?;
                $db.kill(session);
                Ok::<_, LockError>(())
            },
        )
    }};
}

#[law(postgres, mysql, mariadb)]
fn connection_killed_while_waiting_is_lost(db: &Db) {
    let conn = &mut db.connect();
    let session = Db::session(conn);
    let result = interrupted_wait!(db, conn, db.kill(session));
    assert_error!(result, ConnectionLost, NotApplied, transient, no_contention);
}

#[law(postgres, mysql, mariadb)]
fn connection_killed_inside_of_the_closure_is_lost(db: &Db) {
    let conn = &mut db.connect();
    let session = Db::session(conn);
    let result = with_row_lock(
        conn,
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            account.balance = 11;
            account.save_changes::<Account>(conn)?;
            db.kill(session);
            account.save_changes::<Account>(conn)?;
            Ok::<_, LockError>(())
        },
    );
    assert_error!(result, ConnectionLost, NotApplied, transient, no_contention);
    assert_eq!(db.balance(1), 1_000);
    assert!(
        is_broken(conn),
        "a pool would lend it again, with a transaction that Diesel takes for open"
    );
    // The server tells the client first, and then rolls back.
    wait_until("the row is free", Duration::from_millis(5), || {
        db.free("accounts") == [1, 2, 3, 4]
    });
}

#[law(postgres, mysql, mariadb)]
fn connection_killed_before_the_call_is_lost(db: &Db) {
    let conn = &mut db.connect();
    db.kill(Db::session(conn));
    let result = with_row_lock(conn, accounts::table.find(1), nothing);
    assert_error!(result, ConnectionLost, NotApplied, transient, no_contention);
}

/// E23: the closure did not notice, so the first to notice is COMMIT, and it can't know.
#[law(postgres)]
fn connection_killed_before_commit_is_in_doubt(db: &Db) {
    assert_error!(
        killed_before_commit!(db),
        CommitUnknown,
        InDoubt,
        lasting,
        no_contention
    );
    assert_eq!(db.balance(1), 1_000, "this time it is known from outside");
}

/// There the guard is asked before COMMIT is sent.
#[law(mysql, mariadb)]
fn connection_killed_before_commit_is_lost(db: &Db) {
    assert_error!(
        killed_before_commit!(db),
        ConnectionLost,
        NotApplied,
        transient,
        no_contention
    );
    assert_eq!(db.balance(1), 1_000);
}

/// The settings of the session can't be put back then, so a pool must not lend it again.
#[law(mysql, mariadb)]
fn connection_lost_behind_commit_is_ok_and_broken(db: &Db) {
    let deposit = |rule: Rule| {
        let wire = Wire::to(&db.server());
        let mut conn = Conn::establish(&db.url_at(&wire.address.to_string())).unwrap();
        // What Diesel has sent without waiting for an answer has arrived before this.
        conn.batch_execute("SELECT 1").unwrap();
        wire.lay_down(rule);
        let result = with_row_lock(
            &mut conn,
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                account.balance += 100;
                Ok::<_, LockError>(account.save_changes::<Account>(conn)?.balance)
            },
        );
        let status =
            <Conn as Connection>::TransactionManager::transaction_manager_status_mut(&mut conn);
        let is_broken = status.transaction_depth().is_err();
        (result.unwrap(), is_broken, wire.messages())
    };
    let (balance, is_broken, messages) = deposit(Rule::None);
    assert_eq!((balance, is_broken), (1_100, false));
    let behind = messages
        .iter()
        .rposition(|message| message.commits)
        .unwrap()
        + 1;
    let (balance, is_broken, _) = deposit(Rule::Number(behind, Cut::Before, Word::Fin));
    assert_eq!((balance, is_broken, db.balance(1)), (1_200, true, 1_200));
}

/// The closure noticed and kept silent; the library still knows better than to send COMMIT.
#[law(postgres)]
fn loss_that_the_closure_swallows_is_lost(db: &Db) {
    let conn = &mut db.connect();
    let session = Db::session(conn);
    let result = with_row_lock(
        conn,
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            account.balance = 11;
            account.save_changes::<Account>(conn)?;
            db.kill(session);
            let _ = account.save_changes::<Account>(conn);
            Ok::<_, LockError>(())
        },
    );
    assert_error!(result, ConnectionLost, NotApplied, transient, no_contention);
    assert_eq!(db.balance(1), 1_000);
}

/// Diesel does not notice this on MySQL, so COMMIT is sent.
#[law(mysql, mariadb)]
fn loss_that_the_closure_swallows_is_never_ok(db: &Db) {
    let conn = &mut db.connect();
    let session = Db::session(conn);
    let result = with_row_lock(
        conn,
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            account.balance = 11;
            account.save_changes::<Account>(conn)?;
            db.kill(session);
            let _ = account.save_changes::<Account>(conn);
            Ok::<_, LockError>(())
        },
    );
    let told = matches!(
        result,
        Err(LockError::ConnectionLost { .. } | LockError::CommitUnknown { .. })
    );
    assert!(told, "{result:?}");
    assert_eq!(db.balance(1), 1_000);
}

#[law(postgres, mysql, mariadb)]
fn loss_is_the_same_after_the_way_through_diesel(db: &Db) {
    for nested in [false, true] {
        let conn = &mut db.connect();
        let session = Db::session(conn);
        let row = accounts::table.find(1);
        let result: QueryResult<()> = with_row_lock(conn, row, |conn, _: Locked<Account>| {
            if nested {
                return with_row_lock(
                    conn,
                    accounts::table.find(2),
                    |conn, account: Locked<Account>| {
                        db.kill(session);
                        account.save_changes::<Account>(conn)?;
                        Ok(())
                    },
                );
            }
            db.kill(session);
            with_row_lock(
                conn,
                accounts::table.find(2),
                |_, _: Locked<Account>| Ok(()),
            )
        });
        let result = result.map_err(LockError::from);
        assert_error!(result, ConnectionLost, NotApplied, transient, no_contention);
    }
}

#[law(postgres)]
fn loss_that_a_nested_closure_swallows_is_the_same_after_the_way_through_diesel(db: &Db) {
    let conn = &mut db.connect();
    let session = Db::session(conn);
    let row = accounts::table.find(1);
    let result: QueryResult<()> = with_row_lock(conn, row, |conn, _: Locked<Account>| {
        with_row_lock(
            conn,
            accounts::table.find(2),
            |conn, account: Locked<Account>| {
                db.kill(session);
                let _ = account.save_changes::<Account>(conn);
                Ok(())
            },
        )
    });
    let result = result.map_err(LockError::from);
    assert_error!(result, ConnectionLost, NotApplied, transient, no_contention);
}

#[law(postgres, mysql, mariadb)]
fn session_that_the_server_ends_for_idling_is_lost(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(Db::END_IF_IDLE).unwrap();
    let session = Db::session(conn);
    let result = with_row_lock(
        conn,
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            account.balance = 11;
            account.save_changes::<Account>(conn)?;
            db.wait_for_end_of(session);
            account.save_changes::<Account>(conn)?;
            Ok::<_, LockError>(())
        },
    );
    assert_error!(result, ConnectionLost, NotApplied, transient, no_contention);
    assert_eq!(db.balance(1), 1_000);
    with_row_lock(&mut db.connect(), accounts::table.find(1), nothing).unwrap();
}
