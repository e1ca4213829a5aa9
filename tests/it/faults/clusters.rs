//! Several servers that all take writes, and a pooler before one.

use std::time::{Duration, Instant};

use diesel::connection::CacheSize;
use diesel::prelude::*;
use servers::{Galera, PgBouncer, Postgres};

use super::ledger::Teller;
use super::oracle::Servers;
use super::workload::Bank;
use super::{storm_time, turn};
use crate::support::wait_until;

const PAUSE: Duration = Duration::from_millis(5);

/// Across nodes a lock is none: who loses is told so by a deadlock, mostly at `COMMIT`.
mod galera_that_loses_nodes_is_told_right {
    use super::*;

    #[test]
    fn mysql() {
        let _turn = turn();
        let mut galera = Galera::new(3).unwrap();
        let mut bank = Bank::<MysqlConnection>::at(&galera.nodes[0].url());
        bank.counters = galera.nodes.iter().map(|node| node.url()).collect();
        bank.tellers = 6;
        bank.call = |conn, ids, token, again, work| {
            // To a prepared statement that a commit on another node has aborted, and that is
            // executed once more, MariaDB 10.11 may never answer.
            conn.set_prepared_statement_cache_size(CacheSize::Disabled);
            conn.locked(ids, token, again, work)
        };
        let mut day = bank.day(|progress| {
            let end = Instant::now() + storm_time();
            let work = |more| {
                let before = progress.acked();
                wait_until("something is done", PAUSE, || {
                    progress.acked() > before + more
                });
            };
            let mut kills = 0;
            loop {
                let node = &mut galera.nodes[1 + kills % 2];
                work(100);
                node.kill().unwrap();
                work(50);
                node.start_again().unwrap();
                kills += 1;
                if Instant::now() > end {
                    break;
                }
            }
            // Whoever reads the books is to see what the other nodes have committed.
            let catch_up = "SET GLOBAL wsrep_sync_wait = 1";
            galera.nodes[0].sql(catch_up).unwrap();
            kills as u64
        });
        day.servers = Servers::SeveralThatWrite;
        day.assert_right("Galera: node killed");
    }
}

mod pooler_that_is_killed_is_told_right {
    use super::*;

    #[test]
    fn postgres() {
        let _turn = turn();
        let server = Postgres::new(&[]).unwrap();
        let mut pooler = PgBouncer::before(&server.address(), "session", 10).unwrap();
        let mut bank = Bank::<PgConnection>::at(&server.url());
        bank.counters = vec![pooler.url()];
        let day = bank.day(|progress| {
            let end = Instant::now() + storm_time();
            let mut kills = 0;
            while Instant::now() < end {
                let before = progress.acked();
                wait_until("something is done", PAUSE, || {
                    progress.acked() > before + 50
                });
                pooler.kill().unwrap();
                pooler.start_again().unwrap();
                kills += 1;
            }
            kills
        });
        day.assert_right("PgBouncer killed");
    }
}
