//! Leases: one holder at a time, and no write of a late one.

mod clocks;
mod frozen;
mod guarded;
mod hands;
mod history;
mod isolation;
mod keep_alive;
mod losses;
mod names;
mod purges;
mod renewals;
mod tokens;
mod views;

use diesel_row_lock::lease::Handle;

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

/// A handle that no lease was acquired with.
fn forged() -> Handle {
    "1-0000000000000001".parse().unwrap()
}

/// What the server's clock says, in microseconds since 1970.
macro_rules! server_clock {
    ($conn:expr) => {
        diesel::dsl::sql::<diesel::sql_types::BigInt>(crate::lease::clock_sql(Db::STAMP))
            .get_result::<i64>($conn)
            .unwrap()
    };
}
use server_clock;

fn clock_sql(backend: &str) -> &'static str {
    match backend {
        "postgres" => "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
        "sqlite" => {
            "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000"
        }
        _ => "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))",
    }
}

/// The end of a lease, as the server has it.
macro_rules! expiry {
    ($conn:expr, $name:expr) => {
        diesel::sql_query(format!(
            "SELECT expires_at AS number FROM row_lock_leases WHERE name = '{}'",
            $name
        ))
        .get_result::<crate::lease::Number>($conn)
        .unwrap()
        .number
    };
}
use expiry;

/// One number of a query by hand.
#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    number: i64,
}

/// How a guarded write, or a caller who acquires the lease, has its row locked.
const LOCK_ROW: &str =
    "SELECT token AS number FROM row_lock_leases WHERE name = 'books' FOR UPDATE";

/// Lets the time of a lease run out at once, without waiting for it.
const EXPIRE: &str = "UPDATE row_lock_leases SET expires_at = expires_at - ttl - 1000000";
