//! [`HeldLease`]: what its holder can do with it.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::handle::Handle;
use super::run::{changed, execute, has_lost, look, pause, transaction, ATTEMPTS};
use super::times::Times;
use super::Lease;
use crate::backend::lease::sql::{Values, GUARD, RELEASE, RENEW};
use crate::backend::lease::LeaseBackend;
use crate::backend::{LockBackend, Settings};
use crate::connection::{depth, LockConnection};
use crate::error::LockError;
use crate::retry::Failure;
use crate::sql::clause::{ForUpdate, Strength};
use crate::telemetry::Call;
use crate::transaction::{run, Request};

/// A lease that was acquired: the lease and its [`Handle`].
///
/// Whether it is *still* held only the server can say, and only [`guarded`](Self::guarded) makes
/// sure. It holds no connection and is not released when it is dropped: that takes a connection, or
/// time. Kept somewhere as its name and its [`handle`](Self::handle), it outlives the process
/// ([`Lease::with_handle`]).
#[derive(Clone)]
#[must_use = "a lease is held until it is released, or its time is over"]
pub struct HeldLease {
    lease: Lease,
    handle: Handle,
    times: Arc<Times>,
}

/// Equal if they are the same holding of the same lease.
impl PartialEq for HeldLease {
    fn eq(&self, other: &Self) -> bool {
        self.lease == other.lease && self.handle == other.handle
    }
}

impl Eq for HeldLease {}

impl fmt::Debug for HeldLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldLease")
            .field("lease", &self.lease)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

impl Lease {
    /// The lease as acquired earlier with this handle, in another request or another process.
    ///
    /// Sends no SQL: a handle that is not, or no longer, that of the lease's holder is found where
    /// it is used.
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
    /// // A user begins to edit; the handle goes into a hidden field of the form …
    /// let lease = Lease::named("accounts/1");
    /// let field: String = lease.try_acquire(conn, "Ada")?.handle().to_string();
    ///
    /// // … and comes back with it.
    /// let held = Lease::named("accounts/1").with_handle(field.parse()?);
    /// held.guarded(conn, |conn| {
    ///     diesel::update(accounts::table.find(1))
    ///         .set(accounts::owner.eq("Ada L."))
    ///         .execute(conn)?;
    ///     Ok::<_, LockError>(())
    /// })?;
    /// held.release(conn)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_handle(self, handle: Handle) -> HeldLease {
        HeldLease {
            lease: self,
            handle,
            times: Arc::default(),
        }
    }
}

impl HeldLease {
    /// `sent` is when the request was.
    pub(super) fn acquired(lease: Lease, handle: Handle, sent: Instant) -> Self {
        Self {
            lease,
            handle,
            times: Arc::new(Times::since(sent)),
        }
    }

    /// The lease.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// What brings this holding back in another request or process ([`Lease::with_handle`]).
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// The fencing token: higher than that of every earlier holder of this lease, also after it was
    /// released, has expired, was overridden or purged. It is at least the server's clock in
    /// microseconds since 1970.
    ///
    /// A store outside of this database can be guarded by it, too, if it refuses a token lower than
    /// one that it has seen. The database itself also checks the random part of the [`Handle`],
    /// which tells holders apart whose tokens are equal: after a restore from a backup, on a server
    /// whose clock is behind.
    pub fn token(&self) -> i64 {
        self.handle.token()
    }

    /// Lets the lease last its whole [time to live](Lease::ttl) from now on, if it is still held.
    ///
    /// It waits for a [guarded](Self::guarded) write of this holder, and the time to live begins
    /// when that wait is over: after `Ok` the lease lasts at least that long from the moment at
    /// which the server wrote it. A lease that expires during this wait is renewed all the same,
    /// unless another session was faster to take it.
    ///
    /// Executes, on PostgreSQL, `WITH … (SELECT … FROM row_lock_leases WHERE name = … AND token = …
    /// AND … FOR UPDATE) UPDATE row_lock_leases SET expires_at = …, ttl = …`; elsewhere the two as
    /// a transaction.
    ///
    /// # Errors
    ///
    /// - [`StaleToken`](LockError::StaleToken): the lease was released, has expired, or another
    ///   session holds it;
    /// - [`Timeout`](LockError::Timeout): a [guarded](Self::guarded) transaction has the row locked
    ///   for too long;
    /// - those of [`Lease::try_acquire`], but for `LeaseHeld`.
    pub fn renew<C: LockConnection>(&self, conn: &mut C) -> Result<(), LockError> {
        let values = self.values()?;
        // Before the statement is sent: the server reads its clock later, so this side's end of the
        // lease is never behind the server's.
        let sent = Instant::now();
        let rows = match C::Backend::AT_ONCE {
            Some(at_once) => execute(conn, at_once.renew, values)?,
            None => transaction(conn, |conn| match look(conn, GUARD, values)?.len() {
                0 => Ok(0),
                // Another statement, which reads the clock behind the wait for the row.
                _ => changed(conn, RENEW, values),
            })?,
        };
        // A renewal that found another holder must not put the end off.
        self.mine(rows > 0)?;
        self.times.renewed(sent);
        Ok(())
    }

