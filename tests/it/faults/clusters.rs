//! Several servers that all take writes, and a pooler before one.

use diesel::connection::CacheSize;
use diesel::prelude::*;
use servers::{Galera, PgBouncer, Postgres};

use super::ledger::Teller;
use super::oracle::Servers;
use super::workload::Bank;
use super::{storm, turn};

/// Across nodes a lock is none: who loses is told so by a deadlock, mostly at `COMMIT`.
mod galera_that_loses_nodes_is_told_right {
    use super::*;

    #[test]
    fn galera() {
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
        let mut next = [1, 2].into_iter().cycle();
        let mut day = bank.day(|progress| {
            let kills = storm(|| {
                let node = &mut galera.nodes[next.next().unwrap()];
                progress.work_goes_on(100);
                node.kill().unwrap();
                progress.work_goes_on(50);
                node.start_again().unwrap();
            });
            // Whoever reads the books is to see what the other nodes have committed.
            let catch_up = "SET GLOBAL wsrep_sync_wait = 1";
            galera.nodes[0].sql(catch_up).unwrap();
            kills
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
            storm(|| {
                progress.work_goes_on(50);
                pooler.kill().unwrap();
                pooler.start_again().unwrap();
            })
        });
        day.assert_right("PgBouncer killed");
    }
}
