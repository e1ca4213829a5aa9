//! Twins of every law of this folder: a bug is planted, and the oracle must name it. An oracle
//! that has never been red proves nothing.

use std::thread;
use std::time::Duration;

use diesel::prelude::*;
use diesel_row_lock::{with_row_lock, Locked, Resolution};

use super::day::Day;
use super::ledger::{purses, Purse, Refusal, Teller};
use super::oracle::Kind;
use super::turn;
use super::workload::{Bank, Deed, End, Progress};
use crate::support::laws;

/// Long enough for a bug that needs two to meet.
fn a_while(progress: &Progress) -> u64 {
    crate::support::wait_until("much is done", Duration::from_millis(5), || {
        progress.acked() > 300
    });
    0
}

fn assert_named(day: &Day, expected: &[Kind]) {
    let kinds: Vec<_> = day.kinds().into_keys().collect();
    assert_eq!(kinds, expected, "{:?}", day.kinds());
}

laws! {
    /// What the twins below are measured by: with nothing planted the oracle is content.
    [postgres, mysql, sqlite] fn nothing_planted_is_nothing_found(db) {
        let _turn = turn();
        let day = Bank::<Conn>::at(&db.url()).day(a_while);
        assert_named(&day, &[]);
    }

    [postgres, mysql, sqlite] fn lock_left_out_breaks_chains_and_money(db) {
        let _turn = turn();
        let mut bank = Bank::<Conn>::at(&db.url());
        bank.call = |conn, ids, _, _, work| {
            let mut read = |id| purses::table.find(id).first::<Purse>(conn);
            let rows = vec![read(ids[0])?, read(ids[1])?];
            conn.transaction(|conn| work(conn, rows))
        };
        assert_named(&bank.day(a_while), &[Kind::Money, Kind::BrokenChain, Kind::TwoHolders]);
    }

    /// Diesel's own transaction says `Ok` when PostgreSQL has rolled back.
    [postgres] fn guard_left_out_is_a_false_ok(db) {
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
        assert_named(&bank.day(a_while), &[Kind::FalseOk]);
    }

    [postgres, mysql] fn locking_in_the_order_asked_is_a_deadlock(db) {
        let _turn = turn();
        let mut bank = Bank::<Conn>::at(&db.url());
        bank.call = |conn, [one, other], _, _, work| {
            with_row_lock(conn, purses::table.find(one), |conn, first: Locked<Purse>| {
                with_row_lock(conn, purses::table.find(other), |conn, second: Locked<Purse>| {
                    work(conn, vec![first.clone(), second.into_inner()])
                })
            })
        };
        let day = bank.day(a_while);
        assert_named(&day, &[Kind::Deadlock]);
    }
}
