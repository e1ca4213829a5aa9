//! What the library wants to be, and how far it is: ratios of throughputs, repeat by repeat, with
//! the least and the most.

use super::column;
use crate::measured::{Cell, Results};
use crate::strategy::{BY_HAND, LIBRARY};
use crate::summary::{ratio, Figure};
use crate::workload::Workload;

/// Where somebody is to be faster than somebody else.
struct Goal {
    what: &'static str,
    /// The strategy, beside which others.
    strategy: &'static str,
    others: &'static [&'static str],
    applies: fn(&Cell) -> bool,
}

const GOALS: [Goal; 6] = [
    Goal {
        what: "at least 0.97",
        strategy: LIBRARY,
        others: &[BY_HAND],
        // There it is what happens without `skip_locked`.
        applies: |cell| cell.workload != Workload::Jobs,
    },
    Goal {
        what: "at least 0.97",
        strategy: "skip_locked",
        others: &[BY_HAND],
        applies: |cell| cell.workload == Workload::Jobs,
    },
    Goal {
        what: "ahead",
        strategy: LIBRARY,
        others: &["sqlx", "SeaORM"],
        applies: is_crowded,
    },
    Goal {
        what: "ahead",
        strategy: "queue.with_row_lock",
        others: &["sqlx", "SeaORM"],
        applies: is_crowded,
    },
    Goal {
        what: "at least 10",
        strategy: "queue.update",
        others: &["sqlx", "SeaORM"],
        applies: is_crowded,
    },
    Goal {
        what: "at least 4",
        strategy: LIBRARY,
        others: &["Django", "SQLAlchemy", "Rails"],
        applies: |cell| cell.threads == 1,
    },
];

fn is_crowded(cell: &Cell) -> bool {
    cell.workload == Workload::Hot && matches!(cell.threads, 16 | 64)
}

/// A line of the table.
pub(super) struct Line {
    /// As `with_row_lock ÷ diesel`.
    pub(super) ratio: String,
    pub(super) goal: &'static str,
    /// Workload, threads, network.
    pub(super) place: String,
    pub(super) measured: Figure,
}

/// Of all that was measured on PostgreSQL.
pub(super) fn of(results: &Results) -> Vec<Line> {
    let mut lines = Vec::new();
    for goal in &GOALS {
        for other in goal.others {
            for cell in results.cells() {
                let counts = cell.database.starts_with("PostgreSQL") && (goal.applies)(cell);
                let found = |name| results.of(cell).find(|one| one.strategy == name);
                let pair = found(goal.strategy).zip(found(other));
                let Some((one, other)) = pair.filter(|_| counts) else {
                    continue;
                };
                let measured = ratio(one, other, |run| run.throughput);
                lines.extend(measured.map(|measured| Line {
                    ratio: format!("{} ÷ {}", one.strategy, other.strategy),
                    goal: goal.what,
                    place: format!("{}, {}", cell.workload.name(), column(results, cell)),
                    measured,
                }));
            }
        }
    }
    lines
}
