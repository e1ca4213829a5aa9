//! The benchmark's own arithmetic.

mod check;
mod estimate;
mod goals;
mod summary;
mod workload;

use crate::measured::Cell;
use crate::workload::Workload;

/// On loopback, a second each.
fn cell(database: &str, workload: Workload, threads: usize) -> Cell {
    Cell {
        database: database.to_owned(),
        workload,
        threads,
        beside: 0,
        pool: 1,
        delay_ms: 0.0,
        round_trip_ms: None,
        hold_ms: 0.0,
        seconds: 1.0,
        journal: false,
    }
}
