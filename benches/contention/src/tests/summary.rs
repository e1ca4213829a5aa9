//! Ratios and medians.

use super::cell;
use crate::measured::{Run, Series};
use crate::summary::{ratio, Figure};
use crate::workload::Workload;

fn series(throughputs: &[f64]) -> Series {
    let run = |&throughput: &f64| Run {
        throughput,
        ..Run::default()
    };
    Series {
        cell: cell("a database", Workload::Hot, 1),
        strategy: "a strategy".to_owned(),
        runs: throughputs.iter().map(run).collect(),
        distribution: Vec::new(),
    }
}

fn ratio_of(one: &[f64], other: &[f64]) -> Option<Figure> {
    ratio(&series(one), &series(other), |run| run.throughput)
}

fn figure(median: f64, least: f64, most: f64) -> Figure {
    Figure {
        median,
        least,
        most,
    }
}

#[test]
fn a_ratio_is_of_the_runs_that_took_turns() {
    // A machine that became slow in the last repeat changes nothing.
    let slowed = ratio_of(&[200.0, 220.0, 20.0], &[100.0, 100.0, 10.0]);
    assert_eq!(slowed, Some(figure(2.0, 2.0, 2.2)));
}

#[test]
fn a_run_without_a_deposit_has_no_ratio() {
    assert_eq!(ratio_of(&[1.0], &[0.0]), None);
    assert_eq!(
        ratio_of(&[0.0, 6.0], &[0.0, 2.0]),
        Some(Figure::exactly(3.0))
    );
}

#[test]
fn the_median_of_an_even_number_is_between_two() {
    let middle = Figure::of([4.0, 1.0, 2.0, 8.0]);
    assert_eq!(middle, Some(figure(3.0, 1.0, 8.0)));
}
