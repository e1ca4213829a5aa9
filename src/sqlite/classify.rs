//! What SQLite's errors mean.

use crate::backend::{Cause, Messages};

/// The texts of `sqlite3ErrStr` in `main.c`; they are not translated.
pub(super) const ENGLISH: Messages = &[
    ("database is locked%", Cause::Timeout),       // SQLITE_BUSY
    ("database table is locked%", Cause::Timeout), // SQLITE_LOCKED, with a shared cache
    ("interrupted", Cause::Cancelled),             // SQLITE_INTERRUPT
];
