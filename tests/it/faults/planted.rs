//! Twins of every law of this folder: a bug is planted, and the oracle must name it. An oracle
//! that has never been red proves nothing.

use std::time::Duration;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_row_lock::{with_row_lock, CommitToken, LockError, Locked, Resolution};
use law::law;
use servers::{Galera, Postgres};

use super::day::Day;
use super::ledger::{purses, Purse, Refusal, Teller};
use super::oracle::{Kind, Servers};
use super::turn;
use super::workload::{Bank, Deed, Desk, End, InDoubt, Manner, Progress};
use crate::support::wait_until;
use crate::support::wire::{Cut, Rule, Wire};

const PAUSE: Duration = Duration::from_millis(5);

/// Long enough for a bug that needs two to meet.
fn a_while(progress: &Progress) -> u64 {
    wait_until("much is done", PAUSE, || progress.acked() > 200);
    0
}

/// The oracle names all of `must`, and nothing beside it but what `may` come with it.
fn assert_named(day: &Day, must: &[Kind], may: &[Kind]) {
    let kinds = day.kinds();
    assert!(
        must.iter().all(|kind| kinds.contains_key(kind)),
        "{kinds:?}"
    );
    let expected = |kind: &Kind| must.contains(kind) || may.contains(kind);
    assert!(kinds.keys().all(expected), "{kinds:?}");
}

/// A day on which answers to `COMMIT` get lost.
macro_rules! day_of_doubt {
    ($db:ident, $in_doubt:expr) => {{
        let wire = Wire::to(&$db.server());
        let mut bank = Bank::<Conn>::at(&$db.url());
        bank.counters = vec![$db.url_at(&wire.address.to_string())];
        bank.in_doubt = $in_doubt;
        bank.day(|progress| {
            for acked in [20, 40, 60] {
                wait_until("some are done", PAUSE, || progress.acked() > acked);
                let cuts = wire.cuts();
                wire.lay_down(Rule::Commit(Cut::BeforeAnswer));
                wait_until("it is cut", PAUSE, || wire.cuts() > cuts);
                wire.lay_down(Rule::None);
            }
            wire.cuts()
        })
    }};
}

