//! What the errors of MySQL and MariaDB mean.
//!
//! Diesel keeps the message and throws the error number away, but for a few kinds of its own
//! (`diesel::mysql::connection::stmt`), and those only for prepared statements.

use diesel::result::DatabaseErrorKind;

use crate::backend::Cause;

/// How a message begins, and what it means. The server's texts stand in `errmsg-utf8.txt`
/// (MariaDB) and `messages_to_clients.txt` (MySQL), the client library's in `errmsg.c`.
pub(super) const MESSAGES: &[(&str, Cause)] = &[
    ("Lock wait timeout exceeded", Cause::Timeout), // 1205
    ("Deadlock found when trying to get lock", Cause::Deadlock), // 1213
    (
        "Record has changed since last read",
        Cause::SerializationFailure,
    ), // 1020
    (
        "Statement aborted because lock(s) could not be acquired immediately",
        Cause::Busy,
    ), // 3572
    (
        "Query execution was interrupted (max_statement_time exceeded)",
        Cause::StatementTimeout,
    ), // 1969
    (
        "Query execution was interrupted, maximum statement execution time",
        Cause::StatementTimeout,
    ), // 3024
    ("Query execution was interrupted", Cause::Cancelled), // 1317
    ("Connection was killed", Cause::ConnectionLost), // 1927
    ("Server shutdown in progress", Cause::ConnectionLost), // 1053
    ("Server has gone away", Cause::ConnectionLost), // 2006
    ("MySQL server has gone away", Cause::ConnectionLost), // 2006
    ("Lost connection to ", Cause::ConnectionLost), // 2013
];

/// 1213 has a kind of its own.
pub(super) fn untranslated(kind: &DatabaseErrorKind) -> Option<Cause> {
    matches!(kind, DatabaseErrorKind::SerializationFailure).then_some(Cause::Deadlock)
}
