//! A batch whose answer is lost: its callers all get the same result, and it is right.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::RowLock;
use law::law;

use super::super::kills::pots::{Pot, Refused, Seen};
use super::super::turn;
use super::crew::{Call, Crew, Deed, End};
use super::day::Day;
use crate::support::wait_until;
use crate::support::wire::{Cut, Rule, Wire, Word};

const CALLERS: u64 = 4;

/// Callers of one pot. The closure of the first one waits until `$lines` others are in line, lays
/// down the rule, and goes on.
macro_rules! one_batch {
    ($queue:expr, $wire:expr, $lines:literal, $rule:expr) => {{
        let (queue, wire): (_, &Wire) = (&$queue, $wire);
        let call = |number: u64, mut before: Box<dyn FnMut() + Send>| {
            let op = format!("{number}-1");
            let mut deed = Deed::begin(&op, 1, Call::Queue);
            deed.ends(queue.update(1, move |pot: &mut Pot| {
                before();
                let seen = Seen::of(&pot.log);
                pot.put(&op);
                Ok::<_, Refused>(seen)
            }));
            deed
        };
        let (runs, running) = mpsc::channel();
        let (goes_on, wait) = mpsc::channel();
        let deeds: Vec<Deed> = thread::scope(|scope| {
            let first = scope.spawn(move || {
                let mut is_first_run = true;
                let before = move || {
                    if std::mem::take(&mut is_first_run) {
                        runs.send(()).unwrap();
                        wait.recv().unwrap();
                    }
                };
                call(1, Box::new(before))
            });
            running.recv().unwrap();
            let others: Vec<_> = (2..=CALLERS)
                .map(|number| scope.spawn(move || call(number, Box::new(|| {}))))
                .collect();
            wait_until("others are in line", Duration::from_millis(1), || {
                queue.stats().waiting >= $lines
            });
            wire.lay_down($rule);
            goes_on.send(()).unwrap();
            let callers = [first].into_iter().chain(others);
            callers.map(|caller| caller.join().unwrap()).collect()
        });
        deeds
    }};
}

/// The `COMMIT` of a batch that has locked the row. (One more caller waits at the server.)
#[law(postgres, mysql, mariadb)]
fn lost_commit_of_a_batch_is_in_doubt_for_all_its_callers(db: &Db) {
    let _turn = turn();
    let mut crew = Crew::at::<Conn>(&db.url(), db.name(), &[]);
    let wire = Wire::to(&db.server());
    crew.counter = db.url_at(&wire.address.to_string());
    let lock = RowLock::for_update().timeout(Duration::from_secs(20));
    let queue = RowQueue::<Conn, Pot>::builder()
        .lock(lock)
        .build(crew.pool());
    let deeds = one_batch!(queue, &wire, 2, Rule::Commit(Cut::BeforeAnswer));
    drop(queue);
    let day = Day::closed::<Conn>(&crew, deeds, wire.cuts());
    let doubts = day.count(|end| *end == End::InDoubt);
    assert!(doubts >= 3, "{day:?}");
    // The server has executed it before the answer was lost.
    assert_eq!(day.in_doubt_but_absent(), 0, "{day:?}");
    day.assert_right("`RowQueue::update`: answer to a batch lost");
}

/// The one statement of a batch that has locked nothing. If the server never executes it, the
/// batch is made on a new session; if it did, nothing can tell.
#[law(postgres)]
fn lost_statement_of_a_batch_is_made_again_or_in_doubt_for_all_its_callers(db: &Db) {
    let _turn = turn();
    let run = |rule: Rule| {
        let mut crew = Crew::at::<Conn>(&db.url(), db.name(), &[]);
        let wire = Wire::to(&db.server());
        crew.counter = db.url_at(&wire.address.to_string());
        let queue = RowQueue::<Conn, Pot>::new(crew.pool());
        let deeds = one_batch!(queue, &wire, 3, rule);
        let messages = wire.messages();
        drop(queue);
        (Day::closed::<Conn>(&crew, deeds, wire.cuts()), messages)
    };
    let (day, messages) = run(Rule::None);
    let all = usize::try_from(CALLERS).unwrap();
    assert_eq!(day.count(|end| matches!(end, End::Acked(_))), all);
    assert!(
        messages.iter().all(|message| !message.commits),
        "{messages:?}"
    );
    for word in Word::ALL {
        for cut in Cut::ALL {
            let (day, _) = run(Rule::Number(messages.len() - 1, cut, word));
            let acked = day.count(|end| matches!(end, End::Acked(_)));
            let in_doubt = day.count(|end| *end == End::InDoubt);
            let expected = match cut {
                Cut::Before => acked == all,
                Cut::BeforeAnswer => in_doubt == all && day.in_doubt_but_absent() == 0,
                _ => acked == all || in_doubt == all,
            };
            assert!(expected, "{cut:?}, {word:?}: {day:?}");
            day.assert_right("`RowQueue::update`: answer to a batch lost");
        }
    }
}
