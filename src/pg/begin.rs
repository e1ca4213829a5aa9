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
use crate::backend::{Cause, LockBackend, Messages, Settings, Translations, Waiting};

impl LockBackend for Pg {
    const SYSTEM: &'static str = "postgresql";
    const VICTIM_LOSES_TRANSACTION: bool = false;
    const CONNECTIONS_PER_ROW: usize = 2;
    const ROW_VALUES: &'static str = "";
    const BINDS: usize = 65_535;
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
    fn begin<C>(conn: &mut C, settings: Settings, first: Option<&str>) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        let mut begin = "BEGIN; DECLARE row_lock_guard CURSOR FOR SELECT".to_owned();
        if let Waiting::AtMost(time) = settings.waiting {
            begin += &format!("; SET LOCAL lock_timeout = {}", millis(time));
        }
        if let Some(hold) = settings.hold {
            begin += &limit_hold(hold, settings.waiting);
        }
        if let Some(first) = first {
            begin += "; ";
            begin += first;
        }
        conn.batch_execute(&begin)
    }

    fn commit(_: Settings) -> Cow<'static, str> {
        "CLOSE row_lock_guard; COMMIT".into()
    }

    fn rollback(_: Settings) -> Cow<'static, str> {
        "CLOSE row_lock_guard; ROLLBACK".into()
    }

    fn abandon(_: Settings) -> Cow<'static, str> {
        "ROLLBACK".into()
    }

    /// `SET LOCAL` lasts to the end of the outermost transaction, so the outer value is kept in a
    /// setting of our own.
    fn limit_waits(name: &str, time: Duration) -> Option<String> {
        Some(format!(
            "SELECT set_config('row_lock.{name}', current_setting('lock_timeout'), true); \
             SET LOCAL lock_timeout = {}",
            millis(time)
        ))
    }

    fn unlimit_waits(name: &str) -> Option<String> {
        Some(format!(
            "SELECT set_config('lock_timeout', current_setting('row_lock.{name}'), true)"
        ))
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

/// Behind the `BEGIN`: the server ends a session whose transaction idles too long, and from
/// PostgreSQL 17 on one whose transaction takes too long. The latter counts the wait for the lock
/// too, so it can be had only where that has a limit of its own.
fn limit_hold(hold: Duration, waiting: Waiting) -> String {
    let idle = format!(
        "; SET LOCAL idle_in_transaction_session_timeout = {}",
        millis(hold)
    );
    let wait = match waiting {
        Waiting::Session => return idle,
        Waiting::Never | Waiting::Skip => Duration::ZERO,
        Waiting::AtMost(time) => time,
    };
    let all = millis(hold.saturating_add(wait));
    idle + &format!(
        "; SELECT set_config('transaction_timeout', '{all}', true) \
         WHERE current_setting('server_version_num')::int >= 170000"
    )
}

/// Whole milliseconds, rounded up: rounded down, the shortest times would be zero, which means
/// for ever here.
fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_micros().div_ceil(1000))
        .unwrap_or(i32::MAX)
        .max(1)
}
