//! The table of a cell on the terminal.

use super::{table, title};
use crate::measured::{Cell, Results};

pub(crate) fn table(results: &Results, cell: &Cell) -> String {
    let lines = table::of(results, cell);
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            lines
                .iter()
                .map(|line| width(&line[column]))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = format!("\n{}\n", title(results, cell));
    for line in &lines {
        for (place, (entry, width_of_column)) in line.iter().zip(&widths).enumerate() {
            let space = " ".repeat(width_of_column - width(entry));
            // Names to the left, figures to the right.
            match place {
                0 => text += &format!("{entry}{space}"),
                _ => text += &format!("  {space}{entry}"),
            }
        }
        text.push('\n');
    }
    text
}

fn width(text: &str) -> usize {
    text.chars().count()
}
