//! How leases that ended are deleted.

use std::time::Duration;

use super::run::{changed, look, transaction};
use super::{name, Lease};
use crate::backend::lease::sql::{Values, PURGE, RAISE_FLOOR};
use crate::backend::lease::LeaseBackend;
use crate::connection::LockConnection;
use crate::error::LockError;

impl Lease {
    /// Deletes the rows of leases that ended more than `age` ago, and returns their number.
    ///
    /// It neither waits for another session nor makes one wait for longer than its own short
    /// transactions, of up to 500 rows each. A row that is locked, such as that of a holder whose
    /// [guarded](super::HeldLease::guarded) write is late, is left for the next purge. Tokens go on
    /// rising: the highest one that was purged is kept.
    ///
    /// Executes, in transactions, `SELECT … FROM row_lock_leases WHERE expires_at < … FOR UPDATE
    /// SKIP LOCKED`, `UPDATE row_lock_lease_floor SET token = …` and `DELETE FROM row_lock_leases
    /// WHERE name IN (…)`.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire), but for `LeaseHeld`;
    /// [`NotFound`](LockError::NotFound) if `row_lock_lease_floor` has lost its row. What was
    /// purged before the error stays purged.
    pub fn purge<C: LockConnection>(conn: &mut C, age: Duration) -> Result<usize, LockError> {
        let values = Values {
            // Zero is no time to live, but it is an age.
            ttl: name::micros(age.max(Duration::from_nanos(1)))?,
            ..Values::default()
        };
        let mut purged = 0;
        loop {
            // A transaction for each part: none holds many rows for long.
            match transaction(conn, |conn| purge_some(conn, values))? {
                0 => return Ok(purged),
                some => purged += some,
            }
        }
    }
}

fn purge_some<C: LockConnection>(conn: &mut C, values: Values<'_>) -> Result<usize, LockError> {
    // Locked until the end of the transaction, so none of them is acquired in between.
    let ended = look(conn, C::Backend::ENDED, values)?;
    let Some(highest) = ended.iter().map(|row| row.3).max() else {
        return Ok(0);
    };
    let names: Vec<&str> = ended.iter().map(|row| &*row.0).collect();
    let values = Values {
        token: highest,
        names: &names,
        ..values
    };
    // In the transaction of the `DELETE`: a session that inserts such a row again waits for its
    // end, and sees the floor then.
    if changed(conn, RAISE_FLOOR, values)? == 0 {
        return Err(LockError::NotFound {
            key: Some("1 of row_lock_lease_floor".to_owned()),
        });
    }
    changed(conn, PURGE, values)
}
