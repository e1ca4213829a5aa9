//! The goals of the library, and what was measured of them: ratios repeat by repeat, with the least
//! and the most, or figures that stand alone.

use super::column;
use crate::measured::{Cell, Results, Run, Series};
use crate::strategy::{
    BY_HAND, LIBRARY, QUEUE_UPDATE, QUEUE_UPDATE_LOCKING, QUEUE_UPDATE_REFUSED,
    QUEUE_WITH_ROW_LOCK, UPDATE_ROW,
};
use crate::summary::{ratio, short, Figure};
use crate::workload::Workload;

/// Of the table.
pub(super) const HEAD: [&str; 5] = ["what", "goal", "measured (least–most)", "", "where"];

struct Goal {
    strategy: &'static str,
    /// Those that it is divided by; none if the figure stands alone.
    others: &'static [&'static str],
    measure: Measure,
    /// `None` where there is no such goal.
    bound: fn(&Cell) -> Option<Bound>,
}

#[derive(Clone, Copy)]
enum Measure {
    /// In deposits a second.
    Throughput,
    /// The same, with the threads beside the measured ones.
    ThroughputOfAll,
    /// In milliseconds.
    P99,
    /// Good orders that failed.
    Failed,
    /// Deposits of the idlest thread.
    Idlest,
}

#[derive(Clone, Copy)]
enum Bound {
    /// Of the median.
    AtLeast(f64),
    AtMost(f64),
    /// Of each run.
    EachAtLeast(f64),
    EachAtMost(f64),
}

use Bound::{AtLeast, AtMost, EachAtLeast, EachAtMost};

const PEERS_IN_RUST: &[&str] = &["sqlx", "SeaORM"];

const GOALS: [Goal; 18] = [
    Goal {
        strategy: LIBRARY,
        others: &[BY_HAND],
        measure: Measure::Throughput,
        // Of jobs it is what happens without `skip_locked`.
        bound: |cell| (cell.workload != Workload::Jobs).then_some(AtLeast(0.97)),
    },
    Goal {
        strategy: "skip_locked",
        others: &[BY_HAND],
        measure: Measure::Throughput,
        bound: |cell| (cell.workload == Workload::Jobs).then_some(AtLeast(0.97)),
    },
    Goal {
        strategy: UPDATE_ROW,
        others: &[BY_HAND],
        measure: Measure::Throughput,
        bound: |cell| match (cell.workload, cell.threads) {
            (Workload::Uniform, 1 | 16) => by_distance(cell, [1.4, 1.8, 1.8]),
            (Workload::Hot, 16 | 64) => by_distance(cell, [0.95; 3]),
            _ => None,
        },
    },
    Goal {
        strategy: QUEUE_WITH_ROW_LOCK,
        others: &[BY_HAND],
        measure: Measure::Throughput,
        bound: |cell| (is_postgres(cell) && is_hot(cell)).then_some(AtLeast(1.0)),
    },
    Goal {
        strategy: QUEUE_WITH_ROW_LOCK,
        others: &[BY_HAND],
        measure: Measure::P99,
        bound: |cell| (is_postgres(cell) && is_crowded(cell)).then_some(AtMost(0.5)),
    },
    Goal {
        strategy: QUEUE_UPDATE,
        others: &[BY_HAND],
        measure: Measure::Throughput,
        bound: |cell| match (cell.workload, cell.threads) {
            (Workload::Hot, 1) => by_distance(cell, [2.0, 3.3, 3.3]),
            // The other databases have no stamps, so each batch locks the row.
            (Workload::Hot, 16) if !is_postgres(cell) => Some(AtLeast(12.0)),
            (Workload::Hot, 16) => by_distance(cell, [20.0, 22.0, 22.0]),
            (Workload::Hot, 64) => by_distance(cell, [55.0, 70.0, 75.0]),
            (Workload::Cold, _) => by_distance(cell, [6.0, 10.0, 10.0]),
            _ => None,
        },
    },
    Goal {
        strategy: QUEUE_UPDATE,
        others: &[BY_HAND],
        measure: Measure::P99,
        bound: |cell| {
            let is_near = is_postgres(cell) && cell.delay_ms <= 0.0;
            (cell.workload == Workload::Cold && is_near).then_some(AtMost(0.2))
        },
    },
    Goal {
        strategy: QUEUE_UPDATE,
        others: PEERS_IN_RUST,
        measure: Measure::Throughput,
        bound: |cell| match (cell.workload, cell.threads) {
            (Workload::Hot, 16) => by_distance(cell, [15.0, 20.0, 20.0]),
            (Workload::Hot, 64) => by_distance(cell, [45.0, 20.0, 20.0]),
            _ => None,
        },
    },
    Goal {
        strategy: QUEUE_UPDATE,
        others: &[QUEUE_UPDATE_LOCKING],
        measure: Measure::Throughput,
        bound: |cell| match cell.workload {
            Workload::Foreign => by_distance(cell, [0.9; 3]),
            Workload::Queues => by_distance(cell, [1.0; 3]),
            _ => None,
        },
    },
    Goal {
        strategy: QUEUE_UPDATE,
        others: &[BY_HAND],
        measure: Measure::ThroughputOfAll,
        bound: |cell| (is_postgres(cell) && is_crowd(cell)).then_some(AtLeast(1.0)),
    },
    Goal {
        strategy: QUEUE_UPDATE,
        others: &[],
        measure: Measure::Idlest,
        bound: |cell| (is_postgres(cell) && is_crowd(cell)).then_some(EachAtLeast(1.0)),
    },
    Goal {
        strategy: QUEUE_UPDATE_REFUSED,
        others: &[QUEUE_UPDATE],
        measure: Measure::Throughput,
        bound: |cell| (is_postgres(cell) && cell.threads == 64).then_some(AtLeast(0.5)),
    },
    Goal {
        strategy: QUEUE_UPDATE_REFUSED,
        others: &[],
        measure: Measure::Failed,
        bound: |_| Some(EachAtMost(0.0)),
    },
    Goal {
        strategy: QUEUE_UPDATE,
        others: &[],
        measure: Measure::Throughput,
        bound: |cell| match (cell.workload, cell.threads) {
            (Workload::Waiters, 1_000) => by_distance(cell, [75_000.0; 3]),
            (Workload::Waiters, 10_000) => by_distance(cell, [60_000.0; 3]),
            _ => None,
        },
    },
    Goal {
        strategy: QUEUE_UPDATE,
        others: &[],
        measure: Measure::P99,
        bound: |cell| match (cell.workload, cell.threads) {
            (Workload::Waiters, 1_000) => is_postgres(cell).then_some(AtMost(25.0)),
            _ => None,
        },
    },
    Goal {
        strategy: LIBRARY,
        others: PEERS_IN_RUST,
        measure: Measure::Throughput,
        bound: |cell| is_crowded(cell).then_some(AtLeast(1.0)),
    },
    Goal {
        strategy: QUEUE_WITH_ROW_LOCK,
        others: PEERS_IN_RUST,
        measure: Measure::Throughput,
        bound: |cell| is_crowded(cell).then_some(AtLeast(1.0)),
    },
    Goal {
        strategy: LIBRARY,
        others: &["Django", "SQLAlchemy", "Rails"],
        measure: Measure::Throughput,
        bound: |cell| (cell.threads == 1).then_some(AtLeast(4.0)),
    },
];

