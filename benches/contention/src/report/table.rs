//! The table of one cell, as text.

use crate::measured::{Cell, Quantiles, Results, Run};
use crate::summary::{count, of_cell, short, Figure, Summary};
use crate::workload::Workload;

type Column = (&'static str, fn(&Summary<'_>) -> String);

const COLUMNS: [Column; 12] = [
    ("strategy", |one| one.series.strategy.clone()),
    ("× diesel", |one| ratio(one.throughput_ratio)),
    ("p50 ms", |one| median(one, |run| run.total.p50)),
    ("p90", |one| median(one, |run| run.total.p90)),
    ("p99", |one| one.p99.to_string()),
    ("max", |one| median(one, |run| run.total.max)),
    ("p99 × diesel", |one| ratio(one.p99_ratio)),
    ("wait p50/p90/p99/max", |one| all_of(one, |run| run.wait)),
    ("hold p50/p90/p99/max", |one| all_of(one, |run| run.hold)),
    ("retries/deadlocks/gave up", trouble),
    ("fairness", |one| median(one, |run| run.fairness)),
    ("connections", connections),
];

/// The head, and a line for each strategy.
pub(super) fn of(results: &Results, cell: &Cell) -> Vec<Vec<String>> {
    let summaries = of_cell(results, cell);
    let mut columns = COLUMNS.to_vec();
    columns.insert(1, (cell.workload.rate(), |one| one.throughput.to_string()));
    if cell.beside > 0 {
        let beside =
            |one: &Summary<'_>| median(one, |run| run.beside_throughput.unwrap_or_default());
        let least = |one: &Summary<'_>| {
            count(
                one.series
                    .runs
                    .iter()
                    .map(|run| run.idlest)
                    .min()
                    .unwrap_or(0),
            )
        };
        columns.push(("beside/s", beside));
        columns.push(("of the idlest thread", least));
    }
    if cell.workload == Workload::Refused {
        columns.push(("good ones failed", |one| {
            one.sum(|run| run.failed).to_string()
        }));
    }
    columns.push(("lost", lost));
    if cell.journal {
        columns.push(("broken links", broken));
    }
    let head = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let lines = summaries
        .iter()
        .map(|one| columns.iter().map(|(_, text)| text(one)).collect());
    std::iter::once(head).chain(lines).collect()
}

fn ratio(ratio: Option<Figure>) -> String {
    ratio.map_or_else(|| "–".to_owned(), |ratio| ratio.to_string())
}

fn median(one: &Summary<'_>, of: impl Fn(&Run) -> f64) -> String {
    short(one.figure(of).median)
}

fn all_of(one: &Summary<'_>, of: fn(&Run) -> Quantiles) -> String {
    if one.figure(|run| of(run).max).most <= 0.0 {
        return "–".to_owned();
    }
    format!(
        "{} / {} / {} / {}",
        median(one, |run| of(run).p50),
        median(one, |run| of(run).p90),
        median(one, |run| of(run).p99),
        median(one, |run| of(run).max)
    )
}

fn trouble(one: &Summary<'_>) -> String {
    let counts = [
        one.sum(|run| run.retries),
        one.sum(|run| run.deadlocks),
        one.sum(|run| run.gave_up),
    ];
    match counts {
        [0, 0, 0] => "–".to_owned(),
        [retries, deadlocks, gave_up] => format!("{retries} / {deadlocks} / {gave_up}"),
    }
}

fn connections(one: &Summary<'_>) -> String {
    match one.series.runs.iter().map(|run| run.connections).max() {
        None | Some(0) => "–".to_owned(),
        Some(most) => most.to_string(),
    }
}

/// In the journal, where the strategy keeps one; the others are checked by their balances alone.
fn broken(one: &Summary<'_>) -> String {
    let counts: Option<Vec<u64>> = one.series.runs.iter().map(|run| run.broken).collect();
    match counts {
        Some(counts) => counts.into_iter().sum::<u64>().to_string(),
        None => "no journal".to_owned(),
    }
}

/// In percent of what was acknowledged, too: a strategy without a lock loses nearly everything.
fn lost(one: &Summary<'_>) -> String {
    let (lost, surplus) = (one.sum(|run| run.lost), one.sum(|run| run.surplus));
    if lost + surplus == 0 {
        return "0".to_owned();
    }
    let acknowledged = one.sum(|run| run.acknowledged).max(1);
    let part = lost as f64 / acknowledged as f64 * 100.0;
    match surplus {
        0 => format!("{lost} ({part:.0} %)"),
        _ => format!("{lost} ({part:.0} %), {surplus} too many"),
    }
}
