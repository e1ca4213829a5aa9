//! Every part of the oracle by itself: an honest day, in which one thing is changed afterwards.

use std::time::{Duration, Instant};

use diesel_row_lock::Resolution;

use super::ledger::{Books, Entry, Purse, OPENING};
use super::oracle::{violations, Kind, Servers};
use super::workload::{Deed, End, Manner, Order};

/// Of five transfers from purse 1 to purse 2 the first three happened: two were acknowledged, the
/// third was in doubt. So was the fourth, and the last was refused.
fn honest() -> (Vec<Deed>, Books) {
    let ends = [
        End::Acked,
        End::Acked,
        End::InDoubt(Some(Resolution::Committed)),
        End::InDoubt(Some(Resolution::NotCommitted)),
        End::Refused("its own error".to_owned()),
    ];
    let mut clock = Instant::now();
    let mut tick = || {
        clock += Duration::from_millis(1);
        clock
    };
    let deeds = (0..).zip(ends).map(|(op, end)| Deed {
        order: Order {
            op,
            from: 1,
            to: 2,
            amount: 10,
            manner: Manner::Plainly,
            again: false,
        },
        end,
        held: Some((tick(), tick())),
        deadlocks: 0,
    });
    let purse = |id, sign: i64| Purse {
        id,
        balance: OPENING + sign * 30,
        seq: 3,
    };
    let journal = [(1, -1_i64), (2, 1)].into_iter().flat_map(|(purse, sign)| {
        (0..3).map(move |op| Entry {
            id: 0,
            op,
            purse,
            seq: op + 1,
            amount: sign * 10,
            balance: OPENING + sign * 10 * (op + 1),
        })
    });
    let books = Books {
        purses: vec![purse(1, -1), purse(2, 1)],
        journal: journal.collect(),
    };
    (deeds.collect(), books)
}

fn kinds_if(change: impl FnOnce(&mut Vec<Deed>, &mut Books)) -> Vec<Kind> {
    let (mut deeds, mut books) = honest();
    change(&mut deeds, &mut books);
    let mut kinds: Vec<_> = violations(&deeds, &books, Servers::One)
        .into_iter()
        .map(|violation| violation.kind)
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

#[test]
fn honest_day_is_right() {
    assert_eq!(kinds_if(|_, _| {}), []);
}

#[test]
fn acknowledged_and_absent_is_lost() {
    let kinds = kinds_if(|deeds, _| deeds[3].end = End::Acked);
    assert_eq!(kinds, [Kind::Lost]);
}

#[test]
fn acknowledged_and_absent_after_a_swallowed_error_is_a_false_ok() {
    let kinds = kinds_if(|deeds, _| {
        deeds[4].end = End::Acked;
        deeds[4].order.manner = Manner::Swallowing;
    });
    assert_eq!(kinds, [Kind::FalseOk]);
}

#[test]
fn refused_and_present_is_a_wrong_word() {
    let kinds = kinds_if(|deeds, _| deeds[0].end = deeds[4].end.clone());
    assert_eq!(kinds, [Kind::NotRefused]);
}

#[test]
fn present_by_nobodys_order_is_a_wrong_word() {
    assert_eq!(
        kinds_if(|deeds, _| deeds.retain(|deed| deed.order.op != 1)),
        [Kind::NotRefused]
    );
}

#[test]
fn resolution_must_be_what_the_books_say() {
    for (deed, resolution) in [(2, Resolution::NotCommitted), (3, Resolution::Committed)] {
        let kinds = kinds_if(|deeds, _| deeds[deed].end = End::InDoubt(Some(resolution)));
        assert_eq!(kinds, [Kind::WrongResolution]);
    }
}

#[test]
fn half_an_operation_and_one_done_twice_are_not_once() {
    // The third is done by the second's number.
    let twice = |_: &mut Vec<Deed>, books: &mut Books| {
        for entry in books.journal.iter_mut().filter(|entry| entry.op == 2) {
            entry.op = 1;
        }
    };
    let kinds = kinds_if(twice);
    assert_eq!(kinds, [Kind::NotOnce, Kind::WrongResolution]);
    let kinds = kinds_if(|_, books| books.journal.truncate(5));
    assert_eq!(kinds, [Kind::NotOnce, Kind::BrokenChain]);
}

#[test]
fn money_and_chains_must_add_up() {
    let kinds = kinds_if(|_, books| books.purses[0].balance += 1);
    assert_eq!(kinds, [Kind::Money, Kind::BrokenChain]);
    let kinds = kinds_if(|_, books| books.journal[1].balance += 1);
    assert_eq!(kinds, [Kind::BrokenChain]);
    let kinds = kinds_if(|_, books| books.purses[1].seq += 1);
    assert_eq!(kinds, [Kind::BrokenChain]);
}

#[test]
fn closures_of_one_purse_must_not_overlap() {
    let kinds = kinds_if(|deeds, _| {
        let (start, _) = deeds[0].held.unwrap();
        let (_, end) = deeds[1].held.unwrap();
        deeds[0].held = Some((start, end));
    });
    assert_eq!(kinds, [Kind::TwoHolders]);
}

#[test]
fn deadlock_of_our_own_is_a_fault_on_one_server() {
    assert_eq!(
        kinds_if(|deeds, _| deeds[4].deadlocks = 1),
        [Kind::Deadlock]
    );
    let (mut deeds, books) = honest();
    deeds[4].deadlocks = 1;
    let found = violations(&deeds, &books, Servers::SeveralThatWrite);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn escape_is_a_wrong_word_where_no_closure_escapes() {
    let kinds = kinds_if(|deeds, _| deeds[4].end = End::Escaped(String::new()));
    assert_eq!(kinds, [Kind::Escape]);
}
