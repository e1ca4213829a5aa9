//! What can be seen of leases, and who has taken one from whom.

use std::time::{Duration, SystemTime};

use super::run::look;
use super::Lease;
use crate::backend::lease::sql::{
    LeaseRow, OverrideRow, Statement, Values, EXPIRED, HOLDERS, LOOK, OVERRIDES,
};
use crate::backend::lease::LeaseBackend;
use crate::backend::{classify, Waiting};
use crate::connection::LockConnection;
use crate::error::LockError;

/// Who holds a lease. The times are those of the server's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The name of the lease.
    pub lease: String,
    /// Who.
    pub owner: String,
    /// What for.
    pub note: String,
    /// Since when.
    pub acquired: SystemTime,
    /// Until when, if it is neither renewed nor released.
    pub expires: SystemTime,
    /// The token that it was acquired with.
    pub token: i64,
    /// Whether anybody may have it by now: that time is over, or the server's clock was set back so
    /// far that it is further away than the lease lasts.
    pub expired: bool,
}

/// A lease that was taken by force.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Override {
    /// The name of the lease.
    pub lease: String,
    /// By whom.
    pub admin: String,
    /// Why.
    pub reason: String,
    /// The admin's token.
    pub token: i64,
    /// From whom, and with which token; `None` if nobody held it.
    pub ousted: Option<(String, i64)>,
    /// When, by the server's clock.
    pub at: SystemTime,
}

impl Holder {
    /// `None` if nobody holds it.
    pub(super) fn of(row: LeaseRow) -> Option<Self> {
        let (lease, owner, note, token, acquired, expires, expired) = row;
        Some(Self {
            lease,
            owner: owner?,
            note,
            acquired: time(acquired),
            expires: time(expires),
            token,
            expired,
        })
    }
}

impl Override {
    fn of(row: OverrideRow) -> Self {
        let (lease, admin, reason, token, ousted, ousted_token, at) = row;
        Self {
            lease,
            admin,
            reason,
            token,
            ousted: ousted.zip(ousted_token),
            at: time(at),
        }
    }
}

fn time(micros: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

impl Lease {
    /// Who holds it, be it that its time is over, or `None`.
    ///
    /// It may be asked in a transaction, too. The answer is old when it arrives.
    ///
    /// Executes `SELECT … FROM row_lock_leases WHERE name = …`.
    ///
    /// # Errors
    ///
    /// - [`InvalidLease`](LockError::InvalidLease): there can be no such lease;
    /// - those of [any statement](crate::errors#any-statement).
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
    /// let lease = Lease::named("month's end").note("closing the books");
    /// let _held = lease.try_acquire(conn, "Ada")?;
    ///
    /// let holder = lease.holder(conn)?.expect("Ada");
    /// assert_eq!((&*holder.owner, &*holder.note), ("Ada", "closing the books"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn holder<C: LockConnection>(&self, conn: &mut C) -> Result<Option<Holder>, LockError> {
        let rows = look(conn, LOOK, self.values()?)?;
        Ok(rows.into_iter().find_map(Holder::of))
    }

    /// Everybody who holds a lease, be it that its time is over, those first who have held theirs
    /// longest.
    ///
    /// Executes `SELECT … FROM row_lock_leases WHERE owner IS NOT NULL`.
    ///
    /// # Errors
    ///
    /// Those of [any statement](crate::errors#any-statement).
    pub fn holders<C: LockConnection>(conn: &mut C) -> Result<Vec<Holder>, LockError> {
        let rows = look(conn, HOLDERS, Values::default())?;
        Ok(rows.into_iter().filter_map(Holder::of).collect())
    }

    /// Every lease whose holder has let its time run out, those that have waited longest first.
    ///
    /// Executes `SELECT … FROM row_lock_leases WHERE owner IS NOT NULL AND (expires_at <= … OR …)`.
    ///
    /// # Errors
    ///
    /// Those of [any statement](crate::errors#any-statement).
    pub fn expired<C: LockConnection>(conn: &mut C) -> Result<Vec<Holder>, LockError> {
        let rows = look(conn, EXPIRED, Values::default())?;
        Ok(rows.into_iter().filter_map(Holder::of).collect())
    }

    /// Who has taken this lease by force, the first one first. [`purge`](Self::purge) leaves these
    /// be.
    ///
    /// Executes `SELECT … FROM row_lock_overrides WHERE name = …`.
    ///
    /// # Errors
    ///
    /// As [`holder`](Self::holder).
    pub fn overrides<C: LockConnection>(&self, conn: &mut C) -> Result<Vec<Override>, LockError> {
        let statement = Statement {
            sql: OVERRIDES,
            values: self.values()?,
        };
        let rows = C::Backend::overrides(conn, &statement)
            .map_err(|error| classify::<C::Backend>(error, Waiting::Session))?;
        Ok(rows.into_iter().map(Override::of).collect())
    }
}
