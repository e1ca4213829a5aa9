//! Promise 6: whatever language a server answers in, each of its errors comes out as the variant
//! that says what it means.

use std::error::Error;
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel_row_lock::{with_row_lock, LockError, Locked, RowLock};
use law::law;

use crate::support::calls::{nothing, while_held};
use crate::support::schema::{accounts, Account};
use crate::support::wait_until;

/// What is not as it should be, so that one run shows all of it.
#[derive(Default)]
struct Findings {
    language: &'static str,
    wrong: Vec<String>,
}

impl Findings {
    fn note(&mut self, expected: &str, is: fn(&LockError) -> bool, result: Result<(), LockError>) {
        let Err(error) = result else {
            return self.add(expected, "no error");
        };
        let words = format!("{error:?}, {:?}", error.source().map(ToString::to_string));
        if !is(&error) {
            return self.add(expected, &words);
        }
        // The closure's `?` may have made an error of Diesel's of it, on whose way back nothing is
        // known of the backend.
        if !is(&LockError::from(DieselError::from(error))) {
            self.add(expected, &format!("on the way through Diesel {words}"));
        }
    }

    fn add(&mut self, expected: &str, seen: &str) {
        let language = self.language;
        self.wrong
            .push(format!("{language}: not {expected}: {seen}"));
    }

    /// Whether the session does speak its language: else everything here would be a test of
    /// English.
    fn expect_translated(&mut self, said: &QueryResult<()>, in_english: &str) {
        match said {
            Err(error) if !error.to_string().contains(in_english) => {}
            other => self.add(
                "a translated message",
                &format!("{other:?}: the server has no catalogue of it"),
            ),
        }
    }

    fn expect_none(self) {
        assert!(self.wrong.is_empty(), "\n{}", self.wrong.join("\n"));
    }
}

macro_rules! expect {
    ($findings:ident, $variant:ident, $result:expr) => {
        $findings.note(
            stringify!($variant),
            |error| matches!(error, LockError::$variant { .. }),
            $result,
        )
    };
}

/// Lifts the limit to the session's statements. It applies to the one that lifts it, too, which can
/// be too slow under load.
macro_rules! lift_limit {
    ($conn:ident, $sql:expr) => {
        wait_until("the limit is lifted", Duration::from_millis(1), || {
            $conn.batch_execute($sql).is_ok()
        })
    };
}

/// The result of a statement of the closure's.
macro_rules! inside {
    ($conn:ident, $sql:expr) => {
        with_row_lock(
            $conn,
            accounts::table.find(2),
            |conn, _: Locked<Account>| {
                conn.batch_execute($sql)?;
                Ok::<_, LockError>(())
            },
        )
    };
}

/// The result of the victim, whichever of two sessions it is. Neither waits in a locked call, nor
/// in a prepared statement, of which Diesel would tell more than the message.
macro_rules! deadlock {
    ($db:ident, $first:expr, $second:expr) => {{
        let (first, second): (&mut Conn, &mut Conn) = ($first, $second);
        let results = thread::scope(|scope| {
            let mut rival = None;
            let mine = with_row_lock(
                first,
                accounts::table.find(2),
                |conn, _: Locked<Account>| {
                    rival = Some(scope.spawn(|| {
                        with_row_lock(
                            second,
                            accounts::table.find(3),
                            |conn, _: Locked<Account>| {
                                conn.batch_execute("UPDATE accounts SET owner = '' WHERE id = 2")?;
                                Ok::<_, LockError>(())
                            },
                        )
                    }));
                    $db.wait_for_waiters(1);
                    conn.batch_execute("UPDATE accounts SET owner = '' WHERE id = 3")?;
                    Ok::<_, LockError>(())
                },
            );
            [mine, rival.unwrap().join().unwrap()]
        });
        results.into_iter().find(Result::is_err).unwrap_or(Ok(()))
    }};
}

