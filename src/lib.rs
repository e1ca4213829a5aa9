//! Pessimistic row locking for Diesel: lock a row, read it fresh, change it, commit, and know how
//! it ended. On PostgreSQL, MySQL, MariaDB and SQLite.
//!
//! ```
//! # include!("doctest_setup.rs");
//! use diesel_row_lock::{with_row_locks, LockError, Locked};
//!
//! #[derive(Debug, thiserror::Error)]
//! enum BankError {
//!     #[error("insufficient funds")]
//!     InsufficientFunds,
//!     #[error(transparent)]
//!     Lock(#[from] LockError),
//!     #[error(transparent)]
//!     Database(#[from] diesel::result::Error),
//! }
//!
//! # /*
//! fn transfer(conn: &mut PgConnection, from: i32, to: i32, amount: i64) -> Result<(), BankError> {
//! # */
//! # type Moved = Result<(), BankError>;
//! # fn transfer(conn: &mut SqliteConnection, from: i32, to: i32, amount: i64) -> Moved {
//!     with_row_locks(conn, [from, to], |conn, [mut from, mut to]: [Locked<Account>; 2]| {
//!         if from.balance < amount {
//!             return Err(BankError::InsufficientFunds);
//!         }
//!         from.balance -= amount;
//!         to.balance += amount;
//!         from.save_changes::<Account>(conn)?;
//!         to.save_changes::<Account>(conn)?;
//!         Ok(())
//!     })
//! }
//! #
//! # fn main() -> Result<(), BankError> {
//! #     let conn = &mut establish_connection();
//! #     transfer(conn, 1, 2, 300)?;
//! #     assert!(matches!(transfer(conn, 1, 2, 5_000), Err(BankError::InsufficientFunds)));
//! #     Ok(())
//! # }
//! ```
//!
//! Executed SQL on PostgreSQL, each line one round trip:
//!
//! ```sql
//! BEGIN; DECLARE row_lock_guard CURSOR …; DECLARE row_lock_witness CURSOR …
//! SELECT … FROM accounts WHERE accounts.id IN ($1, $2) ORDER BY accounts.id FOR UPDATE
//! UPDATE accounts SET … WHERE accounts.id = $1 RETURNING …
//! UPDATE accounts SET … WHERE accounts.id = $1 RETURNING …
//! CLOSE row_lock_guard; CLOSE row_lock_witness; COMMIT
//! ```
//!
//! # Which call do I need?
//!
//! For which kind of lock, and whether any, see [`which_lock`]. For what the compiler says, and
//! what to write instead, see [`reading_compile_errors`].
//!
//! | you want to | call |
//! |---|---|
//! | change one row | [`with_row_lock`] |
//! | change some rows of a table, by primary key | [`with_row_locks`], [`keys`] |
//! | change all rows of a query | [`all`] |
//! | claim jobs that nobody else works on | [`RowLock::skip_locked`] and [`all`] |
//! | choose the isolation level of the transaction | [`RowLock::isolation`] |
//! | fail at once, or soon, if somebody else is at it | [`RowLock::no_wait`], [`RowLock::timeout`] |
//! | try again after a deadlock | [`RowLock::retry`] |
//! | let nobody wait for a frozen holder | [`RowLock::hold_at_most`] |
//! | go through PgBouncer in transaction mode | [`LockConnection::pooler_safe`] |
//! | change one row in two round trips, by a closure on the model alone | [`update_row`] |
//! | change a row that many want at once | [`queue::RowQueue`] |
//! | find out what became of a commit in doubt | [`RowLock::commit_token`], [`CommitToken::resolve`] |
//! | save a row only if nobody else has since it was read, without a lock | [`save_versioned`], [`update_versioned`] |
//! | lock a row only if it is still what the user has seen | [`at_version`] |
//! | hold off others while a user edits, for longer than a transaction may take | [`Lease`] |
//! | let nobody write who holds a lease no longer | [`HeldLease::guarded`] |
//! | know who was in the way when a call has timed out | [`RowLock::naming_blocker`] |
//! | see who waits for whom, and end it | [`waits::lock_waits`], [`waits::terminate`] |
//! | see in logs and metrics how long calls wait and hold | [`telemetry`] |
//! | test that a query locks the rows that it returns | [`RowLock::check`] |
//! | refresh a model that you already have, under the lock | [`row_of`] |
//! | write a function that can't be called without the lock | let it take [`&mut Locked<'_, M>`](Locked) |
//!
//! # What is guaranteed
//!
//! - **Fresh.** The model is what the locking statement itself returned, not what an earlier read,
//!   or the transaction's snapshot, says.
//! - **`Ok` means committed**, or inside an open transaction, released into it. A closure that
//!   swallows an error after which the server rolled back, or that ends the transaction itself,
//!   gets an error ([`LockError::Aborted`], [`LockError::Escaped`]).
//! - **`Err` says what happened**: [`LockError::outcome`].
//! - **A panic unlocks** before it leaves the call.
//! - **The first cause wins.** Troubles that follow from an error don't replace it.
//! - **Nothing leaks into the session**: timeouts and `autocommit` are what they were.
//! - **No extra round trips** over `conn.transaction` with `for_update` by hand on PostgreSQL and
//!   MariaDB; three on MySQL, where each statement around the transaction goes by itself.
//!
//! # What is not
//!
//! - What a closure has committed itself can't be taken back.
//! - On MySQL and MariaDB a query can lock nothing without an error: behind a view or a common
//!   table expression that is materialized, in a table of MyISAM ([`RowLock::with`], *What is
//!   locked*). [`RowLock::check`] tests a query.
//! - An error of SQL's own (`RAISE`, `SIGNAL`) in exactly the words of the server is taken for the
//!   server's ([`LockError`]).
//! - A lock holds off those who lock or write. A plain `SELECT` goes on reading the last committed
//!   row.
//! - SQLite has no row locks. There a locked call holds the write lock of the whole database
//!   (`BEGIN IMMEDIATE`); readers go on. A database that was opened read-only can't be locked at
//!   all; SQLite then says nothing until the first write.
//! - Inside an open transaction the lock lasts until that one ends.
//!
//! # Crate features
//!
//! No backend is on by default.
//!
//! - **`postgres`**, **`mysql`**, **`sqlite`**: the backend of that name, linked to the system's
//!   client library, as Diesel's features of the same names.
//! - **`migrations`**: the module
//!   [`migrations`](https://docs.rs/diesel-row-lock/latest/diesel_row_lock/migrations/), the tables
//!   of leases and commit tokens as migrations of Diesel.
//! - **`race`**: the module [`race`](https://docs.rs/diesel-row-lock/latest/diesel_row_lock/race/),
//!   which proves that code has a race, and that the lock cures it. For `dev-dependencies`.
//! - **`tracing`**, **`metrics`**: a span for each locked call, counters and histograms; see
//!   [`telemetry`].
//! - **`bundled-postgres`**, **`bundled-sqlite`**: the same with a client library built from
//!   source.

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
mod commit_token;
mod connection;
mod error;
mod hold;
mod isolation;
pub mod lease;
mod locked;
#[cfg(feature = "migrations")]
pub mod migrations;
#[cfg(feature = "mysql")]
mod mysql;
mod optimistic;
#[cfg(feature = "postgres")]
mod pg;
mod played;
pub mod queue;
#[cfg(feature = "race")]
pub mod race;
mod retry;
mod row_lock;
mod session;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
pub mod telemetry;
mod transaction;
mod update_row;
pub mod waits;
#[cfg(doc)]
#[doc = include_str!("errors.md")]
pub mod errors {}
#[cfg(doc)]
#[doc = include_str!("reading_compile_errors.md")]
pub mod reading_compile_errors {}
#[cfg(doc)]
#[doc = include_str!("which_lock.md")]
pub mod which_lock {}

