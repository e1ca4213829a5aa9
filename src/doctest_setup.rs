// Included by the doctests, hidden from the reader.
use diesel::prelude::*;

diesel::table! {
    accounts {
        id -> Integer,
        owner -> Text,
        balance -> BigInt,
    }
}

#[derive(Debug, Clone, Queryable, Selectable, Identifiable, AsChangeset)]
struct Account {
    id: i32,
    owner: String,
    balance: i64,
}

#[allow(dead_code)]
fn establish_connection() -> SqliteConnection {
    let mut conn = connect(":memory:");
    create_accounts(&mut conn);
    conn
}

#[allow(dead_code)]
fn establish_two_connections(folder: &std::path::Path) -> (SqliteConnection, SqliteConnection) {
    let file = folder.join("bank.db").display().to_string();
    let mut conn = connect(&file);
    create_accounts(&mut conn);
    (conn, connect(&file))
}

#[allow(dead_code)]
fn connect(url: &str) -> SqliteConnection {
    SqliteConnection::establish(url).expect("SQLite")
}

#[allow(dead_code)]
fn create_accounts(conn: &mut SqliteConnection) {
    use diesel::connection::SimpleConnection;
    conn.batch_execute(
        "CREATE TABLE accounts (
             id INTEGER PRIMARY KEY, owner TEXT NOT NULL, balance BIGINT NOT NULL);
         INSERT INTO accounts VALUES (1, 'Ada', 1000), (2, 'Grace', 500);",
    )
    .expect("two accounts");
}
