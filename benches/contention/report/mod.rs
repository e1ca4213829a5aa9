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
use crate::summary::short;

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

/// The heading of a cell.
fn title(cell: &Cell) -> String {
    let threads = match cell.threads {
        1 => "1 thread".to_owned(),
        threads => format!("{threads} threads"),
    };
    let mut title = format!(
        "{}: {}, {threads}, pool {}, {}",
        cell.database,
        cell.workload.name(),
        cell.pool,
        network(cell)
    );
    if cell.hold_ms > 0.0 {
        title += &format!(", rows held for {} ms more", short(cell.hold_ms));
    }
    title
}

fn network(cell: &Cell) -> String {
    match cell.round_trip_ms {
        None => "no network".to_owned(),
        Some(trip) if cell.delay_ms > 0.0 => format!(
            "round trip {} ms (asked for {} ms)",
            short(trip),
            short(cell.delay_ms)
        ),
        Some(trip) => format!("loopback (round trip {} ms)", short(trip)),
    }
}
