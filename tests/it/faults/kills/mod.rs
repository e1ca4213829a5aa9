//! A storm of cancelled statements: `KILL QUERY` and `pg_cancel_backend`, at any moment of a call.
//!
//! Clients make all kinds of locked calls ([`client`]), each in a process of its own, and write
//! down what they are told; what they have done is in [`pots`]. A [`judge`] compares the two.

mod client;
mod judge;
pub(super) mod pots;

use std::thread;
use std::time::{Duration, Instant};

use law::law;
use rand::seq::IndexedRandom;
use rand::Rng;

use self::judge::{End, Judged, Told};
use self::pots::Saver;
use super::day::Line;
use super::oracle::Kind;
use super::{seed, storm_time, turn};
use crate::support::child::Child;
use crate::support::wait_until;

/// How long the last calls may take. A session waits for a lock for seven seconds, and behind a
/// call that hangs each client does.
const LIMIT: Duration = Duration::from_secs(40);

/// Enough where only a bug is shown, and too short where the machine is busy.
const SHORT_LIMIT: Duration = Duration::from_secs(15);

/// A storm that is over.
struct Storm {
    kills: u64,
    judged: Judged,
    server: String,
    seed: u64,
}

impl Storm {
    /// Lets these clients work on the database of this name while their statements are cancelled.
    fn over<C: Saver>(
        (url, name): (&str, &str),
        (time, limit): (Duration, Duration),
        clients: &[&str],
        play: impl Fn(&str, &[(&str, String)]) -> Child,
    ) -> Self {
        let seed = seed();
        C::open(url).unwrap().found_pots().unwrap();
        let mut clients: Vec<_> = (1..)
            .zip(clients)
            .map(|(number, part): (u64, _)| {
                let told = [
                    (client::NUMBER, number.to_string()),
                    (client::SEED, seed.to_string()),
                ];
                let part = format!("faults::kills::client::{part}");
                (number, play(&part, &told))
            })
            .collect();
        let kills = cancel::<C>(url, name, time);
        for (_, client) in &mut clients {
            client.nudge();
        }
        let mut told = Told::default();
        let deadline = Instant::now() + limit;
        for (number, client) in clients {
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                match client.hear_within(left).as_deref() {
                    Some("done") => break,
                    Some(line) => told.hear(line),
                    None => {
                        told.hung(number);
                        break;
                    }
                }
            }
        }
        let conn = &mut C::open(url).unwrap();
        // Those that were killed may be at work still.
        wait_until("their sessions are over", Duration::from_millis(20), || {
            conn.list(name).unwrap().is_empty()
        });
        Self {
            kills,
            judged: told.judge(&conn.logs().unwrap()),
            server: conn.server().unwrap(),
            seed,
        }
    }

    fn assert_right(&self, fault: &str) {
        let Judged { deeds, violations } = &self.judged;
        let kinds = self.judged.kinds();
        let number = |kind| kinds.get(&kind).copied().unwrap_or_default();
        let doubts = self.judged.count(|end| matches!(end, End::InDoubt { .. }));
        Line {
            fault,
            server: &self.server,
            faults: self.kills,
            deeds: deeds.len(),
            acked: self.judged.count(|end| *end == End::Ok),
            lost: number(Kind::Lost),
            false_ok: 0,
            in_doubt: doubts,
            // Where there is no token the pot says it, now that the session is over.
            resolved: doubts - number(Kind::WrongResolution),
            wrong: violations.len(),
            seed: self.seed,
        }
        .report();
        let few = &violations[..violations.len().min(5)];
        let seed = self.seed;
        assert!(
            violations.is_empty(),
            "{fault}, seed {seed}: {kinds:?}, such as {few:#?}"
        );
        let cancelled = |end: &End| matches!(end, End::Refused(why) if why.contains("Cancelled"));
        assert!(self.judged.count(cancelled) > 0, "no call was cancelled");
        assert!(
            self.judged.count(|end| *end == End::Ok) > 0,
            "no call succeeded"
        );
    }
}

/// Cancels what a session of this database does, drawn by lot, every 0 to 3 ms; returns how often.
fn cancel<C: Saver>(url: &str, name: &str, time: Duration) -> u64 {
    let (killer, lister) = (&mut C::open(url).unwrap(), &mut C::open(url).unwrap());
    let rng = &mut rand::rng();
    let (mut kills, mut sessions) = (0, Vec::new());
    let end = Instant::now() + time;
    while Instant::now() < end || kills == 0 {
        if kills % 16 == 0 || sessions.is_empty() {
            // Each list is without the session that asks for it.
            let others = killer.list(name).unwrap();
            sessions = lister.list(name).unwrap();
            sessions.retain(|session| others.contains(session));
        }
        if let Some(session) = sessions.choose(rng) {
            // It may be gone.
            kills += u64::from(killer.batch_execute(&C::cancel(session)).is_ok());
        }
        thread::sleep(Duration::from_micros(rng.random_range(0..3_000)));
    }
    kills
}

macro_rules! storm {
    ($db:ident, $time:expr, $clients:expr) => {
        Storm::over::<Conn>((&$db.url(), $db.name()), $time, $clients, |part, told| {
            $db.play(part, told)
        })
    };
}

#[law(postgres, mysql, mariadb)]
fn cancelled_statements_are_told_right_and_no_call_hangs(db: &Db) {
    let _turn = turn();
    let clients = ["caller", "caller", "caller", "queuer"];
    storm!(db, (storm_time(), LIMIT), &clients).assert_right("statements cancelled at random");
}

/// Twin: the library once ended its transactions by a batch of which `COMMIT` was not the last
/// statement, and took an error that is not a lost connection for "nothing is applied".
#[law(postgres, mysql, mariadb)]
fn twin_commit_within_a_batch_is_told_wrong_or_hangs(db: &Db) {
    let _turn = turn();
    for _ in 0..20 {
        let storm = storm!(
            db,
            (Duration::from_secs(2), SHORT_LIMIT),
            &["planted", "planted"]
        );
        let kinds = storm.judged.kinds();
        if kinds.contains_key(&Kind::NotRefused) || kinds.contains_key(&Kind::Hang) {
            return;
        }
    }
    panic!("twenty storms have not found it");
}

/// Twin: Diesel's own prepared `SELECT`, cancelled behind its first row, waits for ever when the
/// same connection executes it again (libmariadb 3.3). Without any lock.
#[law(mysql, mariadb)]
fn twin_select_of_plain_diesel_hangs_when_it_is_cancelled(db: &Db) {
    let _turn = turn();
    for _ in 0..10 {
        let storm = storm!(
            db,
            (Duration::from_secs(2), SHORT_LIMIT),
            &["reader", "reader"]
        );
        if storm.judged.kinds().contains_key(&Kind::Hang) {
            return;
        }
    }
    panic!("ten storms have not found it");
}
