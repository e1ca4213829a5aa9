//! What PostgreSQL's errors mean.
//!
//! Diesel keeps the message and throws the SQLSTATE away, but for a few kinds of its own
//! (`diesel::pg::connection::result`). What the messages mean stands in `messages.rs`.

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind};

use crate::backend::Cause;

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
