//! The crate's tables as migrations, one set per backend, with the feature `migrations`.
//!
//! Each set makes the tables of the commit tokens (`row_lock_commits`) and of the leases
//! (`row_lock_leases`, `row_lock_lease_floor`, `row_lock_overrides`). A program runs it beside its
//! own migrations, by `MigrationHarness` of `diesel_migrations`. Locked calls without a
//! [`CommitToken`](crate::CommitToken) or a [`Lease`](crate::Lease) need none of these tables.
//!
//! # Example
//!
//! ```
//! use diesel::prelude::*;
//! use diesel_migrations::MigrationHarness;
//! use diesel_row_lock::{migrations, Lease};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let conn = &mut SqliteConnection::establish(":memory:")?;
//! // conn.run_pending_migrations(MIGRATIONS)?; // the program's own
//! conn.run_pending_migrations(migrations::SQLITE)?;
//!
//! let lease = Lease::named("invoice 7").try_acquire(conn, "Ada")?;
//! # lease.release(conn)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Beside `create_table`
//!
//! [`CommitToken::create_table`](crate::CommitToken::create_table) and
//! [`Lease::create_tables`](crate::Lease::create_tables) execute the text of the same files. Each
//! statement does nothing where its table exists, so a program can use one way, the other, or both,
//! in either order.
//!
//! # Back
//!
//! Diesel records the migrations of all sets in one table, and reverts the version that is the
//! latest of all. `revert_last_migration` and `revert_all_migrations` fail with
//! `UnknownMigrationVersion` where a version is of another set. To revert this set alone:
//!
//! ```
//! use diesel::migration::MigrationSource;
//! use diesel::prelude::*;
//! use diesel::sqlite::Sqlite;
//! use diesel_migrations::MigrationHarness;
//! use diesel_row_lock::migrations;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! # let conn = &mut SqliteConnection::establish(":memory:")?;
//! # conn.run_pending_migrations(migrations::SQLITE)?;
//! let set = MigrationSource::<Sqlite>::migrations(&migrations::SQLITE)?;
//! for migration in set.iter().rev() {
//!     conn.revert_migration(migration)?;
//! }
//! # assert!(conn.has_pending_migration(migrations::SQLITE)?);
//! # Ok(())
//! # }
//! ```

#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
use diesel_migrations::{embed_migrations, EmbeddedMigrations};

/// The tables on PostgreSQL.
#[cfg(feature = "postgres")]
pub const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// The tables on MySQL and MariaDB.
#[cfg(feature = "mysql")]
pub const MYSQL: EmbeddedMigrations = embed_migrations!("migrations/mysql");

/// The tables on SQLite.
#[cfg(feature = "sqlite")]
pub const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
