//! Sessions that are cancelled or ended while they change rows.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{update_row, LockError, Outcome};
use law::law;
use rand::Rng;

use crate::support::schema::Account;

/// How long each law lets its killers work.
const STORM: Duration = Duration::from_secs(3);

/// The tellers, each with an account of its own.
const TELLERS: [i32; 4] = [1, 2, 3, 4];

/// What a teller has seen.
#[derive(Debug, Default)]
struct Told {
    ok: u32,
    not_applied: u32,
    in_doubt: u32,
    wrong: Vec<String>,
}

/// Adds one to an account of the teller's own over and over, and asks after each error, on a
/// connection that is not killed, whether the outcome is true.
macro_rules! work {
    ($db:ident, $id:expr, $session:expr, $over:ident, $seen:ident) => {{
        let connect = || {
            let mut conn = $db.connect();
            $session.store(Db::session(&mut conn), Ordering::Relaxed);
            conn
        };
        let mut told = Told::default();
        let mut conn = connect();
        let mut balance = 1_000;
        while !$over.load(Ordering::Relaxed) {
            let result = update_row(&mut conn, $id, |account: &mut Account| {
                account.balance += 1;
                Ok::<_, LockError>(account.balance)
            });
            let Err(error) = result else {
                told.ok += 1;
                $seen[0].store(true, Ordering::Relaxed);
                balance += 1;
                continue;
            };
            $seen[1].store(true, Ordering::Relaxed);
            // Some kills end the session. What it was at may last longer than its connection.
            if diesel::sql_query("SELECT 1").execute(&mut conn).is_err() {
                let session = $session.load(Ordering::Relaxed);
                drop(conn);
                $db.wait_for_end_of(session);
                conn = connect();
            }
            let now = $db.balance($id);
            match error.outcome() {
                Outcome::NotApplied if now == balance => told.not_applied += 1,
                Outcome::InDoubt if (balance..=balance + 1).contains(&now) => told.in_doubt += 1,
                outcome => told
                    .wrong
                    .push(format!("{outcome:?}, {balance} -> {now}: {error:?}")),
            }
            balance = now;
        }
        let now = $db.balance($id);
        if now != balance {
            told.wrong.push(format!("at the end {now}, not {balance}"));
        }
        told
    }};
}

/// Runs the tellers while `$kill` is sent for one of their sessions after the other.
macro_rules! assert_told_right {
    ($db:ident, $kill:literal) => {{
        let over = &AtomicBool::new(false);
        // An `Ok` and a kill that hit: without both the law would be worth nothing.
        let seen = &[const { AtomicBool::new(false) }; 2];
        let sessions = &[const { AtomicI32::new(0) }; TELLERS.len()];
        let told: Vec<Told> = thread::scope(|scope| {
            let mut tellers = Vec::new();
            for (id, session) in TELLERS.into_iter().zip(sessions) {
                tellers.push(scope.spawn(move || work!($db, id, session, over, seen)));
            }
            let end = Instant::now() + STORM;
            let killer = &mut $db.connect();
            while Instant::now() < end || !seen.iter().all(|seen| seen.load(Ordering::Relaxed)) {
                // Any of them at any time: on a busy machine, too, some sessions come to something.
                let mut rng = rand::rng();
                let session = sessions[rng.random_range(0..sessions.len())].load(Ordering::Relaxed);
                // It may have ended, or not begun.
                let _ = killer.batch_execute(&format!($kill, session));
                thread::sleep(Duration::from_millis(rng.random_range(0..15)));
            }
            over.store(true, Ordering::Relaxed);
            let told = tellers.into_iter().map(|teller| teller.join().unwrap());
            told.collect()
        });
        let wrong: Vec<_> = told.iter().flat_map(|told| &told.wrong).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(told.iter().any(|told| told.ok > 0), "{told:?}");
        let hits = told.iter().map(|told| told.not_applied + told.in_doubt);
        assert!(hits.sum::<u32>() > 0, "{told:?}");
    }};
}

/// A commit that takes time, so that more of the kills meet it.
#[cfg(feature = "postgres")]
const SLOW_COMMIT: &str = "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS \
    $$ BEGIN PERFORM pg_sleep(0.002); RETURN NULL; END $$; \
    CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON accounts \
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()";

#[law(postgres)]
fn cancelled_changes_are_told_right(db: &Db) {
    assert_told_right!(db, "SELECT pg_cancel_backend({})");
}

#[law(postgres)]
fn changes_that_are_cancelled_at_the_commit_are_told_right(db: &Db) {
    db.connect().batch_execute(SLOW_COMMIT).unwrap();
    assert_told_right!(db, "SELECT pg_cancel_backend({})");
}

#[law(postgres)]
fn changes_whose_session_is_ended_are_told_right(db: &Db) {
    db.connect().batch_execute(SLOW_COMMIT).unwrap();
    assert_told_right!(db, "SELECT pg_terminate_backend({})");
}

#[law(mysql, mariadb)]
fn changes_whose_statement_is_killed_are_told_right(db: &Db) {
    assert_told_right!(db, "KILL QUERY {}");
}

#[law(mysql, mariadb)]
fn changes_whose_session_is_killed_are_told_right(db: &Db) {
    assert_told_right!(db, "KILL CONNECTION {}");
}
