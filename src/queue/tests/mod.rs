//! The lines under thousands of random schedules: `lines.rs` and `line.rs` once more, on primitives
//! that switch to another thread wherever that is possible, and that let any wait with a deadline
//! be too late.
//!
//! Each law must also find a mistake that is made on purpose, between the two: see [`line`].

use std::collections::HashSet;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc as StdArc, Mutex as StdMutex};
use std::time::Instant;

use shuttle::rand::{thread_rng, Rng};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

use self::line::Mistake;
use self::lines::{Lines, Ticket, Turn, Waited};

mod line;
#[path = "../lines.rs"]
#[allow(clippy::duplicate_mod, reason = "on other primitives")]
mod lines;

mod sync {
    use std::time::Instant;

    use shuttle::rand::{thread_rng, Rng};
    pub(super) use shuttle::sync::atomic::AtomicBool;
    pub(super) use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};
    pub(super) use std::sync::PoisonError;

    /// Any wait with a deadline may be too late.
    pub(super) fn wait_until<'g, T>(
        condvar: &Condvar,
        guard: MutexGuard<'g, T>,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'g, T>, bool) {
        if deadline.is_some() && thread_rng().gen_bool(0.3) {
            return (guard, true);
        }
        let woken = condvar.wait(guard);
        (woken.unwrap_or_else(PoisonError::into_inner), false)
    }
}

const SCHEDULES: usize = 3_000;
const WIDTH: usize = 2;

/// What happened, in order.
#[derive(Default)]
struct History {
    entered: usize,
    /// By the numbers in the order of entry.
    done: Vec<usize>,
    gave_up: HashSet<usize>,
    abandoned: HashSet<usize>,
    turns: usize,
    /// Judged at the end: a panic under a lock would be reported by the other threads, too.
    was_beside_alone: bool,
}

struct World {
    lines: Lines<u8, Job, Value>,
    /// The row lock of the database.
    row: Mutex<()>,
    history: Mutex<History>,
    entrance: Mutex<()>,
    scenario: Scenario,
    /// What the turns hand on, by the numbers of those who made it.
    values: StdArc<StdMutex<Values>>,
}

/// A caller's job, and how often it was tried.
#[derive(Debug, PartialEq)]
struct Job {
    number: usize,
    tries: usize,
}

#[derive(Default)]
struct Values {
    made: usize,
    dropped: usize,
}

/// A connection, say: it must not be lost, nor held by a line in which no caller waits.
struct Value(StdArc<StdMutex<Values>>);

impl Value {
    fn new(values: &StdArc<StdMutex<Values>>) -> Self {
        values.lock().unwrap().made += 1;
        Self(StdArc::clone(values))
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.0.lock().unwrap().dropped += 1;
    }
}

/// How a turn ends.
#[derive(PartialEq)]
enum End {
    Done,
    /// The jobs are run again, by this caller or by the next one.
    Again,
    Dies,
}

impl World {
    fn end(&self, tries: usize) -> End {
        let scenario = self.scenario;
        if scenario.leaders_die && thread_rng().gen_bool(0.5) {
            End::Dies
        } else if scenario.again && tries < 2 && thread_rng().gen_bool(0.5) {
            End::Again
        } else {
            End::Done
        }
    }

    /// One caller, with a job or for a turn of its own.
    fn call(&self, with_job: bool) {
        let (number, ticket) = {
            // So that the order of entry is known.
            let _entrance = self.entrance.lock().unwrap();
            let number = {
                let mut history = self.history.lock().unwrap();
                history.entered += 1;
                history.entered - 1
            };
            let job = with_job.then_some(Job { number, tries: 0 });
            let ticket = self.lines.enter(7, job);
            (number, ticket.expect("the line is long enough"))
        };
        let deadline = self.scenario.hasty.then(Instant::now);
        match ticket.wait(deadline) {
            Waited::Turn(turn, job) => {
                assert_eq!(
                    job.as_ref().map(|job| job.number),
                    with_job.then_some(number)
                );
                self.history.lock().unwrap().turns += 1;
                assert!(
                    self.history.lock().unwrap().turns <= WIDTH,
                    "too many turns at once"
                );
                self.have_turn(turn, number, job);
            }
            Waited::Served => {
                let history = self.history.lock().unwrap();
                let known = history.done.contains(&number) || history.abandoned.contains(&number);
                assert!(with_job && known, "served, but no turn did it");
            }
            Waited::GaveUp => {
                self.history.lock().unwrap().gave_up.insert(number);
            }
        }
    }

