//! What a closure may return, and how errors travel through Diesel's own type and back.

use std::error::Error;
use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel_row_lock::{with_row_lock, with_row_locks, LockError, Locked, Outcome, RowLock};
use law::law;

use crate::support::calls::while_held;
use crate::support::schema::{accounts, Account};

#[derive(Debug, thiserror::Error)]
enum BankError {
    #[error("insufficient funds")]
    InsufficientFunds,
    #[error("no account {0}")]
    UnknownAccount(String),
    #[error(transparent)]
    Lock(LockError),
}

impl From<LockError> for BankError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::NotFound { key } => Self::UnknownAccount(key.unwrap_or_default()),
            other => Self::Lock(other),
        }
    }
}

/// `?` on a plain Diesel call in a closure of `BankError`.
impl From<DieselError> for BankError {
    fn from(error: DieselError) -> Self {
        LockError::from(error).into()
    }
}

#[law(postgres, mysql, mariadb, sqlite)]
fn closure_may_return_results_of_diesel(db: &Db) {
    let conn = &mut db.connect();
    let row = accounts::table.find(1);
    let saved: QueryResult<Account> =
        with_row_lock(conn, row, |conn, mut account: Locked<Account>| {
            account.balance += 100;
            account.save_changes(conn)
        });
    assert_eq!(saved.unwrap().balance, 1_100);
    let nobody = accounts::table.find(77);
    let missing: QueryResult<()> = with_row_lock(conn, nobody, |_, _: Locked<Account>| Ok(()));
    assert_eq!(
        missing,
        Err(DieselError::NotFound),
        "`.optional()` goes on working"
    );
    let own: QueryResult<()> =
        with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
            Err(DieselError::RollbackTransaction)
        });
    assert_eq!(own, Err(DieselError::RollbackTransaction));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn closure_may_return_lock_errors(db: &Db) {
    let conn = &mut db.connect();
    let row = accounts::table.find(1);
    let saved: Result<Account, LockError> =
        with_row_lock(conn, row, |conn, account: Locked<Account>| {
            diesel::update(&*account)
                .set(accounts::balance.eq(5))
                .execute(conn)?;
            Ok(accounts::table.find(1).first(conn)?)
        });
    assert_eq!(saved.unwrap().balance, 5);
    let failed: Result<(), LockError> = with_row_lock(conn, row, |conn, _: Locked<Account>| {
        let nobody = accounts::table.find(77).first::<Account>(conn)?;
        unreachable!("{nobody:?}")
    });
    assert!(
        matches!(failed, Err(LockError::NotFound { key: None })),
        "{failed:?}"
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn closure_may_return_anyhow(db: &Db) {
    let conn = &mut db.connect();
    let row = accounts::table.find(1);
    let refused: anyhow::Result<()> =
        with_row_lock(conn, row, |conn, mut account: Locked<Account>| {
            account.balance = 0;
            account.save_changes::<Account>(conn)?;
            anyhow::bail!("changed my mind")
        });
    assert_eq!(refused.unwrap_err().to_string(), "changed my mind");
    assert_eq!(db.balance(1), 1_000);
    let missing: anyhow::Result<()> =
        with_row_locks(conn, [77, 1], |_, _: [Locked<Account>; 2]| Ok(()));
    let error = missing.unwrap_err();
    let lock_error: &LockError = error.downcast_ref().expect("the LockError is in it");
    let LockError::NotFound { key: Some(key) } = lock_error else {
        panic!("{lock_error:?}")
    };
    assert_eq!(key, "77");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn closure_may_return_an_error_of_the_application(db: &Db) {
    let conn = &mut db.connect();
    let withdraw = |conn: &mut Conn, id: i32, amount: i64| {
        with_row_lock(
            conn,
            accounts::table.find(id),
            |conn, mut account: Locked<Account>| {
                account.balance -= amount;
                account.save_changes::<Account>(conn)?;
                if account.balance < 0 {
                    return Err(BankError::InsufficientFunds);
                }
                Ok(account.balance)
            },
        )
    };
    assert_eq!(withdraw(conn, 1, 400).unwrap(), 600);
    let poor = withdraw(conn, 1, 700);
    assert!(
        matches!(poor, Err(BankError::InsufficientFunds)),
        "{poor:?}"
    );
    assert_eq!(db.balance(1), 600, "rolled back");
    let unknown = withdraw(conn, 77, 1);
    assert!(
        matches!(unknown, Err(BankError::UnknownAccount(_))),
        "{unknown:?}"
    );
    while_held!(db, 1, RowLock::for_update(), {
        let impatient = RowLock::for_update().no_wait();
        let busy = impatient.with(conn, accounts::table.find(1), |_, _: Locked<Account>| {
            Err::<(), _>(BankError::InsufficientFunds)
        });
        assert!(
            matches!(busy, Err(BankError::Lock(LockError::Busy { .. }))),
            "{busy:?}"
        );
    });
}

/// A closure in a closure, each with an error of its own.
#[law(postgres, mysql, mariadb, sqlite)]
fn error_types_may_differ_between_levels(db: &Db) {
    let conn = &mut db.connect();
    let (row, nobody) = (accounts::table.find(1), accounts::table.find(77));
    let outer: anyhow::Result<()> = with_row_lock(conn, row, |conn, _: Locked<Account>| {
        let inner: QueryResult<()> = with_row_lock(conn, nobody, |_, _: Locked<Account>| Ok(()));
        assert_eq!(inner, Err(DieselError::NotFound));
        let inner = with_row_lock(conn, accounts::table.find(2), |conn, _: Locked<Account>| {
            conn.batch_execute("UPDATE accounts SET balance = 0 WHERE id = 2")?;
            Err::<(), _>(BankError::InsufficientFunds)
        });
        assert!(
            matches!(inner, Err(BankError::InsufficientFunds)),
            "{inner:?}"
        );
        Ok(())
    });
    outer.unwrap();
    assert_eq!(db.balance(2), 1_000);
}

/// An error that the server raised comes back from Diesel's type as the same variant, though
/// Diesel's type has no room for it.
#[law(postgres, mysql, mariadb, sqlite)]
fn busy_and_timeout_survive_the_way_through_diesel(db: &Db) {
    let conn = &mut db.connect();
    while_held!(db, 1, RowLock::for_update(), {
        let (impatient, row) = (RowLock::for_update().no_wait(), accounts::table.find(1));
        let busy: QueryResult<()> = impatient.with(conn, row, |_, _: Locked<Account>| Ok(()));
        let busy = LockError::from(busy.unwrap_err());
        assert!(matches!(busy, LockError::Busy { .. }), "{busy:?}");
        assert_source_is_of_diesel(&busy);
        let brief = RowLock::for_update().timeout(std::time::Duration::from_millis(20));
        let late: QueryResult<()> = brief.with(conn, row, |_, _: Locked<Account>| Ok(()));
        let late = LockError::from(late.unwrap_err());
        assert!(matches!(late, LockError::Timeout { .. }), "{late:?}");
        assert_source_is_of_diesel(&late);
    });
}

#[law(postgres, mysql, mariadb, sqlite)]
fn other_errors_survive_the_way_through_diesel(db: &Db) {
    let conn = &mut db.connect();
    let missing: QueryResult<()> =
        with_row_locks(conn, [1, 77], |_, _: [Locked<Account>; 2]| Ok(()));
    let missing = LockError::from(missing.unwrap_err());
    assert!(
        matches!(&missing, LockError::NotFound { key: Some(key) } if key == "77"),
        "{missing:?}"
    );
    let twice: QueryResult<()> = with_row_locks(conn, [2, 2], |_, _: [Locked<Account>; 2]| Ok(()));
    let twice = LockError::from(twice.unwrap_err());
    assert!(
        matches!(&twice, LockError::DuplicateKey { key } if key == "2"),
        "{twice:?}"
    );
    let row = accounts::table.find(1);
    let escaped: QueryResult<()> = with_row_lock(conn, row, |conn, _: Locked<Account>| {
        conn.batch_execute("ROLLBACK")
    });
    let escaped = LockError::from(escaped.unwrap_err());
    assert!(matches!(escaped, LockError::Escaped { .. }), "{escaped:?}");
    assert_eq!(escaped.outcome(), Outcome::Escaped);
    let nested: QueryResult<()> = with_row_lock(conn, row, |conn, _: Locked<Account>| {
        RowLock::for_update()
            .outermost()
            .with(conn, row, |_, _: Locked<Account>| Ok(()))
    });
    let nested = LockError::from(nested.unwrap_err());
    assert!(
        matches!(nested, LockError::AlreadyInTransaction { .. }),
        "{nested:?}"
    );
}

fn assert_source_is_of_diesel(error: &LockError) {
    let source = error.source().expect("it has a source");
    assert!(source.is::<DieselError>(), "{source:?}");
}

/// There and back, for each variant that can be made by hand.
#[test]
fn every_variant_survives_the_way_through_diesel() {
    // An error that does not tell by itself what it means, as that of a server which answers in a
    // language of its own.
    let text = || Arc::new(DieselError::QueryBuilderError("text".into()));
    let errors = [
        LockError::NotFound { key: None },
        LockError::NotFound {
            key: Some("7".to_owned()),
        },
        LockError::Busy { source: text() },
        LockError::Timeout {
            source: text(),
            blocker: None,
        },
        LockError::Deadlock { source: text() },
        LockError::SerializationFailure { source: text() },
        LockError::StatementTimeout { source: text() },
        LockError::Cancelled { source: text() },
        LockError::Aborted { source: None },
        LockError::Aborted {
            source: Some(text()),
        },
        LockError::Escaped { source: None },
        LockError::Escaped {
            source: Some(text()),
        },
        LockError::AlreadyInTransaction { reason: "a reason" },
        LockError::DuplicateKey {
            key: "7".to_owned(),
        },
        LockError::Unsupported {
            what: "a thing".to_owned(),
            source: None,
        },
        LockError::CommitUnknown { source: text() },
        LockError::ConnectionLost { source: text() },
        LockError::Database(text()),
    ];
    for error in errors {
        let (shown, outcome, transient, contention) = (
            format!("{error:?}"),
            error.outcome(),
            error.is_transient(),
            error.is_contention(),
        );
        let back = LockError::from(DieselError::from(error));
        assert_eq!(format!("{back:?}"), shown);
        assert_eq!(
            (back.outcome(), back.is_transient(), back.is_contention()),
            (outcome, transient, contention)
        );
    }
}

/// Retrying what may have been committed would do it twice.
#[test]
fn what_is_transient_was_not_applied() {
    let text = || Arc::new(DieselError::QueryBuilderError("text".into()));
    for error in [
        LockError::CommitUnknown { source: text() },
        LockError::Escaped { source: None },
    ] {
        assert!(!error.is_transient(), "{error:?}");
        assert_ne!(error.outcome(), Outcome::NotApplied, "{error:?}");
    }
}

#[test]
fn source_is_the_error_of_diesel() {
    let text = || Arc::new(DieselError::QueryBuilderError("text".into()));
    for error in [
        LockError::Busy { source: text() },
        LockError::Timeout {
            source: text(),
            blocker: None,
        },
        LockError::Deadlock { source: text() },
        LockError::SerializationFailure { source: text() },
        LockError::StatementTimeout { source: text() },
        LockError::Cancelled { source: text() },
        LockError::Aborted {
            source: Some(text()),
        },
        LockError::Escaped {
            source: Some(text()),
        },
        LockError::Unsupported {
            what: String::new(),
            source: Some(text()),
        },
        LockError::CommitUnknown { source: text() },
        LockError::ConnectionLost { source: text() },
    ] {
        assert_source_is_of_diesel(&error);
    }
    for error in [
        LockError::NotFound { key: None },
        LockError::Aborted { source: None },
    ] {
        assert!(error.source().is_none(), "{error:?}");
    }
}
