//! Promise 3: a connection that is lost at COMMIT leaves the call in doubt, and a commit token
//! resolves it.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{
    with_row_lock, CommitToken, LockError, Locked, Outcome, Resolution, Retry, RowLock,
};
use law::law;

use crate::support::calls::nothing;
#[cfg(feature = "postgres")]
use crate::support::probe::statements_of;
use crate::support::schema::{accounts, Account};
use crate::support::wait_until;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use crate::support::wire::{Cut, Wire};

/// Adds 100 to account 1 over a connection that is cut, with a token; returns the token.
#[cfg(any(feature = "postgres", feature = "mysql"))]
macro_rules! deposit_in_doubt {
    ($db:ident, $cut:expr) => {{
        let wire = Wire::that_cuts(&$db.server(), $cut);
        let conn = &mut Conn::establish(&$db.url_at(&wire.address.to_string())).unwrap();
        let token = CommitToken::new();
        let lock = RowLock::for_update().commit_token(token);
        let result = lock.with(
            conn,
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                account.balance += 100;
                account.save_changes::<Account>(conn)
            },
        );
        let error = LockError::from(result.unwrap_err());
        assert!(
            matches!(error, LockError::CommitUnknown { .. }),
            "{:?}: {error:?}",
            $cut
        );
        assert_eq!(error.outcome(), Outcome::InDoubt);
        assert!(!error.is_transient(), "it must not be tried again");
        token
    }};
}

/// Of two tokens, purges the one that is made to be of `$long_ago`.
macro_rules! assert_purged {
    ($db:ident, $long_ago:expr) => {
        let conn = &mut $db.connect();
        CommitToken::create_table(conn).unwrap();
        let [old, young] = [1, 2].map(|id| {
            let token = CommitToken::new();
            let lock = RowLock::for_update().commit_token(token);
            lock.with(conn, accounts::table.find(id), nothing).unwrap();
            token
        });
        let hour = Duration::from_secs(3_600);
        assert_eq!(CommitToken::purge(conn, hour).unwrap(), 0);
        let (age, old) = ($long_ago, old.to_string());
        conn.batch_execute(&format!(
            "UPDATE row_lock_commits SET created_at = {age} WHERE token = '{old}'"
        ))
        .unwrap();
        assert_eq!(CommitToken::purge(conn, hour).unwrap(), 1);
        assert_eq!(young.resolve(conn).unwrap(), Resolution::Committed);
    };
}

#[law(postgres, mysql, mariadb)]
fn commit_that_never_arrived_resolves_as_not_committed(db: &Db) {
    CommitToken::create_table(&mut db.connect()).unwrap();
    let token = deposit_in_doubt!(db, Cut::Before);
    assert_eq!(
        token.resolve(&mut db.connect()).unwrap(),
        Resolution::NotCommitted
    );
    assert_eq!(db.balance(1), 1_000);
}

#[law(postgres, mysql, mariadb)]
fn commit_whose_answer_was_lost_resolves_as_committed(db: &Db) {
    CommitToken::create_table(&mut db.connect()).unwrap();
    let token = deposit_in_doubt!(db, Cut::BeforeAnswer);
    assert_eq!(
        token.resolve(&mut db.connect()).unwrap(),
        Resolution::Committed
    );
    assert_eq!(db.balance(1), 1_100);
}

/// Here the server decides; the resolver must agree with it, every time.
#[law(postgres, mysql, mariadb)]
fn commit_that_raced_with_the_cut_resolves_as_what_it_was(db: &Db) {
    CommitToken::create_table(&mut db.connect()).unwrap();
    for _ in 0..20 {
        let before = db.balance(1);
        let token = deposit_in_doubt!(db, Cut::Behind);
        let resolution = token.resolve(&mut db.connect()).unwrap();
        let applied = match db.balance(1) - before {
            100 => Resolution::Committed,
            0 => Resolution::NotCommitted,
            other => panic!("applied {other}"),
        };
        assert_eq!(resolution, applied);
    }
}

/// Twin: without the token nothing tells the two cuts apart.
#[law(postgres, mysql, mariadb)]
fn twin_the_errors_of_both_cuts_are_the_same(db: &Db) {
    let errors = [Cut::Before, Cut::BeforeAnswer].map(|cut| {
        let wire = Wire::that_cuts(&db.server(), cut);
        let conn = &mut Conn::establish(&db.url_at(&wire.address.to_string())).unwrap();
        let result = with_row_lock(
            conn,
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                account.balance += 100;
                account
                    .save_changes::<Account>(conn)
                    .map_err(LockError::from)
            },
        );
        format!("{:?}", result.unwrap_err())
    });
    assert_eq!(errors[0], errors[1]);
    // A server may answer the batch's first statement before it does the COMMIT.
    wait_until("one of them is applied", Duration::from_millis(5), || {
        db.balance(1) == 1_100
    });
}

