//! Twins of the laws of this folder: a bug is planted, and the day must name it.

use std::time::Duration;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_row_lock::{update_row, LockConnection};
use law::law;
use servers::{PgBouncer, Postgres};

use super::super::kills::pots::{Pot, Refused, Saver, Seen};
use super::super::ledger::Teller;
use super::super::oracle::Kind;
use super::super::turn;
use super::super::workload::InDoubt;
use super::crew::{Call, Crew, Deed, End};
use super::day::Day;
use crate::support::wait_until;
use crate::support::wire::{Rule, Wire};

/// The day names all of `must`, and nothing beside it but what `may` come with it.
fn assert_named(day: &Day, must: &[Kind], may: &[Kind]) {
    let kinds = day.kinds();
    assert!(
        must.iter().all(|kind| kinds.contains_key(kind)),
        "{kinds:?}"
    );
    let expected = |kind: &Kind| must.contains(kind) || may.contains(kind);
    assert!(kinds.keys().all(expected), "{kinds:?}");
}

macro_rules! quiet_day {
    ($db:ident, $calls:expr) => {
        Crew::at::<Conn>(&$db.url(), $db.name(), $calls).day::<Conn>(|progress| {
            progress.work_goes_on(300);
            0
        })
    };
}

/// A day on which one message in forty is cut.
macro_rules! day_of_cuts {
    ($db:ident, $calls:expr, $in_doubt:expr) => {{
        let wire = Wire::to(&$db.server());
        let mut crew = Crew::at::<Conn>(&$db.url(), $db.name(), $calls);
        crew.counter = $db.url_at(&wire.address.to_string());
        crew.in_doubt = $in_doubt;
        wire.lay_down(Rule::one_in(40, crew.seed));
        crew.day::<Conn>(|progress| {
            progress.work_goes_on(300);
            wire.cuts()
        })
    }};
}

#[law(postgres, mysql, mariadb)]
fn nothing_planted_is_nothing_found(db: &Db) {
    let _turn = turn();
    assert_named(&quiet_day!(db, &Call::UPDATE_ROW), &[], &[]);
    assert_named(&quiet_day!(db, &Call::QUEUE), &[], &[]);
}

#[law(postgres, mysql, mariadb)]
fn update_without_a_condition_loses_changes(db: &Db) {
    let _turn = turn();
    let day = quiet_day!(db, &[Call::Unconditional; 4]);
    assert_named(&day, &[Kind::Lost], &[Kind::BrokenChain, Kind::Stale]);
}

#[law(postgres)]
fn err_of_an_earlier_row_is_stale(db: &Db) {
    let _turn = turn();
    let day = quiet_day!(db, &[Call::StaleErr, Call::StaleErr, Call::UpdateRow]);
    assert_named(&day, &[Kind::Stale], &[]);
}

#[law(postgres)]
fn answer_before_the_statement_is_a_lost_change(db: &Db) {
    let _turn = turn();
    // Alone, so that only a cut can lose what it writes.
    let day = day_of_cuts!(db, &[Call::AnsweredEarly], InDoubt::Resolves);
    assert_named(&day, &[Kind::Lost], &[Kind::Stale]);
}

#[law(postgres)]
fn trying_an_update_in_doubt_again_does_it_twice(db: &Db) {
    let _turn = turn();
    for calls in [&Call::UPDATE_ROW[..], &Call::QUEUE] {
        let day = day_of_cuts!(db, calls, InDoubt::TriesAgain);
        // The second time may be the one that is refused.
        assert_named(&day, &[Kind::NotOnce], &[Kind::NotRefused]);
    }
}

#[law(postgres)]
fn calling_an_update_in_doubt_refused_is_a_lie(db: &Db) {
    let _turn = turn();
    for calls in [&Call::UPDATE_ROW[..], &Call::QUEUE] {
        let day = day_of_cuts!(db, calls, InDoubt::CallsItRefused);
        assert_named(&day, &[Kind::NotRefused], &[]);
    }
}

/// A server that loses what it has acknowledged, and gives the id of the lost transaction to the
/// next one. A pooler hides that from its clients.
struct Forgetful {
    server: Postgres,
    pooler: PgBouncer,
    crew: Crew,
}

