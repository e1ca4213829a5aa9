//! The tables for a README: a column for each number of threads and each network.

use super::{column, differ_by_threads_and_network, goals, groups, strategies};
use crate::measured::{Cell, Results};
use crate::summary::{of_cell, short, Figure, Summary};

pub(super) fn text(results: &Results) -> String {
    let mut text = format!("{}\n\n", results.machine.describe());
    for database in &results.databases {
        text += &format!("- {}: {}\n", database.name, database.durability);
    }
    for group in groups(results, differ_by_threads_and_network) {
        let first = group[0];
        text += &format!(
            "\n**{}, {}, pool {}{}**, {} × {} s each\n",
            first.database,
            first.workload.name(),
            first.pool,
            if first.journal {
                ", with a journal"
            } else {
                ""
            },
            results
                .of(first)
                .map(|one| one.runs.len())
                .max()
                .unwrap_or(0),
            short(first.seconds)
        );
        let rate = format!("{} (× diesel)", first.workload.rate());
        text += &table(results, &group, &rate, |one| {
            cell_text(one.throughput, one.throughput_ratio)
        });
        text += &table(results, &group, "p99 in ms (× diesel)", |one| {
            cell_text(one.p99, one.p99_ratio)
        });
    }
    text += &goals(results);
    if !results.missing.is_empty() {
        text += "\nNot measured:\n\n";
        for missing in &results.missing {
            text += &format!("- {missing}\n");
        }
    }
    text
}

fn goals(results: &Results) -> String {
    let lines = goals::of(results);
    if lines.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n**Goals**\n\n| {} |\n|---|---|---:|---|---|\n",
        goals::HEAD.join(" | ")
    );
    for line in lines {
        text += &format!(
            "| {} | {} | {} | {} | {} |\n",
            line.what,
            line.goal,
            line.measured,
            if line.is_met { "met" } else { "**missed**" },
            line.place
        );
    }
    text
}

fn table(
    results: &Results,
    group: &[&Cell],
    what: &str,
    entry: impl Fn(&Summary<'_>) -> String,
) -> String {
    let mut text = format!("\n| {what} |");
    for cell in group {
        text += &format!(" {} |", column(results, cell));
    }
    text += &format!("\n|---|{}\n", "---:|".repeat(group.len()));
    for name in strategies(results, group) {
        text += &format!("| {name} |");
        for cell in group {
            let summaries = of_cell(results, cell);
            let one = summaries.iter().find(|one| one.series.strategy == name);
            text += &format!(" {} |", one.map(&entry).unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

fn cell_text(figure: Figure, ratio: Option<Figure>) -> String {
    let median = short(figure.median);
    match ratio {
        Some(ratio) if ratio.least < ratio.most => format!(
            "{median} (**{}**, {}–{})",
            short(ratio.median),
            short(ratio.least),
            short(ratio.most)
        ),
        _ => median,
    }
}
