//! What the errors of MySQL and MariaDB mean.
//!
//! Diesel keeps the message and throws the error number away, but for a few kinds of its own
//! (`diesel::mysql::connection::stmt`), and those only for prepared statements. What the
//! messages mean stands in `messages.rs`.

use diesel::result::DatabaseErrorKind;

use crate::backend::Cause;

/// 1213 has a kind of its own.
pub(super) fn untranslated(kind: &DatabaseErrorKind) -> Option<Cause> {
    matches!(kind, DatabaseErrorKind::SerializationFailure).then_some(Cause::Deadlock)
}
