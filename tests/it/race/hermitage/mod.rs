//! The anomalies of Hermitage (<https://github.com/ept/hermitage>): each appears without the lock, and
//! vanishes under it. On each server at the isolation level that it has by itself: READ COMMITTED on
//! PostgreSQL, REPEATABLE READ on MariaDB; SQLite has one only.

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

/// In SQLite's words: who has read what is old by now is not let write, and does not wait.
const REFUSED: Result<&str, &str> = Err("database is locked");
