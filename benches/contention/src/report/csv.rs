//! A line for each measurement.

use anyhow::Result;
use csv::Writer;

use crate::measured::{Quantiles, Results, Series};

const HEAD: [&str; 20] = [
    "database",
    "workload",
    "threads",
    "beside",
    "pool",
    "delay_ms",
    "round_trip_ms",
    "hold_ms",
    "seconds",
    "journal",
    "strategy",
    "repeat",
    "deposits",
    "throughput",
    "retries",
    "deadlocks",
    "gave_up",
    "failed",
    "fairness",
    "idlest",
];
const TAIL: [&str; 6] = [
    "connections",
    "acknowledged",
    "lost",
    "surplus",
    "broken_links",
    "beside_throughput",
];

pub(super) fn text(results: &Results) -> Result<String> {
    let mut lines = Writer::from_writer(Vec::new());
    let times = ["total", "wait", "hold"].into_iter().flat_map(|what| {
        ["p50", "p90", "p99", "max"].map(|quantile| format!("{what}_{quantile}_ms"))
    });
    let head = HEAD.map(str::to_owned).into_iter();
    lines.write_record(head.chain(times).chain(TAIL.map(str::to_owned)))?;
    for series in &results.series {
        for repeat in 0..series.runs.len() {
            lines.write_record(line(series, repeat))?;
        }
    }
    Ok(String::from_utf8(lines.into_inner()?)?)
}

fn line(series: &Series, repeat: usize) -> Vec<String> {
    let (cell, run) = (&series.cell, &series.runs[repeat]);
    let or_nothing = |number: Option<f64>| number.map_or_else(String::new, |it| it.to_string());
    let mut line = vec![
        cell.database.clone(),
        cell.workload.word(),
        cell.threads.to_string(),
        cell.beside.to_string(),
        cell.pool.to_string(),
        cell.delay_ms.to_string(),
        or_nothing(cell.round_trip_ms),
        cell.hold_ms.to_string(),
        cell.seconds.to_string(),
        cell.journal.to_string(),
        series.strategy.clone(),
        (repeat + 1).to_string(),
        run.deposits.to_string(),
        run.throughput.to_string(),
        run.retries.to_string(),
        run.deadlocks.to_string(),
        run.gave_up.to_string(),
        run.failed.to_string(),
        run.fairness.to_string(),
        run.idlest.to_string(),
    ];
    for Quantiles { p50, p90, p99, max } in [run.total, run.wait, run.hold] {
        line.extend([p50, p90, p99, max].map(|number| number.to_string()));
    }
    line.extend([
        run.connections.to_string(),
        run.acknowledged.to_string(),
        run.lost.to_string(),
        run.surplus.to_string(),
        run.broken.map_or_else(String::new, |it| it.to_string()),
        or_nothing(run.beside_throughput),
    ]);
    line
}
