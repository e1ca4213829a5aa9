//! [`LockBackend`]: the backend-neutral interface to a database whose rows can be locked.
//!
//! Its parts lie side by side: [`ErrorBackend`] (what an error means), [`TransactionBackend`] and
//! [`LeaseBackend`]. `cause.rs` knows nothing of [`LockError`]; `classify.rs` turns a cause into
//! one, and `convert.rs` turns one into Diesel's error and back.

mod cause;
mod classify;
mod convert;
pub(crate) mod lease;
mod settings;
pub(crate) mod stamp;
pub(crate) mod transaction;

use std::borrow::Cow;

use diesel::connection::LoadConnection;

#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub(crate) use self::cause::Messages;
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) use self::cause::{cause_in, names, Translations};
pub(crate) use self::cause::{cause_of, Cause, ErrorBackend};
#[cfg(feature = "sqlite")]
pub(crate) use self::classify::is_already_open;
pub(crate) use self::classify::{classify, not_begun, unsupported};
use self::lease::LeaseBackend;
pub(crate) use self::settings::{Settings, Waiting};
use self::stamp::StampBackend;
use self::transaction::TransactionBackend;
use crate::error::LockError;

/// Name of the savepoint (on PostgreSQL the cursor) that lives and dies with the outermost
/// transaction. An error that names it means that the transaction ended before its time, in
/// whatever language the rest of the message is.
pub(crate) const GUARD: &str = "row_lock_guard";

/// A backend whose rows can be locked: PostgreSQL, MySQL and MariaDB, SQLite.
///
/// It can't be implemented outside of this crate.
pub trait LockBackend: ErrorBackend + LeaseBackend + StampBackend + TransactionBackend {
    /// What it is called in the [telemetry](crate::telemetry): `db.system.name` of OpenTelemetry.
    #[doc(hidden)]
    const SYSTEM: &'static str;

    /// How many callers of one row have a connection at once: one that holds the row, and one that
    /// waits for it where the lock is, if to wait there is not to ask again and again.
    #[doc(hidden)]
    const CONNECTIONS_PER_ROW: usize;

    /// Creates the table of the commit tokens.
    #[doc(hidden)]
    const CREATE_COMMITS: &'static str;

    /// The time of the server's clock so long ago, as `row_lock_commits.created_at` has it.
    #[doc(hidden)]
    fn seconds_ago(seconds: u32) -> String;

    /// What stands before the list of row values in `(a, b) IN (…)`.
    #[doc(hidden)]
    const ROW_VALUES: &'static str;

    /// How many values one statement can bind.
    #[doc(hidden)]
    const BINDS: usize;

    /// What stands in a locking clause behind the strength, with a blank before it.
    #[doc(hidden)]
    fn wait_sql(waiting: Waiting) -> Cow<'static, str>;

    /// Whether a lock can be acquired inside the open transaction, which this crate may not
    /// have opened.
    #[doc(hidden)]
    fn check_outer<C>(conn: &mut C) -> Result<(), LockError>
    where
        C: LoadConnection<Backend = Self>,
    {
        let _ = conn;
        Ok(())
    }

    /// A statement has failed, and its connection is to be used again.
    #[doc(hidden)]
    fn forget_statements<C>(conn: &mut C)
    where
        C: LoadConnection<Backend = Self>,
    {
        let _ = conn;
    }
}
