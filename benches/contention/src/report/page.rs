//! One page with everything on it, which needs nothing else: no network, no script.

use anyhow::Result;
use plotters::style::RGBColor;

use super::plots::{bars, colour, lines, Axes, Line};
use super::{
    by_threads, differ_by_threads_only, goals, groups, network, over_threads_axes, strategies,
    table, threads, title,
};
use crate::measured::{Cell, Results, Series};
use crate::strategy::{Strategy, BY_HAND, LIBRARY, QUEUE_UPDATE, QUEUE_WITH_ROW_LOCK, UPDATE_ROW};
use crate::summary::{count, of_cell, short, Figure, Summary};
use crate::workload::Workload;

const STYLE: &str = include_str!("page.css");

pub(super) fn text(results: &Results) -> Result<String> {
    let mut body = String::new();
    for group in groups(results, differ_by_threads_only) {
        body += &section(results, &group)?;
    }
    body += &goals(results);
    body += "<h2>All figures</h2>\n<p>Medians of the repeats, with the least and the most.</p>\n";
    for cell in results.cells() {
        body += &figures(results, cell);
    }
    if !results.missing.is_empty() {
        body += "<h2>Not measured</h2>\n<ul>";
        for missing in &results.missing {
            body += &format!("<li>{}</li>", escaped(missing));
        }
        body += "</ul>\n";
    }
    let databases: String = results
        .databases
        .iter()
        .map(|one| {
            format!(
                "<li>{}: {}</li>",
                escaped(&one.name),
                escaped(&one.durability)
            )
        })
        .collect();
    let machine = escaped(&results.machine.describe());
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Row locks under contention</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>Row locks under contention</h1>\n\
         <p>Every strategy carries out the same orders on the same rows; after each run the \
         balances are compared with what was acknowledged.</p>\n\
         <p>{machine}</p>\n<ul>{databases}</ul>\n{body}</body>\n</html>\n"
    ))
}

fn section(results: &Results, group: &[&Cell]) -> Result<String> {
    let first = group[0];
    let mut heading = format!(
        "{}, {}, {}",
        first.database,
        first.workload.name(),
        network(results, first)
    );
    if first.beside > 0 {
        heading += &format!(", {} threads beside", count(first.beside));
    }
    if first.hold_ms > 0.0 {
        heading += &format!(", rows held for {} ms more", short(first.hold_ms));
    }
    if first.journal {
        heading += ", with a journal";
    }
    let plots = if group.len() == 1 {
        of_one_cell(results, first)?
    } else {
        over_threads(results, group)?
    };
    let names = strategies(results, group);
    let legend = names.into_iter().map(entry).collect::<String>();
    Ok(format!(
        "<section>\n<h2>{}</h2>\n<p class=\"legend\">{legend}</p>\n\
         <div class=\"plots\">\n{}</div>\n</section>\n",
        escaped(&heading),
        plots.concat()
    ))
}

fn over_threads(results: &Results, group: &[&Cell]) -> Result<Vec<String>> {
    let mut plots = vec![
        figure(
            "Throughput: more is better",
            &lines(
                &over_threads_axes(group[0].workload.rate()),
                &by_threads(results, group, |one| one.throughput),
            )?,
        ),
        figure(
            "p99 of the latency: less is better",
            &lines(
                &over_threads_axes("ms"),
                &by_threads(results, group, |one| one.p99),
            )?,
        ),
    ];
    if let Some(most) = group.last() {
        plots.push(distribution(results, most)?);
    }
    for cell in group {
        plots.extend(beside_peers(results, cell)?);
    }
    Ok(plots)
}

