//! Servers that are killed and start again, over and over; servers that take no more connections,
//! or no writes.

use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_row_lock::{with_row_lock, LockError, Locked, Outcome};
use servers::{MariaDb, MySql, Postgres};

use super::ledger::{purses, Purse, Teller};
use super::workload::{Bank, Progress};
use super::{storm, turn};

/// Lets the tellers do something between any two crashes.
fn crashes(progress: &Progress, mut crash: impl FnMut() -> anyhow::Result<()>) -> u64 {
    storm(|| {
        progress.work_goes_on(50);
        crash().unwrap();
    })
}

mod killed_server_loses_nothing_that_it_acknowledged {
    use super::*;

    #[test]
    fn postgres() {
        let _turn = turn();
        let mut server = Postgres::new(&[]).unwrap();
        let day = Bank::<PgConnection>::at(&server.url()).day(|progress| {
            crashes(progress, || {
                server.kill()?;
                server.start_again()
            })
        });
        day.assert_right("server killed (kill -9)");
    }

    #[test]
    fn mysql() {
        let _turn = turn();
        let mut server = MySql::new(&[]).unwrap();
        let day = Bank::<MysqlConnection>::at(&server.url()).day(|progress| {
            crashes(progress, || {
                server.kill()?;
                server.start_again()
            })
        });
        day.assert_right("server killed (kill -9)");
    }

    #[test]
    fn mariadb() {
        let _turn = turn();
        let mut server = MariaDb::new(&[]).unwrap();
        let day = Bank::<MysqlConnection>::at(&server.url()).day(|progress| {
            crashes(progress, || {
                server.kill()?;
                server.start_again()
            })
        });
        day.assert_right("server killed (kill -9)");
    }
}

mod server_stopped_at_once_loses_nothing_that_it_acknowledged {
    use super::*;

    #[test]
    fn postgres() {
        let _turn = turn();
        let mut server = Postgres::new(&[]).unwrap();
        let day = Bank::<PgConnection>::at(&server.url()).day(|progress| {
            crashes(progress, || {
                server.stop_at_once()?;
                server.start_again()
            })
        });
        day.assert_right("server stopped (immediate)");
    }
}

/// It then ends all sessions, and starts all over by itself.
mod server_that_loses_one_process_loses_nothing_that_it_acknowledged {
    use super::*;

    #[test]
    fn postgres() {
        let _turn = turn();
        let server = Postgres::new(&[]).unwrap();
        let day = Bank::<PgConnection>::at(&server.url())
            .day(|progress| crashes(progress, || server.kill_one_session()));
        day.assert_right("session's process killed (kill -9)");
    }
}

mod server_without_a_connection_to_spare_is_told_right {
    use super::*;

    /// More tellers than it takes, and now and then one of them has to go.
    fn crowd<C: Teller>(url: &str, mut end_one: impl FnMut()) {
        let mut bank = Bank::<C>::at(url);
        bank.tellers = 12;
        let day = bank.day(|progress| {
            storm(|| {
                end_one();
                thread::sleep(Duration::from_millis(5));
            });
            progress.unconnected()
        });
        day.assert_right("too many connections");
    }

    #[test]
    fn postgres() {
        let _turn = turn();
        let server = Postgres::new(&["max_connections=8"]).unwrap();
        crowd::<PgConnection>(&server.url(), || {
            // It is among those who may not get in.
            let _ = server.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() \
                 ORDER BY random() LIMIT 1",
            );
        });
    }

    /// Ends one of the sessions; the one that asks may not get in.
    fn end_one(sql: impl Fn(&str) -> anyhow::Result<String>) {
        let one = sql("SELECT id FROM information_schema.processlist \
             WHERE db = 'test' AND id <> connection_id() ORDER BY rand() LIMIT 1");
        let _ = one.and_then(|id| sql(&format!("KILL {id}")));
    }

    #[test]
    fn mysql() {
        let _turn = turn();
        let server = MySql::new(&["--max-connections=8"]).unwrap();
        crowd::<MysqlConnection>(&server.url(), || end_one(|sql| server.sql(sql)));
    }

    #[test]
    fn mariadb() {
        let _turn = turn();
        let server = MariaDb::new(&["--max-connections=8"]).unwrap();
        crowd::<MysqlConnection>(&server.url(), || end_one(|sql| server.sql(sql)));
    }
}

mod server_that_takes_no_writes_says_so {
    use super::*;

    macro_rules! assert_read_only {
        ($conn:expr) => {{
            let result = with_row_lock(
                $conn,
                purses::table.find(1),
                |conn, purse: Locked<Purse>| {
                    diesel::update(purses::table.find(purse.id))
                        .set(purses::balance.eq(0))
                        .execute(conn)
                        .map_err(LockError::from)
                },
            );
            let error = result.unwrap_err();
            assert_eq!(error.outcome(), Outcome::NotApplied);
            assert!(!error.is_transient(), "here it will never succeed");
            assert!(
                matches!(
                    error.diesel_error(),
                    Some(DieselError::DatabaseError(
                        DatabaseErrorKind::ReadOnlyTransaction,
                        _
                    ))
                ),
                "{error:?}"
            );
        }};
    }

    #[test]
    fn postgres() {
        let primary = Postgres::new(&[]).unwrap();
        Bank::<PgConnection>::at(&primary.url());
        let standby = primary.standby("reader").unwrap();
        assert_read_only!(&mut PgConnection::open(&standby.url()).unwrap());
    }

    #[test]
    fn mysql() {
        let server = MySql::new(&[]).unwrap();
        let conn = &mut MysqlConnection::open(&server.url()).unwrap();
        conn.found(2).unwrap();
        conn.batch_execute("SET SESSION TRANSACTION READ ONLY")
            .unwrap();
        assert_read_only!(conn);
    }

    #[test]
    fn mariadb() {
        let server = MariaDb::new(&[]).unwrap();
        let conn = &mut MysqlConnection::open(&server.url()).unwrap();
        conn.found(2).unwrap();
        conn.batch_execute("SET SESSION TRANSACTION READ ONLY")
            .unwrap();
        assert_read_only!(conn);
    }
}
