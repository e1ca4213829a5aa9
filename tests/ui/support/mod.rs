#![allow(dead_code, unused_imports)]

pub use diesel::prelude::*;
pub use diesel_row_lock::{with_row_lock, with_row_locks, LockError, Locked, RowLock};

diesel::table! {
    accounts {
        id -> Integer,
        balance -> BigInt,
    }
}

#[derive(Queryable, Identifiable)]
pub struct Account {
    pub id: i32,
    pub balance: i64,
}
