//! Disks that are full.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{with_row_lock, LockError, Locked, Outcome};
use law::law;
use servers::Postgres;

use super::ledger::{Refusal, Teller};
use super::turn;
use super::workload::Bank;
use crate::support::calls::nothing;
use crate::support::schema::{accounts, Account};
use crate::support::wait_until;

const PAUSE: Duration = Duration::from_millis(5);

/// By a limit that SQLite takes for the end of the disk.
#[law(sqlite)]
fn full_disk_refuses_and_loses_nothing(db: &Db) {
    static PAGES: AtomicU32 = AtomicU32::new(60);
    let _turn = turn();
    let mut bank = Bank::<Conn>::at(&db.url());
    bank.call = |conn, ids, token, again, work| {
        let pages = PAGES.load(Ordering::SeqCst);
        conn.batch_execute(&format!("PRAGMA max_page_count = {pages}"))?;
        match conn.locked(ids, token, again, work) {
            // The law below; that nothing escaped is seen from the books.
            Err(Refusal::Lock(LockError::Escaped { .. })) => Err(Refusal::Own),
            ended => ended,
        }
    };
    let day = bank.day(|progress| {
        wait_until("it is full", PAUSE, || progress.refused() > 300);
        PAGES.store(1_000_000, Ordering::SeqCst);
        let refused = progress.refused();
        progress.work_goes_on(200);
        refused
    });
    day.assert_right("disk full");
}

/// SQLite may roll the whole transaction back by itself. Afterwards nothing tells that from a
/// `COMMIT` of the closure's own, so the call assumes the worse.
#[law(sqlite)]
fn full_disk_in_the_closure_may_be_called_an_escape_and_applies_nothing(db: &Db) {
    let conn = &mut db.connect();
    // Less than there are: SQLite takes it for as many as there are.
    conn.batch_execute("PRAGMA max_page_count = 1").unwrap();
    let result = with_row_lock(
        conn,
        accounts::table.find(1),
        |conn, mut account: Locked<Account>| {
            account.owner = "x".repeat(1_000_000);
            account
                .save_changes::<Account>(conn)
                .map_err(LockError::from)
        },
    );
    let error = result.unwrap_err();
    let full = error.to_string().contains("full") && error.outcome() == Outcome::NotApplied;
    assert!(full || error.outcome() == Outcome::Escaped, "{error:?}");
    assert_eq!(db.balance(1), 1_000);
    with_row_lock(conn, accounts::table.find(1), nothing).expect("the connection is usable");
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
            progress.work_goes_on(200);
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
            progress.work_goes_on(200);
            while server.sql(fill).is_ok() {}
            server.await_end().unwrap();
            server.enlarge_disk(256).unwrap();
            server.start_again().unwrap();
            progress.work_goes_on(200);
            1
        });
        day.assert_right("log's disk full");
    }
}
