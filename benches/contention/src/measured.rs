//! What was measured, as it stands in `results.json`.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::check::Faults;
use crate::database::Description;
use crate::machine::Machine;
use crate::strategy::UNLOCKED;
use crate::workload::Workload;

/// Everything.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) databases: Vec<Description>,
    pub(crate) series: Vec<Series>,
    /// Peers that could not be measured, and why.
    pub(crate) missing: Vec<String>,
}

/// All that is the same for strategies that are compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) database: String,
    pub(crate) workload: Workload,
    /// Of which latencies were measured.
    pub(crate) threads: usize,
    /// The threads beside them: on hot rows, or by hand.
    #[serde(default)]
    pub(crate) beside: usize,
    pub(crate) pool: u32,
    /// As asked for.
    pub(crate) delay_ms: f64,
    /// As measured; `None` without a network.
    pub(crate) round_trip_ms: Option<f64>,
    pub(crate) hold_ms: f64,
    pub(crate) seconds: f64,
    /// Whether each change is entered in a journal.
    #[serde(default)]
    pub(crate) journal: bool,
}

/// One strategy in one cell, measured some times.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) cell: Cell,
    pub(crate) strategy: String,
    pub(crate) runs: Vec<Run>,
    /// Percentiles of the total time of all runs together, in milliseconds.
    pub(crate) distribution: Vec<(f64, f64)>,
}

/// One measurement.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Run {
    /// Acknowledged within the time that counts.
    pub(crate) deposits: u64,
    /// Deposits a second.
    pub(crate) throughput: f64,
    /// From the call to its answer.
    pub(crate) total: Quantiles,
    /// From the call until the row was read.
    pub(crate) wait: Quantiles,
    /// From there to the answer.
    pub(crate) hold: Quantiles,
    pub(crate) retries: u64,
    pub(crate) deadlocks: u64,
    pub(crate) gave_up: u64,
    /// Good orders that failed because the database refused another one.
    pub(crate) failed: u64,
    /// Deposits of the busiest thread by those of the idlest.
    pub(crate) fairness: f64,
    /// Deposits of the idlest thread of all, those beside the measured ones included.
    pub(crate) idlest: u64,
    pub(crate) connections: usize,
    /// Changes of a balance that were acknowledged at any time, on all rows.
    pub(crate) acknowledged: u64,
    /// Of these, those that are not in any balance.
    pub(crate) lost: u64,
    /// In a balance, but not acknowledged.
    pub(crate) surplus: u64,
    /// Links of the journal's chains that don't hold; `None` where there is no journal.
    pub(crate) broken: Option<u64>,
    /// Deposits a second of the threads beside those that are measured.
    pub(crate) beside_throughput: Option<f64>,
}

/// In milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Results {
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            machine,
            databases: Vec::new(),
            series: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// What an earlier run on this machine has found.
    pub(crate) fn add(&mut self, earlier: Self) {
        if self.series.is_empty() {
            self.machine = earlier.machine;
        }
        for database in earlier.databases {
            if !self.databases.contains(&database) {
                self.databases.push(database);
            }
        }
        self.series.extend(earlier.series);
        self.missing.extend(earlier.missing);
    }

    /// In the order of the measurements.
    pub(crate) fn cells(&self) -> Vec<&Cell> {
        let mut cells = Vec::new();
        for series in &self.series {
            if !cells.contains(&&series.cell) {
                cells.push(&series.cell);
            }
        }
        cells
    }

    pub(crate) fn of<'a>(&'a self, cell: &'a Cell) -> impl Iterator<Item = &'a Series> {
        self.series
            .iter()
            .filter(move |series| series.cell == *cell)
    }

    /// Every run of a strategy that may not lose anything, but has.
    pub(crate) fn forbidden_losses(&self) -> Vec<String> {
        let may_not = self.series.iter().filter(|one| one.strategy != UNLOCKED);
        may_not
            .flat_map(|series| series.runs.iter().map(move |run| (series, run)))
            .filter(|(_, run)| run.lost + run.surplus + run.broken.unwrap_or(0) > 0)
            .map(|(series, run)| {
                format!(
                    "{} on {}, {}, {} threads: {} acknowledged changes are missing, {} were never \
                     acknowledged, {} links of the journal are broken",
                    series.strategy,
                    series.cell.database,
                    series.cell.workload.name(),
                    series.cell.threads,
                    run.lost,
                    run.surplus,
                    run.broken.unwrap_or(0)
                )
            })
            .collect()
    }

    /// Where many wanted one row without a lock and nothing was lost: then the check has seen
    /// nothing.
    pub(crate) fn missing_losses(&self) -> Vec<String> {
        let must = self.series.iter().filter(|one| {
            one.strategy == UNLOCKED && one.cell.workload == Workload::Hot && one.cell.threads >= 4
        });
        must.filter(|series| {
            let runs = || series.runs.iter();
            runs().all(|run| run.lost + run.surplus == 0) || runs().all(|run| run.broken == Some(0))
        })
        .map(|series| {
            format!(
                "{} threads lost nothing on {} without a lock, so this run proves nothing",
                series.cell.threads, series.cell.database
            )
        })
        .collect()
    }
}

impl Run {
    pub(crate) fn faults(&mut self, found: Faults) {
        (self.lost, self.surplus, self.broken) = (found.lost, found.surplus, found.broken);
    }
}

/// Durations, in a histogram of tenths of microseconds with three digits.
#[derive(Clone)]
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn new() -> Self {
        // 1 and the digits are within its bounds, and it grows by itself.
        Self(Histogram::new(3).unwrap_or_else(|_| unreachable!("three digits are possible")))
    }

    pub(crate) fn record(&mut self, time: Duration) {
        let tenths = u64::try_from(time.as_nanos() / 100).unwrap_or(u64::MAX);
        // It grows by itself, so there is always room.
        let _ = self.0.record(tenths);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let _ = self.0.add(&other.0);
    }

    pub(crate) fn at(&self, percentile: f64) -> f64 {
        milliseconds(self.0.value_at_percentile(percentile))
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        Quantiles {
            p50: self.at(50.0),
            p90: self.at(90.0),
            p99: self.at(99.0),
            max: milliseconds(self.0.max()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn milliseconds(tenths_of_microseconds: u64) -> f64 {
    tenths_of_microseconds as f64 / 1e4
}
