//! How a lease changes hands.

use std::thread;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};

use super::held::HeldLease;
use super::run::{changed, has_lost, look, one_row, transaction};
use super::{handle, name, Lease};
use crate::backend::lease::sql::{LeaseRow, Statement, Values};
use crate::backend::lease::sql::{AUDIT, LOCK, LOCK_NO_WAIT, LOOK, TAKE, TAKE_FREE};
use crate::backend::lease::LeaseBackend;
use crate::backend::{classify, Waiting};
use crate::connection::LockConnection;
use crate::error::LockError;

impl Lease {
    /// Acquires the lease if it is free or expired.
    ///
    /// `owner` is shown to other sessions. It gives no rights: a lease has one holder at a time,
    /// and a second call with the same owner finds it held. What counts is the
    /// [`Handle`](super::Handle) in the [`HeldLease`].
    ///
    /// Executes, on PostgreSQL, one statement (two for a lease without a row): `WITH … (SELECT …
    /// FOR UPDATE SKIP LOCKED) UPDATE row_lock_leases SET … RETURNING …`. Elsewhere a transaction
    /// that reads the row, locks it and writes it; on MySQL and MariaDB at READ COMMITTED, whatever
    /// the session's isolation level is.
    ///
    /// A conflict with a concurrent transaction, as REPEATABLE READ and SERIALIZABLE have them, and
    /// a deadlock are retried up to nine times.
    ///
    /// # Errors
    ///
    /// - [`LeaseHeld`](LockError::LeaseHeld): another session holds the lease, or changes its row
    ///   at this moment;
    /// - [`InvalidLease`](LockError::InvalidLease): the name, the note, the owner or the time to
    ///   live can't be; nothing is sent;
    /// - [`AlreadyInTransaction`](LockError::AlreadyInTransaction): a transaction is open, whose
    ///   rollback would take the lease away again unnoticed; on MySQL and MariaDB also one that
    ///   Diesel does not know of;
    /// - [`CommitUnknown`](LockError::CommitUnknown): the connection was lost.
    ///   [`holder`](Self::holder) tells, on another one;
    /// - those of [any statement](crate::errors#any-statement).
    pub fn try_acquire<C: LockConnection>(
        &self,
        conn: &mut C,
        owner: &str,
    ) -> Result<HeldLease, LockError> {
        let since = Instant::now();
        let values = self.values_of(owner)?;
        let row = if let Some(at_once) = C::Backend::AT_ONCE {
            one_row(conn, at_once.acquire, values).and_then(|row| self.if_taken(row))
        } else {
            transaction(conn, |conn| self.take_if_free(conn, values))
        };
        match row {
            Ok(row) => Ok(self.held_as(&row, values, since)),
            // Again and again a concurrent one was faster.
            Err(error) if has_lost(&error) => Err(self.held(None)),
            Err(error) => Err(error),
        }
    }

    /// In a transaction. It looks first, without a lock, and so a caller that is frozen in this
    /// moment does not keep the row from its holder.
    ///
    /// Whether the lease is free counts when the row is locked, in the statement that writes it.
    /// MySQL's clock stands still within a statement: one that began before another session's
    /// `COMMIT`, and sees what that wrote, takes its end for one by a clock that was set back
    /// since.
    fn take_if_free<C>(&self, conn: &mut C, values: Values<'_>) -> Result<LeaseRow, LockError>
    where
        C: LockConnection,
    {
        let mut row = None;
        if let Some(seen) = look(conn, LOOK, values)?.into_iter().next() {
            if !seen.6 {
                return Err(self.held(Some(seen)));
            }
            row = self.lock_no_wait(conn, values, Some(seen))?;
        }
        if row.is_none() {
            // There is none, or it was purged since the look.
            changed(conn, C::Backend::ENSURE_ROW, values)?;
            row = self.lock_no_wait(conn, values, None)?;
        }
        match changed(conn, TAKE_FREE, values)? {
            0 => Err(self.held(row)),
            _ => taken(conn, values),
        }
    }

    /// Acquires the lease as soon as it is free or expired.
    ///
    /// It polls, with pauses of 10 to 250 ms that have a random part. Callers are not served in the
    /// order of their calls.
    ///
    /// Executes the SQL of [`try_acquire`](Self::try_acquire).
    ///
    /// # Errors
    ///
    /// Those of [`try_acquire`](Self::try_acquire), but for `LeaseHeld`, `Busy`, `Timeout` and
    /// `Deadlock`: it goes on then.
    pub fn acquire<C: LockConnection>(
        &self,
        conn: &mut C,
        owner: &str,
    ) -> Result<HeldLease, LockError> {
        self.acquire_until(conn, owner, None)
    }

    /// As [`acquire`](Self::acquire), for at most this long.
    ///
    /// # Errors
    ///
    /// Those of [`try_acquire`](Self::try_acquire); [`LeaseHeld`](LockError::LeaseHeld) if the time
    /// is over.
    pub fn acquire_timeout<C: LockConnection>(
        &self,
        conn: &mut C,
        owner: &str,
        timeout: Duration,
    ) -> Result<HeldLease, LockError> {
        self.acquire_until(conn, owner, Instant::now().checked_add(timeout))
    }

    fn acquire_until<C: LockConnection>(
        &self,
        conn: &mut C,
        owner: &str,
        end: Option<Instant>,
    ) -> Result<HeldLease, LockError> {
        // The jitter adds up to as much again. Without it callers that were refused together would
        // come again together.
        let mut pauses = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(10))
            .with_max_delay(Duration::from_millis(125))
            .with_jitter()
            .without_max_times()
            .build();
        loop {
            let held = match self.try_acquire(conn, owner) {
                Err(error) if error.is_contention() => error,
                result => return result,
            };
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            // Behind the attempt: a timeout of zero is one attempt.
            if left.is_some_and(|left| left.is_zero()) {
                return Err(held);
            }
            let pause = pauses.next().unwrap_or_default();
            thread::sleep(left.map_or(pause, |left| pause.min(left)));
        }
    }

