#![doc = include_str!("guide.md")]

mod acquire;
mod handle;
mod held;
mod keep_alive;
mod name;
mod purge;
mod run;
mod times;
mod view;

use std::time::Duration;

pub use self::handle::Handle;
pub use self::held::HeldLease;
pub use self::keep_alive::KeepAlive;
pub use self::name::RowName;
pub use self::view::{Holder, Override};
use crate::backend::lease::sql::Values;
use crate::backend::lease::LeaseBackend;
use crate::backend::{classify, Waiting};
use crate::connection::LockConnection;
use crate::error::LockError;

/// What can be leased: a name, and how.
///
/// It stands for nothing in the database; see the [module](self) for how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    name: String,
    note: String,
    ttl: Duration,
}

/// How long a lease lasts unless told otherwise.
const TTL: Duration = Duration::from_secs(60);

impl Lease {
    /// The lease of any name of up to 255 bytes, which is taken byte for byte: `a`, `A` and `a`
    /// with a blank behind it are three leases, on every backend.
    ///
    /// Sends no SQL. A name that can't be is an error ([`LockError::InvalidLease`]) wherever the
    /// lease is used, before any SQL is sent.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            note: String::new(),
            ttl: TTL,
        }
    }

    /// How long it lasts if it is neither renewed nor released: 60 seconds unless told otherwise.
    /// Rounded up to a microsecond, on SQLite to a millisecond.
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// What others are told of why it is held, in up to 10,000 bytes.
    pub fn note(self, note: impl Into<String>) -> Self {
        Self {
            note: note.into(),
            ..self
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Creates the tables of the leases unless they are there. The feature `migrations` offers the
    /// same as migrations of Diesel; the two work together.
    ///
    /// Executes the text of the migration `row_lock_leases`: `CREATE TABLE IF NOT EXISTS
    /// row_lock_leases (…)`, and the tables `row_lock_lease_floor` and `row_lock_overrides`. On
    /// PostgreSQL `SELECT pg_advisory_xact_lock(…)` stands before it, so that sessions can create
    /// the tables at the same time.
    ///
    /// # Errors
    ///
    /// Those of [any statement](crate::errors#any-statement).
    pub fn create_tables<C: LockConnection>(conn: &mut C) -> Result<(), LockError> {
        conn.batch_execute(C::Backend::CREATE_LEASES)
            .map_err(|error| classify::<C::Backend>(error, Waiting::Session))
    }

    fn values(&self) -> Result<Values<'_>, LockError> {
        name::check("name", &self.name, 1..=255)?;
        name::check("note", &self.note, 0..=10_000)?;
        Ok(Values {
            name: &self.name,
            note: &self.note,
            ttl: name::micros(self.ttl)?,
            ..Values::default()
        })
    }
}
