//! timeouts: the time of the lock and that of the statement, for a table and for a row, and which
//! of them was over first.

use std::sync::{mpsc, Mutex};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::race::Schedule;
use diesel_row_lock::{LockError, Locked, RowLock};
use law::law;

use crate::race::orders::{locks, reset};
use crate::support::schema::{accounts, Account};

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(30);
const LOCK: Result<&str, &str> = Err("timed out waiting for a lock");
const STATEMENT: Result<&str, &str> = Err("a statement exceeded the time that it may take");

#[law(postgres)]
fn error_names_the_time_that_was_over_first(db: &Db) {
    for hold in [
        "LOCK TABLE accounts",
        "UPDATE accounts SET balance = balance + 100",
    ] {
        for (lock, statement, error) in [
            (None, Some(SHORT), STATEMENT),
            (Some(SHORT), None, LOCK),
            (Some(SHORT), Some(LONG), LOCK),
            (Some(LONG), Some(SHORT), STATEMENT),
        ] {
            let (give_up, given_up) = mpsc::channel();
            let given_up = Mutex::new(given_up);
            let schedule = Schedule::new()
                .setup(reset!())
                .session("ada", |conn: &mut Conn, steps| {
                    conn.transaction(|conn| {
                        steps.next("hold");
                        conn.batch_execute(hold)?;
                        steps.next("commit");
                        // Not before the time of the other one is over.
                        given_up.lock().unwrap().recv_timeout(LONG).unwrap();
                        QueryResult::Ok(())
                    })
                })
                .session("grace", move |conn, steps| {
                    let statement = statement.unwrap_or_default().as_millis();
                    conn.batch_execute(&format!("SET statement_timeout = {statement}"))?;
                    steps.next("lock");
                    let locked = match lock {
                        Some(time) => locks!(conn, RowLock::for_update().timeout(time)),
                        None => locks!(conn, RowLock::for_update()),
                    };
                    give_up.send(()).unwrap();
                    locked
                });
            let played = schedule
                .play(
                    || Ok(db.connect()),
                    &["ada hold", "grace lock", "ada commit"],
                )
                .unwrap();
            assert_eq!(
                played.ended("grace"),
                error,
                "{hold}, lock: {lock:?}, statement: {statement:?}"
            );
        }
    }
}
