#![doc = include_str!("guide.md")]

mod acquire;
pub(crate) mod backend;
mod held;
mod keep_alive;
mod name;
pub(crate) mod sql;
mod view;

use std::time::Duration;

use self::backend::LeaseBackend;
pub use self::held::HeldLease;
pub use self::keep_alive::KeepAlive;
pub use self::name::RowName;
use self::sql::{Statement, Values};
pub use self::view::{Holder, Override};
use crate::backend::{classify, Settings, Waiting};
use crate::connection::{status, LockConnection};
use crate::error::LockError;
use crate::telemetry::Call;
use crate::transaction::{run, run_alone, Request};

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
    /// The lease of any name of up to 255 bytes, which is taken byte for byte: `a`, `A` and `a` with
    /// a blank behind it are three leases, on every backend.
    ///
    /// Sends no SQL. A name that can't be is an error ([`LockError::InvalidLease`]) wherever the lease
    /// is used, before any SQL is sent.
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

    /// Creates the tables of the leases unless they are there.
    ///
    /// Executes the text of the crate's migration `row_lock_leases`: `CREATE TABLE IF NOT EXISTS
    /// row_lock_leases (…)`, and a table of overrides, and (on PostgreSQL a sequence) of tokens.
    ///
    /// # Errors
    ///
    /// [`Database`](LockError::Database): what Diesel says.
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

/// A transaction with nothing but these statements in it. Outside of others: what a rollback would take
/// back must not be told to anybody before.
fn transaction<C, R>(
    conn: &mut C,
    body: impl FnOnce(&mut C) -> Result<R, LockError>,
) -> Result<R, LockError>
where
    C: LockConnection,
{
    let request = Request {
        settings: Settings::NONE,
        outermost: true,
        commit_token: None,
    };
    refuse_nested(conn)?;
    run(
        conn,
        request,
        &Call::untold(),
        |_| Ok(()),
        |conn, ()| body(conn),
    )
}

/// One statement that changes something, by itself where the backend does the rest as one, too.
fn execute<C>(conn: &mut C, sql: &'static str, values: Values<'_>) -> Result<usize, LockError>
where
    C: LockConnection,
{
    let statement = Statement { sql, values };
    if C::Backend::AT_ONCE.is_some() {
        refuse_nested(conn)?;
        run_alone(conn, |conn| C::Backend::execute(conn, &statement))
    } else {
        transaction(conn, |conn| changed(conn, sql, values))
    }
}

fn changed<C>(conn: &mut C, sql: &'static str, values: Values<'_>) -> Result<usize, LockError>
where
    C: LockConnection,
{
    C::Backend::execute(conn, &Statement { sql, values })
        .map_err(|error| classify::<C::Backend>(error, Waiting::Session))
}

fn refuse_nested<C: LockConnection>(conn: &mut C) -> Result<(), LockError> {
    if status(conn).depth.is_some_and(|depth| depth > 0) {
        return Err(LockError::AlreadyInTransaction {
            reason: "a lease can't change hands inside an open transaction",
        });
    }
    Ok(())
}