fn is_postgres(cell: &Cell) -> bool {
    cell.database.starts_with("PostgreSQL")
}

fn is_hot(cell: &Cell) -> bool {
    cell.workload == Workload::Hot
}

fn is_crowded(cell: &Cell) -> bool {
    is_hot(cell) && matches!(cell.threads, 16 | 64)
}

fn is_crowd(cell: &Cell) -> bool {
    cell.workload == Workload::Crowd
}

/// On PostgreSQL: by the round trip, which is that of loopback, about 0.7 ms, or about 2.4 ms.
fn by_distance(cell: &Cell, [loopback, near, far]: [f64; 3]) -> Option<Bound> {
    let ratio = match cell.delay_ms {
        ..=0.0 => loopback,
        ..1.0 => near,
        _ => far,
    };
    is_postgres(cell).then_some(AtLeast(ratio))
}

/// A line of the table.
pub(crate) struct Line {
    /// As `with_row_lock ÷ diesel`.
    pub(crate) what: String,
    pub(crate) goal: String,
    /// Database, workload, threads, network.
    pub(crate) place: String,
    pub(crate) measured: Figure,
    pub(crate) is_met: bool,
}

pub(crate) fn of(results: &Results) -> Vec<Line> {
    let mut lines = Vec::new();
    for goal in &GOALS {
        for cell in results.cells() {
            let Some(bound) = (goal.bound)(cell) else {
                continue;
            };
            let place = || {
                let workload = cell.workload.name();
                format!("{}, {workload}, {}", cell.database, column(results, cell))
            };
            lines.extend(goal.figures(results, cell).map(|(what, measured)| Line {
                what,
                goal: bound.text(),
                place: place(),
                measured,
                is_met: bound.is_met(measured),
            }));
        }
    }
    lines
}

impl Goal {
    /// What was measured, by its name.
    fn figures<'a>(
        &'a self,
        results: &'a Results,
        cell: &'a Cell,
    ) -> impl Iterator<Item = (String, Figure)> + 'a {
        let found = |name| results.of(cell).find(move |one| one.strategy == name);
        let measure = self.measure;
        let alone = found(self.strategy).filter(|_| self.others.is_empty());
        let alone = alone.and_then(move |one| {
            let figure = Figure::of(one.runs.iter().map(|run| measure.of(run)))?;
            Some((format!("{}, {}", one.strategy, measure.name()), figure))
        });
        let beside = self.others.iter().filter_map(move |other| {
            let (one, other): (&Series, &Series) = found(self.strategy).zip(found(other))?;
            let ratio = ratio(one, other, |run| measure.of(run))?;
            let name = format!("{} ÷ {}, {}", one.strategy, other.strategy, measure.name());
            Some((name, ratio))
        });
        alone.into_iter().chain(beside)
    }
}

impl Measure {
    fn name(self) -> &'static str {
        match self {
            Self::Throughput => "deposits/s",
            Self::ThroughputOfAll => "deposits/s of all threads",
            Self::P99 => "p99 in ms",
            Self::Failed => "good ones failed",
            Self::Idlest => "deposits of the idlest thread",
        }
    }

    fn of(self, run: &Run) -> f64 {
        match self {
            Self::Throughput => run.throughput,
            Self::ThroughputOfAll => run.throughput + run.beside_throughput.unwrap_or_default(),
            Self::P99 => run.total.p99,
            Self::Failed => run.failed as f64,
            Self::Idlest => run.idlest as f64,
        }
    }
}

impl Bound {
    fn text(self) -> String {
        match self {
            AtLeast(bound) => format!("≥ {}", short(bound)),
            AtMost(bound) => format!("≤ {}", short(bound)),
            EachAtLeast(bound) => format!("each run ≥ {}", short(bound)),
            EachAtMost(bound) => format!("each run ≤ {}", short(bound)),
        }
    }

    fn is_met(self, measured: Figure) -> bool {
        match self {
            AtLeast(bound) => measured.median >= bound,
            AtMost(bound) => measured.median <= bound,
            EachAtLeast(bound) => measured.least >= bound,
            EachAtMost(bound) => measured.most <= bound,
        }
    }
}
