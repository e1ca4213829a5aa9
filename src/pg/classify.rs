//! What PostgreSQL's errors mean.
//!
//! Diesel keeps the message and throws the SQLSTATE away, but for a few kinds of its own
//! (`diesel::pg::connection::result`).

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind};

use crate::backend::Cause;

/// How a message begins, and what it means. The texts are those of the server's `errmsg` calls
/// in `lockcmds.c`, `lmgr.c`, `heapam.c`, `deadlock.c`, `postgres.c` and `predicate.c`.
pub(super) const MESSAGES: &[(&str, Cause)] = &[
    ("could not obtain lock on ", Cause::Busy), // 55P03
    ("canceling statement due to lock timeout", Cause::Timeout), // 55P03
    ("deadlock detected", Cause::Deadlock),     // 40P01
    ("could not serialize access ", Cause::SerializationFailure), // 40001
    (
        "canceling statement due to statement timeout",
        Cause::StatementTimeout,
    ), // 57014
    ("canceling statement due to user request", Cause::Cancelled), // 57014
    ("current transaction is aborted, ", Cause::Aborted), // 25P02
    ("terminating connection ", Cause::ConnectionLost), // 57P01, 25P03
];

/// 40001 has a kind of its own. A deadlock (40P01) names the modes of the locks in its details,
/// and those names are not translated.
pub(super) fn untranslated(
    kind: &DatabaseErrorKind,
    info: &dyn DatabaseErrorInformation,
) -> Option<Cause> {
    match kind {
        DatabaseErrorKind::SerializationFailure => Some(Cause::SerializationFailure),
        DatabaseErrorKind::Unknown if info.details()?.contains("ShareLock") => {
            Some(Cause::Deadlock)
        }
        _ => None,
    }
}
