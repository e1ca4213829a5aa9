// Included by the doctests, hidden from the reader.
use diesel::prelude::*;

diesel::table! {
    accounts {
        id -> Integer,
        owner -> Text,
        balance -> BigInt,
    }
}

#[derive(Debug, Queryable, Selectable, Identifiable, AsChangeset)]
struct Account {
    id: i32,
    owner: String,
    balance: i64,
}

#[allow(dead_code)]
fn establish_connection() -> SqliteConnection {
    use diesel::connection::SimpleConnection;
    let mut conn = SqliteConnection::establish(":memory:").expect("SQLite in memory");
    conn.batch_execute(
        "CREATE TABLE accounts (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, balance BIGINT NOT NULL);
         INSERT INTO accounts VALUES (1, 'Ada', 1000), (2, 'Grace', 500);",
    )
    .expect("two accounts");
    conn
}