/// What the twins below are measured by: with nothing planted the oracle is content.
#[law(postgres, mysql, mariadb, sqlite)]
fn nothing_planted_is_nothing_found(db: &Db) {
    let _turn = turn();
    let day = Bank::<Conn>::at(&db.url()).day(a_while);
    assert_named(&day, &[], &[]);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn lock_left_out_breaks_chains_and_money(db: &Db) {
    let _turn = turn();
    let mut bank = Bank::<Conn>::at(&db.url());
    bank.call = |conn, ids, _, _, work| {
        let mut read = |id| purses::table.find(id).first::<Purse>(conn);
        let rows = vec![read(ids[0])?, read(ids[1])?];
        conn.transaction(|conn| work(conn, rows))
    };
    // Bare Diesel would leave the transaction of a closure that panics open.
    bank.manners = vec![Manner::Slowly];
    assert_named(
        &bank.day(a_while),
        &[Kind::Money, Kind::BrokenChain, Kind::TwoHolders],
        &[Kind::Deadlock],
    );
}

/// Diesel's own transaction says `Ok` when PostgreSQL has rolled back.
#[law(postgres)]
fn guard_left_out_is_a_false_ok(db: &Db) {
    let _turn = turn();
    let mut bank = Bank::<Conn>::at(&db.url());
    bank.call = |conn, [one, other], _, _, work| {
        conn.transaction(|conn| {
            let query = purses::table.filter(purses::id.eq_any([one, other]));
            let mut rows = query.order(purses::id).for_update().load::<Purse>(conn)?;
            rows.sort_by_key(|row| row.id != one);
            work(conn, rows)
        })
    };
    bank.manners = vec![Manner::Swallowing];
    assert_named(&bank.day(a_while), &[Kind::FalseOk], &[]);
}

#[law(postgres, mysql, mariadb)]
fn locking_in_the_order_asked_is_a_deadlock(db: &Db) {
    let _turn = turn();
    let mut bank = Bank::<Conn>::at(&db.url());
    bank.call = |conn, [one, other], _, _, work| {
        with_row_lock(
            conn,
            purses::table.find(one),
            |conn, first: Locked<Purse>| {
                with_row_lock(
                    conn,
                    purses::table.find(other),
                    |conn, second: Locked<Purse>| {
                        work(conn, vec![first.clone(), second.into_inner()])
                    },
                )
            },
        )
    };
    let day = bank.day(|progress| {
        wait_until("two have met", PAUSE, || progress.deadlocks() > 0);
        0
    });
    assert_named(&day, &[Kind::Deadlock], &[]);
}

#[law(postgres, mysql, mariadb)]
fn trying_again_what_is_in_doubt_does_it_twice(db: &Db) {
    let _turn = turn();
    assert_named(
        &day_of_doubt!(db, InDoubt::TriesAgain),
        &[Kind::NotOnce],
        &[],
    );
}

#[law(postgres, mysql, mariadb)]
fn calling_refused_what_is_in_doubt_is_a_lie(db: &Db) {
    let _turn = turn();
    assert_named(
        &day_of_doubt!(db, InDoubt::CallsItRefused),
        &[Kind::NotRefused],
        &[],
    );
}

/// The cure of the two above.
#[law(postgres, mysql, mariadb)]
fn resolving_what_is_in_doubt_is_right(db: &Db) {
    let _turn = turn();
    let day = day_of_doubt!(db, InDoubt::Resolves);
    assert!(day.in_doubt() > 0);
    assert_named(&day, &[], &[]);
}

/// PostgreSQL hands a transaction's id out again if a crash kept its first use from the disk.
mod resolving_by_transaction_id_is_wrong_after_a_crash {
    use super::*;

    #[test]
    fn postgres() {
        // Nothing is to reach the disk before a commit takes it there.
        let mut server = Postgres::new(&["wal_writer_delay=10s", "autovacuum=off"]).unwrap();
        let mut bank = Bank::<PgConnection>::at(&server.url());
        bank.manners.clear();
        let mut desk = Desk::new(&bank, &bank.office, 0);
        let (crashed, next) = (desk.next_order(), desk.next_order());

        let token = CommitToken::new();
        let mut id = String::new();
        let mut conn = PgConnection::open(&server.url()).unwrap();
        let result = conn.locked([crashed.from, crashed.to], token, None, &mut |conn, _| {
            id = diesel::select(sql::<Text>("pg_current_xact_id()::text")).get_result(conn)?;
            server.kill().unwrap();
            Ok(())
        });
        assert!(
            matches!(result, Err(Refusal::Lock(LockError::CommitUnknown { .. }))),
            "{result:?}"
        );
        server.start_again().unwrap();
        let next = desk.carry_out(next).unwrap();
        assert_eq!(next.end, End::Acked);

        let day = |resolution| {
            let crashed = Deed {
                order: crashed.clone(),
                end: End::InDoubt(Some(resolution)),
                held: None,
                deadlocks: 0,
            };
            Day::closed(&bank, vec![crashed, next.clone()], 1)
        };
        let status = server
            .sql(&format!("SELECT pg_xact_status('{id}')"))
            .unwrap();
        assert_eq!(status, "committed", "the next transaction has the same id");
        assert_named(&day(Resolution::Committed), &[Kind::WrongResolution], &[]);
        let by_token = token.resolve(&mut PgConnection::open(&server.url()).unwrap());
        assert_named(&day(by_token.unwrap()), &[], &[]);
    }
}

/// A plain read of a row is no claim to it, at no node of a cluster.
mod lock_left_out_loses_money_between_nodes {
    use super::*;

    #[test]
    fn galera() {
        let _turn = turn();
        let cluster = Galera::new(2).unwrap();
        let mut bank = Bank::<MysqlConnection>::at(&cluster.nodes[0].url());
        bank.counters = cluster.nodes.iter().map(|node| node.url()).collect();
        bank.call = |conn, ids, _, _, work| {
            let mut read = |id| purses::table.find(id).first::<Purse>(conn);
            let rows = vec![read(ids[0])?, read(ids[1])?];
            conn.transaction(|conn| work(conn, rows))
        };
        bank.manners = vec![Manner::Slowly];
        let mut day = bank.day(|progress| {
            a_while(progress);
            let catch_up = "SET GLOBAL wsrep_sync_wait = 1";
            cluster.nodes[0].sql(catch_up).unwrap();
            0
        });
        day.servers = Servers::SeveralThatWrite;
        assert_named(&day, &[Kind::Money, Kind::BrokenChain], &[Kind::TwoHolders]);
    }
}
