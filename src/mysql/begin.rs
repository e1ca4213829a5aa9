//! How a transaction begins and ends on MySQL and MariaDB.
//!
//! Each text is one `COM_QUERY`. The server runs it up to the first error, so a `COMMIT` behind a
//! statement that fails is never reached.

use std::borrow::Cow;
use std::time::Duration;

use diesel::connection::{CacheSize, LoadConnection};
use diesel::dsl::sql;
use diesel::mysql::Mysql;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, QueryResult};
use diesel::sql_types::{BigInt, Nullable};
use diesel::RunQueryDsl;

use super::{cache, classify, messages};
use crate::backend::{batch, Cause, LockBackend, Messages, Settings, Translations, Waiting, GUARD};

impl LockBackend for Mysql {
    const SYSTEM: &'static str = "mysql";
    const VICTIM_LOSES_TRANSACTION: bool = true;
    const CONNECTIONS_PER_ROW: usize = 2;
    const ROW_VALUES: &'static str = "";
    const BINDS: usize = 65_535;
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
    fn begin<C>(conn: &mut C, settings: Settings, first: Option<&str>) -> QueryResult<()>
    where
        C: LoadConnection<Backend = Self>,
    {
        let begin = format!(
            "SET @row_lock_autocommit = @@autocommit, autocommit = 0{}{}; \
             BEGIN; SAVEPOINT row_lock_guard",
            hold_setting(settings.hold),
            wait_setting(settings.waiting, GUARD)
        );
        conn.batch_execute(&batch(&begin, first))
    }

    fn commit(settings: Settings) -> Cow<'static, str> {
        format!(
            "RELEASE SAVEPOINT row_lock_guard; COMMIT; {}",
            settings_back(settings)
        )
        .into()
    }

    fn rollback(settings: Settings) -> Cow<'static, str> {
        format!(
            "{KEEP_ERROR_COUNT}; ROLLBACK TO SAVEPOINT row_lock_guard; ROLLBACK; {}",
            settings_back(settings)
        )
        .into()
    }

    fn abandon(settings: Settings) -> Cow<'static, str> {
        format!("ROLLBACK; {}", settings_back(settings)).into()
    }

    fn limit_waits(name: &str, time: Duration) -> Option<String> {
        let setting = wait_setting(Waiting::AtMost(time), name);
        Some(format!("SET @row_lock_nested = 1{setting}"))
    }

    fn unlimit_waits(name: &str) -> Option<String> {
        let back = wait_setting_back(name);
        Some(format!("SET @row_lock_nested = 1{back}"))
    }

    fn rollback_to(name: &str, waiting: Waiting) -> String {
        let back = match waiting {
            Waiting::AtMost(_) => wait_setting_back(name),
            _ => String::new(),
        };
        format!("{KEEP_ERROR_COUNT}{back}; ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}")
    }

    /// A prepared `SELECT` that failed behind its first answer, as one of several rows does when a
    /// later one is locked, would wait for the rest of it for ever when it is executed again
    /// (libmariadb 3.3). So none of those in Diesel's cache is.
    fn forget_statements<C>(conn: &mut C)
    where
        C: LoadConnection<Backend = Self>,
    {
        if cache::is_on(conn) {
            conn.set_prepared_statement_cache_size(CacheSize::Disabled);
            conn.set_prepared_statement_cache_size(CacheSize::Unbounded);
        }
    }

    fn ended_by_failed_statement<C>(conn: &mut C) -> bool
    where
        C: LoadConnection<Backend = Self>,
    {
        sql::<Nullable<BigInt>>("SELECT CAST(@row_lock_errors AS SIGNED)")
            .get_result::<Option<i64>>(conn)
            .is_ok_and(|errors| errors.is_some_and(|errors| errors > 0))
    }

    /// A syntax error quotes what it could not read, and an unknown variable is named, in every
    /// language.
    fn lacks(message: &str) -> Option<&'static str> {
        if message.contains("'OF `") {
            Some(
                "this server has no `FOR UPDATE OF table`; without `.of(…)` the rows of every \
                 table of the query are locked",
            )
        } else if message.contains("idle_transaction_timeout") {
            Some(
                "this server can't end a transaction that idles; `.hold_at_most(…)` is for \
                 PostgreSQL and MariaDB",
            )
        } else {
            None
        }
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

/// Behind a `SET`: MariaDB's limit to the time that a transaction idles, with the old one kept. Not
/// in a conditional comment: MySQL, which has no such limit, is to refuse.
fn hold_setting(hold: Option<Duration>) -> String {
    match hold {
        Some(time) => format!(
            ", @row_lock_hold = @@idle_transaction_timeout, idle_transaction_timeout = {}",
            seconds(time)
        ),
        None => String::new(),
    }
}

/// The session's settings as they were before [`LockBackend::begin`]. Only behind a `COMMIT` or
/// `ROLLBACK`: to switch `autocommit` on commits what is open.
fn settings_back(settings: Settings) -> String {
    let wait = match settings.waiting {
        Waiting::AtMost(_) => wait_setting_back(GUARD),
        _ => String::new(),
    };
    let hold = match settings.hold {
        Some(_) => {
            " /*M! , idle_transaction_timeout = \
             COALESCE(@row_lock_hold, @@idle_transaction_timeout) */"
        }
        None => "",
    };
    format!("SET autocommit = COALESCE(@row_lock_autocommit, @@autocommit){wait}{hold}")
}

/// A year. MariaDB cuts a longer time down to that, or refuses it if `sql_mode` has
/// `STRICT_ALL_TABLES`.
const LONGEST: u64 = 365 * 24 * 60 * 60;

/// Whole seconds, rounded up; no server takes less.
fn seconds(time: Duration) -> u64 {
    time.as_micros()
        .div_ceil(1_000_000)
        .try_into()
        .unwrap_or(u64::MAX)
        .clamp(1, LONGEST)
}