#[doc(hidden)]
pub use self::commit_token::ParseCommitTokenError;
#[doc(inline)]
pub use self::commit_token::{CommitToken, Resolution};
#[doc(inline)]
pub use self::connection::LockConnection;
#[doc(inline)]
pub use self::error::{LockError, Outcome, RetryCause};
#[doc(inline)]
pub use self::isolation::Isolation;
#[doc(no_inline)]
pub use self::lease::{HeldLease, Lease};
#[doc(inline)]
pub use self::locked::Locked;
#[doc(inline)]
pub use self::optimistic::{at_version, save_versioned, update_versioned, Versioned};
#[doc(inline)]
pub use self::retry::{FailedAttempt, Retry, Retryable};
#[doc(inline)]
pub use self::row_lock::{all, keys, row_of, with_row_lock, with_row_locks, LockedCall, RowLock};
#[doc(inline)]
pub use self::update_row::update_row;

/// The types behind the options of [`RowLock`], for naming one: `RowLock<ForUpdate, Timeout>`.
#[doc(hidden)]
pub mod options {
    pub use crate::hold::{HoldAtMost, Unlimited};
    pub use crate::sql::clause::{
        Block, EveryTable, ForKeyShare, ForNoKeyUpdate, ForShare, ForUpdate, NoWait, Of,
        SkipLocked, Timeout,
    };
}

/// The traits in the bounds of this crate's functions, for generic code around them.
///
/// # Example
///
/// A function for each connection, whatever its backend:
///
/// ```
/// # include!("doctest_setup.rs");
/// use diesel_row_lock::bounds::Target;
/// use diesel_row_lock::options::ForUpdate;
/// use diesel_row_lock::{with_row_lock, LockConnection, LockError, Locked, RowLock};
///
/// fn balance<C, Query, Kind>(conn: &mut C, account: Query) -> Result<i64, LockError>
/// where
///     C: LockConnection,
///     Query: for<'q> Target<'q, C, RowLock<ForUpdate>, Account, Kind>,
/// {
///     with_row_lock(conn, account, |_, account: Locked<Account>| Ok(account.balance))
/// }
///
/// # fn main() -> Result<(), LockError> {
/// # let conn = &mut establish_connection();
/// assert_eq!(balance(conn, accounts::table.find(1))?, 1_000);
/// # Ok(())
/// # }
/// ```
pub mod bounds {
    pub use crate::row_lock::Target;
    pub use crate::sql::clause::Exclusive;
    pub use crate::sql::lockable::LockableQuery;
    pub use crate::waits::backend::WaitsBackend;

    // They stand in the types of calls, which code seldom has to write.
    #[doc(hidden)]
    pub use crate::backend::LockBackend;
    #[doc(hidden)]
    pub use crate::optimistic::{AtVersion, SaveVersioned};
    #[doc(hidden)]
    pub use crate::row_lock::{
        Again, All, ByTrait, Decide, Keys, LockOn, NamingBlocker, Once, OneByKey, Unwatched, Watch,
    };
    #[doc(hidden)]
    pub use crate::sql::key::{KeyValue, KeyedBy};
    #[doc(hidden)]
    pub use crate::sql::save::Savable;
    #[doc(hidden)]
    pub use crate::sql::stamped::Stamped;
    #[doc(hidden)]
    pub use crate::update_row::UpdateTarget;
}
