//! A row is the right one by the database's word: keys that it writes in another way than the
//! caller, and keys that more than one row has.

use std::time::{Duration, SystemTime};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::{with_row_locks, LockError, Locked, RowLock};
use law::law;

use crate::support::probe::statements_of;
use crate::support::schema::{accounts, Account};

diesel::table! {
    /// A key that the database compares in a way of its own.
    codes (id) {
        id -> Text,
        uses -> Integer,
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Identifiable, AsChangeset)]
struct Code {
    id: String,
    uses: i32,
}

#[cfg(feature = "postgres")]
diesel::table! {
    moments (id) {
        id -> Timestamp,
        uses -> Integer,
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Queryable, Identifiable)]
#[diesel(table_name = moments)]
#[cfg(feature = "postgres")]
struct Moment {
    id: SystemTime,
    uses: i32,
}

/// A table of codes 'a' to 'd' whose collation does not tell letters by their case.
fn caseless(backend: &str) -> String {
    let key = match backend {
        "postgres" => {
            "CREATE COLLATION caseless \
                 (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
             CREATE TABLE codes (id VARCHAR(9) COLLATE caseless"
        }
        "sqlite" => "CREATE TABLE codes (id VARCHAR(9) COLLATE NOCASE",
        _ => "CREATE TABLE codes (id VARCHAR(9) COLLATE utf8mb4_general_ci",
    };
    format!(
        "{key} PRIMARY KEY, uses INTEGER NOT NULL); \
         INSERT INTO codes VALUES ('a', 1), ('b', 2), ('c', 3), ('d', 4)"
    )
}

fn asked(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

macro_rules! queue {
    ($db:ident, $model:ty) => {{
        let pool = Pool::builder().max_size(1);
        let pool = pool
            .build(ConnectionManager::<Conn>::new($db.url()))
            .unwrap();
        RowQueue::<Conn, $model>::new(pool)
    }};
}

#[law(postgres, mysql, mariadb, sqlite)]
fn key_in_other_letters_finds_its_row_in_the_order_asked_for(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(&caseless(Db::STAMP)).unwrap();
    let keys = asked(&["D", "b", "A"]);
    let found = RowLock::for_update().with_many(conn, keys, |conn, rows: Vec<Locked<Code>>| {
        let found: Vec<_> = rows
            .iter()
            .map(|code| (code.id.clone(), code.uses))
            .collect();
        for mut code in rows {
            code.uses += 10;
            code.save_changes::<Code>(conn)?;
        }
        Ok::<_, LockError>(found)
    });
    let expected = [("d", 4), ("b", 2), ("a", 1)].map(|(id, uses)| (id.to_owned(), uses));
    assert_eq!(found.unwrap(), expected);
    let uses: Vec<i32> = codes::table
        .order(codes::id)
        .select(codes::uses)
        .load(conn)
        .unwrap();
    assert_eq!(uses, [11, 12, 3, 14]);
}

/// Only a call that needs the question asks it.
#[law(postgres, mysql, mariadb, sqlite)]
fn key_in_the_letters_of_its_row_costs_no_question(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(&caseless(Db::STAMP)).unwrap();
    let statements = statements_of(conn);
    let mut selects = |keys: &[&str]| {
        statements.lock().unwrap().clear();
        let lock = RowLock::for_update();
        lock.with_many(conn, asked(keys), |_, _: Vec<Locked<Code>>| {
            Ok::<_, LockError>(())
        })
        .unwrap();
        statements
            .lock()
            .unwrap()
            .iter()
            .filter(|sql| sql.contains("codes"))
            .count()
    };
    assert_eq!(selects(&["d", "b", "a"]), 1);
    // Twin: the counter counts.
    assert_eq!(selects(&["D", "b", "A"]), 2);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn missing_key_beside_one_in_other_letters_is_not_found_by_name(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(&caseless(Db::STAMP)).unwrap();
    let result = with_row_locks(
        conn,
        ["A", "X", "b"].map(str::to_owned),
        |_, _: [Locked<Code>; 3]| Ok(()),
    );
    let Err(LockError::NotFound { key: Some(key) }) = result else {
        panic!("{result:?}")
    };
    assert!(key.contains('X'), "{key}");
}

/// Two keys of one row can't both have it.
#[law(postgres, mysql, mariadb, sqlite)]
fn two_keys_of_one_row_are_refused(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(&caseless(Db::STAMP)).unwrap();
    let result = with_row_locks(
        conn,
        ["B", "C", "b"].map(str::to_owned),
        |_, _: [Locked<Code>; 3]| Ok(()),
    );
    let Err(LockError::DuplicateKey { key }) = result else {
        panic!("{result:?}")
    };
    assert!(key.contains('B'), "{key}");
    let result = with_row_locks(
        conn,
        ["B", "b"].map(str::to_owned),
        |_, _: [Locked<Code>; 2]| Ok(()),
    );
    assert!(
        matches!(result, Err(LockError::NotFound { .. })),
        "{result:?}"
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn queue_takes_a_key_in_other_letters(db: &Db) {
    db.connect().batch_execute(&caseless(Db::STAMP)).unwrap();
    let queue = queue!(db, Code);
    let found = queue.with_row_lock("C".to_owned(), |_, code: Locked<Code>| {
        Ok::<_, LockError>(code.into_inner())
    });
    assert_eq!(
        found.unwrap(),
        Code {
            id: "c".to_owned(),
            uses: 3
        }
    );
    queue
        .update("C".to_owned(), |code| {
            code.uses = 33;
            Ok::<_, LockError>(())
        })
        .unwrap();
    let uses: i32 = codes::table
        .find("c")
        .select(codes::uses)
        .first(&mut db.connect())
        .unwrap();
    assert_eq!(uses, 33);
    let missing = queue.with_row_lock("X".to_owned(), |_, _: Locked<Code>| Ok::<_, LockError>(()));
    let Err(LockError::NotFound { key: Some(key) }) = missing else {
        panic!("{missing:?}")
    };
    assert!(key.contains('X'), "{key}");
}

/// More keys than are asked for again in one statement.
#[law(postgres, mysql, mariadb, sqlite)]
fn thousands_of_keys_in_other_letters_find_their_rows(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(&caseless(Db::STAMP)).unwrap();
    let rows: Vec<_> = (0..2_500)
        .map(|number| format!("('k{number}', {number})"))
        .collect();
    conn.batch_execute(&format!("INSERT INTO codes VALUES {}", rows.join(", ")))
        .unwrap();
    let numbers = (0..2_500).rev().filter(|number| number % 2 == 0);
    let keys = numbers.clone().map(|number| format!("K{number}"));
    let uses = RowLock::for_update().with_many(conn, keys, |_, rows: Vec<Locked<Code>>| {
        Ok::<_, LockError>(rows.iter().map(|code| code.uses).collect::<Vec<_>>())
    });
    assert_eq!(uses.unwrap(), numbers.collect::<Vec<_>>());
}

#[law(postgres)]
fn key_of_fixed_length_may_be_asked_for_without_its_blanks(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(
        "CREATE TABLE codes (id CHAR(8) PRIMARY KEY, uses INTEGER NOT NULL); \
         INSERT INTO codes VALUES ('ab', 1), ('cd', 2)",
    )
    .unwrap();
    let keys = ["cd", "ab"].map(str::to_owned);
    let found = with_row_locks(conn, keys, |_, rows: [Locked<Code>; 2]| {
        Ok::<_, LockError>(rows.map(|code| (code.id.clone(), code.uses)))
    });
    // Twin: by Rust's `==` these are other keys.
    assert_eq!(
        found.unwrap(),
        [("cd      ".to_owned(), 2), ("ab      ".to_owned(), 1)]
    );
    queue!(db, Code)
        .with_row_lock("ab".to_owned(), |_, _: Locked<Code>| Ok::<_, LockError>(()))
        .unwrap();
}

#[law(mysql, mariadb)]
fn key_of_fixed_length_may_be_asked_for_with_its_blanks(db: &Db) {
    let conn = &mut db.connect();
    // This collation does not count blanks at the end.
    conn.batch_execute(
        "CREATE TABLE codes (id CHAR(8) COLLATE utf8mb4_bin PRIMARY KEY, uses INTEGER NOT NULL); \
         INSERT INTO codes VALUES ('ab', 1), ('cd', 2)",
    )
    .unwrap();
    let keys = ["cd      ", "ab      "].map(str::to_owned);
    let found = with_row_locks(conn, keys, |_, rows: [Locked<Code>; 2]| {
        Ok::<_, LockError>(rows.map(|code| (code.id.clone(), code.uses)))
    });
    assert_eq!(found.unwrap(), [("cd".to_owned(), 2), ("ab".to_owned(), 1)]);
}

#[law(postgres)]
fn moment_in_nanoseconds_finds_its_row_in_microseconds(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute("CREATE TABLE moments (id TIMESTAMP PRIMARY KEY, uses INTEGER NOT NULL)")
        .unwrap();
    let moment = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    let insert = (moments::id.eq(moment), moments::uses.eq(1));
    diesel::insert_into(moments::table)
        .values(insert)
        .execute(conn)
        .unwrap();
    let found = with_row_locks(conn, [moment], |_, [row]: [Locked<Moment>; 1]| {
        Ok::<_, LockError>(row.into_inner())
    })
    .unwrap();
    assert_eq!(found.uses, 1);
    // Twin: by Rust's `==` it is another key.
    assert_ne!(found.id, moment);
}

/// A primary key is one of a single table, not of those that inherit from it.
#[law(postgres)]
fn key_of_two_rows_is_refused_and_nothing_stays_locked(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(
        "CREATE TABLE closed () INHERITS (accounts); INSERT INTO closed VALUES (1, 'Eve', 5)",
    )
    .unwrap();
    let result = with_row_locks(conn, [2, 1], |_, _: [Locked<Account>; 2]| Ok(()));
    let Err(LockError::AmbiguousKey { key }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(key, "1");
    let result =
        queue!(db, Account).with_row_lock(1, |_, _: Locked<Account>| Ok::<_, LockError>(()));
    assert!(
        matches!(result, Err(LockError::AmbiguousKey { .. })),
        "{result:?}"
    );
    // Twin: there are two, and a map by key has room for one.
    let all = RowLock::for_update().with_all(
        conn,
        accounts::table.find(1),
        |_, rows: Vec<Locked<Account>>| Ok::<_, LockError>(rows.len()),
    );
    assert_eq!(all.unwrap(), 2);
}
