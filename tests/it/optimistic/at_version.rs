//! `at_version`: a lock that also checks the version which the caller has seen.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{at_version, save_versioned, LockError, Locked, Outcome, RowLock};
use law::law;

use super::{page, pages, rewritten, set_up, Page, TABLES};
use crate::support::calls::assert_error;
use crate::support::probe::statements_of;

#[law(postgres, mysql, mariadb, sqlite)]
fn row_is_locked_and_checked_in_one_statement(db: &Db) {
    let conn = &mut set_up!(db);
    let seen = page!(db, 1);
    let lock = RowLock::for_update();
    let statements = statements_of(conn);
    let count = || statements.lock().unwrap().len();
    let by_a_plain_call = lock.with(conn, pages::table.find(1), |_, _: Locked<Page>| {
        Ok::<_, LockError>(count())
    });
    statements.lock().unwrap().clear();
    let version = lock.with(
        conn,
        at_version(pages::table.find(1), seen.version),
        |conn, page: Locked<Page>| {
            assert_eq!(count(), by_a_plain_call.unwrap());
            let other = lock.no_wait().with(
                &mut db.connect(),
                pages::table.find(1),
                |_, _: Locked<Page>| Ok::<_, LockError>(()),
            );
            assert!(matches!(other, Err(LockError::Busy { .. })), "{other:?}");
            save_versioned(conn, &rewritten(&page, "Ada"))
        },
    );
    assert_eq!(version.unwrap(), 2);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn locked_row_of_another_version_is_stale_and_free(db: &Db) {
    let conn = &mut set_up!(db);
    let seen = page!(db, 1);
    save_versioned(conn, &rewritten(&seen, "faster")).unwrap();
    let mut ran = false;
    let result = RowLock::for_update().with(
        conn,
        at_version(pages::table.find(1), seen.version),
        |_, _: Locked<Page>| {
            ran = true;
            Ok::<_, LockError>(())
        },
    );
    let told = matches!(&result, Err(LockError::StaleRow { key, expected: 1, .. }) if key == "1");
    assert!(told, "{result:?}");
    assert_error!(result, StaleRow, NotApplied, transient, no_contention);
    assert!(!ran);
    assert_eq!(db.free("pages"), [1, 2]);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn missing_row_is_not_stale_but_not_found(db: &Db) {
    let conn = &mut set_up!(db);
    let result = RowLock::for_update().with(
        conn,
        at_version(pages::table.find(77), 1),
        |_, _: Locked<Page>| Ok::<_, LockError>(()),
    );
    assert_error!(result, NotFound, NotApplied, lasting, no_contention);
}