/// The result of locking a row that has changed since the transaction's snapshot.
macro_rules! changed_row {
    ($db:ident, $conn:ident) => {
        with_row_lock(
            $conn,
            accounts::table.find(2),
            |conn, _: Locked<Account>| {
                let _snapshot: i64 = accounts::table
                    .find(4)
                    .select(accounts::balance)
                    .first(conn)?;
                $db.connect()
                    .batch_execute("UPDATE accounts SET balance = balance + 1 WHERE id = 3")?;
                with_row_lock(conn, accounts::table.find(3), nothing)
            },
        )
    };
}

#[law(postgres)]
fn each_error_of_postgresql_is_typed_in_each_of_its_languages(db: &Db) {
    let mut findings = Findings::default();
    let shipped = postgresql::shipped_languages(&mut db.connect());
    for language in &shipped {
        if !postgresql::LOCALES
            .iter()
            .any(|(known, _)| known == language)
        {
            findings.add("a language of this test", language);
        }
    }
    while_held!(db, 1, RowLock::for_update(), {
        for (language, locale) in postgresql::LOCALES {
            findings.language = locale;
            if shipped.iter().any(|shipped| shipped == language) {
                postgresql::errors(db, locale, &mut findings);
            } else if postgresql::EVERYWHERE.contains(&language) {
                findings.add("shipped", "the server's package has no catalogue of it");
            }
        }
    });
    findings.expect_none();
}

#[law(mysql)]
fn each_error_of_mysql_is_typed_in_each_of_its_languages(db: &Db) {
    let mut findings = Findings::default();
    while_held!(db, 1, RowLock::for_update(), {
        // All at once: none of them can wait for less than a second.
        let timeouts = thread::scope(|scope| {
            let waits =
                mysql::LOCALES.map(|locale| scope.spawn(move || mysql::timeouts(db, locale)));
            waits.map(|wait| wait.join().unwrap())
        });
        for (locale, [wait, idle]) in mysql::LOCALES.into_iter().zip(timeouts) {
            findings.language = locale;
            expect!(findings, Timeout, wait);
            expect!(findings, ConnectionLost, idle);
            mysql::errors(db, locale, &mut findings);
        }
    });
    findings.expect_none();
}

#[law(mariadb)]
fn each_error_of_mariadb_is_typed_in_each_of_its_languages(db: &Db) {
    let mut findings = Findings::default();
    while_held!(db, 1, RowLock::for_update(), {
        for locale in mariadb::LOCALES {
            findings.language = locale;
            mariadb::errors(db, locale, &mut findings);
        }
    });
    findings.expect_none();
}

#[cfg(feature = "postgres")]
mod postgresql {
    use diesel::dsl::sql;
    use diesel::sql_types::Text;

    use super::*;
    use crate::support::postgres::{Conn, Db};

    /// The languages of PostgreSQL 15 to 18, and a locale of each.
    pub(super) const LOCALES: [(&str, &str); 16] = [
        ("de", "de_DE.UTF-8"),
        ("es", "es_ES.UTF-8"),
        ("fr", "fr_FR.UTF-8"),
        ("id", "id_ID.UTF-8"),
        ("it", "it_IT.UTF-8"),
        ("ja", "ja_JP.UTF-8"),
        ("ka", "ka_GE.UTF-8"),
        ("ko", "ko_KR.UTF-8"),
        ("pl", "pl_PL.UTF-8"),
        ("pt_BR", "pt_BR.UTF-8"),
        ("ru", "ru_RU.UTF-8"),
        ("sv", "sv_SE.UTF-8"),
        ("tr", "tr_TR.UTF-8"),
        ("uk", "uk_UA.UTF-8"),
        ("zh_CN", "zh_CN.UTF-8"),
        ("zh_TW", "zh_TW.UTF-8"),
    ];

    /// The languages of every version.
    pub(super) const EVERYWHERE: [&str; 11] = [
        "de", "es", "fr", "it", "ja", "ka", "ko", "ru", "sv", "uk", "zh_CN",
    ];

