//! `update_row`: a change of one row in two round trips, with the promises of a locked call.

#[cfg(any(feature = "postgres", feature = "mysql"))]
mod kills;
#[cfg(feature = "postgres")]
mod relations;
#[cfg(feature = "postgres")]
mod rewrites;
mod sessions;
#[cfg(feature = "postgres")]
mod stamps;
#[cfg(feature = "postgres")]
mod triggers;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::thread;

use diesel::prelude::*;
use diesel_row_lock::{update_row, with_row_lock, LockError, Locked, Outcome};
use law::law;

use crate::support::calls::assert_error;
use crate::support::schema::{accounts, Account, Seat};

/// A deposit of one cent, to account 1 unless another one is named.
macro_rules! deposit {
    ($conn:expr) => {
        deposit!($conn, 1)
    };
    ($conn:expr, $id:expr) => {
        update_row($conn, $id, |account: &mut Account| {
            account.balance += 1;
            Ok::<_, LockError>(account.balance)
        })
    };
}
pub(super) use deposit;

#[law(postgres, mysql, mariadb, sqlite)]
fn row_is_changed_and_the_value_of_the_closure_returned(db: &Db) {
    assert_eq!(deposit!(&mut db.connect()).unwrap(), 1_001);
    assert_eq!(db.balance(1), 1_001);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn deposits_of_a_storm_all_count(db: &Db) {
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let conn = &mut db.connect();
                for _ in 0..50 {
                    deposit!(conn).unwrap();
                }
            });
        }
    });
    assert_eq!(db.balance(1), 1_400);
}

/// Twin: read, change and save by hand loses what another session writes in between.
#[law(postgres, mysql, mariadb, sqlite)]
fn twin_by_hand_loses_a_deposit_in_between(db: &Db) {
    let conn = &mut db.connect();
    let mut account: Account = accounts::table.find(1).first(conn).unwrap();
    deposit!(&mut db.connect()).unwrap();
    account.balance += 1;
    account.save_changes::<Account>(conn).unwrap();
    assert_eq!(db.balance(1), 1_001);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn composite_keys_are_keys_too(db: &Db) {
    let conn = &mut db.connect();
    update_row(conn, ("blue".to_owned(), 2), |seat: &mut Seat| {
        seat.taken_by = Some("Ada".to_owned());
        Ok::<_, LockError>(())
    })
    .unwrap();
    let key = ("blue".to_owned(), 2);
    let taken = update_row(conn, key, |seat: &mut Seat| {
        Ok::<_, LockError>(seat.taken_by.clone())
    });
    assert_eq!(taken.unwrap().as_deref(), Some("Ada"));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn missing_row_is_not_found_by_name(db: &Db) {
    let missing = update_row(&mut db.connect(), 77, |_: &mut Account| {
        Ok::<_, LockError>(())
    });
    assert!(
        matches!(&missing, Err(LockError::NotFound { key: Some(key) }) if key == "77"),
        "{missing:?}"
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn error_of_the_closure_is_returned_as_it_is_and_changes_nothing(db: &Db) {
    let conn = &mut db.connect();
    let refused = update_row(conn, 1, |account: &mut Account| {
        account.balance = 0;
        Err::<(), _>(LockError::DuplicateKey {
            key: "mine".to_owned(),
        })
    });
    assert!(
        matches!(&refused, Err(LockError::DuplicateKey { key }) if key == "mine"),
        "{refused:?}"
    );
    assert_eq!(db.balance(1), 1_000);
    assert_eq!(deposit!(conn).unwrap(), 1_001);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn panic_of_the_closure_changes_nothing_and_leaves_the_row_free(db: &Db) {
    let conn = &mut db.connect();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        update_row(conn, 1, |account: &mut Account| -> Result<(), LockError> {
            account.balance = 0;
            panic!("in the closure")
        })
    }));
    panicked.unwrap_err();
    assert_eq!(deposit!(&mut db.connect()).unwrap(), 1_001);
    assert_eq!(deposit!(conn).unwrap(), 1_002);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn refused_change_is_an_error_and_changes_nothing(db: &Db) {
    let conn = &mut db.connect();
    let refused = update_row(conn, 1, |account: &mut Account| {
        account.balance = -2_000_000;
        Ok::<_, LockError>(())
    });
    assert_error!(refused, Database, NotApplied, lasting, no_contention);
    assert_eq!(db.balance(1), 1_000);
    assert_eq!(deposit!(conn).unwrap(), 1_001);
}

/// As a locked call does.
#[law(postgres, mysql, mariadb, sqlite)]
fn inside_an_open_transaction_it_is_a_part_of_that(db: &Db) {
    let conn = &mut db.connect();
    let rolled_back = with_row_lock(conn, accounts::table.find(2), |conn, _: Locked<Account>| {
        assert_eq!(deposit!(conn).unwrap(), 1_001);
        Err::<(), _>(diesel::result::Error::RollbackTransaction)
    });
    rolled_back.unwrap_err();
    assert_eq!(db.balance(1), 1_000);
    let committed = with_row_lock(conn, accounts::table.find(2), |conn, _: Locked<Account>| {
        deposit!(conn)
    });
    assert_eq!(committed.unwrap(), 1_001);
    assert_eq!(db.balance(1), 1_001);
}
