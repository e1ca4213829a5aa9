//! Disks that are full.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;

use super::ledger::Teller;
use super::turn;
use super::workload::Bank;
use crate::support::{laws, wait_until};

const PAUSE: Duration = Duration::from_millis(5);

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
            let refused = || progress.refused();
            wait_until("it is full", PAUSE, || refused() > 1_000);
            PAGES.store(1_000_000, Ordering::SeqCst);
            let (full, acked) = (refused(), progress.acked());
            wait_until("there is room again", PAUSE, || progress.acked() > acked + 200);
            full
        });
        day.assert_right("disk full");
    }
}