    /// The server knows what it comes with; that changes even with a minor version.
    pub(super) fn shipped_languages(conn: &mut Conn) -> Vec<String> {
        sql::<Text>(
            "SELECT language FROM pg_config, pg_ls_dir(setting) AS language \
             WHERE name = 'LOCALEDIR' AND CASE \
                 WHEN (pg_stat_file(setting || '/' || language)).isdir \
                 THEN (pg_stat_file(format('%s/%s/LC_MESSAGES/postgres-%s.mo', setting, language, \
                     current_setting('server_version_num')::int / 10000), true)).size > 0 \
             END",
        )
        .load(conn)
        .unwrap()
    }

    pub(super) fn errors(db: &Db, locale: &str, findings: &mut Findings) {
        let (conn, rival) = (&mut db.connect(), &mut db.connect());
        let speak = format!("SET lc_messages = '{locale}'; SET deadlock_timeout = '10ms'");
        for conn in [&mut *conn, &mut *rival] {
            if let Err(error) = conn.batch_execute(&speak) {
                let missing = format!("{error}: the server's system has no such locale");
                return findings.add("spoken", &missing);
            }
        }
        findings.expect_translated(&conn.batch_execute("SELECT 1/0"), "division by zero");

        let row = accounts::table.find(1);
        let no_wait = RowLock::for_update().no_wait();
        expect!(findings, Busy, no_wait.with(conn, row, nothing));
        let table = "LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE NOWAIT";
        expect!(findings, Busy, inside!(conn, table));

        conn.batch_execute("SET lock_timeout = '50ms'").unwrap();
        expect!(findings, Timeout, with_row_lock(conn, row, nothing));
        conn.batch_execute("SET lock_timeout = 0; SET statement_timeout = '50ms'")
            .unwrap();
        expect!(
            findings,
            StatementTimeout,
            with_row_lock(conn, row, nothing)
        );
        lift_limit!(conn, "SET statement_timeout = 0");

        let cancel = "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(9)";
        expect!(findings, Cancelled, inside!(conn, cancel));
        let aborted = with_row_lock(conn, accounts::table.find(2), |conn, _: Locked<Account>| {
            let _ = conn.batch_execute("SELECT 1/0");
            conn.batch_execute("SELECT 1")?;
            Ok::<_, LockError>(())
        });
        expect!(findings, Aborted, aborted);
        expect!(findings, Deadlock, deadlock!(db, conn, rival));

        conn.batch_execute("SET default_transaction_isolation = 'repeatable read'")
            .unwrap();
        expect!(findings, SerializationFailure, changed_row!(db, conn));
        let terminate = "SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(9)";
        expect!(findings, ConnectionLost, inside!(conn, terminate));
    }
}

#[cfg(feature = "mysql")]
mod mysql {
    use super::*;
    use crate::support::mysql::{Conn, Db};

    /// A locale of each language of MySQL 9.7, but for two: none of the errors is translated to
    /// Bulgarian, and no session can speak the other Norwegian.
    pub(super) const LOCALES: [&str; 21] = [
        "cs_CZ", "da_DK", "de_DE", "el_GR", "es_ES", "et_EE", "fr_FR", "hu_HU", "it_IT", "ja_JP",
        "ko_KR", "no_NO", "nl_NL", "pl_PL", "pt_BR", "ro_RO", "ru_RU", "sk_SK", "sr_RS", "sv_SE",
        "uk_UA",
    ];

    fn connect(db: &Db, locale: &str) -> Conn {
        let mut conn = db.connect();
        conn.batch_execute(&format!("SET lc_messages = '{locale}'"))
            .unwrap();
        conn
    }

    /// What becomes of a session that waits for too long, and then idles for too long.
    pub(super) fn timeouts(db: &Db, locale: &str) -> [Result<(), LockError>; 2] {
        let conn = &mut connect(db, locale);
        let session = Db::session(conn);
        conn.batch_execute("SET innodb_lock_wait_timeout = 1, wait_timeout = 1")
            .unwrap();
        let wait = with_row_lock(conn, accounts::table.find(1), nothing);
        db.wait_for_end_of(session);
        let idle = diesel::sql_query("SELECT 1").execute(conn);
        [wait, idle.map(drop).map_err(LockError::from)]
    }

