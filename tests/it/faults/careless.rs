//! Twins of the crashes and the failover: servers that acknowledge too early. What they then lose,
//! the oracle must name.

use diesel::prelude::*;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use servers::{MariaDb, MySql, Postgres};

use super::day::Day;
use super::oracle::Kind;
use super::turn;
use super::workload::Bank;

fn assert_lost(day: &Day) {
    assert!(day.kinds().contains_key(&Kind::Lost), "{:?}", day.kinds());
}

mod killed_server_loses_what_it_had_not_written {
    use super::*;

    #[test]
    fn postgres() {
        let _turn = turn();
        let mut server = Postgres::new(&["wal_writer_delay=10s"]).unwrap();
        let bank = Bank::<PgConnection>::at(&server.url());
        // Not from the start, or there might be no bank any more.
        for sql in [
            "ALTER SYSTEM SET synchronous_commit = off",
            "SELECT pg_reload_conf()",
        ] {
            server.sql(sql).unwrap();
        }
        let day = bank.day(|progress| {
            progress.work_goes_on(200);
            server.kill().unwrap();
            server.start_again().unwrap();
            1
        });
        assert_lost(&day);
    }

    #[test]
    fn mysql() {
        let _turn = turn();
        let mut server = MySql::new(&[]).unwrap();
        let bank = Bank::<MysqlConnection>::at(&server.url());
        server
            .sql("SET GLOBAL innodb_flush_log_at_trx_commit = 0; SET GLOBAL sync_binlog = 0")
            .unwrap();
        let day = bank.day(|progress| {
            progress.work_goes_on(200);
            server.kill().unwrap();
            server.start_again().unwrap();
            1
        });
        assert_lost(&day);
    }

    #[test]
    fn mariadb() {
        let _turn = turn();
        let mut server = MariaDb::new(&[]).unwrap();
        let bank = Bank::<MysqlConnection>::at(&server.url());
        let careless = "SET GLOBAL innodb_flush_log_at_trx_commit = 0";
        server.sql(careless).unwrap();
        let day = bank.day(|progress| {
            progress.work_goes_on(200);
            server.kill().unwrap();
            server.start_again().unwrap();
            1
        });
        assert_lost(&day);
    }
}

mod killed_primary_loses_what_its_standby_had_not_received {
    use super::*;

    #[test]
    fn postgres() {
        let _turn = turn();
        let mut primary = Postgres::new(&[]).unwrap();
        let mut standby = primary.standby("laggard").unwrap();
        let either = format!(
            "postgres://postgres@{},{}/postgres?target_session_attrs=read-write",
            primary.address(),
            standby.address()
        );
        let day = Bank::<PgConnection>::at(&either).day(|progress| {
            progress.work_goes_on(200);
            let sender = primary.sql("SELECT pid FROM pg_stat_replication").unwrap();
            let sender = Pid::from_raw(sender.parse().unwrap());
            kill(sender, Signal::SIGSTOP).unwrap();
            progress.work_goes_on(200);
            primary.kill().unwrap();
            standby.promote().unwrap();
            1
        });
        assert_lost(&day);
    }
}
