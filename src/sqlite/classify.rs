//! What SQLite's errors mean.

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind};
use diesel::sqlite::Sqlite;

use crate::backend::{Cause, ErrorBackend, Messages};

impl ErrorBackend for Sqlite {
    /// The texts of `sqlite3ErrStr` in `main.c`, to the letter, and those of a shared cache, which
    /// name a table or a database; they are not translated. A text that only begins like one of
    /// these is a user's own (`RAISE`).
    const ENGLISH: Messages = &[
        ("database is locked", Cause::Timeout),          // SQLITE_BUSY
        ("database table is locked", Cause::Timeout),    // SQLITE_LOCKED
        ("database table is locked: %", Cause::Timeout), // the same, `vdbe.c`
        ("database schema is locked: %", Cause::Timeout), // the same, `prepare.c`
        ("interrupted", Cause::Cancelled),               // SQLITE_INTERRUPT
    ];

    fn classify_untranslated(
        _: &DatabaseErrorKind,
        _: &dyn DatabaseErrorInformation,
    ) -> Option<Cause> {
        None
    }

    const ALREADY_OPEN: Option<&'static str> =
        Some("cannot start a transaction within a transaction");
}
