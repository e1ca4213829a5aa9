//! Triggers and constraints that change, refuse or delay the write.

use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{update_row, LockError, Outcome};
use law::law;

use super::deposit;
use crate::support::calls::assert_error;
use crate::support::calls::{open_account, set_balance};
use crate::support::schema::{accounts, Account};

/// A trigger before each update, with this body.
macro_rules! before_update {
    ($db:ident, $body:expr) => {
        $db.connect()
            .batch_execute(&format!(
                "CREATE FUNCTION before_update() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN {} END $$; \
                 CREATE TRIGGER before_update BEFORE UPDATE ON accounts FOR EACH ROW \
                 EXECUTE FUNCTION before_update()",
                $body
            ))
            .unwrap()
    };
}

#[law(postgres)]
fn what_a_trigger_changes_is_kept(db: &Db) {
    open_account!(db, 321);
    before_update!(db, "NEW.owner := 'Trigger'; RETURN NEW;");
    let conn = &mut db.connect();
    assert_eq!(deposit!(conn, 321).unwrap(), 1_001);
    let mut owner = String::new();
    update_row(conn, 321, |account: &mut Account| {
        owner.clone_from(&account.owner);
        account.balance += 1;
        Ok::<_, LockError>(())
    })
    .unwrap();
    assert_eq!((owner.as_str(), db.balance(321)), ("Trigger", 1_002));
}

#[law(postgres)]
fn write_that_a_trigger_refuses_in_silence_is_no_success(db: &Db) {
    open_account!(db, 322);
    before_update!(db, "RETURN NULL;");
    let conn = &mut db.connect();
    for _ in 0..2 {
        let refused = deposit!(conn, 322);
        assert_error!(refused, Aborted, NotApplied, lasting, no_contention);
    }
    assert_eq!(db.balance(322), 1_000);
}

/// Twin: to Diesel it is no error that nothing was written.
#[law(postgres)]
fn twin_diesel_takes_a_write_that_a_trigger_refuses_for_a_success(db: &Db) {
    before_update!(db, "RETURN NULL;");
    let update = diesel::update(accounts::table.find(1)).set(accounts::balance.eq(1));
    assert_eq!(update.execute(&mut db.connect()), Ok(0));
}

#[law(postgres)]
fn error_of_a_trigger_changes_nothing(db: &Db) {
    open_account!(db, 323);
    before_update!(db, "RAISE EXCEPTION 'not today'; RETURN NEW;");
    let conn = &mut db.connect();
    for _ in 0..2 {
        let refused = deposit!(conn, 323);
        assert_error!(refused, Database, NotApplied, lasting, no_contention);
    }
    assert_eq!(db.balance(323), 1_000);
}

/// A conflict by the trigger's own word is one, and goes on with a lock.
#[law(postgres)]
fn conflict_that_a_trigger_reports_once_is_no_error(db: &Db) {
    open_account!(db, 324);
    db.connect()
        .batch_execute("CREATE SEQUENCE writes")
        .unwrap();
    before_update!(
        db,
        "IF nextval('writes') = 1 THEN \
             RAISE EXCEPTION 'again' USING ERRCODE = 'serialization_failure'; END IF; \
         RETURN NEW;"
    );
    let mut runs = 0;
    let balance = update_row(&mut db.connect(), 324, |account: &mut Account| {
        runs += 1;
        account.balance += 1;
        Ok::<_, LockError>(account.balance)
    });
    assert_eq!((balance.unwrap(), runs, db.balance(324)), (1_001, 2, 1_001));
}

/// The server checks it behind the statement, at the commit.
#[law(postgres)]
fn deferred_constraint_that_is_violated_changes_nothing(db: &Db) {
    open_account!(db, 325);
    db.connect()
        .batch_execute(
            "UPDATE accounts SET owner = 'Emmy' WHERE id = 325; \
             ALTER TABLE accounts ADD UNIQUE (owner) DEFERRABLE INITIALLY DEFERRED",
        )
        .unwrap();
    let conn = &mut db.connect();
    for _ in 0..2 {
        let refused = update_row(conn, 325, |account: &mut Account| {
            account.owner = "Grace".to_owned();
            account.balance = 0;
            Ok::<_, LockError>(())
        });
        assert_error!(refused, Database, NotApplied, lasting, no_contention);
    }
    assert_eq!(db.balance(325), 1_000);
    assert_eq!(deposit!(conn, 325).unwrap(), 1_001);
}

/// Any text is one of a trigger's at the commit. It is a refusal all the same.
#[law(postgres)]
fn error_of_a_deferred_trigger_changes_nothing(db: &Db) {
    open_account!(db, 326);
    db.connect()
        .batch_execute(
            "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 RAISE EXCEPTION 'server closed the connection unexpectedly'; END $$; \
             CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON accounts \
                 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()",
        )
        .unwrap();
    let conn = &mut db.connect();
    for _ in 0..2 {
        let refused = deposit!(conn, 326);
        assert_error!(refused, Database, NotApplied, lasting, no_contention);
    }
    assert_eq!(db.balance(326), 1_000);
}

/// Runs `$call` while another session holds account `$id` and has paid in 100, which it commits
/// when `$call` waits.
macro_rules! while_paid_in {
    ($db:ident, $id:expr, $call:expr) => {{
        let payer = &mut $db.connect();
        payer
            .batch_execute(&format!(
                "BEGIN; UPDATE accounts SET balance = balance + 100 WHERE id = {}",
                $id
            ))
            .unwrap();
        thread::scope(|scope| {
            let call = scope.spawn(|| $call);
            $db.wait_for_waiters(1);
            payer.batch_execute("COMMIT").unwrap();
            call.join().unwrap()
        })
    }};
}

/// The limit of the table. The server checks it before it waits for the row, so the answer of the
/// first statement is that of the row as it was.
const LEAST: i64 = -999_999;

#[law(postgres)]
fn refusal_by_a_constraint_is_given_of_the_locked_row(db: &Db) {
    open_account!(db, 327);
    set_balance!(db, 327, LEAST);
    let withdrawn = while_paid_in!(
        db,
        327,
        update_row(&mut db.connect(), 327, |account: &mut Account| {
            account.balance -= 50;
            Ok::<_, LockError>(account.balance)
        })
    );
    assert_eq!(withdrawn.unwrap(), LEAST + 50);
    assert_eq!(db.balance(327), LEAST + 50);
}

#[law(postgres)]
fn twin_conditional_update_is_refused_by_the_row_as_it_was(db: &Db) {
    open_account!(db, 328);
    set_balance!(db, 328, LEAST);
    let payer = &mut db.connect();
    payer
        .batch_execute("BEGIN; UPDATE accounts SET balance = balance + 100 WHERE id = 328")
        .unwrap();
    let withdraw = format!(
        "UPDATE accounts SET balance = {} WHERE id = 328",
        LEAST - 50
    );
    // It does not wait.
    let refused = diesel::sql_query(withdraw).execute(&mut db.connect());
    assert!(refused.is_err(), "{refused:?}");
    payer.batch_execute("COMMIT").unwrap();
}
