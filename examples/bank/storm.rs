//! [`Storm`]: many threads that book on one account at once.

use std::io::{stderr, IsTerminal, Write};
use std::num::NonZeroU16;
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use rand::Rng;

use crate::backend;
use crate::bank::Bank;
use crate::cli::Strategy;
use crate::error::BankError;
use crate::report::{Report, Tally};

/// How often the line of progress changes.
const TICK: Duration = Duration::from_millis(50);

/// Up to the end of the line.
const CLEAR_LINE: &str = "\x1b[K";

/// What a thread waits between two bookings. Those who wait for SQLite's write lock only look from
/// time to time; without a pause, whoever has just released it would take it again before them.
const PAUSE: Duration = Duration::from_millis(1);

pub(crate) struct Storm<'a> {
    url: &'a str,
    account: i32,
    threads: NonZeroU16,
    time: Duration,
    strategy: Strategy,
}

/// The two kinds of threads. Depositors bring more than withdrawers take, so that there is always
/// something to lose.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Depositor,
    Withdrawer,
}

/// The `storm` command.
pub(crate) fn command(storm: &Storm<'_>, bank: &mut dyn Bank) -> Result<ExitCode, BankError> {
    let report = storm.run(bank)?;
    let strategy = match storm.strategy {
        Strategy::None => "without a lock",
        Strategy::Row => "with `with_row_lock`",
        Strategy::Version => "with `save_versioned`",
    };
    println!(
        "{} threads on account {}, {strategy}:",
        storm.threads, storm.account
    );
    println!("{report}");
    Ok(match storm.strategy {
        Strategy::Row | Strategy::Version if !report.nothing_is_lost() => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

impl<'a> Storm<'a> {
    pub(crate) fn new(
        url: &'a str,
        account: i32,
        threads: NonZeroU16,
        time: Duration,
        strategy: Strategy,
    ) -> Self {
        Self {
            url,
            account,
            threads,
            time,
            strategy,
        }
    }

    /// Lets the threads loose for the time of the storm and counts the money before and after.
    pub(crate) fn run(&self, bank: &mut dyn Bank) -> Result<Report, BankError> {
        let before = bank.books(self.account)?;
        let banks = (0..self.threads.get())
            .map(|_| backend::connect(self.url))
            .collect::<Result<Vec<_>, _>>()?;
        let progress = Progress::new(self);
        let over = AtomicBool::new(false);
        let start = Instant::now();

        let tally = scope(|scope| {
            let workers: Vec<_> = banks
                .into_iter()
                .zip([Kind::Depositor, Kind::Withdrawer].into_iter().cycle())
                .map(|(mut bank, kind)| {
                    let (over, done) = (&over, progress.counter(kind));
                    scope.spawn(move || self.work(bank.as_mut(), kind, over, done))
                })
                .collect();
            // A worker that fails ends the storm.
            while start.elapsed() < self.time && !over.load(Ordering::Relaxed) {
                sleep(TICK.min(self.time.saturating_sub(start.elapsed())));
                progress.show(start.elapsed());
            }
            over.store(true, Ordering::Relaxed);
            let mut sum = Tally::default();
            for worker in workers {
                sum += worker.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            }
            Ok::<_, BankError>(sum)
        })?;

        let time = start.elapsed();
        progress.clear();
        Ok(Report {
            before,
            after: bank.books(self.account)?,
            tally,
            time,
        })
    }

    /// One thread: books until the storm is over.
    fn work(
        &self,
        bank: &mut dyn Bank,
        kind: Kind,
        over: &AtomicBool,
        done: &AtomicU64,
    ) -> Result<Tally, BankError> {
        let mut tally = Tally::default();
        while !over.load(Ordering::Relaxed) {
            match self.book(bank, kind) {
                Ok(change) => {
                    tally.bookings += 1;
                    tally.net += change;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) if error.is_refusal() => tally.refused += 1,
                // Rolled back as a whole, so that nothing is booked twice.
                Err(error) if error.is_transient() => tally.retries += 1,
                Err(error) => {
                    over.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
            sleep(PAUSE);
        }
        Ok(tally)
    }

    /// One booking; returns by how much it changed the balance.
    fn book(&self, bank: &mut dyn Bank, kind: Kind) -> Result<i64, BankError> {
        let account = self.account;
        match kind {
            Kind::Depositor => {
                let amount = rand::rng().random_range(1..=100);
                match self.strategy {
                    Strategy::None => bank.deposit_by_hand(account, amount)?,
                    Strategy::Row => bank.deposit(account, amount)?,
                    Strategy::Version => bank.deposit_by_version(account, amount)?,
                };
                Ok(amount)
            }
            Kind::Withdrawer => {
                let amount = rand::rng().random_range(1..=50);
                match self.strategy {
                    Strategy::None => bank.withdraw_by_hand(account, amount)?,
                    Strategy::Row => bank.withdraw(account, amount)?,
                    Strategy::Version => bank.withdraw_by_version(account, amount)?,
                };
                Ok(-amount)
            }
        }
    }
}

/// A line that counts on a terminal, and one line at the beginning on anything else.
struct Progress {
    on_terminal: bool,
    time: Duration,
    deposits: AtomicU64,
    withdrawals: AtomicU64,
}

impl Progress {
    fn new(storm: &Storm<'_>) -> Self {
        let on_terminal = stderr().is_terminal();
        if !on_terminal {
            eprintln!(
                "{} threads book on account {} for {:.1} s",
                storm.threads,
                storm.account,
                storm.time.as_secs_f64()
            );
        }
        Self {
            on_terminal,
            time: storm.time,
            deposits: AtomicU64::new(0),
            withdrawals: AtomicU64::new(0),
        }
    }

    fn counter(&self, kind: Kind) -> &AtomicU64 {
        match kind {
            Kind::Depositor => &self.deposits,
            Kind::Withdrawer => &self.withdrawals,
        }
    }

    fn show(&self, elapsed: Duration) {
        self.write(&format!(
            "  {} deposits, {} withdrawals, {:.1} s left",
            self.deposits.load(Ordering::Relaxed),
            self.withdrawals.load(Ordering::Relaxed),
            self.time.saturating_sub(elapsed).as_secs_f64()
        ));
    }

    fn clear(&self) {
        self.write("");
    }

    /// Replaces the line. A terminal that does not take it is no reason to fail.
    fn write(&self, line: &str) {
        if self.on_terminal {
            let _ = write!(stderr(), "\r{CLEAR_LINE}{line}");
        }
    }
}
