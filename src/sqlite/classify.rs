//! What SQLite's errors mean.

use crate::backend::Cause;

/// How a message begins, and what it means. The texts are those of `sqlite3ErrStr` in `main.c`;
/// they are not translated.
pub(super) const MESSAGES: &[(&str, Cause)] = &[
    ("database is locked", Cause::Timeout),       // SQLITE_BUSY
    ("database table is locked", Cause::Timeout), // SQLITE_LOCKED, with a shared cache
    ("interrupted", Cause::Cancelled),            // SQLITE_INTERRUPT
];
