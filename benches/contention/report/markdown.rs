//! The tables for a README.

use super::{table, title};
use crate::measured::Results;

pub(super) fn text(results: &Results) -> String {
    let mut text = format!("{}\n\n", results.machine.describe());
    for database in &results.databases {
        text += &format!("- {}: {}\n", database.name, database.durability);
    }
    for cell in results.cells() {
        text += &format!("\n{}\n\n", title(cell));
        for (number, line) in table::of(results, cell).iter().enumerate() {
            text += &format!("| {} |\n", line.join(" | "));
            if number == 0 {
                text += &format!("|---|{}\n", "---:|".repeat(line.len() - 1));
            }
        }
    }
    if !results.missing.is_empty() {
        text += "\nNot measured:\n\n";
        for missing in &results.missing {
            text += &format!("- {missing}\n");
        }
    }
    text
}
