//! Never a wrong word, whatever fails: the library's promises under real faults.
//!
//! Tellers carry money from purse to purse ([`workload`]) while connections are cut and processes
//! killed. Afterwards an [`oracle`] compares what they were told with what the books say. That the
//! oracle would see a wrong word is shown by bugs [`planted`] for it.

mod careless;
mod clusters;
mod crashes;
mod day;
mod failover;
mod full;
mod kills;
mod ledger;
mod oracle;
mod planted;
mod processes;
mod steps;
mod storms;
mod tampered;
mod updates;
mod workload;

use std::env;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a storm lasts: `FAULT_SECONDS`, or a little.
fn storm_time() -> Duration {
    let seconds = env::var("FAULT_SECONDS").map_or(2.0, |seconds| seconds.parse().unwrap());
    Duration::from_secs_f64(seconds)
}

/// What lots are drawn by: `FAULT_SEED`, or anything.
fn seed() -> u64 {
    let seed = env::var("FAULT_SEED");
    seed.map_or_else(|_| rand::random(), |seed| seed.parse().unwrap())
}

/// Injects a fault again and again while a storm lasts; returns how often.
fn storm(mut fault: impl FnMut()) -> u64 {
    let end = Instant::now() + storm_time();
    let mut faults = 0;
    while faults == 0 || Instant::now() < end {
        fault();
        faults += 1;
    }
    faults
}

/// Storms take turns: each wants the whole machine.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
