//! [`HeldLease`]: what its holder can do with it.

use std::time::Duration;

use super::sql::{Values, GUARD, RELEASE, RENEW};
use super::view::look;
use super::{execute, Lease};
use crate::backend::{LockBackend, Settings};
use crate::connection::LockConnection;
use crate::error::LockError;
use crate::select::clause::{ForUpdate, Strength};
use crate::telemetry::Call;
use crate::transaction::{run, Request};

/// A lease that was acquired: the lease and its token.
///
/// Whether it is *still* held only the server can say, and only [`guarded`](Self::guarded) makes sure.
/// It holds no connection and is not released when it is dropped: that takes a connection, or time.
/// Kept somewhere as its name and its [`token`](Self::token), it outlives the process
/// ([`Lease::with_token`]).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a lease is held until it is released, or its time is over"]
pub struct HeldLease {
    lease: Lease,
    token: i64,
}

impl Lease {
    /// The lease as acquired earlier with this token, in another request or another process.
    ///
    /// Sends no SQL: a token that is not (any more) that of the lease is found where it is used.
    ///
    /// # Example
    ///
    /// ```
    /// # include!("../doctest_setup.rs");
    /// use diesel_row_lock::{Lease, LockError};
    ///
    /// # fn main() -> Result<(), LockError> {
    /// # let conn = &mut establish_connection();
    /// # Lease::create_tables(conn)?;
    /// // A user begins to edit; the token goes into the form …
    /// let token = Lease::named("accounts/1").try_acquire(conn, "Ada")?.token();
    ///
    /// // … and comes back with it.
    /// let held = Lease::named("accounts/1").with_token(token);
    /// held.guarded(conn, |conn| {
    ///     diesel::update(accounts::table.find(1)).set(accounts::owner.eq("Ada L.")).execute(conn)?;
    ///     Ok::<_, LockError>(())
    /// })?;
    /// held.release(conn)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_token(self, token: i64) -> HeldLease {
        HeldLease::new(self, token)
    }
}

impl HeldLease {
    pub(super) fn new(lease: Lease, token: i64) -> Self {
        Self { lease, token }
    }

    /// The lease.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The fencing token: higher than that of every holder of this lease before, also after it was
    /// released, has expired, was overridden or purged. What is not in this database can be guarded by
    /// it, too, if it refuses a token lower than one that it has seen.
    pub fn token(&self) -> i64 {
        self.token
    }

    /// Lets the lease last its whole [time to live](Lease::ttl) from now on, if it is still held.
    ///
    /// Executes `UPDATE row_lock_leases SET expires_at = …, ttl = … WHERE name = … AND token = … AND
    /// owner IS NOT NULL AND expires_at > …`.
    ///
    /// # Errors
    ///
    /// - [`StaleToken`](LockError::StaleToken): it was released, its time is over, or somebody else has
    ///   it;
    /// - [`Timeout`](LockError::Timeout): a [guarded](Self::guarded) transaction has it for too long;
    /// - those of [`Lease::try_acquire`], but for `LeaseHeld`.
    pub fn renew<C: LockConnection>(&self, conn: &mut C) -> Result<(), LockError> {
        let rows = execute(conn, RENEW, self.values()?)?;
        self.mine(rows > 0)
    }

    /// Gives the lease back, so that somebody else can have it at once.
    ///
    /// One whose time is over, but which nobody else has taken, can be released, too.
    ///
    /// Executes `UPDATE row_lock_leases SET owner = NULL, … WHERE name = … AND token = … AND owner IS NOT
    /// NULL`.
    ///
    /// # Errors
    ///
    /// - [`StaleToken`](LockError::StaleToken): it was released before, or somebody else has it, which
    ///   stays as it is;
    /// - those of [`Lease::try_acquire`], but for `LeaseHeld`.
    pub fn release<C: LockConnection>(&self, conn: &mut C) -> Result<(), LockError> {
        let rows = execute(conn, RELEASE, self.values()?)?;
        self.mine(rows > 0)
    }

    /// Runs `f` in a transaction in which nobody can take the lease, and commits when `f` returns `Ok`;
    /// but only if the lease is still held.
    ///
    /// This is the write that a holder who was frozen, and wakes up late, can't make: the transaction
    /// begins by locking the row of the lease, and asks for the token there. While `f` runs, who wants
    /// to acquire the lease is told that it is held, even when its time runs out meanwhile; to
    /// [`renew`](Self::renew) and [`override_by`](Lease::override_by) wait for the end. All that a
    /// [locked call](crate::RowLock::with) guarantees is guaranteed here; inside an open transaction it
    /// is a savepoint.
    ///
    /// Executes `BEGIN`, `SELECT … FROM row_lock_leases WHERE name = … AND token = … AND … FOR UPDATE`,
    /// the statements of `f`, and `COMMIT`, with the guards of [`RowLock::with`](crate::RowLock::with).
    ///
    /// # Errors
    ///
    /// - [`StaleToken`](LockError::StaleToken): the lease was released, its time is over, or somebody
    ///   else has it; `f` did not run;
    /// - [`InvalidLease`](LockError::InvalidLease): there can be no such lease;
    /// - those of [`RowLock::with`](crate::RowLock::with), but for `NotFound`;
    /// - any error of `f` itself, as it is.
    ///
    /// # Panics
    ///
    /// Only if `f` does.
    #[track_caller]
    pub fn guarded<C, R, E>(
        &self,
        conn: &mut C,
        f: impl FnOnce(&mut C) -> Result<R, E>,
    ) -> Result<R, E>
    where
        C: LockConnection,
        E: From<LockError>,
    {
        let values = self.values()?;
        let request = Request {
            settings: Settings::NONE,
            outermost: false,
            commit_token: None,
        };
        let call = Call::begin(C::Backend::SYSTEM, ForUpdate::NAME, || {
            Some("row_lock_leases")
        });
        run(
            conn,
            request,
            &call,
            |conn| self.mine(!look(conn, GUARD, values)?.is_empty()),
            |conn, ()| f(conn),
        )
    }

    pub(super) fn ttl(&self) -> Duration {
        self.lease.ttl
    }

    fn mine(&self, is_mine: bool) -> Result<(), LockError> {
        if is_mine {
            return Ok(());
        }
        Err(LockError::StaleToken {
            lease: self.lease.name.clone(),
            token: self.token,
        })
    }

    fn values(&self) -> Result<Values<'_>, LockError> {
        Ok(Values {
            token: self.token,
            ..self.lease.values()?
        })
    }
}
