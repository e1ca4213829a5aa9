//! A batch is what its changes are one after the other, or says that it is not.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::OptionalEmptyChangesetExtension;
use diesel_row_lock::{LockError, Locked, Outcome, RowLock};
use law::law;

use super::{add, in_one_batch, patient, Step};
use crate::support::calls::assert_error;
use crate::support::schema::{accounts, seats, Account};
use crate::support::wait_until;

/// A seat whose `AsChangeset` leaves `taken_by` out when it is `None`.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable, AsChangeset)]
#[diesel(table_name = seats, primary_key(hall, number))]
struct Seat {
    hall: String,
    number: i32,
    taken_by: Option<String>,
}

fn take(by: Option<&'static str>) -> Step<Seat> {
    Box::new(move |seat| {
        seat.taken_by = by.map(str::to_owned);
        Ok(())
    })
}

macro_rules! taken_by {
    ($db:ident) => {
        seats::table
            .find(("blue", 1))
            .select(seats::taken_by)
            .first::<Option<String>>(&mut $db.connect())
            .unwrap()
            .as_deref()
    };
}

/// Each change alone writes `taken_by` only when it is `Some`: after `Some` and then `None` it is
/// what the first one has set.
#[law(postgres, mysql, mariadb, sqlite)]
fn acknowledged_change_does_not_vanish_through_none(db: &Db) {
    let queue = patient::<Conn, Seat>(db.url());
    let row = ("blue".to_owned(), 1);
    let changes = [
        take(Some("Ada")),
        take(None),
        take(None),
        take(Some("Grace")),
        take(None),
    ];
    for answer in in_one_batch!(queue, row, changes) {
        answer.unwrap().unwrap();
    }
    assert_eq!(taken_by!(db), Some("Grace"));
    let row = ("blue".to_owned(), 2);
    for change in [take(Some("Ada")), take(None)] {
        queue.update(row.clone(), change).unwrap();
    }
    let seat = queue.update(row, |seat| Ok::<_, LockError>(seat.clone()));
    assert_eq!(
        seat.unwrap().taken_by.as_deref(),
        Some("Ada"),
        "one after the other"
    );
}

/// Twin: the same two changes with one `UPDATE` for both, by hand. (Diesel can't show a statement
/// without a `SET` clause to the instrumentation that the laws have on SQLite.)
#[law(postgres, mysql, mariadb)]
fn twin_one_save_of_both_changes_loses_the_first(db: &Db) {
    let conn = &mut db.connect();
    let mut seat: Seat = seats::table.find(("blue", 1)).first(conn).unwrap();
    for mut change in [take(Some("Ada")), take(None)] {
        change(&mut seat).unwrap();
    }
    // No `UPDATE`, since there is nothing to set.
    let saved = diesel::update(&seat).set(&seat).execute(conn);
    assert_eq!(saved.optional_empty_changeset(), Ok(None));
    assert_eq!(taken_by!(db), None);
}

/// Changes that write the same columns share a batch.
#[law(postgres, mysql, mariadb, sqlite)]
fn changes_that_write_the_same_columns_share_a_batch(db: &Db) {
    let queue = patient::<Conn, Seat>(db.url());
    let row = ("blue".to_owned(), 1);
    queue.update(row.clone(), take(Some("Ada"))).unwrap();
    let changes = [take(Some("Grace")), take(Some("Radia"))];
    for answer in in_one_batch!(queue, row, changes) {
        answer.unwrap().unwrap();
    }
    assert_eq!(taken_by!(db), Some("Radia"));
    assert_eq!(queue.stats().batches, 2);
}

fn rename(id: i32) -> Step<Account> {
    Box::new(move |account| {
        account.id = id;
        account.balance += 100;
        Ok(())
    })
}

