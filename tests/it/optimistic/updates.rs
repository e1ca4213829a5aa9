//! `update_versioned`: reads, changes and saves in a loop, and counts each change once.

use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{save_versioned, update_versioned, LockError, Outcome, Retry, RetryCause};
use law::law;

use super::{page, pages, rewritten, set_up, Page, TABLES};
use crate::support::calls::assert_error;

#[law(postgres, mysql, mariadb, sqlite)]
fn updates_in_a_loop_all_count(db: &Db) {
    drop(set_up!(db));
    let patient = Retry::new()
        .attempts(1_000)
        .pauses(Duration::from_micros(100), Duration::from_millis(5));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let conn = &mut db.connect();
                for _ in 0..10 {
                    update_versioned(conn, pages::table.find(1), &patient, |page: &mut Page| {
                        page.text = Some(page.version.to_string());
                        Ok::<_, LockError>(())
                    })
                    .unwrap();
                }
            });
        }
    });
    assert_eq!(
        page!(db, 1),
        Page {
            id: 1,
            text: Some("80".to_owned()),
            version: 81
        }
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn update_reads_anew_when_somebody_was_faster(db: &Db) {
    let conn = &mut set_up!(db);
    let mut seen = Vec::new();
    let retry = Retry::new().on_retry(|failed| assert_eq!(failed.cause, RetryCause::StaleRow));
    update_versioned(conn, pages::table.find(1), &retry, |page: &mut Page| {
        if seen.is_empty() {
            save_versioned(&mut db.connect(), &rewritten(page, "faster")).unwrap();
        }
        seen.push(page.text.clone().unwrap());
        page.text = Some("slower".to_owned());
        Ok::<_, LockError>(())
    })
    .unwrap();
    assert_eq!(seen, ["blank", "faster"]);
    assert_eq!(
        page!(db, 1),
        Page {
            id: 1,
            text: Some("slower".to_owned()),
            version: 3
        }
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn update_gives_up_when_the_policy_says_so(db: &Db) {
    let conn = &mut set_up!(db);
    let mut attempts = 0;
    let result = update_versioned(
        conn,
        pages::table.find(1),
        &Retry::new().attempts(3),
        |page: &mut Page| {
            attempts += 1;
            save_versioned(&mut db.connect(), &rewritten(page, "faster"))
        },
    );
    let Err(LockError::RetriesExhausted {
        attempts: 3, last, ..
    }) = result
    else {
        panic!("{result:?}")
    };
    assert_eq!((last, attempts), (RetryCause::StaleRow, 3));
    assert_eq!(page!(db, 1).version, 4);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn error_of_an_update_is_untouched_and_saves_nothing(db: &Db) {
    let conn = &mut set_up!(db);
    let before = page!(db, 1);
    let result = update_versioned(
        conn,
        pages::table.find(1),
        &Retry::new(),
        |page: &mut Page| {
            page.text = Some("never".to_owned());
            Err::<(), _>(LockError::DuplicateKey {
                key: "mine".to_owned(),
            })
        },
    );
    assert!(
        matches!(&result, Err(LockError::DuplicateKey { key }) if key == "mine"),
        "{result:?}"
    );
    assert_eq!(page!(db, 1), before);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn update_of_a_missing_row_is_not_found(db: &Db) {
    let conn = &mut set_up!(db);
    let result = update_versioned(
        conn,
        pages::table.find(77),
        &Retry::new(),
        |_: &mut Page| Ok::<_, LockError>(()),
    );
    assert_error!(result, NotFound, NotApplied, lasting, no_contention);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn update_is_refused_inside_an_open_transaction(db: &Db) {
    let conn = &mut set_up!(db);
    conn.transaction(|conn| {
        let result = update_versioned(conn, pages::table.find(1), &Retry::new(), |_: &mut Page| {
            Ok::<_, LockError>(())
        });
        assert_error!(
            result,
            AlreadyInTransaction,
            NotApplied,
            lasting,
            no_contention
        );
        QueryResult::Ok(())
    })
    .unwrap();
}
