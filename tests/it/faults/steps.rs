//! The connection is cut at every step of the protocol: before the client's message reaches the
//! server, right behind it, before its answer; with FIN and with RST.

use diesel::connection::SimpleConnection;
use law::law;

use super::day::Day;
use super::turn;
use super::workload::{Bank, Desk, End, Manner, Order};
use crate::support::wire::{Cut, Message, Rule, Wire, Word};

/// The first message from which on the outcome is in doubt: that of the `COMMIT`. A client that
/// waits for no answer to the one before is as far already.
fn first_in_doubt(messages: &[Message]) -> usize {
    let mut first = messages.iter().position(|message| message.commits).unwrap();
    while first > 0 && !messages[first - 1].answered {
        first -= 1;
    }
    first
}

fn ways() -> impl Iterator<Item = (Cut, Word)> {
    Cut::ALL
        .into_iter()
        .flat_map(|cut| Word::ALL.map(|word| (cut, word)))
}

fn order(op: i64) -> Order {
    Order {
        op,
        from: 3,
        to: 1,
        amount: 7,
        manner: Manner::Plainly,
        again: false,
    }
}

#[law(postgres, mysql, mariadb)]
fn cut_at_any_step_is_told_right(db: &Db) {
    let _turn = turn();
    let mut bank = Bank::<Conn>::at(&db.url());
    let mut deeds = Vec::new();
    let mut carry_out = |op: i64, rule: Rule| {
        let wire = Wire::to(&db.server());
        bank.counters = vec![db.url_at(&wire.address.to_string())];
        let mut desk = Desk::new(&bank, &bank.counters[0], 0);
        // What Diesel has sent without waiting for an answer has arrived before this.
        desk.connect().unwrap().batch_execute("SELECT 1").unwrap();
        wire.lay_down(rule);
        let deed = desk.carry_out(order(op)).unwrap();
        deeds.push(deed.clone());
        (deed.end, wire.messages())
    };
    let (end, messages) = carry_out(0, Rule::None);
    assert_eq!(end, End::Acked);
    let first_in_doubt = first_in_doubt(&messages);
    let mut cuts = 0;
    for number in 0..messages.len() {
        for (cut, word) in ways() {
            cuts += 1;
            let (end, _) = carry_out(cuts, Rule::Number(number, cut, word));
            let expected = match end {
                End::Refused(_) => number < first_in_doubt,
                End::Acked | End::InDoubt(_) => number >= first_in_doubt,
                End::Escaped(_) => false,
            };
            assert!(
                expected,
                "{number} of {messages:?}, {cut:?}, {word:?}: {end:?}"
            );
        }
    }
    let day = Day::closed(&bank, deeds, cuts.unsigned_abs());
    day.assert_right("connection cut at each protocol step");
}
