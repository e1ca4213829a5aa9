//! Version-column saves: one statement that checks and saves, so that of many who have read the
//! same version one wins, and nobody's work is lost unseen.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{
    at_version, save_versioned, update_versioned, LockError, Locked, Outcome, Retry, RetryCause,
    RowLock, Versioned,
};
use law::law;

use crate::support::calls::assert_error;
use crate::support::probe::statements_of;

const TABLES: &str = "
    CREATE TABLE pages (id INTEGER PRIMARY KEY, text VARCHAR(100), version INTEGER NOT NULL);
    CREATE TABLE cells (
        board VARCHAR(100) NOT NULL, place INTEGER NOT NULL,
        piece VARCHAR(100) NOT NULL, version BIGINT NOT NULL,
        PRIMARY KEY (board, place)
    );
    INSERT INTO pages VALUES (1, 'blank', 1), (2, 'blank', 1);
    INSERT INTO cells VALUES
        ('chess', 1, 'rook', 1), ('chess', 2, 'knight', 1), ('draughts', 1, 'man', 1);
";

diesel::table! {
    pages {
        id -> Integer,
        text -> Nullable<Text>,
        version -> Integer,
    }
}

diesel::table! {
    cells (board, place) {
        board -> Text,
        place -> Integer,
        piece -> Text,
        version -> BigInt,
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Queryable, Identifiable, AsChangeset)]
struct Page {
    id: i32,
    text: Option<String>,
    #[diesel(skip_update)]
    version: i32,
}

impl Versioned for Page {
    type Column = pages::version;
    fn version(&self) -> i32 {
        self.version
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Queryable, Identifiable, AsChangeset)]
#[diesel(primary_key(board, place))]
struct Cell {
    board: String,
    place: i32,
    piece: String,
    #[diesel(skip_update)]
    version: i64,
}

impl Versioned for Cell {
    type Column = cells::version;
    fn version(&self) -> i64 {
        self.version
    }
}

/// A connection to the database, with the tables.
macro_rules! set_up {
    ($db:ident) => {{
        let mut conn = $db.connect();
        conn.batch_execute(TABLES).unwrap();
        conn
    }};
}

macro_rules! page {
    ($db:ident, $id:expr) => {
        pages::table
            .find($id)
            .first::<Page>(&mut $db.connect())
            .unwrap()
    };
}

fn rewritten(page: &Page, text: &str) -> Page {
    Page {
        text: Some(text.to_owned()),
        ..page.clone()
    }
}

const SAVERS: usize = 32;

/// Who of 32 threads that have read the same version believes to have saved it.
macro_rules! winners {
    ($db:ident, |$conn:ident, $page:ident, $ready:ident| $save:expr) => {{
        let read = page!($db, 1);
        let $ready = &Barrier::new(SAVERS);
        thread::scope(|scope| {
            let savers: Vec<_> = (0..SAVERS)
                .map(|number| {
                    let $page = rewritten(&read, &number.to_string());
                    scope.spawn(move || {
                        let $conn = &mut $db.connect();
                        let won: bool = $save;
                        won.then(|| $page.text.clone())
                    })
                })
                .collect();
            let results = savers.into_iter().map(|saver| saver.join().unwrap());
            results.flatten().collect::<Vec<_>>()
        })
    }};
}

#[law(postgres, mysql, mariadb, sqlite)]
fn one_of_32_savers_of_one_read_wins(db: &Db) {
    drop(set_up!(db));
    let winners = winners!(db, |conn, page, ready| {
        ready.wait();
        match save_versioned(conn, &page) {
            Ok(version) => {
                assert_eq!(version, 2);
                true
            }
            Err(LockError::StaleRow { key, expected }) => {
                assert_eq!((key.as_str(), expected), ("1", 1));
                false
            }
            Err(error) => panic!("{error:?}"),
        }
    });
    let now = page!(db, 1);
    assert_eq!((winners, now.version), (vec![now.text], 2));
}

