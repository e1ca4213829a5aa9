//! How a lease changes hands.

use std::thread;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};

use super::backend::LeaseBackend;
use super::held::HeldLease;
use super::sql::{LeaseRow, Statement, Values, AUDIT, LOCK, LOCK_NO_WAIT, LOOK, NEXT_TOKEN, TAKE};
use super::view::look;
use super::{changed, name, refuse_nested, transaction, Lease};
use crate::backend::{classify, Waiting};
use crate::connection::LockConnection;
use crate::error::LockError;
use crate::transaction::run_alone;

impl Lease {
    /// Acquires the lease if nobody holds it, or whoever did has let its time run out.
    ///
    /// `owner` says to others who holds it. It gives no rights: nobody has a lease twice, not even the
    /// same owner; what counts is the token in the [`HeldLease`].
    ///
    /// Executes, on PostgreSQL, one statement:
    /// `INSERT INTO row_lock_leases … ON CONFLICT (name) DO UPDATE … WHERE …`. Elsewhere a transaction
    /// that looks at the row, locks it, counts the tokens up and writes it.
    ///
    /// # Errors
    ///
    /// - [`LeaseHeld`](LockError::LeaseHeld): somebody holds it;
    /// - [`InvalidLease`](LockError::InvalidLease): the name, the note, the owner or the time to live
    ///   can't be; nothing is sent;
    /// - [`AlreadyInTransaction`](LockError::AlreadyInTransaction): a transaction is open, whose
    ///   rollback would take the lease away again unnoticed;
    /// - [`CommitUnknown`](LockError::CommitUnknown): the connection was lost.
    ///   [`holder`](Self::holder) tells, on another one;
    /// - those of [`RowLock::with`](crate::RowLock::with) that a database has for every write.
    pub fn try_acquire<C: LockConnection>(
        &self,
        conn: &mut C,
        owner: &str,
    ) -> Result<HeldLease, LockError> {
        let values = self.values_of(owner)?;
        let row = if let Some(at_once) = C::Backend::AT_ONCE {
            let rows = alone(conn, at_once.acquire, values)?;
            self.taken(rows.into_iter().next())?
        } else {
            transaction(conn, |conn| {
                let seen = look(conn, LOOK, values)?.into_iter().next();
                if seen.is_none() {
                    changed(conn, C::Backend::ENSURE_ROW, values)?;
                }
                // Without waiting, for which there are other calls.
                self.free(seen)?;
                let locked = self.lock_no_wait(conn, values)?;
                self.free(locked)?;
                take(conn, values)
            })?
        };
        Ok(HeldLease::new(self.clone(), row.3))
    }

    /// Acquires the lease as soon as nobody else holds it.
    ///
    /// It asks again and again, after pauses of 10 to 250 ms with a random part. Callers are not served
    /// in the order in which they came.
    ///
    /// Executes the SQL of [`try_acquire`](Self::try_acquire).
    ///
    /// # Errors
    ///
    /// Those of [`try_acquire`](Self::try_acquire), but for `LeaseHeld`.
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
    /// Those of [`try_acquire`](Self::try_acquire); [`LeaseHeld`](LockError::LeaseHeld) if the time is
    /// over.
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
            if left.is_some_and(|left| left.is_zero()) {
                return Err(held);
            }
            let pause = pauses.next().unwrap_or_default();
            thread::sleep(left.map_or(pause, |left| pause.min(left)));
        }
    }

    /// Takes the lease for `admin`, whoever holds it, and leaves a row behind that says who took it from
    /// whom, and why ([`overrides`](Self::overrides)).
    ///
    /// Whoever held it is from now on too late for [`guarded`](HeldLease::guarded) writes. A guarded
    /// write that is on its way is waited for.
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
        name::check("reason", reason, 0..=10_000)?;
        let values = Values {
            reason,
            ..self.values_of(admin)?
        };
        let row = if let Some(at_once) = C::Backend::AT_ONCE {
            let rows = alone(conn, at_once.take_over, values)?;
            self.taken(rows.into_iter().next())?
        } else {
            transaction(conn, |conn| {
                changed(conn, C::Backend::ENSURE_ROW, values)?;
                let before = look(conn, LOCK, values)?.into_iter().next();
                let row = take(conn, values)?;
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
        Ok(HeldLease::new(self.clone(), row.3))
    }

    fn values_of<'v>(&'v self, owner: &'v str) -> Result<Values<'v>, LockError> {
        name::check("owner", owner, 1..=255)?;
        Ok(Values {
            owner,
            ..self.values()?
        })
    }

    /// The row, of a statement that says by its last column whether it was taken.
    fn taken(&self, row: Option<LeaseRow>) -> Result<LeaseRow, LockError> {
        match row {
            Some(row) if row.6 => Ok(row),
            // `None`: somebody has inserted it just now.
            row => Err(self.held(row)),
        }
    }

    /// Of a statement that says by its last column whether it can be had.
    fn free(&self, row: Option<LeaseRow>) -> Result<(), LockError> {
        match row {
            Some(row) if !row.6 => Err(self.held(Some(row))),
            _ => Ok(()),
        }
    }

    fn held(&self, row: Option<LeaseRow>) -> LockError {
        LockError::LeaseHeld {
            lease: self.name.clone(),
            holder: row.and_then(|row| row.1),
        }
    }

    /// A holder that was late, but is in a guarded transaction, still has the row.
    fn lock_no_wait<C>(
        &self,
        conn: &mut C,
        values: Values<'_>,
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
                LockError::Busy { .. } => self.held(None),
                other => other,
            }
        })?;
        Ok(rows.into_iter().next())
    }
}

fn alone<C>(conn: &mut C, sql: &'static str, values: Values<'_>) -> Result<Vec<LeaseRow>, LockError>
where
    C: LockConnection,
{
    refuse_nested(conn)?;
    run_alone(conn, |conn| {
        C::Backend::leases(conn, &Statement { sql, values })
    })
}

/// The row is locked: whoever takes a token now has the highest of this lease, since nobody else can
/// take one for it before this transaction ends.
fn take<C>(conn: &mut C, values: Values<'_>) -> Result<LeaseRow, LockError>
where
    C: LockConnection,
{
    changed(conn, NEXT_TOKEN, values)?;
    changed(conn, TAKE, values)?;
    let row = look(conn, LOOK, values)?.into_iter().next();
    row.ok_or(LockError::NotFound { key: None })
}