/// The library beside others, where they were measured, and beside the work by hand.
fn beside_peers(results: &Results, cell: &Cell) -> Result<Option<String>> {
    let mine = [
        BY_HAND,
        LIBRARY,
        UPDATE_ROW,
        QUEUE_WITH_ROW_LOCK,
        QUEUE_UPDATE,
    ];
    let is_peer = |one: &Summary<'_>| Strategy::named(&one.series.strategy).is_none();
    let mut summaries = of_cell(results, cell);
    if !summaries.iter().any(is_peer) {
        return Ok(None);
    }
    summaries.retain(|one| is_peer(one) || mine.contains(&one.series.strategy.as_str()));
    let bar = |one: &Summary<'_>| (one.series.strategy.clone(), one.throughput.median);
    let plot = bars(
        cell.workload.rate(),
        &summaries.iter().map(bar).collect::<Vec<_>>(),
    )?;
    let caption = format!("Beside other libraries, {}: more is better", threads(cell));
    Ok(Some(figure(&caption, &plot)))
}

fn of_one_cell(results: &Results, cell: &Cell) -> Result<Vec<String>> {
    let summaries = of_cell(results, cell);
    let bars_of = |of: fn(&Summary<'_>) -> f64| {
        let bar = |one: &Summary<'_>| (one.series.strategy.clone(), of(one));
        summaries.iter().map(bar).collect::<Vec<_>>()
    };
    let whose = match cell.workload {
        Workload::Cold | Workload::Crowd => " of the cold rows",
        _ => "",
    };
    Ok(vec![
        figure(
            &format!("Throughput{whose}: more is better"),
            &bars(cell.workload.rate(), &bars_of(|one| one.throughput.median))?,
        ),
        figure(
            &format!("p99 of the latency{whose}: less is better"),
            &bars("ms", &bars_of(|one| one.p99.median))?,
        ),
        distribution(results, cell)?,
    ])
}

/// How slow the slowest are. The axis is of the share that is slower: 10 %, 1 %, 0.1 %.
fn distribution(results: &Results, cell: &Cell) -> Result<String> {
    let line = |series: &Series| Line {
        name: series.strategy.clone(),
        points: series
            .distribution
            .iter()
            .filter(|(percentile, _)| *percentile < 100.0)
            .map(|(percentile, time)| (1.0 / (1.0 - percentile / 100.0), Figure::exactly(*time)))
            .collect(),
    };
    let known = results.of(cell).filter(|one| !one.distribution.is_empty());
    let axes = Axes {
        x: "so many of a hundred are faster",
        y: "ms",
        x_label: |x| short(100.0 - 100.0 / x),
        x_base: 10.0,
    };
    let plot = lines(&axes, &known.map(line).collect::<Vec<_>>())?;
    let caption = format!("Latency of {}: less is better", threads(cell));
    Ok(figure(&caption, &plot))
}

fn entry(name: &str) -> String {
    let RGBColor(red, green, blue) = colour(name);
    format!(
        "<span><i style=\"background:#{red:02x}{green:02x}{blue:02x}\"></i>{}</span> ",
        escaped(name)
    )
}

fn figure(caption: &str, svg: &str) -> String {
    format!(
        "<figure><figcaption>{}</figcaption>{svg}</figure>\n",
        escaped(caption)
    )
}

fn figures(results: &Results, cell: &Cell) -> String {
    let heading = escaped(&title(results, cell));
    format!(
        "<h3>{heading}</h3>\n{}",
        html_table(&table::of(results, cell))
    )
}

fn goals(results: &Results) -> String {
    let lines = goals::of(results).into_iter();
    let lines: Vec<_> = lines
        .map(|line| {
            vec![
                line.what,
                line.goal,
                line.measured.to_string(),
                if line.is_met { "met" } else { "missed" }.to_owned(),
                line.place,
            ]
        })
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    let head = goals::HEAD.map(str::to_owned);
    let table = html_table(&[vec![head.to_vec()], lines].concat());
    format!("<h2>Goals</h2>\n{table}")
}

/// The first line is the head.
fn html_table(lines: &[Vec<String>]) -> String {
    let mut rows = String::new();
    for (number, line) in lines.iter().enumerate() {
        let tag = if number == 0 { "th" } else { "td" };
        let entries = line
            .iter()
            .map(|entry| format!("<{tag}>{}</{tag}>", escaped(entry)));
        rows += &format!("<tr>{}</tr>\n", entries.collect::<String>());
    }
    format!("<div class=\"wide\"><table>\n{rows}</table></div>\n")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
