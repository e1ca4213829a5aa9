//! A goal is met, or missed, by what was measured at its place.

use super::cell;
use crate::machine::Machine;
use crate::measured::{Cell, Results, Run, Series};
use crate::report::goals::{of, Line};
use crate::strategy::{BY_HAND, QUEUE_UPDATE, QUEUE_UPDATE_REFUSED};
use crate::workload::Workload;

const POSTGRES: &str = "PostgreSQL 15";

fn lines(cell: &Cell, measured: &[(&str, &[Run])]) -> Vec<Line> {
    let mut results = Results::new(Machine::here());
    let series = measured.iter().map(|(strategy, runs)| Series {
        cell: cell.clone(),
        strategy: (*strategy).to_owned(),
        runs: runs.to_vec(),
        distribution: Vec::new(),
    });
    results.series.extend(series);
    of(&results)
}

fn fast(throughput: f64) -> Run {
    Run {
        throughput,
        ..Run::default()
    }
}

fn refused(failed: u64) -> Run {
    Run {
        failed,
        ..fast(60.0)
    }
}

/// A result of `queue.update` with this ratio to by hand.
fn verdict(cell: &Cell, times: f64) -> Vec<(String, bool)> {
    let mine = [fast(times), fast(times), fast(0.0)];
    let by_hand = [fast(1.0), fast(1.0), fast(1.0)];
    let lines = lines(cell, &[(QUEUE_UPDATE, &mine), (BY_HAND, &by_hand)]);
    let verdicts = lines.into_iter().map(|line| (line.goal, line.is_met));
    verdicts.collect()
}

fn goal(text: &str, is_met: bool) -> Vec<(String, bool)> {
    vec![(text.to_owned(), is_met)]
}

#[test]
fn a_ratio_is_judged_by_its_median() {
    let hot = cell(POSTGRES, Workload::Hot, 16);
    assert_eq!(verdict(&hot, 20.0), goal("≥ 20.0", true));
    assert_eq!(verdict(&hot, 19.9), goal("≥ 20.0", false));
}

#[test]
fn a_goal_depends_on_threads_and_network_and_database() {
    let near = Cell {
        delay_ms: 0.5,
        ..cell(POSTGRES, Workload::Hot, 64)
    };
    assert_eq!(verdict(&near, 70.0), goal("≥ 70.0", true));
    let far = Cell {
        delay_ms: 2.0,
        ..near
    };
    assert_eq!(verdict(&far, 70.0), goal("≥ 75.0", false));
    let other = cell("MariaDB 10.11", Workload::Hot, 16);
    assert_eq!(verdict(&other, 12.0), goal("≥ 12.0", true));
    assert_eq!(verdict(&cell(POSTGRES, Workload::Hot, 3), 1.0), []);
}

#[test]
fn what_may_never_happen_is_judged_by_the_worst_run() {
    let place = cell(POSTGRES, Workload::Refused, 4);
    let verdict = |runs: &[Run]| {
        let lines = lines(&place, &[(QUEUE_UPDATE_REFUSED, runs)]);
        lines.iter().map(|line| line.is_met).collect::<Vec<_>>()
    };
    assert_eq!(verdict(&[refused(0), refused(0)]), [true]);
    assert_eq!(verdict(&[refused(0), refused(1), refused(0)]), [false]);
}

#[test]
fn a_figure_that_was_not_measured_has_no_line() {
    let place = cell(POSTGRES, Workload::Hot, 16);
    assert!(lines(&place, &[(QUEUE_UPDATE, &[fast(1.0)])]).is_empty());
}
