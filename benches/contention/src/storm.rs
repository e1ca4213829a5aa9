//! One measurement: threads that carry out orders for a while, and the check that all of it is
//! there.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use diesel_row_lock::LockError;

use crate::check::Ledger;
use crate::database::Bank;
use crate::measured::{Run, Times};
use crate::strategy::{Order, Teller};
use crate::workload::{Picker, Workload, HOT};

/// Before the time that counts: statements are prepared, lines form.
pub(crate) const WARM_UP: Duration = Duration::from_millis(200);

pub(crate) struct Storm {
    pub(crate) workload: Workload,
    pub(crate) rows: i32,
    /// Those that are measured.
    pub(crate) threads: usize,
    /// Those on the hot row beside them.
    pub(crate) hot_threads: usize,
    pub(crate) time: Duration,
    /// Whether there is one to be checked.
    pub(crate) journal: bool,
}

/// What one thread has done.
struct Tally {
    /// Whenever it was acknowledged.
    ledger: Ledger,
    /// Those within the time that counts.
    counted: u64,
    total: Times,
    wait: Times,
    hold: Times,
    retries: u64,
    deadlocks: u64,
    gave_up: u64,
}

/// The time that counts.
#[derive(Clone, Copy)]
struct Window {
    begin: Instant,
    end: Instant,
}

impl Storm {
    /// Lets the threads loose on fresh accounts, then compares these with what was acknowledged.
    pub(crate) fn run(&self, bank: &dyn Bank, teller: &dyn Teller) -> Result<(Run, Times)> {
        bank.reset(self.rows)?;
        bank.most_connections();
        let stop = AtomicBool::new(false);
        let begin = Instant::now() + WARM_UP;
        let window = Window {
            begin,
            end: begin + self.time,
        };
        let all = self.threads + self.hot_threads;
        let tallies: Vec<Tally> = scope(|scope| {
            let workers: Vec<_> = (0..all)
                .map(|thread| {
                    let stop = &stop;
                    scope.spawn(move || self.work(teller, thread, window, stop))
                })
                .collect();
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
        teller: &dyn Teller,
        thread: usize,
        window: Window,
        stop: &AtomicBool,
    ) -> Result<Tally> {
        let mut tally = Tally::new(self.rows);
        let mut picker = Picker::new(self.workload, self.rows, thread as u64);
        let is_hot = thread >= self.threads;
        loop {
            let begin = Instant::now();
            if begin >= window.end || stop.load(Ordering::Relaxed) {
                return Ok(tally);
            }
            let order = match is_hot {
                true => Order::Deposit(HOT),
                false => picker.order(),
            };
            let result = teller.carry_out(order);
            let end = Instant::now();
            let late = begin >= window.begin;
            match result {
                Ok(receipt) => {
                    tally.ledger.book(receipt.order);
                    tally.counted += u64::from(end >= window.begin && end <= window.end);
                    // Also if it ended after the time: or the slowest would be left out.
                    if late {
                        tally.total.record(end - begin);
                        tally.wait.record(receipt.read - begin);
                        tally.hold.record(end - receipt.read);
                        tally.retries += receipt.retries;
                    }
                }
                Err(LockError::Deadlock { .. }) => tally.deadlocks += u64::from(late),
                Err(error) if is_patience_at_its_end(&error) => {
                    tally.gave_up += u64::from(late);
                }
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    return Err(error).with_context(|| format!("{order:?}"));
                }
            }
        }
    }

    fn summed(&self, tallies: &[Tally]) -> (Run, Times) {
        let (measured, hot) = tallies.split_at(self.threads);
        let sum = |of: fn(&Tally) -> u64| measured.iter().map(of).sum::<u64>();
        let merged = |of: fn(&Tally) -> &Times| {
            let mut all = Times::new();
            measured.iter().for_each(|tally| all.add(of(tally)));
            all
        };
        let total = merged(|tally| &tally.total);
        let counted = || measured.iter().map(|tally| tally.counted);
        let rate = |deposits: u64| deposits as f64 / self.time.as_secs_f64();
        let run = Run {
            deposits: sum(|tally| tally.counted),
            throughput: rate(sum(|tally| tally.counted)),
            total: total.quantiles(),
            wait: merged(|tally| &tally.wait).quantiles(),
            hold: merged(|tally| &tally.hold).quantiles(),
            retries: sum(|tally| tally.retries),
            deadlocks: sum(|tally| tally.deadlocks),
            gave_up: sum(|tally| tally.gave_up),
            fairness: counted().max().unwrap_or(0) as f64
                / counted().min().unwrap_or(0).max(1) as f64,
            hot_throughput: (self.hot_threads > 0)
                .then(|| rate(hot.iter().map(|tally| tally.counted).sum())),
            ..Run::default()
        };
        (run, total)
    }
}

impl Tally {
    fn new(rows: i32) -> Self {
        Self {
            ledger: Ledger::of(rows),
            counted: 0,
            total: Times::new(),
            wait: Times::new(),
            hold: Times::new(),
            retries: 0,
            deadlocks: 0,
            gave_up: 0,
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
