//! The parts of the READMEs that commands write.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::count::Backend;
use crate::report::Row;
use crate::step;

/// Puts a text between `<!-- name -->` and `<!-- end of name -->`.
pub(crate) fn replace(file: &Path, name: &str, new: &str) -> Result<()> {
    let (begin, end) = (
        format!("<!-- {name} -->"),
        format!("<!-- end of {name} -->"),
    );
    let text = fs::read_to_string(file)?;
    let place = text.split_once(&begin);
    let place = place.and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let (before, after) =
        place.with_context(|| format!("no place for the {name} in {}", file.display()))?;
    fs::write(file, format!("{before}{begin}\n{new}{end}{after}"))?;
    Ok(())
}

/// Writes the README's table of servers.
pub(crate) fn write_servers(rows: &[Row]) -> Result<()> {
    replace(&step::root().join("README.md"), "servers", &servers(rows))
}

/// Markdown.
fn servers(rows: &[Row]) -> String {
    let mut table = "| server | tests, all passed |\n|---|---:|\n".to_owned();
    for row in rows.iter().filter(|row| row.backend != Backend::None) {
        table += &format!("| {} | {} |\n", row.name, row.tally.passed);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::Tally;

    #[test]
    fn each_server_has_a_row() {
        let row = |name: &str, backend, passed| Row {
            name: name.to_owned(),
            backend,
            tally: Tally { passed, failed: 0 },
        };
        let rows = [
            row("MySQL 9.7.4", Backend::Mysql, 380),
            row("no server", Backend::None, 99),
        ];
        let expected = "| server | tests, all passed |\n|---|---:|\n| MySQL 9.7.4 | 380 |\n";
        assert_eq!(servers(&rows), expected);
    }
}