    /// Gives the lease back, so that another session can acquire it at once.
    ///
    /// A lease that has expired, but that no other session has taken, can be released, too.
    ///
    /// Executes `UPDATE row_lock_leases SET owner = NULL, … WHERE name = … AND token = … AND nonce
    /// = … AND owner IS NOT NULL`.
    ///
    /// # Errors
    ///
    /// - [`StaleToken`](LockError::StaleToken): it was released before, or another session holds
    ///   it, which keeps it;
    /// - those of [`Lease::try_acquire`], but for `LeaseHeld`.
    pub fn release<C: LockConnection>(&self, conn: &mut C) -> Result<(), LockError> {
        let rows = execute(conn, RELEASE, self.values()?)?;
        self.mine(rows > 0)
    }

    /// Runs `f` in a transaction in which nobody can take the lease, and commits when `f` returns
    /// `Ok`; but only if the lease is still held.
    ///
    /// A holder that was frozen and wakes up late can't make this write: the transaction begins by
    /// locking the row of the lease, and checks the handle there. While `f` runs, other sessions
    /// find the lease held, even when it expires meanwhile; [`renew`](Self::renew) and
    /// [`override_by`](Lease::override_by) wait for the end. All that a [locked
    /// call](crate::RowLock::with) guarantees is guaranteed here; inside an open transaction it is
    /// a savepoint.
    ///
    /// Executes `BEGIN`, `SELECT … FROM row_lock_leases WHERE name = … AND token = … AND nonce = …
    /// AND … FOR UPDATE`, the statements of `f`, and `COMMIT`, with the guards of
    /// [`RowLock::with`](crate::RowLock::with). If that first statement conflicts with a concurrent
    /// transaction, as under REPEATABLE READ with a renewal, and no transaction is open outside, it
    /// is retried up to nine times; `f` runs once.
    ///
    /// # Errors
    ///
    /// - [`StaleToken`](LockError::StaleToken): the lease was released, has expired, or another
    ///   session holds it; `f` did not run;
    /// - [`InvalidLease`](LockError::InvalidLease): there can be no such lease;
    /// - those of [`RowLock::with`](crate::RowLock::with), but for `NotFound`, `HoldExpired` and
    ///   `Unsupported`;
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
        let outermost = depth(conn).is_none_or(|depth| depth == 0);
        let mut f = Some(f);
        let mut attempts = 1;
        loop {
            // As in `renew`: not later than the server's look at its clock.
            let sent = Instant::now();
            // Dropped behind the end of the transaction.
            let writing = Cell::new(None);
            let again = Cell::new(false);
            let result = run(
                conn,
                request,
                &call,
                |conn| {
                    let rows = look(conn, GUARD, values)
                        // Only as long as `f` has not run, and not in an outer transaction, whose
                        // work may be lost with the statement.
                        .inspect_err(|error| again.set(outermost && has_lost(error)))?;
                    self.mine(!rows.is_empty())?;
                    // The row is locked from here on, so the lease can't be taken and a renewal
                    // waits.
                    writing.set(Some(self.times.write(sent)));
                    Ok(())
                },
                |conn, ()| match f.take() {
                    Some(f) => f(conn),
                    None => unreachable!("an attempt that ran `f` is the last one"),
                },
            );
            if !again.get() || attempts == ATTEMPTS {
                return result.map_err(Failure::into_error);
            }
            pause(attempts);
            attempts += 1;
        }
    }

    pub(super) fn ttl(&self) -> Duration {
        self.lease.ttl
    }

    pub(super) fn times(&self) -> &Arc<Times> {
        &self.times
    }

    pub(super) fn stale(&self) -> LockError {
        LockError::StaleToken {
            lease: self.lease.name.clone(),
            token: self.token(),
        }
    }

    fn mine(&self, is_mine: bool) -> Result<(), LockError> {
        if is_mine {
            Ok(())
        } else {
            Err(self.stale())
        }
    }

    pub(super) fn values(&self) -> Result<Values<'_>, LockError> {
        let asked = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let asked = asked.unwrap_or_default().as_micros();
        Ok(Values {
            token: self.token(),
            nonce: self.handle.nonce(),
            asked: i64::try_from(asked).unwrap_or(i64::MAX),
            ..self.lease.values()?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holdings_are_equal_if_lease_and_handle_are() {
        let held = |name: &str, token| Lease::named(name).with_handle(Handle::new(token, 1));
        assert_eq!(held("books", 7), held("books", 7));
        assert_eq!(held("books", 7), held("books", 7).clone());
        assert_ne!(held("books", 7), held("books", 8));
        assert_ne!(held("books", 7), held("seats", 7));
    }

    #[test]
    fn holding_shows_its_lease_and_its_handle() {
        let shown = format!("{:?}", Lease::named("books").with_handle(Handle::new(7, 1)));
        assert!(shown.contains("\"books\""), "{shown}");
        assert!(shown.contains("token: 7"), "{shown}");
    }
}