#[law(postgres, mysql, mariadb, sqlite)]
fn change_of_the_primary_key_is_refused_and_the_others_go_on(db: &Db) {
    let queue = patient::<Conn, Account>(db.url());
    let mut answers = in_one_batch!(queue, 1, [add(1), rename(2), add(1)]).into_iter();
    let mut answer = || answers.next().unwrap().unwrap();
    answer().unwrap();
    let refused = answer();
    assert!(
        matches!(&refused, Err(LockError::KeyChanged { key }) if key == "1"),
        "{refused:?}"
    );
    assert_error!(refused, KeyChanged, NotApplied, lasting, no_contention);
    answer().unwrap();
    assert_eq!((db.balance(1), db.balance(2)), (1_002, 1_000));
    assert_eq!(queue.stats().batches, 1);
    let alone = queue.update(1, rename(2));
    assert_error!(alone, KeyChanged, NotApplied, lasting, no_contention);
}

/// Twin: by hand the row with the other key is overwritten.
#[law(postgres, mysql, mariadb, sqlite)]
fn twin_change_of_the_primary_key_overwrites_another_row(db: &Db) {
    let conn = &mut db.connect();
    let mut account: Account = accounts::table.find(1).first(conn).unwrap();
    rename(2)(&mut account).unwrap();
    let saved: Account = account.save_changes(conn).unwrap();
    assert_eq!(saved.balance, 1_100);
    assert_eq!((db.balance(1), db.balance(2)), (1_000, 1_100));
}

/// The `UPDATE` of a balance of 7 changes no row, and is no error.
fn skip(stamp: &str) -> &'static str {
    match stamp {
        "postgres" => {
            "CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN RETURN CASE WHEN NEW.balance % 10 = 7 THEN NULL ELSE NEW END; END';
            CREATE TRIGGER skip BEFORE UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION skip()"
        }
        _ => {
            "CREATE TRIGGER skip BEFORE UPDATE ON accounts WHEN NEW.balance % 10 = 7
            BEGIN SELECT RAISE(IGNORE); END"
        }
    }
}

/// MySQL and MariaDB have no trigger that does so.
#[law(postgres, sqlite)]
fn change_whose_update_is_skipped_is_no_success(db: &Db) {
    db.connect().batch_execute(skip(Db::STAMP)).unwrap();
    let queue = patient::<Conn, Account>(db.url());
    let alone = queue.update(1, add(7));
    assert_error!(alone, Aborted, NotApplied, lasting, no_contention);
    // In a batch, only the change that it is skipped for.
    let answers = in_one_batch!(queue, 1, [add(10), add(7), add(20)]);
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert!(
        matches!(answers[1], Err(LockError::Aborted { .. })),
        "{answers:?}"
    );
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    assert_eq!(db.balance(1), 1_030);
}

/// Twin: Diesel returns `Ok`, with a number of rows that is easy to overlook.
#[law(postgres, sqlite)]
fn twin_diesel_reports_a_skipped_update_as_success(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(skip(Db::STAMP)).unwrap();
    let rows = diesel::update(accounts::table.find(1))
        .set(accounts::balance.eq(1_007))
        .execute(conn);
    assert_eq!(rows, Ok(0));
    assert_eq!(db.balance(1), 1_000);
}

/// The reason why a queue takes exclusive strengths only: two callers hold the row by `FOR KEY
/// SHARE` at once, and each writes what it has read.
#[law(postgres)]
fn twin_one_of_two_changes_under_a_shared_lock_is_lost(db: &Db) {
    let lock = RowLock::for_key_share();
    let change = |conn: &mut Conn, mut account: Account| {
        account.balance += 1;
        account.save_changes::<Account>(conn)?;
        Ok::<_, LockError>(())
    };
    let row = accounts::table.find(1);
    lock.with(&mut db.connect(), row, |conn, account: Locked<Account>| {
        let stale = account.into_inner();
        let other = &mut db.connect();
        // It does not wait, and its change is committed before the one out here.
        lock.with(other, row, |conn, account: Locked<Account>| {
            change(conn, account.into_inner())
        })?;
        change(conn, stale)
    })
    .unwrap();
    assert_eq!(db.balance(1), 1_001, "of 1,002");
}