#[law(postgres, mysql, mariadb)]
fn commit_in_doubt_is_never_retried(db: &Db) {
    let wire = Wire::that_cuts(&db.server(), Cut::BeforeAnswer);
    let conn = &mut Conn::establish(&db.url_at(&wire.address.to_string())).unwrap();
    let mut attempts = 0;
    let result = RowLock::for_update()
        .retry(Retry::new().lock_timeouts())
        .with(
            conn,
            accounts::table.find(1),
            |conn, mut account: Locked<Account>| {
                attempts += 1;
                account.balance += 100;
                account
                    .save_changes::<Account>(conn)
                    .map_err(LockError::from)
            },
        );
    assert!(
        matches!(result, Err(LockError::CommitUnknown { .. })),
        "{result:?}"
    );
    assert_eq!((attempts, db.balance(1)), (1, 1_100));
}

/// A proxy that has lost its server answers for it. Here the server has committed.
#[law(postgres, mysql, mariadb)]
fn answer_of_a_proxy_at_commit_is_in_doubt(db: &Db) {
    CommitToken::create_table(&mut db.connect()).unwrap();
    let token = deposit_in_doubt!(db, Cut::Answered);
    assert_eq!(
        token.resolve(&mut db.connect()).unwrap(),
        Resolution::Committed
    );
    assert_eq!(db.balance(1), 1_100);
}

/// Twin: what Diesel hands on is an error like any other of a statement.
#[law(postgres, mysql, mariadb)]
fn twin_diesel_does_not_tell_the_answer_of_a_proxy_from_a_refusal(db: &Db) {
    let wire = Wire::that_cuts(&db.server(), Cut::Answered);
    let conn = &mut Conn::establish(&db.url_at(&wire.address.to_string())).unwrap();
    let result = conn
        .transaction(|conn| conn.batch_execute("UPDATE accounts SET balance = 1100 WHERE id = 1"));
    assert!(
        matches!(result, Err(diesel::result::Error::DatabaseError(..))),
        "{result:?}"
    );
    assert_eq!(db.balance(1), 1_100);
}

/// The server itself refuses by any text, and is believed.
#[law(postgres)]
fn refusal_of_a_deferred_trigger_is_not_in_doubt(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         RAISE EXCEPTION 'no more in %', current_query(); END $$; \
         CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON accounts \
         DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    .unwrap();
    let result = with_row_lock(
        conn,
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            account.balance += 100;
            account
                .save_changes::<Account>(conn)
                .map_err(LockError::from)
        },
    );
    // It quotes the statement that names the guard, and is no escape for that.
    let error = result.unwrap_err();
    assert!(matches!(error, LockError::Database(_)), "{error:?}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert_eq!(db.balance(1), 1_000);
    with_row_lock(conn, accounts::table.find(2), nothing).expect("the connection is usable");
}

/// What the connection sends after a COMMIT that `$refusal`, a deferred trigger, refuses.
macro_rules! sent_for_a_refusal {
    ($db:ident, $refusal:literal) => {{
        let conn = &mut $db.connect();
        conn.batch_execute(concat!(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ",
            $refusal,
            " END $$; DROP TRIGGER IF EXISTS refuse ON accounts; \
             CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON accounts \
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
        ))
        .unwrap();
        let sent = statements_of(conn);
        let result = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
            conn.batch_execute("UPDATE accounts SET balance = 11 WHERE id = 1")
                .map_err(LockError::from)
        });
        let error = result.unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotApplied, "{error:?}");
        let sent = sent.lock().unwrap();
        sent.iter().any(|sql| sql.contains("pg_stat_activity"))
    }};
}

/// A violated constraint and a cancelled statement are no answers of a proxy. Any other text may
/// be one, so the server is asked for the age of its session.
#[law(postgres)]
fn refusal_by_an_error_of_the_server_alone_is_believed_without_a_question(db: &Db) {
    assert!(!sent_for_a_refusal!(
        db,
        "RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation';"
    ));
    assert!(!sent_for_a_refusal!(
        db,
        "PERFORM pg_cancel_backend(pg_backend_pid()); PERFORM pg_sleep(60);"
    ));
    // Twin: an error that means nothing by itself.
    assert!(sent_for_a_refusal!(db, "RAISE EXCEPTION 'no';"));
}

