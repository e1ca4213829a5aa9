//! The tables of the tests and their models.

use diesel::prelude::*;

diesel::table! {
    accounts (id) {
        id -> Integer,
        owner -> Text,
        balance -> BigInt,
    }
}

diesel::table! {
    /// References `accounts`.
    entries (id) {
        id -> Integer,
        account_id -> Integer,
        amount -> BigInt,
    }
}

diesel::table! {
    /// A primary key of two columns, one of them text.
    seats (hall, number) {
        hall -> Text,
        number -> Integer,
        taken_by -> Nullable<Text>,
    }
}

diesel::table! {
    /// A text primary key of the form of a UUID.
    tokens (id) {
        id -> Text,
        uses -> Integer,
    }
}

diesel::joinable!(entries -> accounts (account_id));
diesel::allow_tables_to_appear_in_same_query!(accounts, entries);

#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Identifiable, AsChangeset)]
pub(crate) struct Account {
    pub(crate) id: i32,
    pub(crate) owner: String,
    pub(crate) balance: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Identifiable, AsChangeset)]
#[diesel(table_name = seats, primary_key(hall, number), treat_none_as_null = true)]
pub(crate) struct Seat {
    pub(crate) hall: String,
    pub(crate) number: i32,
    pub(crate) taken_by: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Identifiable, AsChangeset)]
pub(crate) struct Token {
    pub(crate) id: String,
    pub(crate) uses: i32,
}

/// The tables in SQL that all three backends take, with accounts 1 to 4 of 1000 each.
pub(crate) const TABLES: &str = "
    CREATE TABLE accounts (
        id INTEGER PRIMARY KEY,
        owner VARCHAR(100) NOT NULL DEFAULT '',
        balance BIGINT NOT NULL CHECK (balance > -1000000)
    );
    CREATE TABLE entries (
        id INTEGER PRIMARY KEY,
        account_id INTEGER NOT NULL,
        amount BIGINT NOT NULL,
        FOREIGN KEY (account_id) REFERENCES accounts (id)
    );
    CREATE TABLE seats (
        hall VARCHAR(100) NOT NULL,
        number INTEGER NOT NULL,
        taken_by VARCHAR(100),
        PRIMARY KEY (hall, number)
    );
    CREATE TABLE tokens (id VARCHAR(100) PRIMARY KEY, uses INTEGER NOT NULL);
    INSERT INTO accounts VALUES
        (1, 'Ada', 1000), (2, 'Grace', 1000), (3, 'Barbara', 1000), (4, 'Radia', 1000);
    INSERT INTO seats VALUES ('blue', 1, NULL), ('blue', 2, NULL), ('red', 1, NULL);
    INSERT INTO tokens VALUES
        ('00000000-0000-4000-8000-000000000001', 0),
        ('ffffffff-ffff-4fff-bfff-ffffffffffff', 0);
";
