//! How a transaction begins and ends on MySQL and MariaDB.
//!
//! Each text is one `COM_QUERY`. The server runs it up to the first error, so a `COMMIT` behind a
//! statement that fails is never reached.

use std::borrow::Cow;
use std::time::Duration;

use diesel::connection::LoadConnection;
use diesel::dsl::sql;
use diesel::mysql::Mysql;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, QueryResult};
use diesel::sql_types::{BigInt, Nullable};
use diesel::RunQueryDsl;

use super::{classify, messages};
use crate::backend::{batch, Cause, LockBackend, Messages, Translations, Waiting};

impl LockBackend for Mysql {
    const VICTIM_LOSES_TRANSACTION: bool = true;
    const ROW_VALUES: &'static str = "";
    const CREATE_COMMITS: &'static str =
        include_str!("../../migrations/mysql/2026-11-22-000001_row_lock_commits/up.sql");

    fn seconds_ago(seconds: u32) -> String {
        format!("CURRENT_TIMESTAMP - INTERVAL {seconds} SECOND")
    }

    /// MariaDB takes the time in the clause, in whole seconds; MySQL as a setting of the session
    /// (see [`wait_setting`]).
    fn wait_sql(waiting: Waiting) -> Cow<'static, str> {
        match waiting {
            Waiting::Session => "".into(),
            Waiting::Never => " NOWAIT".into(),
            Waiting::Skip => " SKIP LOCKED".into(),
            Waiting::AtMost(time) => format!(" /*M! WAIT {} */", seconds(time)).into(),
        }
    }

    /// `autocommit = 0` is a fence: the server ends the transaction of a deadlock's victim, and
    /// without the fence every later statement of the closure would commit by itself. With it
    /// they land in a new transaction, which is rolled back when the guard is found gone.
    fn begin<C>(conn: &mut C, waiting: Waiting, first: Option<&str>) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        let begin = format!(
            "SET @row_lock_autocommit = @@autocommit, autocommit = 0{}; \
             BEGIN; SAVEPOINT row_lock_guard",
            wait_setting(waiting, "row_lock_guard")
        );
        conn.batch_execute(&batch(&begin, first))
    }

    fn commit(waiting: Waiting) -> Cow<'static, str> {
        format!(
            "RELEASE SAVEPOINT row_lock_guard; COMMIT; {}",
            settings_back(waiting)
        )
        .into()
    }

    fn rollback(waiting: Waiting) -> Cow<'static, str> {
        format!(
            "{KEEP_ERROR_COUNT}; ROLLBACK TO SAVEPOINT row_lock_guard; ROLLBACK; {}",
            settings_back(waiting)
        )
        .into()
    }

    fn abandon(waiting: Waiting) -> Cow<'static, str> {
        format!("ROLLBACK; {}", settings_back(waiting)).into()
    }

    fn savepoint(name: &str, waiting: Waiting) -> String {
        match waiting {
            Waiting::AtMost(_) => format!(
                "SET @row_lock_nested = 1{}; SAVEPOINT {name}",
                wait_setting(waiting, name)
            ),
            _ => format!("SAVEPOINT {name}"),
        }
    }

    fn release(name: &str, waiting: Waiting) -> String {
        match waiting {
            Waiting::AtMost(_) => format!(
                "SET @row_lock_nested = 1{}; RELEASE SAVEPOINT {name}",
                wait_setting_back(name)
            ),
            _ => format!("RELEASE SAVEPOINT {name}"),
        }
    }

    fn rollback_to(name: &str, waiting: Waiting) -> String {
        let back = match waiting {
            Waiting::AtMost(_) => wait_setting_back(name),
            _ => String::new(),
        };
        format!("{KEEP_ERROR_COUNT}{back}; ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}")
    }

    fn ended_by_failed_statement<C>(conn: &mut C) -> bool
    where
        C: LoadConnection<Backend = Self>,
    {
        sql::<Nullable<BigInt>>("SELECT CAST(@row_lock_errors AS SIGNED)")
            .get_result::<Option<i64>>(conn)
            .is_ok_and(|errors| errors.is_some_and(|errors| errors > 0))
    }

    /// A syntax error quotes what it could not read, in every language.
    fn has_no_of(message: &str) -> bool {
        message.contains("'OF `")
    }

    const ENGLISH: Messages = messages::ENGLISH;
    const TRANSLATIONS: Translations = messages::TRANSLATIONS;

    fn classify_untranslated(
        kind: &DatabaseErrorKind,
        _: &dyn DatabaseErrorInformation,
    ) -> Option<Cause> {
        classify::untranslated(kind)
    }
}

/// Keeps the number of errors of the closure's last statement, which the next statement forgets.
const KEEP_ERROR_COUNT: &str = "SET @row_lock_errors = @@error_count";

/// Behind a `SET`: MySQL's timeout, with the old one kept under the level's name.
fn wait_setting(waiting: Waiting, level: &str) -> String {
    match waiting {
        Waiting::AtMost(time) => format!(
            " /*!50700 , @row_lock_wait_{level} = @@innodb_lock_wait_timeout, \
             innodb_lock_wait_timeout = {} */",
            seconds(time)
        ),
        _ => String::new(),
    }
}

fn wait_setting_back(level: &str) -> String {
    format!(
        " /*!50700 , innodb_lock_wait_timeout = \
         COALESCE(@row_lock_wait_{level}, @@innodb_lock_wait_timeout) */"
    )
}

/// The session's settings as they were before [`LockBackend::begin`]. Only behind a `COMMIT` or
/// `ROLLBACK`: to switch `autocommit` on commits what is open.
fn settings_back(waiting: Waiting) -> String {
    let wait = match waiting {
        Waiting::AtMost(_) => wait_setting_back("row_lock_guard"),
        _ => String::new(),
    };
    format!("SET autocommit = COALESCE(@row_lock_autocommit, @@autocommit){wait}")
}

/// Whole seconds, rounded up; no server takes less. MariaDB's limit is 100,000,000.
fn seconds(time: Duration) -> u64 {
    time.as_micros()
        .div_ceil(1_000_000)
        .try_into()
        .unwrap_or(u64::MAX)
        .clamp(1, 100_000_000)
}
