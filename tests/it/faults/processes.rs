//! Client processes that are killed.

use std::thread;
use std::time::Duration;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_row_lock::{CommitToken, LockError, Locked, RowLock};
use law::{law, part};
use rand::Rng;

use super::day::Day;
use super::ledger::{purses, Purse, Teller};
use super::workload::{resolve, Bank, Deed, Desk, End};
use super::{storm, turn};
use crate::support::child::{self, say, Child};
use crate::support::wait_until;

/// What a process is told.
const SEED: &str = "PART_SEED";
const NUMBER: &str = "PART_NUMBER";

#[part(postgres, mysql, mariadb, sqlite)]
fn teller(url: String) {
    work(
        &Bank::<Conn>::in_process(&url, child::told(SEED)),
        child::told(NUMBER),
    );
}

#[part(postgres, mysql, mariadb, sqlite)]
fn holder(url: String) {
    hold(&Bank::<Conn>::in_process(&url, child::told(SEED)));
}

/// Prints the token of each operation before it begins, and how it ended.
fn work<C: Teller>(bank: &Bank<C>, number: u64) {
    let mut desk = Desk::new(bank, &bank.office, number);
    loop {
        let (order, token) = (desk.next_order(), CommitToken::new());
        say(format_args!("begins {token}"));
        match desk.carry_out_with(order, token).unwrap().end {
            End::Acked => say("acked"),
            End::Refused(why) => say(format_args!("refused {}", why.replace('\n', " "))),
            end => panic!("{end:?}"),
        }
    }
}

/// Holds two purses until there is a line on standard input.
fn hold<C: Teller>(bank: &Bank<C>) {
    let mut conn = C::open(&bank.office).unwrap();
    conn.locked([1, 2], CommitToken::new(), None, &mut |_, _| {
        say("holds");
        child::listen();
        Ok(())
    })
    .unwrap();
    say("committed");
}

/// What a process has done, by its own words. The orders are those of its number, which need not be
/// told; the last one it could not end is in doubt.
fn deeds_of<C: Teller>(bank: &Bank<C>, number: u64, lines: &[String]) -> Vec<Deed> {
    let mut desk = Desk::new(bank, &bank.office, number);
    let mut lines = lines.iter();
    let mut deeds = Vec::new();
    while let Some(begins) = lines.next() {
        let token: CommitToken = begins.strip_prefix("begins ").unwrap().parse().unwrap();
        let end = match lines.next().map(|line| line.as_str()) {
            Some("acked") => End::Acked,
            Some(refused) => End::Refused(refused.to_owned()),
            None => End::InDoubt(Some(resolve::<C>(&bank.office, token))),
        };
        deeds.push(Deed {
            order: desk.next_order(),
            end,
            // One process's clock is of no use to another.
            held: None,
            deadlocks: 0,
        });
    }
    deeds
}

/// Starts processes, two at a time, and kills them.
fn killings<C: Teller>(url: &str, play: impl Fn(&Bank<C>, u64) -> Child) -> Day {
    let bank = Bank::<C>::at(url);
    let (mut deeds, mut killed) = (Vec::new(), 0);
    storm(|| {
        let tellers = [killed, killed + 1].map(|number| (number, play(&bank, number)));
        thread::sleep(Duration::from_millis(rand::rng().random_range(50..400)));
        for (number, teller) in tellers {
            let lines = teller.kill();
            deeds.extend(deeds_of(&bank, number, &lines));
            killed += 1;
        }
    });
    Day::closed(&bank, deeds, killed)
}

macro_rules! killings {
    ($db:ident) => {
        killings::<Conn>(&$db.url(), |bank, number| {
            let told = [(SEED, bank.seed.to_string()), (NUMBER, number.to_string())];
            $db.play("faults::processes::teller", &told)
        })
    };
}

/// Whether nobody holds the purse.
macro_rules! is_free {
    ($db:ident) => {{
        let lock = RowLock::for_update().no_wait();
        let result = lock.with(
            &mut $db.connect(),
            purses::table.find(1),
            |_, _: Locked<Purse>| Ok::<_, LockError>(()),
        );
        match result {
            Ok(()) => true,
            Err(LockError::Busy { .. }) => false,
            Err(other) => panic!("{other:?}"),
        }
    }};
}

#[law(postgres, mysql, mariadb)]
fn killed_processes_lose_nothing_that_they_were_told(db: &Db) {
    let _turn = turn();
    let day = killings!(db);
    day.assert_right("client processes killed");
}

/// Here the process is the server, too.
#[law(sqlite)]
fn killed_processes_lose_nothing_and_leave_a_sound_file(db: &Db) {
    let _turn = turn();
    let day = killings!(db);
    let check = sql::<Text>("PRAGMA integrity_check").get_result::<String>(&mut db.connect());
    assert_eq!(check.unwrap(), "ok");
    day.assert_right("client processes killed");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn row_of_a_killed_holder_is_free_at_once(db: &Db) {
    let bank = Bank::<Conn>::at(&db.url());
    let holder = db.play(
        "faults::processes::holder",
        &[(SEED, bank.seed.to_string())],
    );
    assert_eq!(holder.hear(), "holds");
    assert!(!is_free!(db));
    holder.kill();
    // The server hears of it from the socket that closes: within milliseconds, on a busy machine
    // later.
    wait_until("it is free", Duration::from_millis(5), || is_free!(db));
}