    fn have_turn(&self, mut turn: Turn<'_, u8, Job, Value>, number: usize, job: Option<Job>) {
        let mut value = turn.kept();
        let with_job = job.is_some();
        let mut tries = job.map_or(0, |job| job.tries);
        assert_eq!(*turn.key(), 7);
        // Such a turn has no lock of the database when it begins.
        if with_job && turn.is_free() && thread_rng().gen_bool(0.5) {
            turn.holds_alone();
        }
        let taken = loop {
            let row = self.row.lock().unwrap();
            turn.acquired(with_job);
            value.get_or_insert_with(|| Value::new(&self.values));
            let mut taken = Vec::new();
            while with_job && taken.len() < 2 {
                let Some(next) = turn.take_next(1 + taken.len()) else {
                    break;
                };
                taken.push(next);
            }
            let end = self.end(tries);
            let mut history = self.history.lock().unwrap();
            history.was_beside_alone |= turn.is_alone() && history.turns > 1;
            let mut others = Vec::new();
            for next in &mut taken {
                let job = next.job().expect("it has not come back");
                job.tries += usize::from(end == End::Again);
                others.push(job.number);
            }
            let batch = [number].into_iter().chain(others);
            match end {
                End::Done => history.done.extend(batch),
                End::Dies => history.abandoned.extend(batch),
                End::Again => {
                    drop(history);
                    drop(row);
                    turn.give_back(taken);
                    tries += 1;
                    continue;
                }
            }
            break taken;
        };
        // Up to here it has a connection.
        self.history.lock().unwrap().turns -= 1;
        if thread_rng().gen_bool(0.5) {
            drop(turn);
        } else if let Some(value) = value.take() {
            drop(turn.leave(value));
        }
        for next in taken {
            next.finish(drop);
        }
    }
}

#[derive(Clone, Copy)]
struct Scenario {
    leaders_die: bool,
    hasty: bool,
    without_jobs: bool,
    again: bool,
}

fn play(scenario: Scenario) {
    let world = Arc::new(World {
        lines: Lines::new(WIDTH, 100),
        row: Mutex::new(()),
        history: Mutex::default(),
        entrance: Mutex::new(()),
        scenario,
        values: StdArc::default(),
    });
    let callers: Vec<_> = [true, true, false, true, true]
        .into_iter()
        .map(|with_job| {
            let world = Arc::clone(&world);
            thread::spawn(move || world.call(with_job && !scenario.without_jobs))
        })
        .collect();
    for caller in callers {
        caller.join().unwrap();
    }
    let history = world.history.lock().unwrap();
    // A caller for itself may have the row before jobs that come back.
    if !scenario.again {
        assert!(history.done.is_sorted(), "out of order: {:?}", history.done);
    }
    assert!(
        !history.was_beside_alone,
        "a turn beside one that holds alone"
    );
    let ends = history.done.len() + history.gave_up.len() + history.abandoned.len();
    assert_eq!(ends, 5, "some ended twice, or never");
    assert_eq!(world.lines.keys(), 0, "a line is left");
    let values = world.values.lock().unwrap();
    assert_eq!(values.made, values.dropped, "a value is left");
}

fn check(scenario: Scenario) {
    shuttle::check_random(move || play(scenario), SCHEDULES);
    // Others: few switches, at any place.
    shuttle::check_pct(move || play(scenario), SCHEDULES, 3);
}

/// The law finds the mistake, and says one of these of it. What shuttle prints is the schedule that
/// did.
fn assert_finds(mistake: Mistake, scenario: Scenario, findings: &[&str]) {
    let found = mistake.during(|| catch_unwind(AssertUnwindSafe(|| check(scenario))));
    let panic = found.expect_err("no schedule shows the mistake");
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    let message = message.unwrap_or("a panic without a message");
    let is_finding = findings.iter().any(|finding| message.contains(finding));
    assert!(is_finding, "{mistake:?}: {message}");
}

const CALM: Scenario = Scenario {
    leaders_die: false,
    hasty: false,
    without_jobs: false,
    again: false,
};
const HASTY: Scenario = Scenario {
    hasty: true,
    ..CALM
};
const DYING: Scenario = Scenario {
    leaders_die: true,
    ..CALM
};
const WITHOUT_JOBS: Scenario = Scenario {
    without_jobs: true,
    ..CALM
};
const AGAIN: Scenario = Scenario {
    again: true,
    ..HASTY
};

