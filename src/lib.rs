//! Pessimistic row locking for Diesel.

#![warn(
    elided_lifetimes_in_paths,
    missing_debug_implementations,
    missing_docs,
    unreachable_pub
)]
// Without a backend there is nothing to lock, but the crate still compiles.
#![cfg_attr(
    not(any(feature = "postgres", feature = "mysql", feature = "sqlite")),
    allow(dead_code)
)]

mod backend;
mod connection;
mod error;
mod locked;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod pg;
mod row_lock;
mod select;
#[cfg(feature = "sqlite")]
mod sqlite;
mod transaction;

#[doc(inline)]
pub use self::connection::LockConnection;
#[doc(inline)]
pub use self::error::{LockError, Outcome};
#[doc(inline)]
pub use self::locked::Locked;
#[doc(inline)]
pub use self::row_lock::{row_of, with_row_lock, with_row_locks, RowLock};
