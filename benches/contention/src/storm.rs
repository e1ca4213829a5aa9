//! One measurement: threads that carry out orders for a while, and the check that all of it is
//! there.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::thread::{scope, Builder};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use diesel_row_lock::LockError;

use crate::check::Ledger;
use crate::database::Bank;
use crate::measured::{Run, Times};
use crate::strategy::{Order, Teller};
use crate::workload::{Picker, Workload};

/// Before the time that counts: statements are prepared, lines form.
pub(crate) const WARM_UP: Duration = Duration::from_millis(200);

/// Of each thread, since there may be ten thousand of them.
const STACK: usize = 512 * 1024;

pub(crate) struct Storm {
    pub(crate) workload: Workload,
    pub(crate) rows: i32,
    /// The threads that are measured.
    pub(crate) threads: usize,
    /// The threads beside them.
    pub(crate) beside: usize,
    pub(crate) time: Duration,
    /// Whether there is one to be checked.
    pub(crate) journal: bool,
}

/// The tellers of one strategy.
pub(crate) struct Tellers {
    /// The measured threads take turns with them.
    pub(crate) measured: Vec<Box<dyn Teller>>,
    /// For the threads beside those, if it is another one.
    pub(crate) beside: Option<Box<dyn Teller>>,
}

/// What one thread has done.
struct Tally {
    /// Whenever it was acknowledged.
    ledger: Ledger,
    /// Those within the time that counts.
    counted: u64,
    /// How long each waited and held. A histogram for each of ten thousand threads is too large.
    times: Vec<(Duration, Duration)>,
    retries: u64,
    deadlocks: u64,
    gave_up: u64,
    failed: u64,
}

/// The time that counts.
#[derive(Clone, Copy)]
struct Window {
    begin: Instant,
    end: Instant,
}

impl Tellers {
    fn of(&self, thread: usize, is_beside: bool) -> Option<&dyn Teller> {
        let own = self.beside.as_ref().filter(|_| is_beside);
        let shared = || self.measured.iter().cycle().nth(thread);
        own.or_else(shared).map(AsRef::as_ref)
    }
}

impl Storm {
    /// Runs the threads on fresh accounts, then compares these with what was acknowledged.
    pub(crate) fn run(&self, bank: &dyn Bank, tellers: &Tellers) -> Result<(Run, Times)> {
        bank.reset(self.rows)?;
        bank.most_connections();
        let stop = AtomicBool::new(false);
        let gate = RwLock::new(None);
        let tallies: Vec<Tally> = scope(|scope| {
            // No thread begins before all of them are there. It stays closed if one is not.
            let mut opened = gate.write().unwrap_or_else(PoisonError::into_inner);
            let workers: Vec<_> = (0..self.threads + self.beside)
                .map(|thread| {
                    let (stop, gate) = (&stop, &gate);
                    Builder::new()
                        .stack_size(STACK)
                        .spawn_scoped(scope, move || {
                            let opened = *gate.read().unwrap_or_else(PoisonError::into_inner);
                            match opened {
                                Some(window) => self.work(tellers, thread, window, stop),
                                None => Ok(Tally::new(self.rows)),
                            }
                        })
                })
                .collect::<Result<_, _>>()?;
            *opened = Some(Window::of(self.time));
            drop(opened);
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect::<Result<_>>()
        })?;
        let most_connections = bank.most_connections();
        let (mut run, total) = self.summed(&tallies);
        run.connections = most_connections;
        let mut ledger = Ledger::of(self.rows);
        tallies.iter().for_each(|tally| ledger.add(&tally.ledger));
        run.acknowledged = ledger.changes();
        run.faults(ledger.faults(&bank.books()?, self.journal));
        Ok((run, total))
    }