#[test]
fn every_caller_has_one_end_in_order_of_entry() {
    check(CALM);
}

#[test]
fn callers_who_give_up_anywhere_leave_no_trace() {
    check(HASTY);
}

#[test]
fn jobs_that_come_back_have_one_end_and_can_give_up() {
    check(AGAIN);
}

#[test]
fn leaders_who_die_strand_nobody() {
    check(DYING);
}

#[test]
fn all_of_it_at_once() {
    check(Scenario {
        leaders_die: true,
        ..AGAIN
    });
    check(WITHOUT_JOBS);
}

#[test]
fn planted_lost_wake_ups_are_found() {
    assert_finds(Mistake::NextIsNotCalled, CALM, &["deadlock"]);
    assert_finds(Mistake::ServedIsNotTold, CALM, &["deadlock"]);
    assert_finds(Mistake::ServedIsNotTold, DYING, &["deadlock"]);
}

#[test]
fn planted_disorder_is_found() {
    assert_finds(Mistake::LastComesFirst, CALM, &["out of order"]);
    assert_finds(Mistake::JobsOvertake, CALM, &["out of order"]);
}

#[test]
fn planted_loss_of_a_value_is_found() {
    let lost = Mistake::ValueIsLost.during(|| catch_unwind(value_is_left_to_the_next_turn_only));
    assert!(lost.is_err(), "the law does not see it");
}

#[test]
fn planted_turn_beside_one_that_holds_alone_is_found() {
    assert_finds(
        Mistake::AloneIsNotAlone,
        CALM,
        &["a turn beside one that holds alone"],
    );
}

#[test]
fn planted_third_turn_is_found() {
    assert_finds(Mistake::TooManyTurns, WITHOUT_JOBS, &["too many turns"]);
}

#[test]
fn planted_leaver_in_the_line_is_found() {
    let findings = ["some ended twice, or never", "a line is left", "deadlock"];
    assert_finds(Mistake::LeaverStays, HASTY, &findings);
}

/// As by a panic before the wait: one caller is in the line, and one has been called.
#[test]
fn ticket_that_is_dropped_strands_nobody() {
    shuttle::check_random(
        || {
            let lines = Lines::<u8, usize, ()>::new(WIDTH, 100);
            let enter = || lines.enter(1, None).expect("room");
            let (called, in_line, last) = (enter(), enter(), enter());
            drop(in_line);
            drop(called);
            let Waited::Turn(turn, _) = last.wait(None) else {
                unreachable!("it has no job that another caller could do")
            };
            drop(turn);
            assert_eq!(lines.keys(), 0);
        },
        SCHEDULES,
    );
}

fn turn<J, T>(ticket: Ticket<'_, u8, J, T>) -> Turn<'_, u8, J, T> {
    match ticket.wait(None) {
        Waited::Turn(turn, _) => turn,
        _ => unreachable!("no other caller takes the job"),
    }
}

/// With a turn it would lead a batch of its own, one that nearly always has no other job.
#[test]
fn job_waits_in_the_line_while_a_batch_is_held() {
    shuttle::check_random(
        || {
            let lines = Lines::<u8, usize, ()>::new(2, 100);
            let mut batch = turn(lines.enter(1, Some(0)).expect("room"));
            batch.acquired(true);
            assert!(batch.take_next(1).is_none());
            let job = lines.enter(1, Some(1)).expect("room");
            assert_eq!(lines.waiting(), 1);
            drop(batch);
            assert_eq!(lines.waiting(), 0, "it is called");
            // Twin: a turn that holds for itself keeps no job in the line.
            let mut own = turn(job);
            own.acquired(false);
            let next = lines.enter(1, Some(2)).expect("room");
            assert_eq!(lines.waiting(), 0);
            drop((own, next));
            assert_eq!(lines.keys(), 0);
        },
        1,
    );
}

/// The jobs that `turn` takes one after the other.
fn take_all<'l, T>(turn: &Turn<'l, u8, usize, T>) -> Vec<line::Taken<usize, T>> {
    let mut taken = Vec::new();
    while let Some(next) = turn.take_next(1 + taken.len()) {
        taken.push(next);
    }
    taken
}

fn numbers<T>(taken: &mut [line::Taken<usize, T>]) -> Vec<usize> {
    let jobs = taken.iter_mut().filter_map(line::Taken::job);
    jobs.map(|job| *job).collect()
}

