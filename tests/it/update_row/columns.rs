//! Columns that the server computes, and columns that a role may not read.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{update_row, LockError, Outcome};
use law::law;

use crate::support::calls::assert_error;

diesel::table! {
    jars (id) {
        id -> Integer,
        cents -> BigInt,
        /// The server computes it.
        twice -> BigInt,
    }
}

#[derive(Debug, PartialEq, Eq, Queryable, Identifiable, AsChangeset)]
struct Jar {
    id: i32,
    cents: i64,
    #[diesel(skip_update)]
    twice: i64,
}

/// A model that would write what the server computes.
#[derive(Debug, Queryable, Identifiable, AsChangeset)]
#[diesel(table_name = jars)]
struct CarelessJar {
    id: i32,
    cents: i64,
    twice: i64,
}

const JARS: &str = "CREATE TABLE jars (id INTEGER PRIMARY KEY, cents BIGINT NOT NULL, \
        twice BIGINT GENERATED ALWAYS AS (cents * 2) STORED); \
    INSERT INTO jars (id, cents) VALUES (1, 10)";

/// Adds one to the jar; the value is what it was.
macro_rules! fill {
    ($conn:expr, $jar:ty) => {
        update_row($conn, 1, |jar: &mut $jar| {
            let before = (jar.id, jar.cents, jar.twice);
            jar.cents += 1;
            Ok::<_, LockError>(before)
        })
    };
}

#[law(postgres, mysql, mariadb, sqlite)]
fn column_that_the_server_computes_follows_the_change(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(JARS).unwrap();
    assert_eq!(fill!(conn, Jar).unwrap(), (1, 10, 20));
    assert_eq!(fill!(conn, Jar).unwrap(), (1, 11, 22));
    let jar = jars::table.first::<Jar>(conn).unwrap();
    assert_eq!((jar.cents, jar.twice), (12, 24));
}

#[law(postgres, mysql, mariadb, sqlite)]
fn write_to_a_column_that_the_server_computes_changes_nothing(db: &Db) {
    let conn = &mut db.connect();
    conn.batch_execute(JARS).unwrap();
    for _ in 0..2 {
        let refused = fill!(conn, CarelessJar);
        assert_error!(refused, Database, NotApplied, lasting, no_contention);
    }
    assert_eq!(fill!(conn, Jar).unwrap(), (1, 10, 20));
}

/// To read the stamp takes the right to read the whole table. Without it the row is locked.
#[law(postgres)]
fn role_that_may_read_the_columns_alone_can_change_them(db: &Db) {
    diesel::table! {
        #[sql_name = "accounts"]
        granted_accounts (id) { id -> Integer, owner -> Text, balance -> BigInt }
    }
    // Of its own type, since a type whose rows have no stamps is remembered.
    #[derive(Debug, Queryable, Identifiable, AsChangeset)]
    struct GrantedAccount {
        id: i32,
        owner: String,
        balance: i64,
    }
    db.connect()
        .batch_execute(&format!(
            "GRANT USAGE ON SCHEMA {} TO pg_monitor; \
             GRANT SELECT (id, owner, balance), UPDATE (owner, balance) ON accounts TO pg_monitor",
            db.name()
        ))
        .unwrap();
    let conn = &mut db.connect();
    conn.batch_execute("SET ROLE pg_monitor").unwrap();
    for balance in [1_001, 1_002] {
        let changed = update_row(conn, 1, |account: &mut GrantedAccount| {
            assert_eq!((account.id, account.owner.as_str()), (1, "Ada"));
            account.balance += 1;
            Ok::<_, LockError>(account.balance)
        });
        assert_eq!(changed.unwrap(), balance);
    }
    assert_eq!(db.balance(1), 1_002);
}
