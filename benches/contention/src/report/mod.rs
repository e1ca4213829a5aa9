//! What comes out: a table on the terminal, and the files.

mod chart;
mod csv;
pub(crate) mod goals;
mod markdown;
mod page;
mod plots;
mod table;
pub(crate) mod terminal;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use self::plots::{Axes, Line};
use crate::measured::{Cell, Results};
use crate::summary::{count, of_cell, short, Figure, Summary};

/// Writes all files into that folder.
pub(crate) fn write(results: &Results, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut files = vec![
        ("results.json", serde_json::to_string_pretty(results)?),
        ("results.csv", csv::text(results)?),
        ("report.md", markdown::text(results)),
        ("report.html", page::text(results)?),
    ];
    for file in ["chart.svg", "chart.md"] {
        // That of an earlier run would be taken for one of this.
        let _ = fs::remove_file(folder.join(file));
    }
    if let Some((picture, caption)) = chart::of(results)? {
        files.extend([("chart.svg", picture), ("chart.md", caption)]);
    }
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
    for group in &mut groups {
        // Whichever was measured first.
        group.sort_by(|one, other| {
            let delays = one.delay_ms.total_cmp(&other.delay_ms);
            delays.then((one.threads, one.beside).cmp(&(other.threads, other.beside)))
        });
    }
    groups
}

/// Those beside the others are threads, too, but a plot has one axis for the threads.
fn differ_by_threads_only(one: &Cell, other: &Cell) -> bool {
    one.delay_ms.total_cmp(&other.delay_ms).is_eq()
        && one.beside == other.beside
        && differ_by_threads_and_network(one, other)
}

fn differ_by_threads_and_network(one: &Cell, other: &Cell) -> bool {
    (&one.database, one.workload, one.pool, one.journal)
        == (&other.database, other.workload, other.pool, other.journal)
        && one.hold_ms.total_cmp(&other.hold_ms).is_eq()
}

/// In milliseconds, as measured in all cells with this network: what one of them saw may be chance.
fn round_trip(results: &Results, cell: &Cell) -> Option<f64> {
    let cells = results.cells().into_iter().filter(|other| {
        other.database == cell.database && other.delay_ms.total_cmp(&cell.delay_ms).is_eq()
    });
    Figure::of(cells.filter_map(|cell| cell.round_trip_ms)).map(|trip| trip.median)
}

/// A line for each strategy of cells that differ by their threads.
fn by_threads(results: &Results, group: &[&Cell], of: fn(&Summary<'_>) -> Figure) -> Vec<Line> {
    let line = |name: &str| {
        let point = |cell: &&Cell| {
            let summaries = of_cell(results, cell);
            let one = summaries.iter().find(|one| one.series.strategy == name)?;
            Some((cell.threads as f64, of(one)))
        };
        Line {
            name: name.to_owned(),
            points: group.iter().filter_map(point).collect(),
        }
    };
    strategies(results, group).into_iter().map(line).collect()
}

fn over_threads_axes(y: &str) -> Axes<'_> {
    Axes {
        x: "threads",
        y,
        x_label: |threads| format!("{threads:.0}"),
        x_base: 2.0,
    }
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

fn threads(cell: &Cell) -> String {
    let threads = match cell.threads {
        1 => "1 thread".to_owned(),
        threads => format!("{} threads", count(threads)),
    };
    match cell.beside {
        0 => threads,
        beside => format!("{threads} beside {beside}"),
    }
}

/// A cell in few words, beside others of its database and workload.
fn column(results: &Results, cell: &Cell) -> String {
    match round_trip(results, cell) {
        Some(trip) if cell.delay_ms > 0.0 => format!("{}, {} ms", threads(cell), short(trip)),
        _ => threads(cell),
    }
}

/// The heading of a cell.
fn title(results: &Results, cell: &Cell) -> String {
    let mut title = format!(
        "{}: {}, {}, pool {}, {}",
        cell.database,
        cell.workload.name(),
        threads(cell),
        cell.pool,
        network(results, cell)
    );
    if cell.journal {
        title += ", with a journal";
    }
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
