//! The settings of a session that a locked call changes, and how they are put back.
//!
//! What only one of the two servers has stands in a conditional comment (see `clause.rs`). The old
//! values are kept in variables of the session, which are `NULL` while no locked call is open.

use std::time::Duration;

use crate::backend::{Settings, Waiting, GUARD};
use crate::isolation::Isolation;

/// Switches the fence on (see [`begin`](super::transaction)), and what the request asks for.
pub(super) fn on(settings: Settings) -> String {
    // A variable that is set already holds the user's own value: an earlier call could not put it
    // back, and what the session has now is that call's. The errno of an earlier call must not be
    // taken for the closure's.
    format!(
        "SET @row_lock_autocommit = COALESCE(CAST(@row_lock_autocommit AS SIGNED), @@autocommit), \
         @row_lock_errno = NULL, {MYSQL_REFUSES_XA} {}autocommit = 0{}{}",
        isolation_on_mysql(settings.isolation),
        limit_hold(settings.hold),
        limit_wait(settings.waiting, GUARD)
    )
}

/// MySQL refuses to set this while a transaction is in progress, an XA transaction among them, and
/// it is what the next one has anyway.
const MYSQL_REFUSES_XA: &str = "/*!50700 @@transaction_read_only = @@transaction_read_only, */";

/// In front of what begins the transaction: MariaDB's isolation level, of the next transaction
/// alone.
pub(super) fn isolation_on_mariadb(isolation: Option<Isolation>) -> String {
    match isolation {
        Some(level) => format!("SET TRANSACTION ISOLATION LEVEL {}; ", level.sql()),
        None => String::new(),
    }
}

/// In a `SET`: MySQL's isolation level, without `SESSION` of the next transaction alone.
fn isolation_on_mysql(isolation: Option<Isolation>) -> String {
    match isolation {
        Some(level) => {
            let level = level.sql().replace(' ', "-");
            format!("/*!50700 @@transaction_isolation = '{level}', */ ")
        }
        None => String::new(),
    }
}

/// The settings as they were. Only behind a `COMMIT` or a `ROLLBACK`: to switch `autocommit` on
/// commits what is open. It may run any number of times.
///
/// The casts are for variables that were not set when the statement was prepared: the servers take
/// these for texts, and MariaDB a switch with them (`'ON'`).
pub(super) fn back(settings: Settings) -> String {
    let hold = match settings.hold {
        Some(_) => HOLD_BACK,
        None => "",
    };
    format!("{BACK}{hold}{}", wait_back(settings.waiting, GUARD))
}

/// The settings as they were before any call that could not put them back. That may have been a
/// nested one, of any level: the first that changed MySQL's timeout has kept the user's own.
pub(super) fn all_back() -> String {
    format!(
        "{BACK}{HOLD_BACK} /*!50700 , innodb_lock_wait_timeout = \
         CAST(COALESCE(SUBSTRING_INDEX(@row_lock_wait, ' ', -1), @@innodb_lock_wait_timeout) \
             AS UNSIGNED), \
         @row_lock_wait = NULL */"
    )
}

// `COALESCE` with the present value: run again, when the variable is `NULL`, it changes nothing.

const BACK: &str =
    "SET autocommit = COALESCE(CAST(@row_lock_autocommit AS SIGNED), @@autocommit), \
     @row_lock_autocommit = NULL, @row_lock_broken = NULL";

/// Behind a `SET`.
const HOLD_BACK: &str = " /*M! , idle_transaction_timeout = \
     CAST(COALESCE(@row_lock_hold, @@idle_transaction_timeout) AS UNSIGNED) */ \
     /*!50700 , wait_timeout = \
     CAST(COALESCE(@row_lock_hold, @@wait_timeout) AS UNSIGNED) */, \
     @row_lock_hold = NULL";

/// Behind a `SET`: MySQL's timeout, with the old one kept under the level's name. `@row_lock_wait`
/// has the name of the first level that has changed it, and the user's own value.
pub(super) fn limit_wait(waiting: Waiting, level: &str) -> String {
    match waiting {
        Waiting::AtMost(time) => format!(
            " /*!50700 , @row_lock_wait_{level} = @@innodb_lock_wait_timeout, \
             @row_lock_wait = COALESCE(@row_lock_wait, \
                 CONCAT('{level} ', @@innodb_lock_wait_timeout)), \
             innodb_lock_wait_timeout = {} */",
            seconds(time)
        ),
        _ => String::new(),
    }
}

/// Behind a `SET`.
pub(super) fn wait_back(waiting: Waiting, level: &str) -> String {
    match waiting {
        Waiting::AtMost(_) => format!(
            " /*!50700 , innodb_lock_wait_timeout = \
             CAST(COALESCE(@row_lock_wait_{level}, @@innodb_lock_wait_timeout) AS UNSIGNED), \
             @row_lock_wait = IF(@row_lock_wait LIKE '{level} %', NULL, @row_lock_wait), \
             @row_lock_wait_{level} = NULL */"
        ),
        _ => String::new(),
    }
}

/// Behind a `SET`: how long the server lets a transaction idle (MariaDB), or a session (MySQL).
fn limit_hold(hold: Option<Duration>) -> String {
    match hold {
        Some(time) => format!(
            " /*M! , @row_lock_hold = @@idle_transaction_timeout, \
             idle_transaction_timeout = {0} */ \
             /*!50700 , @row_lock_hold = @@wait_timeout, wait_timeout = {0} */",
            seconds(time)
        ),
        None => String::new(),
    }
}

/// A year. MariaDB cuts a longer time down to that, or refuses it if `sql_mode` has
/// `STRICT_ALL_TABLES`; MySQL takes no longer one.
const LONGEST: u64 = 365 * 24 * 60 * 60;

/// Whole seconds, rounded up; no server takes less.
pub(super) fn seconds(time: Duration) -> u64 {
    time.as_micros()
        .div_ceil(1_000_000)
        .try_into()
        .unwrap_or(u64::MAX)
        .clamp(1, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_whole_and_between_one_and_a_year() {
        let second = Duration::from_secs(1);
        for (time, expected) in [
            (Duration::ZERO, 1),
            (Duration::from_nanos(1), 1),
            (second, 1),
            (second + Duration::from_micros(1), 2),
            (31_535_999 * second, 31_535_999),
            (31_536_000 * second, 31_536_000),
            (31_536_001 * second, 31_536_000),
            (Duration::MAX, 31_536_000),
        ] {
            assert_eq!(seconds(time), expected, "{time:?}");
        }
    }
}
