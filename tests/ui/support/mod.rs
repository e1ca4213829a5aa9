#![allow(dead_code, unused_imports)]

pub use diesel::prelude::*;
pub use diesel_row_lock::{all, with_row_lock, with_row_locks, LockError, Locked, Retry, RowLock};

diesel::table! {
    accounts {
        id -> Integer,
        balance -> BigInt,
    }
}

diesel::table! {
    customers {
        id -> Integer,
        name -> Text,
    }
}

#[derive(Queryable, Identifiable, AsChangeset)]
pub struct Account {
    pub id: i32,
    pub balance: i64,
}

#[derive(Queryable, Identifiable, AsChangeset)]
pub struct Customer {
    pub id: i32,
    pub name: String,
}
