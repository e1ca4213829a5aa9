//! A batch whose answer is lost: its callers all get the same result, and it is right.

use std::sync::{mpsc, Arc};
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_row_lock::queue::RowQueue;
use diesel_row_lock::{LockError, RowLock};
use law::law;

use super::super::kills::pots::{Pot, Refused, Saver, Seen};
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

/// Nullable, so that a model without a text sets no column.
mod draft {
    diesel::table! {
        drafts (id) {
            id -> Integer,
            text -> Nullable<Text>,
        }
    }

    #[derive(Debug, Clone, diesel::Queryable, diesel::Identifiable, diesel::AsChangeset)]
    pub(super) struct Draft {
        pub(super) id: i32,
        pub(super) text: Option<String>,
    }
}

const DRAFTS: &str = "CREATE TABLE IF NOT EXISTS drafts (id INTEGER PRIMARY KEY, text TEXT); \
                      INSERT INTO drafts VALUES (1, NULL) ON CONFLICT DO NOTHING";

/// The stamp of row 1.
fn stamp(conn: &mut PgConnection, table: &str) -> String {
    let stamp = sql::<Text>(&format!("SELECT xmin::text FROM {table} WHERE id = 1"));
    stamp.get_result(conn).unwrap()
}

/// How many rows a statement would change that comes late.
fn late(conn: &mut PgConnection, table: &str, stamp: &str) -> usize {
    let late = format!("UPDATE {table} SET id = id WHERE id = 1 AND xmin = '{stamp}'");
    diesel::sql_query(late).execute(conn).unwrap()
}

/// Calls the queue with a closure that lays down a rule and changes the row, and returns an error
/// when it runs again. The rule cuts the last message of the statement, which never arrives.
macro_rules! change_of_mind {
    ($db:ident, $model:ty, $change:expr) => {{
        let run = |rule: Rule| {
            let wire = Arc::new(Wire::to(&$db.server()));
            let mut crew = Crew::at::<Conn>(&$db.url(), $db.name(), &[]);
            crew.counter = $db.url_at(&wire.address.to_string());
            let queue = RowQueue::<Conn, $model>::new(crew.pool());
            let mut rule = Some(rule);
            let laid = Arc::clone(&wire);
            let change: fn(&mut $model) = $change;
            let result = queue.update(1, move |row: &mut $model| {
                let rule = rule.take().ok_or(Refused::Own(Seen::of("")))?;
                laid.lay_down(rule);
                change(row);
                Ok::<_, Refused>(())
            });
            (result, wire.messages().len())
        };
        let (result, messages) = run(Rule::None);
        result.unwrap();
        move || run(Rule::Number(messages - 1, Cut::Before, Word::Fin)).0
    }};
}

/// The statement may still be on its way to the server.
#[law(postgres)]
fn error_of_a_change_that_runs_again_keeps_the_lost_statement_out(db: &Db) {
    let _turn = turn();
    let lose = change_of_mind!(db, Pot, |pot| pot.put("own"));
    let mut conn = db.connect();
    // The set-up of the call makes the pots anew.
    let result = lose();
    assert!(matches!(result, Err(Refused::Own(_))), "{result:?}");
    let written: bool = diesel::select(sql::<diesel::sql_types::Bool>(
        "(SELECT xmin::text <> (SELECT xmin::text FROM pots WHERE id = 2) \
         FROM pots WHERE id = 1)",
    ))
    .get_result(&mut conn)
    .unwrap();
    assert!(written, "pot 1 has the stamp of the set-up");
    assert_eq!(conn.read(1).unwrap().log, "");
}

/// Twin: the error of a locked call leaves the stamp, and a late statement would change the row.
#[law(postgres)]
fn twin_error_of_a_locked_call_lets_a_late_statement_in(db: &Db) {
    let mut conn = db.connect();
    conn.found_pots().unwrap();
    let before = stamp(&mut conn, "pots");
    let refused = conn.change_under_lock(1, &mut |_| Err(Refused::Own(Seen::of(""))));
    assert!(matches!(refused, Err(Refused::Own(_))), "{refused:?}");
    assert_eq!(late(&mut conn, "pots", &before), 1);
}

/// No statement can write a model that sets no column, so nothing keeps the lost one out.
#[law(postgres)]
fn change_that_runs_again_and_cannot_be_written_stays_in_doubt(db: &Db) {
    let _turn = turn();
    let mut conn = db.connect();
    conn.batch_execute(DRAFTS).unwrap();
    let lose = change_of_mind!(db, draft::Draft, |row| row.text = Some("own".to_owned()));
    conn.batch_execute("UPDATE drafts SET text = NULL").unwrap();
    let before = stamp(&mut conn, "drafts");
    let result = lose();
    assert!(
        matches!(result, Err(Refused::Lock(LockError::CommitUnknown { .. }))),
        "{result:?}"
    );
    assert_eq!(late(&mut conn, "drafts", &before), 1);
}
