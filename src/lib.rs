//! Pessimistic row locking for Diesel.

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