/// A transaction that is still open may commit yet: the resolver waits for its end.
#[law(postgres, mysql, mariadb)]
fn resolver_waits_for_a_transaction_that_is_still_open(db: &Db) {
    CommitToken::create_table(&mut db.connect()).unwrap();
    let token = CommitToken::new();
    std::thread::scope(|scope| {
        let lock = RowLock::for_update().commit_token(token);
        let resolver = lock.with(
            &mut db.connect(),
            accounts::table.find(1),
            |_, _: Locked<Account>| {
                let resolver = scope.spawn(|| token.resolve(&mut db.connect()));
                db.wait_for_waiters(1);
                Ok::<_, LockError>(resolver)
            },
        );
        assert_eq!(
            resolver.unwrap().join().unwrap().unwrap(),
            Resolution::Committed
        );
    });
}

#[law(postgres, mysql, mariadb, sqlite)]
fn resolved_as_not_committed_it_never_can(db: &Db) {
    let conn = &mut db.connect();
    CommitToken::create_table(conn).unwrap();
    let token = CommitToken::new();
    assert_eq!(token.resolve(conn).unwrap(), Resolution::NotCommitted);
    assert_eq!(
        token.resolve(conn).unwrap(),
        Resolution::NotCommitted,
        "the answer stays the same"
    );
    let lock = RowLock::for_update().commit_token(token);
    let late = lock.with(
        conn,
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            account.balance += 100;
            account
                .save_changes::<Account>(conn)
                .map_err(LockError::from)
        },
    );
    assert!(matches!(late, Err(LockError::Database(_))), "{late:?}");
    assert_eq!(db.balance(1), 1_000);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn committed_call_resolves_as_committed_and_failed_one_as_not(db: &Db) {
    let conn = &mut db.connect();
    CommitToken::create_table(conn).unwrap();
    CommitToken::create_table(conn).expect("a second time is no error");
    let (good, bad) = (CommitToken::new(), CommitToken::new());
    let lock = RowLock::for_update();
    lock.commit_token(good)
        .with(conn, accounts::table.find(1), nothing)
        .unwrap();
    let failed = lock
        .commit_token(bad)
        .with(conn, accounts::table.find(77), nothing);
    assert!(
        matches!(failed, Err(LockError::NotFound { .. })),
        "{failed:?}"
    );
    for _ in 0..2 {
        assert_eq!(good.resolve(conn).unwrap(), Resolution::Committed);
        assert_eq!(bad.resolve(conn).unwrap(), Resolution::NotCommitted);
    }
}

#[law(postgres, mysql, mariadb)]
fn purge_takes_old_tokens_only(db: &Db) {
    assert_purged!(db, "'2001-01-01'");
}

/// SQLite counts seconds.
#[law(sqlite)]
fn purge_takes_tokens_only_that_are_old(db: &Db) {
    assert_purged!(db, "978307200");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn token_without_its_table_is_an_error_before_anything_happens(db: &Db) {
    let conn = &mut db.connect();
    let mut ran = false;
    let result = RowLock::for_update().commit_token(CommitToken::new()).with(
        conn,
        accounts::table.find(1),
        |_, _: Locked<Account>| {
            ran = true;
            Ok::<_, LockError>(())
        },
    );
    assert!(matches!(result, Err(LockError::Database(_))), "{result:?}");
    assert!(!ran);
    with_row_lock(conn, accounts::table.find(1), nothing).expect("the connection is usable");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn token_is_for_the_outermost_transaction_only(db: &Db) {
    let conn = &mut db.connect();
    CommitToken::create_table(conn).unwrap();
    let token = CommitToken::new();
    let inside = with_row_lock(conn, accounts::table.find(1), |conn, _: Locked<Account>| {
        let resolved = token.resolve(conn);
        assert!(
            matches!(resolved, Err(LockError::AlreadyInTransaction { .. })),
            "{resolved:?}"
        );
        RowLock::for_update()
            .commit_token(token)
            .with(conn, accounts::table.find(2), nothing)
    });
    assert!(
        matches!(inside, Err(LockError::AlreadyInTransaction { .. })),
        "{inside:?}"
    );
}
