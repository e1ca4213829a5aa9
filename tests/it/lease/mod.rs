//! Leases: one holder at a time, and no write of a late one.

mod clocks;
mod frozen;
mod hands;
mod history;
mod keep_alive;
mod names;
mod views;

/// A connection to a database with the leases' tables.
macro_rules! set_up {
    ($db:ident) => {{
        let mut conn = $db.connect();
        diesel_row_lock::Lease::create_tables(&mut conn).unwrap();
        conn
    }};
}
use set_up;

/// The name of the holder that `$result` says is in the way.
macro_rules! assert_held_by {
    ($result:expr, $holder:expr) => {
        match $result {
            Err(LockError::LeaseHeld { holder, .. }) => {
                assert_eq!(holder.as_deref(), Some($holder));
            }
            other => panic!("not held: {other:?}"),
        }
    };
}
use assert_held_by;

macro_rules! assert_stale {
    ($result:expr) => {
        match $result {
            Err(LockError::StaleToken { .. }) => {}
            other => panic!("not stale: {other:?}"),
        }
    };
}
use assert_stale;

/// Lets the time of a lease run out at once, without waiting for it.
const EXPIRE: &str = "UPDATE row_lock_leases SET expires_at = expires_at - ttl - 1000000";
