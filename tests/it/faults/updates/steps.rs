//! The connection is cut at every message of a call of `update_row`.

use std::ops::RangeInclusive;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_row_lock::{update_row, LockError, Locked, RowLock};
use law::law;

use super::super::kills::pots::{pots, Pot, Refused, Saver, Seen};
use super::super::ledger::Teller;
use super::super::turn;
use super::crew::{Call, Crew, Deed, End, Hand};
use super::day::Day;
use crate::support::wire::{Cut, Rule, Wire, Word};

fn ways() -> impl Iterator<Item = (Cut, Word)> {
    Cut::ALL
        .into_iter()
        .flat_map(|cut| Word::ALL.map(|word| (cut, word)))
}

/// Pots that `update_row` does not lock first. It does that with pots that were missed lately in
/// this process, or that share their place in its memory with one.
struct FreshPots {
    numbers: RangeInclusive<i32>,
    conn: PgConnection,
    other: PgConnection,
}

impl Iterator for FreshPots {
    type Item = i32;

    fn next(&mut self) -> Option<i32> {
        let Self { conn, other, .. } = self;
        self.numbers.find(|number| {
            let mut is_free = None;
            let refused = update_row(conn, *number, |pot: &mut Pot| {
                is_free.get_or_insert_with(|| {
                    let lock = RowLock::for_update().no_wait();
                    let free = |_: &mut PgConnection, _: Locked<'_, Pot>| Ok::<_, LockError>(());
                    lock.with(other, pots::table.find(pot.id), free).is_ok()
                });
                Err::<(), _>(Refused::Own(Seen::of("")))
            });
            assert!(matches!(refused, Err(Refused::Own(_))), "{refused:?}");
            is_free == Some(true)
        })
    }
}

impl FreshPots {
    fn of(url: &str) -> Self {
        let mut conn = PgConnection::open(url).unwrap();
        conn.batch_execute("INSERT INTO pots SELECT g, '' FROM generate_series(65, 999) g")
            .unwrap();
        Self {
            numbers: 1..=999,
            conn,
            other: PgConnection::open(url).unwrap(),
        }
    }
}

/// Up to the conditional `UPDATE` nothing is applied; from then on no call says that.
#[law(postgres)]
fn update_row_cut_at_any_step_is_told_right(db: &Db) {
    let _turn = turn();
    let mut crew = Crew::at::<Conn>(&db.url(), db.name(), &[]);
    let mut fresh = FreshPots::of(&db.url());
    let mut deeds: Vec<Deed> = Vec::new();
    let mut carry_out = |number: u64, rule: Rule| {
        let wire = Wire::to(&db.server());
        crew.counter = db.url_at(&wire.address.to_string());
        let queue = crew.queue::<Conn>();
        let mut hand = Hand::new(&crew, number, Call::UpdateRow, &queue);
        // What Diesel has sent without waiting for an answer has arrived before this.
        hand.connect().unwrap().batch_execute("SELECT 1").unwrap();
        let pot = fresh.next().unwrap();
        wire.lay_down(rule);
        let deed = hand.plainly(pot).unwrap();
        let end = deed.end.clone();
        deeds.push(deed);
        (end, wire.messages())
    };
    let (end, messages) = carry_out(0, Rule::None);
    assert!(matches!(end, End::Acked(_)), "{end:?}");
    assert!(
        messages.iter().all(|message| !message.commits),
        "{messages:?}"
    );
    let (mut cuts, mut first_in_doubt) = (0, None);
    for number in 0..messages.len() {
        for (cut, word) in ways() {
            cuts += 1;
            let (end, _) = carry_out(cuts, Rule::Number(number, cut, word));
            // Of the last message before the `UPDATE` the answer may still have come through.
            match end {
                End::Refused(_) => assert!(
                    first_in_doubt.is_none_or(|first| number <= first),
                    "{number} of {messages:?}, {cut:?}, {word:?}: {end:?}"
                ),
                _ => first_in_doubt = first_in_doubt.or(Some(number)),
            }
        }
    }
    let first = first_in_doubt.unwrap();
    assert!(
        first > 0 && first < messages.len(),
        "{first} of {messages:?}"
    );
    drop(fresh);
    let day = Day::closed::<Conn>(&crew, deeds, cuts);
    day.assert_right("`update_row`: connection cut at each protocol step");
}

/// The same where another session is faster, so that the call reads, misses, locks and writes.
#[law(postgres)]
fn missed_update_row_cut_at_any_step_is_told_right(db: &Db) {
    let _turn = turn();
    let crew = Crew::at::<Conn>(&db.url(), db.name(), &[]);
    let mut fresh = FreshPots::of(&db.url());
    let mut rival = db.connect();
    let mut deeds: Vec<Deed> = Vec::new();
    let mut carry_out = |number: u64, rule: Rule| {
        let wire = Wire::to(&db.server());
        let mut conn = Conn::open(&db.url_at(&wire.address.to_string())).unwrap();
        conn.batch_execute("SELECT 1").unwrap();
        let pot = fresh.next().unwrap();
        wire.lay_down(rule);
        let mut runs = 0;
        let mut own = Deed::begin(&format!("own-{number}"), pot, Call::UpdateRow);
        let result = update_row(&mut conn, pot, |pot: &mut Pot| {
            runs += 1;
            if runs == 1 {
                let op = format!("rival-{number}");
                let mut deed = Deed::begin(&op, pot.id, Call::Foreign);
                let put = move |pot: &mut Pot| {
                    let seen = Seen::of(&pot.log);
                    pot.put(&op);
                    Ok(seen)
                };
                deed.ends(rival.change_under_lock(pot.id, &mut { put }));
                deeds.push(deed);
            }
            let seen = Seen::of(&pot.log);
            pot.put(&format!("own-{number}"));
            Ok::<_, Refused>(seen)
        });
        own.ends(result);
        let end = own.end.clone();
        deeds.push(own);
        (end, wire.messages())
    };
    let (end, messages) = carry_out(0, Rule::None);
    assert!(matches!(end, End::Acked(_)), "{end:?}");
    assert!(
        messages.iter().any(|message| message.commits),
        "{messages:?}"
    );
    let (mut cuts, mut refused, mut in_doubt) = (0, 0, 0);
    for number in 0..messages.len() {
        for (cut, word) in ways() {
            cuts += 1;
            match carry_out(cuts, Rule::Number(number, cut, word)).0 {
                End::Refused(_) => refused += 1,
                End::InDoubt => in_doubt += 1,
                _ => {}
            }
        }
    }
    assert!(refused > 0 && in_doubt > 0, "{refused}, {in_doubt}");
    drop((rival, fresh));
    let day = Day::closed::<Conn>(&crew, deeds, cuts);
    day.assert_right("`update_row`: connection cut at each protocol step");
}
