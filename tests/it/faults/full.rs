//! Disks that are full.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use servers::Postgres;

use super::ledger::Teller;
use super::turn;
use super::workload::{Bank, Progress};
use crate::support::{laws, wait_until};

const PAUSE: Duration = Duration::from_millis(5);

fn work_goes_on(progress: &Progress) {
    let acked = progress.acked();
    wait_until("work goes on", PAUSE, || progress.acked() > acked + 200);
}

laws! {
    /// By a limit that SQLite takes for the end of the disk.
    [sqlite] fn full_disk_refuses_and_loses_nothing(db) {
        static PAGES: AtomicU32 = AtomicU32::new(60);
        let _turn = turn();
        let mut bank = Bank::<Conn>::at(&db.url());
        bank.call = |conn, ids, token, again, work| {
            let pages = PAGES.load(Ordering::SeqCst);
            conn.batch_execute(&format!("PRAGMA max_page_count = {pages}"))?;
            conn.locked(ids, token, again, work)
        };
        let day = bank.day(|progress| {
            wait_until("it is full", PAUSE, || progress.refused() > 300);
            PAGES.store(1_000_000, Ordering::SeqCst);
            let refused = progress.refused();
            work_goes_on(progress);
            refused
        });
        day.assert_right("disk full");
    }
}

mod full_tablespace_refuses_and_loses_nothing {
    use super::*;

    #[test]
    fn postgres() {
        let _turn = turn();
        let server = Postgres::with_small_tablespace(4, &[]).unwrap();
        let bank = Bank::<PgConnection>::at(&server.url());
        for sql in [
            "ALTER TABLE journal SET TABLESPACE small",
            "CREATE TABLE ballast (text TEXT) TABLESPACE small",
            "INSERT INTO ballast SELECT repeat('x', 1000) FROM generate_series(1, 3300)",
        ] {
            server.sql(sql).unwrap();
        }
        let day = bank.day(|progress| {
            wait_until("it is full", PAUSE, || progress.refused() > 300);
            server.enlarge_disk(64).unwrap();
            let refused = progress.refused();
            work_goes_on(progress);
            refused
        });
        day.assert_right("disk full");
    }
}

/// Without room for its log the server ends itself, and comes back when there is some.
mod full_log_loses_nothing_that_was_acknowledged {
    use super::*;

    #[test]
    fn postgres() {
        let _turn = turn();
        let mut server = Postgres::with_small_wal(48, &[]).unwrap();
        let bank = Bank::<PgConnection>::at(&server.url());
        server.sql("CREATE TABLE ballast (text TEXT)").unwrap();
        let fill = "INSERT INTO ballast SELECT repeat('x', 1000) FROM generate_series(1, 1000)";
        let day = bank.day(|progress| {
            work_goes_on(progress);
            while server.sql(fill).is_ok() {}
            server.await_end().unwrap();
            server.enlarge_disk(256).unwrap();
            server.start_again().unwrap();
            work_goes_on(progress);
            1
        });
        day.assert_right("log's disk full");
    }
}
