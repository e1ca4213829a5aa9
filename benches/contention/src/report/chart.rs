//! The chart for a README: throughput on one hot row, over threads.
//!
//! It is a file of its own, shown as a picture on light and on dark pages, so it brings its
//! background.

use anyhow::Result;
use plotters::prelude::*;

use super::plots::{colour, draw_lines, drawn, reason, Line, FONT};
use super::{by_threads, differ_by_threads_only, groups, over_threads_axes};
use crate::measured::{Cell, Results};
use crate::strategy::{Strategy, UNLOCKED};
use crate::summary::short;
use crate::workload::Workload;

const SIZE: (u32, u32) = (760, 340);
const LEGEND: i32 = 250;
const LINE_HEIGHT: i32 = 28;

/// The picture, and the line below it. Of PostgreSQL, if that was measured; `None` if nobody wanted
/// one hot row.
pub(super) fn of(results: &Results) -> Result<Option<(String, String)>> {
    let groups = groups(results, differ_by_threads_only);
    let fits = |group: &&Vec<&Cell>| {
        let first = group[0];
        let plain = first.delay_ms <= 0.0 && first.hold_ms <= 0.0 && !first.journal;
        plain && first.workload == Workload::Hot
    };
    let of_postgres = |group: &&Vec<&Cell>| group[0].database.starts_with("PostgreSQL");
    let chosen = groups
        .iter()
        .filter(fits)
        .find(of_postgres)
        .or_else(|| groups.iter().find(fits));
    let Some(group) = chosen else {
        return Ok(None);
    };
    let picture = picture(&lines(results, group))?;
    Ok(Some((picture, caption(results, group[0]))))
}

/// The strategies that lose nothing, the fastest first.
fn lines(results: &Results, group: &[&Cell]) -> Vec<Line> {
    let mut lines = by_threads(results, group, |one| one.throughput);
    lines.retain(|line| line.name != UNLOCKED && Strategy::named(&line.name).is_some());
    lines.sort_by(|one, other| last(other).total_cmp(&last(one)));
    lines
}

/// The throughput of the most threads.
fn last(line: &Line) -> f64 {
    line.points.last().map_or(0.0, |(_, figure)| figure.median)
}

fn picture(lines: &[Line]) -> Result<String> {
    drawn(SIZE, |area| {
        area.fill(&WHITE).map_err(reason)?;
        let (width, _) = area.dim_in_pixel();
        let width = i32::try_from(width)?;
        let (plot, legend) = area.split_horizontally(width - LEGEND);
        draw_lines(&plot, &over_threads_axes("deposits/s"), lines)?;
        let most = lines.iter().filter_map(|line| line.points.last());
        let most = most.map(|(threads, _)| *threads).fold(0.0, f64::max);
        let heading = format!("at {most:.0} threads:");
        let heading = Text::new(heading, (0, 12), FONT.into_font());
        legend.draw(&heading).map_err(reason)?;
        let mut top = 12 + LINE_HEIGHT + 6;
        for line in lines {
            let mark = Rectangle::new([(0, top), (18, top + 6)], colour(&line.name).filled());
            let label = format!("{}: {}", line.name, short(last(line)));
            let text = Text::new(label, (26, top - 6), FONT.into_font());
            legend.draw(&mark).map_err(reason)?;
            legend.draw(&text).map_err(reason)?;
            top += LINE_HEIGHT;
        }
        Ok(())
    })
}

fn caption(results: &Results, cell: &Cell) -> String {
    let durability = results
        .databases
        .iter()
        .find(|one| one.name == cell.database);
    let repeats = results.of(cell).map(|one| one.runs.len()).max();
    format!(
        "![Deposits a second on one hot row, over threads](benches/chart.svg)\n\n\
         Deposits a second on one row that all threads want, medians of {} × {} s. {} ({}), {}.\n",
        repeats.unwrap_or(0),
        short(cell.seconds),
        cell.database,
        durability.map_or("", |one| one.durability.as_str()),
        results.machine.describe()
    )
}