impl Forgetful {
    fn new() -> Self {
        // Nothing is to reach the disk before a commit takes it there.
        let server = Postgres::new(&["wal_writer_delay=10s", "autovacuum=off"]).unwrap();
        let pooler = PgBouncer::before(&server.address(), "transaction", 1).unwrap();
        let crew = Crew::at::<PgConnection>(&server.url(), "nobody", &[]);
        for sql in [
            "ALTER SYSTEM SET synchronous_commit = off",
            "SELECT pg_reload_conf()",
        ] {
            server.sql(sql).unwrap();
        }
        Self {
            server,
            pooler,
            crew,
        }
    }

    /// Adds `op` to pot 1 in a session of its own; returns the stamp that the pot has then.
    fn put(&self, op: &str) -> String {
        let conn = &mut PgConnection::open(&self.server.url()).unwrap();
        let op = op.to_owned();
        conn.change_under_lock(1, &mut move |pot| {
            let seen = Seen::of(&pot.log);
            pot.put(&op);
            Ok(seen)
        })
        .unwrap();
        stamp(conn)
    }

    /// The last commit is lost, and another one has its id.
    fn crash(&mut self, lost: &str) -> Deed {
        self.server.kill().unwrap();
        self.server.start_again().unwrap();
        // The pooler notices the loss of its session by the next statement.
        let ask = || self.pooler.sql("SELECT 1").is_ok();
        wait_until("the pooler has a session", Duration::from_millis(20), ask);
        let mut theirs = Deed::begin("theirs", 1, Call::Foreign);
        assert_eq!(self.put("theirs"), lost, "the id is assigned again");
        theirs.ends(Ok::<_, Refused>(Seen::of("")));
        theirs
    }
}

fn stamp(conn: &mut PgConnection) -> String {
    let xmin = sql::<Text>("SELECT xmin::text FROM pots WHERE id = 1");
    xmin.get_result(conn).unwrap()
}

/// By its value alone: the change of the other session is overwritten.
mod stamp_kept_over_a_crash_loses_a_change {
    use super::*;

    #[test]
    fn postgres() {
        let _turn = turn();
        let mut forgetful = Forgetful::new();
        let lost = forgetful.put("lost");
        let kept = PgConnection::open(&forgetful.server.url()).unwrap().read(1);
        let mut kept: Pot = kept.unwrap();
        let theirs = forgetful.crash(&lost);
        let mut own = Deed::begin("own", 1, Call::Unconditional);
        let seen = Seen::of(&kept.log);
        kept.put("own");
        let written = format!(
            "UPDATE pots SET log = '{}' WHERE id = 1 AND xmin = {lost}",
            kept.log
        );
        let conn = &mut PgConnection::open(&forgetful.server.url()).unwrap();
        let rows = diesel::sql_query(written).execute(conn).unwrap();
        assert_eq!(rows, 1, "the stamp is right");
        own.ends(Ok::<_, Refused>(seen));
        let day = Day::closed::<PgConnection>(&forgetful.crew, vec![theirs, own], 1);
        assert_named(&day, &[Kind::Lost, Kind::NotRefused], &[]);
    }
}

/// The cure: the stamp of `update_row` is one of a session. The pooler keeps the connection, so
/// nothing but the stamp tells the call what has happened.
mod stamp_of_update_row_is_none_after_a_crash {
    use super::*;

    #[test]
    fn postgres() {
        let _turn = turn();
        let mut forgetful = Forgetful::new();
        let mut conn = PgConnection::open(&forgetful.pooler.url()).unwrap();
        let conn = conn.pooler_safe();
        // Other tests have missed a row of this key: now it is written without a lock again.
        for _ in 0..=64 {
            let nothing = |_: &mut Pot| Err::<(), _>(diesel::result::Error::RollbackTransaction);
            update_row(&mut *conn, 1, nothing).unwrap_err();
        }
        // The ids of these locks are not to be assigned again.
        forgetful.server.sql("CHECKPOINT").unwrap();
        let lost = forgetful.put("lost");
        let mut theirs = None;
        let mut own = Deed::begin("own", 1, Call::UpdateRow);
        let result = update_row(conn, 1, |pot: &mut Pot| {
            if theirs.is_none() {
                assert_eq!(pot.log, "lost ");
                theirs = Some(forgetful.crash(&lost));
            }
            let seen = Seen::of(&pot.log);
            pot.put("own");
            Ok::<_, Refused>(seen)
        });
        own.ends(result);
        let deeds = vec![theirs.unwrap(), own];
        assert!(matches!(deeds[1].end, End::Acked(_)), "{:?}", deeds[1]);
        let day = Day::closed::<PgConnection>(&forgetful.crew, deeds, 1);
        assert_named(&day, &[], &[]);
    }
}
