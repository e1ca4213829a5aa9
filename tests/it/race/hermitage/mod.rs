//! The anomalies of Hermitage (<https://github.com/ept/hermitage>): each appears without the lock,
//! and vanishes under it. On each server at the isolation level that it has by itself: READ
//! COMMITTED on PostgreSQL, REPEATABLE READ on MySQL and MariaDB; SQLite has one only.
//!
//! MariaDB has REPEATABLE READ in two forms. The older one, which is MySQL's too, locks and changes
//! rows that are newer than the snapshot. The other (`innodb_snapshot_isolation = ON`, the default
//! from 11.6.2 on) refuses to.

mod anti_dependency;
mod dirty_write;
mod lost_update;
mod read_skew;
mod write_predicate;

/// Account `$id` without the lock.
macro_rules! bare {
    ($conn:expr, $id:expr, |$inner:pat_param, $account:ident| $then:expr) => {
        $conn.transaction(|conn| {
            let mut $account: Account = accounts::table.find($id).first(conn)?;
            let $inner = conn;
            $then
        })
    };
}
use bare;

/// The same under the lock.
macro_rules! locked {
    ($conn:expr, $id:expr, |$inner:pat_param, $account:ident| $then:expr) => {
        diesel_row_lock::with_row_lock(
            $conn,
            accounts::table.find($id),
            |$inner, mut $account: diesel_row_lock::Locked<Account>| $then,
        )
    };
}
use locked;

/// The older form of REPEATABLE READ on MariaDB.
macro_rules! loose {
    ($db:ident) => {
        || {
            $db.loosen_snapshots();
            Ok($db.connect())
        }
    };
}
use loose;

/// The other one.
#[cfg(feature = "mysql")]
macro_rules! strict {
    ($db:ident) => {
        || {
            let mut conn = $db.connect();
            let strict = "SET innodb_snapshot_isolation = ON";
            diesel::connection::SimpleConnection::batch_execute(&mut conn, strict).unwrap();
            Ok(conn)
        }
    };
}
#[cfg(feature = "mysql")]
use strict;

/// What strict snapshots refuse, as an error of this crate, and as one of Diesel's.
#[cfg(feature = "mysql")]
const CONFLICT: Result<&str, &str> = Err("the transaction conflicts with a concurrent one");
#[cfg(feature = "mysql")]
const CHANGED: Result<&str, &str> =
    Err("Record has changed since last read in table 'accounts'; try restarting transaction");

/// In SQLite's words: who has read what is old by now is not let write, and does not wait.
const REFUSED: Result<&str, &str> = Err("database is locked");