    /// One thread: one order after the other until the time is over.
    fn work(
        &self,
        tellers: &Tellers,
        thread: usize,
        window: Window,
        stop: &AtomicBool,
    ) -> Result<Tally> {
        let mut tally = Tally::new(self.rows);
        let is_beside = thread >= self.threads;
        let mut picker = match is_beside {
            true => Picker::beside(self.workload, thread - self.threads),
            false => Picker::new(self.workload, self.rows, thread),
        };
        let Some(teller) = tellers.of(thread, is_beside) else {
            bail!("a strategy without a teller");
        };
        loop {
            let begin = Instant::now();
            if begin >= window.end || stop.load(Ordering::Relaxed) {
                return Ok(tally);
            }
            let order = picker.order();
            let result = teller.carry_out(order);
            let end = Instant::now();
            let late = begin >= window.begin;
            match result {
                Ok(receipt) if receipt.order == Order::Refused => {}
                Ok(receipt) => {
                    tally.ledger.book(receipt.order);
                    tally.counted += u64::from(end >= window.begin && end <= window.end);
                    // Also if it ended after the time: or the slowest would be left out.
                    if late {
                        tally.times.push((receipt.read - begin, end - receipt.read));
                        tally.retries += receipt.retries;
                    }
                }
                Err(LockError::Deadlock { .. }) => tally.deadlocks += u64::from(late),
                Err(error) if is_patience_at_its_end(&error) => {
                    tally.gave_up += u64::from(late);
                }
                // By the change of another caller, which alone may fail.
                Err(_) if self.workload == Workload::Refused => tally.failed += 1,
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    return Err(error).with_context(|| format!("{order:?}"));
                }
            }
        }
    }

    fn summed(&self, tallies: &[Tally]) -> (Run, Times) {
        let (measured, beside) = tallies.split_at(self.threads);
        let sum = |of: fn(&Tally) -> u64| measured.iter().map(of).sum::<u64>();
        let times = |of: fn(&(Duration, Duration)) -> Duration| {
            let mut all = Times::new();
            let each = measured.iter().flat_map(|tally| &tally.times);
            each.for_each(|times| all.record(of(times)));
            all
        };
        let total = times(|(wait, hold)| *wait + *hold);
        let counted = |tallies: &[Tally]| tallies.iter().map(|one| one.counted).collect::<Vec<_>>();
        let (measured_counts, all_counts) = (counted(measured), counted(tallies));
        let most = measured_counts.iter().max().copied().unwrap_or(0);
        let least = measured_counts.iter().min().copied().unwrap_or(0);
        let rate = |deposits: u64| deposits as f64 / self.time.as_secs_f64();
        let run = Run {
            deposits: sum(|tally| tally.counted),
            throughput: rate(sum(|tally| tally.counted)),
            total: total.quantiles(),
            wait: times(|(wait, _)| *wait).quantiles(),
            hold: times(|(_, hold)| *hold).quantiles(),
            retries: sum(|tally| tally.retries),
            deadlocks: sum(|tally| tally.deadlocks),
            gave_up: sum(|tally| tally.gave_up),
            failed: sum(|tally| tally.failed),
            fairness: most as f64 / least.max(1) as f64,
            idlest: all_counts.iter().min().copied().unwrap_or(0),
            beside_throughput: (self.beside > 0).then(|| rate(counted(beside).iter().sum())),
            ..Run::default()
        };
        (run, total)
    }
}

impl Window {
    /// From now on, behind the warm-up.
    fn of(time: Duration) -> Self {
        let begin = Instant::now() + WARM_UP;
        Self {
            begin,
            end: begin + time,
        }
    }
}

impl Tally {
    fn new(rows: i32) -> Self {
        Self {
            ledger: Ledger::of(rows),
            counted: 0,
            times: Vec::new(),
            retries: 0,
            deadlocks: 0,
            gave_up: 0,
            failed: 0,
        }
    }
}

/// Whether an error means that nothing was done because others were in the way for too long.
fn is_patience_at_its_end(error: &LockError) -> bool {
    error.is_contention()
        || matches!(
            error,
            LockError::SerializationFailure { .. }
                | LockError::RetriesExhausted { .. }
                | LockError::Pool { .. }
        )
}
