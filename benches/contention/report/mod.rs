//! What comes out: a table on the terminal, and the files.

mod csv;
mod markdown;
mod page;
mod plots;
mod table;
pub(crate) mod terminal;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::measured::{Cell, Results};
use crate::summary::{short, Figure};

/// Writes all files into that folder.
pub(crate) fn write(results: &Results, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let files = [
        ("results.json", serde_json::to_string_pretty(results)?),
        ("results.csv", csv::text(results)?),
        ("report.md", markdown::text(results)),
        ("report.html", page::text(results)?),
    ];
    for (name, text) in files {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!("written to {}", folder.display());
    Ok(())
}

/// The cells that belong together, in the order of the measurements.
fn groups(results: &Results, same: fn(&Cell, &Cell) -> bool) -> Vec<Vec<&Cell>> {
    let mut groups: Vec<Vec<&Cell>> = Vec::new();
    for cell in results.cells() {
        match groups.iter_mut().find(|group| same(group[0], cell)) {
            Some(group) => group.push(cell),
            None => groups.push(vec![cell]),
        }
    }
    groups
}

fn differ_by_threads_only(one: &Cell, other: &Cell) -> bool {
    one.delay_ms.total_cmp(&other.delay_ms).is_eq() && differ_by_threads_and_network(one, other)
}

fn differ_by_threads_and_network(one: &Cell, other: &Cell) -> bool {
    (&one.database, one.workload, one.pool) == (&other.database, other.workload, other.pool)
        && one.hold_ms.total_cmp(&other.hold_ms).is_eq()
}

/// In milliseconds, as measured in all cells with this network: what one of them saw may be chance.
fn round_trip(results: &Results, cell: &Cell) -> Option<f64> {
    let cells = results.cells().into_iter().filter(|other| {
        other.database == cell.database && other.delay_ms.total_cmp(&cell.delay_ms).is_eq()
    });
    Figure::of(cells.filter_map(|cell| cell.round_trip_ms)).map(|trip| trip.median)
}

/// The names of all strategies in these cells.
fn strategies<'a>(results: &'a Results, cells: &[&'a Cell]) -> Vec<&'a str> {
    let mut names = Vec::new();
    for series in cells.iter().flat_map(|cell| results.of(cell)) {
        if !names.contains(&series.strategy.as_str()) {
            names.push(&series.strategy);
        }
    }
    names
}

/// The heading of a cell.
fn title(results: &Results, cell: &Cell) -> String {
    let threads = match cell.threads {
        1 => "1 thread".to_owned(),
        threads => format!("{threads} threads"),
    };
    let mut title = format!(
        "{}: {}, {threads}, pool {}, {}",
        cell.database,
        cell.workload.name(),
        cell.pool,
        network(results, cell)
    );
    if cell.hold_ms > 0.0 {
        title += &format!(", rows held for {} ms more", short(cell.hold_ms));
    }
    title
}

fn network(results: &Results, cell: &Cell) -> String {
    match round_trip(results, cell) {
        None => "no network".to_owned(),
        Some(trip) if cell.delay_ms > 0.0 => format!(
            "round trip {} ms (asked for {} ms)",
            short(trip),
            short(cell.delay_ms)
        ),
        Some(trip) => format!("loopback (round trip {} ms)", short(trip)),
    }
}