/// A batch of four fails: of the three others, which come back, the next batch takes one with the
/// leader's own, since at least one of the four is to blame.
fn give_back_three() {
    shuttle::check_random(
        || {
            let lines = Lines::<u8, usize, ()>::new(WIDTH, 100);
            let enter = |job| lines.enter(1, Some(job)).expect("room");
            let mut leader = turn(enter(0));
            let _tickets = [1, 2, 3].map(enter);
            leader.acquired(true);
            let mut taken = take_all(&leader);
            assert_eq!(numbers(&mut taken), [1, 2, 3]);
            let _late = enter(4);
            leader.give_back(taken);
            let mut taken = take_all(&leader);
            assert_eq!(numbers(&mut taken), [1, 2, 3, 4], "not in their places");
            leader.give_back(taken);
            leader.refused(4);
            let mut taken = take_all(&leader);
            assert_eq!(numbers(&mut taken), [1], "not a half");
            // These two are not to blame, so it is one of the two that are left.
            leader.passed(2);
            drop(leader);
            taken.clear();
        },
        1,
    );
}

#[test]
fn jobs_that_are_given_back_keep_their_places_and_are_halved() {
    give_back_three();
    let finds = |mistake: Mistake, finding: &str| {
        let found = mistake.during(|| catch_unwind(give_back_three));
        let panic = found.expect_err("the law does not see it");
        let message = panic.downcast_ref::<String>().expect("a message");
        assert!(message.contains(finding), "{message}");
    };
    finds(Mistake::BackAtTheEnd, "not in their places");
    finds(Mistake::SuspectsAreForgotten, "not a half");
}

/// With one change to blame of eight, each batch that fails says in which half it is. With all to
/// blame, no further one is spent on that.
#[test]
fn change_to_blame_is_found_by_halves() {
    let laws = || {
        assert_eq!(
            batches_of(&[5]),
            [8, 4, 2, 1, 1, 2],
            "the sixth is to blame"
        );
        assert_eq!(
            batches_of(&[0]),
            [8, 4, 2, 1, 1, 6],
            "the first is to blame"
        );
        assert_eq!(batches_of(&[]), [8]);
        let all: Vec<_> = (0..8).collect();
        assert_eq!(batches_of(&all), [8, 4, 2, 1, 1, 1, 1, 1, 1, 1, 1]);
    };
    // The places in the line are shuttle's.
    shuttle::check_random(laws, 1);
}

/// The sizes of the batches until each of eight jobs has its end.
fn batches_of(guilty: &[usize]) -> Vec<usize> {
    let mut line = line::Line::<usize, ()>::default();
    let mut left: Vec<usize> = (0..8).collect();
    let mut sizes = Vec::new();
    while !left.is_empty() {
        line.waiting.clear();
        for number in &left {
            let waiter = Arc::new(line::Waiter::new(Some(*number)));
            line.enter(waiter, true);
        }
        let mut batch = Vec::new();
        while batch.len() < left.len() {
            let Some(next) = line.take_next(batch.len()) else {
                break;
            };
            batch.push(next);
        }
        sizes.push(batch.len());
        let jobs = &left[..batch.len()];
        let is_refused = jobs.iter().any(|job| guilty.contains(job));
        if is_refused {
            line.refused(batch.len());
        } else {
            line.passed(batch.len());
        }
        if batch.len() == 1 || !is_refused {
            left.drain(..batch.len());
        }
    }
    sizes
}

/// What a turn leaves goes to the caller that it calls, and to no line without one.
#[test]
fn value_is_left_to_the_next_turn_only() {
    shuttle::check_random(
        || {
            let lines = Lines::<u8, usize, &str>::new(WIDTH, 100);
            let enter = || lines.enter(1, Some(0)).expect("room");
            let mut first = turn(enter());
            first.acquired(true);
            let second = enter();
            assert_eq!(first.leave("kept"), None, "no caller takes it");
            let mut second = turn(second);
            assert_eq!(second.kept(), Some("kept"), "it is lost");
            assert_eq!(second.kept(), None);
            second.acquired(true);
            assert_eq!(second.leave("kept"), Some("kept"), "it stays in the line");
            // A caller that is called and does not come hands it on.
            let mut third = turn(enter());
            third.acquired(true);
            let (gone, last) = (enter(), enter());
            assert_eq!(third.leave("kept"), None);
            drop(gone);
            assert_eq!(turn(last).kept(), Some("kept"));
            assert_eq!(lines.keys(), 0);
        },
        1,
    );
}