    pub(super) fn errors(db: &Db, locale: &str, findings: &mut Findings) {
        let (conn, rival) = (&mut connect(db, locale), &mut connect(db, locale));
        findings.expect_translated(&conn.batch_execute("SELECT nowhere"), "Unknown column");

        let row = accounts::table.find(1);
        let no_wait = RowLock::for_update().no_wait();
        expect!(findings, Busy, no_wait.with(conn, row, nothing));
        conn.batch_execute("SET max_execution_time = 50").unwrap();
        let brief = with_row_lock(conn, row, nothing);
        expect!(findings, StatementTimeout, brief);
        lift_limit!(conn, "SET max_execution_time = 0");

        let cancel = inside!(conn, "KILL QUERY CONNECTION_ID()");
        expect!(findings, Cancelled, cancel);
        expect!(findings, Deadlock, deadlock!(db, conn, rival));

        // Its words are those of a cancelled statement, so the call asks whether there is still a
        // server.
        let killed = inside!(rival, "KILL CONNECTION_ID()");
        expect!(findings, ConnectionLost, killed);
    }
}

#[cfg(feature = "mysql")]
mod mariadb {
    use super::*;
    use crate::support::mariadb::{Conn, Db};

    /// What MariaDB says of a deadlock is in the language that it was started with, whatever the
    /// session speaks; the unit tests know it in the others.
    ///
    /// A locale of each language of MariaDB 10.11, but for two: none of the errors is translated to
    /// Bulgarian, and no session can speak the other Norwegian.
    pub(super) const LOCALES: [&str; 24] = [
        "cs_CZ", "da_DK", "de_DE", "el_GR", "es_ES", "et_EE", "fr_FR", "hi_IN", "hu_HU", "it_IT",
        "ja_JP", "ka_GE", "ko_KR", "nb_NO", "nl_NL", "pl_PL", "pt_BR", "ro_RO", "ru_RU", "sk_SK",
        "sr_RS", "sv_SE", "uk_UA", "zh_CN",
    ];

    pub(super) fn errors(db: &Db, locale: &str, findings: &mut Findings) {
        let (conn, rival) = (&mut db.connect(), &mut db.connect());
        for conn in [&mut *conn, &mut *rival] {
            if let Err(error) = conn.batch_execute(&format!("SET lc_messages = '{locale}'")) {
                return findings.add("spoken", &error.to_string());
            }
        }
        findings.expect_translated(&conn.batch_execute("SELECT nowhere"), "Unknown column");

        let row = accounts::table.find(1);
        let no_wait = RowLock::for_update().no_wait();
        expect!(findings, Busy, no_wait.with(conn, row, nothing));

        conn.batch_execute("SET innodb_lock_wait_timeout = 0")
            .unwrap();
        expect!(findings, Timeout, with_row_lock(conn, row, nothing));
        conn.batch_execute("SET innodb_lock_wait_timeout = 50, max_statement_time = 0.05")
            .unwrap();
        expect!(
            findings,
            StatementTimeout,
            with_row_lock(conn, row, nothing)
        );
        lift_limit!(conn, "SET max_statement_time = 0");

        expect!(
            findings,
            Cancelled,
            inside!(conn, "KILL QUERY CONNECTION_ID()")
        );
        expect!(findings, Deadlock, deadlock!(db, conn, rival));

        conn.batch_execute("SET innodb_snapshot_isolation = ON")
            .unwrap();
        expect!(findings, SerializationFailure, changed_row!(db, conn));
        // Prepared, and in no transaction: behind a batch, and to roll back, Diesel asks the server
        // once more, and learns less.
        let killed = diesel::sql_query("KILL CONNECTION_ID()").execute(conn);
        let killed = killed.map(drop).map_err(LockError::from);
        expect!(findings, ConnectionLost, killed);
    }
}
