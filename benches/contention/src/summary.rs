//! Repeats as one figure: their median, with the least and the most.

use std::fmt::{self, Display, Formatter};

use crate::measured::{Cell, Results, Run, Series};
use crate::strategy::BY_HAND;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Figure {
    pub(crate) fn exactly(value: f64) -> Self {
        Self {
            median: value,
            least: value,
            most: value,
        }
    }

    /// `None` of nothing.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let upper = values.len() / 2;
        let lower = (values.len() - 1) / 2;
        Some(Self {
            median: f64::midpoint(values[lower], values[upper]),
            least,
            most,
        })
    }
}

impl Display for Figure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", short(self.median))?;
        if self.least < self.most {
            write!(f, " ({}–{})", short(self.least), short(self.most))?;
        }
        Ok(())
    }
}

/// With about three digits.
pub(crate) fn short(number: f64) -> String {
    match number.abs() {
        size if size >= 1_000.0 => thousands(number),
        size if size >= 100.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        0.0 => "0".to_owned(),
        size if size.is_nan() => "–".to_owned(),
        _ => format!("{number:.2}"),
    }
}

/// All of its digits.
pub(crate) fn count(number: impl TryInto<u32>) -> String {
    thousands(f64::from(number.try_into().unwrap_or(u32::MAX)))
}

fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A series beside the hand-written one of its cell.
pub(crate) struct Summary<'a> {
    pub(crate) series: &'a Series,
    pub(crate) throughput: Figure,
    pub(crate) p99: Figure,
    pub(crate) throughput_ratio: Option<Figure>,
    pub(crate) p99_ratio: Option<Figure>,
}

impl Summary<'_> {
    pub(crate) fn figure(&self, of: impl Fn(&Run) -> f64) -> Figure {
        Figure::of(self.series.runs.iter().map(of)).unwrap_or(self.throughput)
    }

    pub(crate) fn sum(&self, of: impl Fn(&Run) -> u64) -> u64 {
        self.series.runs.iter().map(of).sum()
    }
}

/// Repeat by repeat, since those were measured one after the other.
pub(crate) fn ratio(one: &Series, other: &Series, of: impl Fn(&Run) -> f64) -> Option<Figure> {
    let pairs = one.runs.iter().zip(&other.runs);
    let ratios = pairs.map(|(one, other)| of(one) / of(other));
    Figure::of(ratios.filter(|ratio| ratio.is_finite()))
}

pub(crate) fn of_cell<'a>(results: &'a Results, cell: &'a Cell) -> Vec<Summary<'a>> {
    let by_hand = results.of(cell).find(|one| one.strategy == BY_HAND);
    results
        .of(cell)
        .filter_map(|series| {
            Some(Summary {
                series,
                throughput: Figure::of(series.runs.iter().map(|run| run.throughput))?,
                p99: Figure::of(series.runs.iter().map(p99).filter(|time| time.is_finite()))
                    .unwrap_or(Figure::exactly(f64::NAN)),
                throughput_ratio: by_hand
                    .and_then(|other| ratio(series, other, |run| run.throughput)),
                p99_ratio: by_hand.and_then(|other| ratio(series, other, p99)),
            })
        })
        .collect()
}

/// Not a number of a run in which nobody's turn came.
fn p99(run: &Run) -> f64 {
    match run.total.p99 {
        0.0 => f64::NAN,
        time => time,
    }
}
