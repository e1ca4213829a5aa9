//! The lines under thousands of random schedules: `lines.rs` and `line.rs` once more, on primitives
//! that switch to another thread wherever that is possible, and that let any wait with a deadline
//! be too late.
//!
//! Each law must also find a mistake that is made on purpose, between the two: see [`line`].

use std::collections::HashSet;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc as StdArc;
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
}

struct World {
    lines: Lines<u8, usize>,
    /// The row lock of the database.
    row: Mutex<()>,
    history: Mutex<History>,
    entrance: Mutex<()>,
    leaders_die: bool,
    hasty: bool,
}

impl World {
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
            let ticket = self.lines.enter(7, with_job.then_some(number));
            (number, ticket.expect("the line is long enough"))
        };
        let deadline = self.hasty.then(Instant::now);
        match ticket.wait(deadline) {
            Waited::Turn(mut turn, job) => {
                assert_eq!(job, with_job.then_some(number));
                self.history.lock().unwrap().turns += 1;
                assert!(
                    self.history.lock().unwrap().turns <= WIDTH,
                    "too many turns at once"
                );
                let row = self.row.lock().unwrap();
                let taken = turn.acquired(with_job.then_some(2));
                let dies = self.leaders_die && thread_rng().gen_bool(0.5);
                let mut history = self.history.lock().unwrap();
                let others = taken.iter().filter_map(|taken| taken.job().copied());
                let batch: Vec<usize> = [number].into_iter().chain(others).collect();
                if dies {
                    history.abandoned.extend(batch);
                } else {
                    history.done.extend(batch);
                }
                drop(history);
                drop(row);
                // Up to here it has a connection.
                self.history.lock().unwrap().turns -= 1;
                drop(turn);
                drop(taken);
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
}

#[derive(Clone, Copy)]
struct Scenario {
    leaders_die: bool,
    hasty: bool,
    without_jobs: bool,
}

fn play(scenario: Scenario) {
    let world = Arc::new(World {
        lines: Lines::new(WIDTH, 100),
        row: Mutex::new(()),
        history: Mutex::default(),
        entrance: Mutex::new(()),
        leaders_die: scenario.leaders_die,
        hasty: scenario.hasty,
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
    assert!(history.done.is_sorted(), "out of order: {:?}", history.done);
    let ends = history.done.len() + history.gave_up.len() + history.abandoned.len();
    assert_eq!(ends, 5, "some ended twice, or never");
    assert_eq!(world.lines.keys(), 0, "a line is left");
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

#[test]
fn every_caller_has_one_end_in_order_of_entry() {
    check(CALM);
}

#[test]
fn callers_who_give_up_anywhere_leave_no_trace() {
    check(HASTY);
}

#[test]
fn leaders_who_die_strand_nobody() {
    check(DYING);
}

#[test]
fn all_of_it_at_once() {
    check(Scenario {
        leaders_die: true,
        ..HASTY
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
            let lines = Lines::<u8, usize>::new(WIDTH, 100);
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

/// With a turn it would lead a batch of its own, one that nearly always has no other job.
#[test]
fn job_waits_in_the_line_while_a_batch_is_held() {
    fn turn<'l>(ticket: Ticket<'l, u8, usize>) -> Turn<'l, u8, usize> {
        match ticket.wait(None) {
            Waited::Turn(turn, _) => turn,
            _ => unreachable!("no other caller takes the job"),
        }
    }
    shuttle::check_random(
        || {
            let lines = Lines::<u8, usize>::new(2, 100);
            let mut batch = turn(lines.enter(1, Some(0)).expect("room"));
            assert!(batch.acquired(Some(10)).is_empty());
            let job = lines.enter(1, Some(1)).expect("room");
            assert_eq!(lines.waiting(), 1);
            drop(batch);
            assert_eq!(lines.waiting(), 0, "it is called");
            // Twin: a turn that holds for itself keeps no job in the line.
            let mut own = turn(job);
            assert!(own.acquired(None).is_empty());
            let next = lines.enter(1, Some(2)).expect("room");
            assert_eq!(lines.waiting(), 0);
            drop((own, next));
            assert_eq!(lines.keys(), 0);
        },
        1,
    );
}

#[test]
fn jobs_that_are_put_back_keep_their_places() {
    shuttle::check_random(
        || {
            let lines = StdArc::new(Lines::<u8, usize>::new(WIDTH, 100));
            let leader = lines.enter(1, Some(0)).expect("room");
            let followers: Vec<_> = (1..4)
                .map(|number| {
                    let (lines, (entered, is_in)) =
                        (StdArc::clone(&lines), shuttle::sync::mpsc::channel());
                    let follower = thread::spawn(move || {
                        let ticket = lines.enter(1, Some(number)).expect("room");
                        entered.send(()).unwrap();
                        match ticket.wait(None) {
                            Waited::Turn(mut turn, job) => {
                                turn.acquired(None);
                                job
                            }
                            _ => None,
                        }
                    });
                    is_in.recv().unwrap();
                    follower
                })
                .collect();
            let Waited::Turn(mut turn, _) = leader.wait(None) else {
                unreachable!("it is the first")
            };
            let taken = turn.acquired(Some(10));
            let jobs: Vec<_> = taken.iter().map(|taken| taken.job().copied()).collect();
            assert_eq!(jobs, [Some(1), Some(2), Some(3)]);
            turn.put_back(taken);
            drop(turn);
            let jobs: Vec<_> = followers
                .into_iter()
                .map(|follower| follower.join().unwrap())
                .collect();
            assert_eq!(
                jobs,
                [Some(1), Some(2), Some(3)],
                "each has its own job again"
            );
            assert_eq!(lines.keys(), 0);
        },
        SCHEDULES,
    );
}
