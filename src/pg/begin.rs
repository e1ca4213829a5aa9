//! How a transaction begins and ends on PostgreSQL.
//!
//! Each text is one simple query, hence one round trip. The server runs it up to the first error,
//! so a `COMMIT` behind a statement that fails is never reached.

use std::borrow::Cow;
use std::time::Duration;

use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, QueryResult};

use super::{classify, messages};
use crate::backend::{batch, Cause, LockBackend, Messages, Translations, Waiting};

impl LockBackend for Pg {
    const VICTIM_LOSES_TRANSACTION: bool = false;
    const ROW_VALUES: &'static str = "";
    const CREATE_COMMITS: &'static str =
        include_str!("../../migrations/postgres/2026-11-22-000001_row_lock_commits/up.sql");

    fn seconds_ago(seconds: u32) -> String {
        format!("CURRENT_TIMESTAMP - INTERVAL '{seconds} seconds'")
    }

    /// A timeout is a setting of the transaction (see [`LockBackend::begin`]).
    fn wait_sql(waiting: Waiting) -> Cow<'static, str> {
        match waiting {
            Waiting::Session | Waiting::AtMost(_) => "",
            Waiting::Never => " NOWAIT",
            Waiting::Skip => " SKIP LOCKED",
        }
        .into()
    }

    /// The guard is a cursor: it ends with the transaction, as a savepoint does, but costs no
    /// subtransaction, and `CLOSE` fails both when the cursor is gone and when the transaction is
    /// aborted.
    fn begin<C>(conn: &mut C, waiting: Waiting, first: Option<&str>) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        const BEGIN: &str = "BEGIN; DECLARE row_lock_guard CURSOR FOR SELECT";
        let timeout = match waiting {
            Waiting::AtMost(time) => Some(format!("SET LOCAL lock_timeout = {}", millis(time))),
            _ => None,
        };
        conn.batch_execute(&batch(&batch(BEGIN, timeout.as_deref()), first))
    }

    fn commit(_: Waiting) -> Cow<'static, str> {
        "CLOSE row_lock_guard; COMMIT".into()
    }

    fn rollback(_: Waiting) -> Cow<'static, str> {
        "CLOSE row_lock_guard; ROLLBACK".into()
    }

    fn abandon(_: Waiting) -> Cow<'static, str> {
        "ROLLBACK".into()
    }

    /// `SET LOCAL` lasts to the end of the outermost transaction, so the outer value is kept in a
    /// setting of our own, for [`release`](LockBackend::release) to put back.
    fn savepoint(name: &str, waiting: Waiting) -> String {
        match waiting {
            Waiting::AtMost(time) => format!(
                "SAVEPOINT {name}; \
                 SELECT set_config('row_lock.{name}', current_setting('lock_timeout'), true); \
                 SET LOCAL lock_timeout = {}",
                millis(time)
            ),
            _ => format!("SAVEPOINT {name}"),
        }
    }

    fn release(name: &str, waiting: Waiting) -> String {
        match waiting {
            Waiting::AtMost(_) => format!(
                "SELECT set_config('lock_timeout', current_setting('row_lock.{name}'), true); \
                 RELEASE SAVEPOINT {name}"
            ),
            _ => format!("RELEASE SAVEPOINT {name}"),
        }
    }

    const ENGLISH: Messages = messages::ENGLISH;
    const TRANSLATIONS: Translations = messages::TRANSLATIONS;

    fn classify_untranslated(
        kind: &DatabaseErrorKind,
        info: &dyn DatabaseErrorInformation,
    ) -> Option<Cause> {
        classify::untranslated(kind, info)
    }
}

/// Whole milliseconds, rounded up: rounded down, the shortest times would be zero, which means
/// for ever here.
fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_micros().div_ceil(1000))
        .unwrap_or(i32::MAX)
        .max(1)
}
