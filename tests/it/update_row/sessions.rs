//! The session's own settings and transactions.

#[cfg(feature = "postgres")]
use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{update_row, LockError, Outcome};
use law::law;

use super::deposit;
use crate::support::calls::assert_error;
#[cfg(feature = "postgres")]
use crate::support::calls::open_account;
use crate::support::schema::{accounts, Account};

/// A row that another session is changing is a conflict at these levels, and the row is locked.
#[law(postgres)]
fn deposits_count_at_every_level_of_isolation(db: &Db) {
    for (id, level) in (381..).zip(["read committed", "repeatable read", "serializable"]) {
        open_account!(db, id);
        let writer = &mut db.connect();
        let conn = &mut db.connect();
        conn.batch_execute(&format!("SET default_transaction_isolation = '{level}'"))
            .unwrap();
        writer
            .batch_execute(&format!(
                "BEGIN; UPDATE accounts SET balance = 50 WHERE id = {id}"
            ))
            .unwrap();
        thread::scope(|scope| {
            let deposited = scope.spawn(|| deposit!(conn, id));
            db.wait_for_waiters(1);
            writer.batch_execute("COMMIT").unwrap();
            assert_eq!(deposited.join().unwrap().unwrap(), 51, "{level}");
        });
        assert_eq!(db.balance(id), 51, "{level}");
    }
}

#[law(postgres)]
fn row_that_is_locked_for_longer_than_the_session_waits_is_a_timeout(db: &Db) {
    open_account!(db, 391);
    let holder = &mut db.connect();
    holder
        .batch_execute("BEGIN; SELECT FROM accounts WHERE id = 391 FOR UPDATE")
        .unwrap();
    let conn = &mut db.connect();
    conn.batch_execute("SET lock_timeout = '20ms'").unwrap();
    for _ in 0..2 {
        assert_error!(
            deposit!(conn, 391),
            Timeout,
            NotApplied,
            transient,
            contention
        );
    }
    holder.batch_execute("COMMIT").unwrap();
    assert_eq!(deposit!(conn, 391).unwrap(), 1_001);
}

/// A read-only session is told so, and so is one on a standby.
#[law(postgres)]
fn read_only_session_changes_nothing(db: &Db) {
    open_account!(db, 392);
    let conn = &mut db.connect();
    conn.batch_execute("SET default_transaction_read_only = on")
        .unwrap();
    for _ in 0..2 {
        assert_error!(
            deposit!(conn, 392),
            Database,
            NotApplied,
            lasting,
            no_contention
        );
    }
    conn.batch_execute("SET default_transaction_read_only = off")
        .unwrap();
    assert_eq!(deposit!(conn, 392).unwrap(), 1_001);
}

#[law(mysql, mariadb)]
fn change_is_committed_in_a_session_without_autocommit(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("SET autocommit = 0").unwrap();
    let before = Db::settings(conn);
    assert_eq!(deposit!(conn).unwrap(), 1_001);
    assert_eq!(db.balance(1), 1_001);
    assert_eq!(Db::settings(conn), before);
}

/// Twin: what Diesel writes there is gone with the session.
#[law(mysql, mariadb)]
fn twin_change_without_autocommit_is_lost_with_the_session(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("SET autocommit = 0").unwrap();
    diesel::update(accounts::table.find(1))
        .set(accounts::balance.eq(1))
        .execute(conn)
        .unwrap();
    drop(std::mem::replace(conn, db.connect()));
    assert_eq!(db.balance(1), 1_000);
}

#[law(mysql, mariadb)]
fn call_inside_of_an_xa_transaction_is_refused(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("XA START 'x'").unwrap();
    let refused = deposit!(conn);
    assert_error!(
        refused,
        AlreadyInTransaction,
        NotApplied,
        lasting,
        no_contention
    );
    conn.batch_execute("XA END 'x'; XA ROLLBACK 'x'").unwrap();
    assert_eq!(db.balance(1), 1_000);
    assert_eq!(deposit!(conn).unwrap(), 1_001);
}

/// Diesel leaves the primary key out of a save, so the call would write another row's values.
#[law(postgres, mysql, mariadb, sqlite)]
fn key_that_the_closure_changes_is_refused(db: &Db) {
    let conn = &mut db.connect();
    for _ in 0..2 {
        let refused = update_row(conn, 1, |account: &mut Account| {
            account.id = 2;
            account.balance += 1;
            Ok::<_, LockError>(())
        });
        assert_error!(refused, KeyChanged, NotApplied, lasting, no_contention);
    }
    assert_eq!((db.balance(1), db.balance(2)), (1_000, 1_000));
}

/// Diesel would send an `UPDATE` without a `SET`.
#[law(postgres, mysql, mariadb, sqlite)]
fn model_of_which_nothing_can_be_saved_is_no_error(db: &Db) {
    #[derive(Debug, Queryable, Identifiable, AsChangeset)]
    #[diesel(table_name = crate::support::schema::seats, primary_key(hall, number))]
    struct KeptSeat {
        hall: String,
        number: i32,
        taken_by: Option<String>,
    }
    let conn = &mut db.connect();
    let mut take = |taken_by: Option<&str>| {
        update_row(conn, ("blue".to_owned(), 1), |seat: &mut KeptSeat| {
            let before = seat.taken_by.clone();
            seat.taken_by = taken_by.map(str::to_owned);
            Ok::<_, LockError>((seat.hall.clone(), seat.number, before))
        })
        .unwrap()
        .2
    };
    assert_eq!(take(Some("Ada")), None);
    // `None` is not saved, so the seat stays taken.
    assert_eq!(take(None).as_deref(), Some("Ada"));
    assert_eq!(take(None).as_deref(), Some("Ada"));
}