/// Twin: all of them find the version that they have read, and all but the last are lost.
#[law(postgres, mysql, mariadb, sqlite)]
fn twin_savers_that_check_and_then_save_all_believe_to_win(db: &Db) {
    drop(set_up!(db));
    let winners = winners!(db, |conn, page, ready| {
        let now: i32 = pages::table
            .find(1)
            .select(pages::version)
            .first(conn)
            .unwrap();
        ready.wait();
        now == page.version
            && diesel::update(pages::table.find(1))
                .set((&page, pages::version.eq(page.version + 1)))
                .execute(conn)
                .unwrap()
                == 1
    });
    assert_eq!((winners.len(), page!(db, 1).version), (SAVERS, 2));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn save_is_one_statement_that_checks_and_counts(db: &Db) {
    let conn = &mut set_up!(db);
    let page = rewritten(&page!(db, 1), "Ada");
    let statements = statements_of(conn);
    assert_eq!(save_versioned(conn, &page).unwrap(), 2);
    let statements = statements.lock().unwrap();
    let [statement] = &statements[..] else {
        panic!("{statements:?}")
    };
    let plain = statement.replace(['`', '"'], "");
    assert!(plain.starts_with("UPDATE pages SET text = "), "{plain}");
    assert!(
        plain.contains(", version = version + 1 WHERE pages.id = "),
        "{plain}"
    );
    assert!(plain.contains(" AND version = "), "{plain}");
    assert_eq!(
        page!(db, 1),
        Page {
            id: 1,
            text: Some("Ada".to_owned()),
            version: 2
        }
    );
    assert_eq!(page!(db, 2).version, 1, "this row only");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn stale_save_is_refused_again_and_again(db: &Db) {
    let conn = &mut set_up!(db);
    let read = page!(db, 1);
    save_versioned(conn, &rewritten(&read, "Ada")).unwrap();
    for _ in 0..3 {
        let late = save_versioned(conn, &rewritten(&read, "Charles"));
        assert_error!(late, StaleRow, NotApplied, transient, no_contention);
    }
    assert_eq!(page!(db, 1).text.as_deref(), Some("Ada"));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn deleted_row_is_stale(db: &Db) {
    let conn = &mut set_up!(db);
    let read = page!(db, 1);
    diesel::delete(pages::table.find(1)).execute(conn).unwrap();
    assert_error!(
        save_versioned(conn, &read),
        StaleRow,
        NotApplied,
        transient,
        no_contention
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn row_of_a_composite_key_is_saved_alone(db: &Db) {
    let conn = &mut set_up!(db);
    let mut cell: Cell = cells::table.find(("chess", 2)).first(conn).unwrap();
    cell.piece = "queen".to_owned();
    assert_eq!(save_versioned(conn, &cell).unwrap(), 2);
    let late = save_versioned(conn, &cell);
    let Err(LockError::StaleRow { key, expected: 1 }) = late else {
        panic!("{late:?}")
    };
    assert_eq!(key, r#"("chess", 2)"#);
    let saved: Vec<(String, i64)> = cells::table
        .order((cells::board, cells::place))
        .select((cells::piece, cells::version))
        .load(conn)
        .unwrap();
    let expected = [("rook", 1), ("queen", 2), ("man", 1)];
    assert_eq!(
        saved,
        expected.map(|(piece, version)| (piece.to_owned(), version))
    );
}

/// Without a change the version counts all the same: somebody has declared the page seen.
#[law(postgres, mysql, mariadb, sqlite)]
fn save_without_a_change_counts(db: &Db) {
    let conn = &mut set_up!(db);
    let unchanged = Page {
        text: None,
        ..page!(db, 1)
    };
    assert_eq!(save_versioned(conn, &unchanged).unwrap(), 2);
    assert_eq!(
        page!(db, 1),
        Page {
            id: 1,
            text: Some("blank".to_owned()),
            version: 2
        }
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn last_version_of_a_column_is_an_error_before_any_sql(db: &Db) {
    let conn = &mut set_up!(db);
    let statements = statements_of(conn);
    let page = Page {
        id: 1,
        text: None,
        version: i32::MAX,
    };
    assert_error!(
        save_versioned(conn, &page),
        VersionOverflow,
        NotApplied,
        lasting,
        no_contention
    );
    let cell = Cell {
        board: "chess".to_owned(),
        place: 1,
        piece: String::new(),
        version: i64::MAX,
    };
    assert_error!(
        save_versioned(conn, &cell),
        VersionOverflow,
        NotApplied,
        lasting,
        no_contention
    );
    assert!(statements.lock().unwrap().is_empty());
    let almost = Page {
        version: i32::MAX - 1,
        ..page
    };
    diesel::update(pages::table.find(1))
        .set(pages::version.eq(almost.version))
        .execute(conn)
        .unwrap();
    assert_eq!(save_versioned(conn, &almost).unwrap(), i32::MAX);
}

/// The model must not run ahead of the database.
#[law(postgres, mysql, mariadb, sqlite)]
fn model_can_be_saved_again_after_a_rollback(db: &Db) {
    let conn = &mut set_up!(db);
    let page = rewritten(&page!(db, 1), "Ada");
    let undone = conn.transaction(|conn| {
        save_versioned(conn, &page)?;
        Err::<(), _>(diesel::result::Error::RollbackTransaction)
    });
    assert!(undone.is_err());
    conn.transaction(|conn| {
        let undone = conn.transaction(|conn| {
            assert_eq!(save_versioned(conn, &page)?, 2);
            Err::<(), _>(diesel::result::Error::RollbackTransaction)
        });
        assert!(undone.is_err());
        assert_eq!(save_versioned(conn, &page)?, 2, "its savepoint is gone");
        QueryResult::Ok(())
    })
    .unwrap();
    assert_eq!(page!(db, 1).version, 2);
}

#[law(postgres, mysql, mariadb)]
fn save_of_a_locked_row_waits_and_times_out_by_type(db: &Db) {
    let conn = &mut set_up!(db);
    let read = page!(db, 1);
    conn.batch_execute(&Db::session_timeout(Duration::from_millis(50)))
        .unwrap();
    RowLock::for_update()
        .with(
            &mut db.connect(),
            pages::table.find(1),
            |_, _: Locked<Page>| {
                assert_error!(
                    save_versioned(conn, &read),
                    Timeout,
                    NotApplied,
                    transient,
                    contention
                );
                Ok::<_, LockError>(())
            },
        )
        .unwrap();
    save_versioned(conn, &read).unwrap();
}

/// The statement is its own transaction, so its answer is that of a COMMIT.
#[law(postgres, mysql, mariadb)]
fn save_over_a_lost_connection_is_in_doubt(db: &Db) {
    let conn = &mut set_up!(db);
    let read = page!(db, 1);
    db.kill(Db::session(conn));
    assert_error!(
        save_versioned(conn, &read),
        CommitUnknown,
        InDoubt,
        lasting,
        no_contention
    );
}

#[law(postgres, mysql, mariadb)]
fn save_in_a_transaction_over_a_lost_connection_is_not_applied(db: &Db) {
    let conn = &mut set_up!(db);
    let read = page!(db, 1);
    let result = conn.transaction(|conn| {
        db.kill(Db::session(conn));
        let result = save_versioned(conn, &read);
        assert_error!(result, ConnectionLost, NotApplied, transient, no_contention);
        Err::<(), _>(diesel::result::Error::RollbackTransaction)
    });
    assert!(result.is_err());
}

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
