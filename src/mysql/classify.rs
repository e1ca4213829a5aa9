//! What the errors of MySQL and MariaDB mean.
//!
//! Diesel keeps the message and throws the error number away, but for a few kinds of its own
//! (`diesel::mysql::connection::stmt`), and those only for prepared statements. What the
//! messages mean stands in `messages.rs`.

use diesel::mysql::Mysql;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind};

use super::messages;
use crate::backend::{Cause, ErrorBackend, Messages, Translations};

impl ErrorBackend for Mysql {
    const ENGLISH: Messages = messages::ENGLISH;
    const TRANSLATIONS: Translations = messages::TRANSLATIONS;

    /// 1213 has a kind of its own.
    fn classify_untranslated(
        kind: &DatabaseErrorKind,
        _: &dyn DatabaseErrorInformation,
    ) -> Option<Cause> {
        matches!(kind, DatabaseErrorKind::SerializationFailure).then_some(Cause::Deadlock)
    }

    /// An XA transaction, whose errors bear their symbol in every language.
    const ALREADY_OPEN: Option<&'static str> = Some("XAER_");

    /// A syntax error quotes what it could not read, and an unknown variable is named, in every
    /// language.
    fn lacks(message: &str) -> Option<&'static str> {
        if message.contains("'OF `") {
            Some(
                "this server has no `FOR UPDATE OF table`; without `.of(…)` the rows of every \
                 table of the query are locked",
            )
        } else {
            None
        }
    }
}