    /// Takes the lease for `admin`, whoever holds it, and leaves a row behind that says who took it
    /// from whom, and why ([`overrides`](Self::overrides)).
    ///
    /// Whoever held it is from now on too late for [`guarded`](HeldLease::guarded) writes. A
    /// guarded write that is on its way is waited for.
    ///
    /// Executes, on PostgreSQL, one statement that writes the lease and the row of
    /// `row_lock_overrides`; elsewhere a transaction.
    ///
    /// # Errors
    ///
    /// Those of [`try_acquire`](Self::try_acquire), but for `LeaseHeld`.
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
    /// let lease = Lease::named("month's end");
    /// let adas = lease.try_acquire(conn, "Ada")?;
    ///
    /// let _held = lease.override_by(conn, "the boss", "Ada is on holiday")?;
    ///
    /// let late = adas.guarded(conn, |_| Ok::<_, LockError>(()));
    /// assert!(matches!(late, Err(LockError::StaleToken { .. })));
    /// assert_eq!(lease.overrides(conn)?[0].ousted, Some(("Ada".to_owned(), adas.token())));
    /// # Ok(())
    /// # }
    /// ```
    pub fn override_by<C: LockConnection>(
        &self,
        conn: &mut C,
        admin: &str,
        reason: &str,
    ) -> Result<HeldLease, LockError> {
        let since = Instant::now();
        name::check("reason", reason, 0..=10_000)?;
        let values = Values {
            reason,
            ..self.values_of(admin)?
        };
        let row = if let Some(at_once) = C::Backend::AT_ONCE {
            one_row(conn, at_once.take_over, values)?.ok_or_else(|| self.held(None))?
        } else {
            transaction(conn, |conn| {
                // There must be a row to lock: between two that find none and insert one, MySQL's
                // gap locks are a deadlock.
                changed(conn, C::Backend::ENSURE_ROW, values)?;
                let before = look(conn, LOCK, values)?.into_iter().next();
                changed(conn, TAKE, values)?;
                let row = taken(conn, values)?;
                let ousted = before.and_then(|row| Some((row.1?, row.3)));
                let values = Values {
                    ousted: ousted.as_ref().map(|(owner, _)| owner.as_str()),
                    ousted_token: ousted.as_ref().map(|(_, token)| *token),
                    ..values
                };
                changed(conn, AUDIT, values)?;
                Ok(row)
            })?
        };
        Ok(self.held_as(&row, values, since))
    }

    fn values_of<'v>(&'v self, owner: &'v str) -> Result<Values<'v>, LockError> {
        name::check("owner", owner, 1..=255)?;
        Ok(Values {
            owner,
            nonce: handle::random(),
            ..self.values()?
        })
    }

    fn held_as(&self, row: &LeaseRow, values: Values<'_>, since: Instant) -> HeldLease {
        let handle = handle::Handle::new(row.3, values.nonce);
        HeldLease::acquired(self.clone(), handle, since)
    }

    /// The row of a statement whose last column says whether it was taken.
    fn if_taken(&self, row: Option<LeaseRow>) -> Result<LeaseRow, LockError> {
        match row {
            Some(row) if row.6 => Ok(row),
            row => Err(self.held(row)),
        }
    }

    fn held(&self, row: Option<LeaseRow>) -> LockError {
        LockError::LeaseHeld {
            lease: self.name.clone(),
            holder: row.and_then(|row| row.1),
        }
    }

    /// A holder whose lease has expired, but whose guarded transaction is still open, has the row
    /// locked: the one that was `seen` in it.
    fn lock_no_wait<C>(
        &self,
        conn: &mut C,
        values: Values<'_>,
        seen: Option<LeaseRow>,
    ) -> Result<Option<LeaseRow>, LockError>
    where
        C: LockConnection,
    {
        let statement = Statement {
            sql: LOCK_NO_WAIT,
            values,
        };
        let rows = C::Backend::leases(conn, &statement).map_err(|error| {
            match classify::<C::Backend>(error, Waiting::Never) {
                LockError::Busy { .. } => self.held(seen),
                other => other,
            }
        })?;
        Ok(rows.into_iter().next())
    }
}

/// The row that this transaction has written.
fn taken<C>(conn: &mut C, values: Values<'_>) -> Result<LeaseRow, LockError>
where
    C: LockConnection,
{
    let row = look(conn, LOOK, values)?.into_iter().next();
    row.ok_or(LockError::NotFound { key: None })
}
